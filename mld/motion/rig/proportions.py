"""Whether joints told by their names make a person: what contradicts a human body is said, one sentence each."""

from __future__ import annotations

from torch import Tensor

from mld.motion.skeletons import get_skeleton

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


def oddities(joints: Tensor, upright: float) -> list[str]:
    """What is not human in joints (T, 22, 3) of smpl22; upright: the smallest cosine between trunk and legs, thighs and
    shins in the rest pose, or in the frame where it is largest."""
    found = []
    left, right = lengths(joints, "l"), lengths(joints, "r")
    for name in ("leg", "arm"):
        if _factor(left[name], right[name]) > _SIDES:
            found.append(f"the left {name} is {left[name]:.2f} m long and the right {right[name]:.2f} m")
    both = {name: (left[name] + right[name]) / 2 for name in left}
    for name, other, usual, most in _RATIOS:
        if _factor(both[name], usual * both[other]) > most:
            found.append(f"the {name} measures {both[name]:.2f} m and the {other} {both[other]:.2f} m")
    if upright < _UPRIGHT:
        found.append("the trunk is never in line with the legs, as of an animal or a person who always sits")
    return [f"not like a person: {sentence}; look at the result, or give a joint table" for sentence in found]


def lengths(joints: Tensor, side: str) -> dict[str, float]:
    """Median lengths in metres of the limbs of one side and of the trunk."""
    index = get_skeleton("smpl22").index

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


def _factor(a: float, b: float) -> float:
    """How many times one length is the other."""
    low, high = sorted((a, b))
    return high / max(low, _SHORTEST * high, 1e-9)
