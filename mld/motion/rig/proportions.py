"""Whether joints told by their names make a person: what contradicts a human body is said, one sentence each."""

from __future__ import annotations

from torch import Tensor

from mld.motion.skeletons import Skeleton

# The usual ratio of two lengths of a person, and by which factor figures of all kinds may differ from it.
_RATIOS = (
    ("thigh", "shin", 1.0, 1.7),
    ("upper arm", "forearm", 1.1, 1.8),
    ("arm", "leg", 0.65, 1.5),
    ("trunk", "leg", 0.62, 1.9),
    ("hips' width", "leg", 0.16, 3.0),
)
_SIDES = 1.2  # factor between the lengths of left and right limbs
_SHORTEST = 1e-3  # of a leg
_UPRIGHT = 0.5  # cosine: how straight a body is that stands at rest or in its most upright frame
_ACROSS, _ALONG, _MOSTLY = 0.5, 0.7, 0.9  # cosines of trunk and arms to the legs of an animal; share of the frames
_ANIMAL = ("not like a person: the trunk is never in line with the legs, as of an animal or of a person on all fours; "
           "look at the result, or give a joint table")  # fmt: skip


def oddities(joints: Tensor, skeleton: Skeleton) -> list[str]:
    """What is not human in the lengths of joints (T, J, 3)."""
    found = []
    left, right = lengths(joints, skeleton, "l"), lengths(joints, skeleton, "r")
    for name in ("leg", "arm"):
        if _factor(left[name], right[name]) > _SIDES:
            found.append(f"the left {name} is {left[name]:.2f} m long and the right {right[name]:.2f} m")
    both = {name: (left[name] + right[name]) / 2 for name in left}
    for name, other, usual, most in _RATIOS:
        if _factor(both[name], usual * both[other]) > most:
            found.append(f"the {name} measures {both[name]:.2f} m and the {other} {both[other]:.2f} m")
    return [f"not like a person: {sentence}; look at the result, or give a joint table" for sentence in found]


def never_upright(upright: float) -> list[str]:
    """A sentence where a body does not stand as a person does. upright: the smallest cosine between trunk and legs,
    thighs and shins in the rest pose, or in the frame where it is largest."""
    return [_ANIMAL] if upright < _UPRIGHT else []


def on_all_fours(joints: Tensor, skeleton: Skeleton) -> list[str]:
    """A sentence where the trunk of joints (T, J, 3) is across the legs nearly all the time while the arms point where
    the legs do. A crawling person's shins lie on the floor, so the legs do not point so."""
    at = {name: joints[:, skeleton.index(name)] for name in skeleton.joint_names}
    trunk = at["neck"] - (at["l_hip"] + at["r_hip"]) / 2
    animal = None
    for side in "lr":
        leg, arm = at[f"{side}_ankle"] - at[f"{side}_hip"], at[f"{side}_wrist"] - at[f"{side}_shoulder"]
        so = (_cosine(trunk, leg).abs() < _ACROSS) & (_cosine(arm, leg) > _ALONG)
        animal = so if animal is None else animal & so
    return [_ANIMAL] if animal is not None and float(animal.double().mean()) > _MOSTLY else []


def lengths(joints: Tensor, skeleton: Skeleton, side: str) -> dict[str, float]:
    """Median lengths in metres of the limbs of one side and of the trunk."""
    index = skeleton.index

    def bone(a: str, b: str) -> float:
        return float((joints[:, index(a)] - joints[:, index(b)]).norm(dim=-1).median())

    found = {
        "thigh": bone(f"{side}_hip", f"{side}_knee"),
        "shin": bone(f"{side}_knee", f"{side}_ankle"),
        "upper arm": bone(f"{side}_shoulder", f"{side}_elbow"),
        "forearm": bone(f"{side}_elbow", f"{side}_wrist"),
        "hips' width": bone("l_hip", "r_hip"),
    }
    middle = (joints[:, index("l_hip")] + joints[:, index("r_hip")]) / 2
    found["trunk"] = float((joints[:, index("neck")] - middle).norm(dim=-1).median())
    found["leg"], found["arm"] = found["thigh"] + found["shin"], found["upper arm"] + found["forearm"]
    return found


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1)).clamp_min(1e-12)


def _factor(a: float, b: float) -> float:
    """How many times one length is the other."""
    low, high = sorted((a, b))
    return high / max(low, _SHORTEST * high, 1e-9)
