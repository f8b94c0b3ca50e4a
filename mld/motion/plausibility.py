"""Is this the motion of a person? What cannot be is refused, what is odd is said, with frames and joints by name.

The rules are wide: children, jumps and somersaults pass. Measures are in metres and seconds, after a file was read.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mld.errors import DataError
from mld.motion.motion import Motion
from mld.motion.representations.base import Representation
from mld.motion.rig.proportions import oddities, on_all_fours
from mld.motion.skeletons import Skeleton

FARTHEST = 10_000.0  # metres from the origin
WIDEST, SMALLEST = 10.0, 0.01  # metres across one pose
TALL = (1.4, 2.1)  # metres, of a grown person
_USUAL_HEIGHT = 1.7  # metres, of a person with the bones of the skeletons' tables
_LIMBS = ("knee", "ankle", "elbow", "wrist")
_RATIO = 2.0  # of a limb to the rest of the body, as often shorter or longer than usual
_STRETCH, _LEAST_STRETCH = 0.5, 0.1  # of a bone's length, and metres
_FASTEST = 8.0  # metres per second, median over frames of the mean over joints
_JUMP_SPEED, _JUMP, _WINDOW = 6.0, 3.0, 3  # metres per second; times the steps around; frames on both sides
_LIES = 0.8  # cosine of the body to an axis
_UNNORMALISED, _NO_ROTATION = 0.15, 0.05  # off length 1 of the columns of a rotation; below, there are none
_NAMED = 4


def check_possible(motion: Motion) -> Motion:
    """The motion itself; `DataError` naming the first frame that no body can be in: far away, huge, or all joints of
    every frame in one place."""
    reason = impossible(motion.joints)
    if reason:
        raise DataError(reason)
    return motion


def impossible(joints: Tensor) -> str:
    """What no joints (T, J, 3) in metres can be, "" where they can."""
    far = ~(joints.abs().flatten(1).amax(1) < FARTHEST)
    if far.any():
        return f"joints are more than {FARTHEST / 1000:g} km away, first at frame {_first(far)}; is the unit right?"
    across = extents(joints)
    if (across > WIDEST).any():
        frame = _first(across > WIDEST)
        return (f"the body is {float(across[frame]):.0f} m across at frame {frame}; repair that frame, or say the unit "
                "(0.01 for centimetres)")  # fmt: skip
    if (across < SMALLEST).all():
        return "all joints lie in one place"
    return ""


def extents(joints: Tensor) -> Tensor:
    """How far joints (T, J, 3) reach along the axis in which they reach farthest (T,)."""
    return (joints.amax(1) - joints.amin(1)).amax(-1)


def remarks(motion: Motion) -> tuple[str, ...]:
    """Sentences on what is odd for a person: height, limbs, bones that change their length, speed, jumps by frame."""
    joints, skeleton = motion.joints.double(), motion.skeleton
    lengths = _bone_lengths(joints, skeleton)
    usual = lengths.median(0).values
    limbs = _proportions(usual, skeleton)
    found = [_height(usual, skeleton), limbs, *([] if limbs else oddities(joints, skeleton))]
    found += [*on_all_fours(joints, skeleton), _stretched(lengths, usual, skeleton), _speed(joints, motion.fps)]
    return tuple(sentence for sentence in found if sentence)


def posture(motion: Motion) -> str:
    """A sentence where the body does not stand along y in most frames: another axis may be the vertical one."""
    body = _head_over_feet(motion)
    mean = (body / body.norm(dim=-1, keepdim=True).clamp_min(1e-9)).mean(0)
    axis = int(mean.abs().argmax())
    if abs(float(mean[axis])) < _LIES or (axis == 1 and mean[1] > 0):
        return ""
    name = ("-" if mean[axis] < 0 else "") + "xyz"[axis]
    return f"the body lies along {name} most of the time; if that is the vertical axis, say so (--up {name})"


def height(motion: Motion) -> float:
    """About how tall the person is, metres, from the lengths of legs and spine."""
    return _tall(_bone_lengths(motion.joints.double(), motion.skeleton).median(0).values, motion.skeleton)


def looks_normalised(features: Tensor, representation: Representation) -> bool:
    """Whether raw features (T, D) were taken through a mean and a std: the columns of rotations have not length 1."""
    columns = representation.columns("rotations")
    if not columns:
        return False
    lengths = features[:, columns].double().unflatten(-1, (-1, 3)).norm(dim=-1)
    given = lengths > _NO_ROTATION
    if given.double().mean() < 0.5:
        return False
    return float((lengths[given] - 1).abs().median()) > _UNNORMALISED


def _height(usual: Tensor, skeleton: Skeleton) -> str:
    tall = _tall(usual, skeleton)
    if TALL[0] <= tall <= TALL[1]:
        return ""
    return f"the body is about {tall:.2f} m tall, a grown person {TALL[0]} to {TALL[1]} m; is the unit right?"


def _tall(usual: Tensor, skeleton: Skeleton) -> float:
    bones = [joint - 1 for joint in (*skeleton.chains[0][2:4], *skeleton.chains[1][2:4], *skeleton.chains[2][1:])]
    return _USUAL_HEIGHT * float(usual[bones].sum() / _table(skeleton)[bones].sum())


def _proportions(usual: Tensor, skeleton: Skeleton) -> str:
    """Upper and lower limbs against the median of all bones."""
    ratios = usual / _table(skeleton)
    limbs = [skeleton.index(f"{side}_{part}") for side in "lr" for part in _LIMBS]
    size = float(ratios[[joint - 1 for joint in limbs]].median())
    if size <= 0:
        return "most limbs have no length; these are not the joints of a person"
    odd = [joint for joint in limbs if not 1 / _RATIO < float(ratios[joint - 1]) / size < _RATIO]
    if not odd:
        return ""
    named = ", ".join(f"{skeleton.joint_names[skeleton.parents[joint]]} to {skeleton.joint_names[joint]} "
                      f"{float(usual[joint - 1]):.2f} m" for joint in odd[:_NAMED])  # fmt: skip
    return f"the limbs are not those of a person: {named}"


def _stretched(lengths: Tensor, usual: Tensor, skeleton: Skeleton) -> str:
    off = (lengths - usual).abs() > (_STRETCH * usual).clamp_min(_LEAST_STRETCH)
    if not off.any():
        return ""
    frames = off.any(1).nonzero()[:, 0].tolist()
    joint = int(off[frames[0]].nonzero()[0]) + 1
    bone = f"{skeleton.joint_names[skeleton.parents[joint]]} to {skeleton.joint_names[joint]}"
    return (
        f"bones change their length at {_frames(frames)}: {bone} is {float(usual[joint - 1]):.2f} m in most "
        f"frames, {float(lengths[frames[0], joint - 1]):.2f} m there"
    )


def _speed(joints: Tensor, fps: float) -> str:
    if len(joints) < 2:
        return ""
    steps = (joints[1:] - joints[:-1]).norm(dim=-1).mean(-1) * fps
    middle = float(steps.median())
    if middle > _FASTEST:
        return f"the body moves at {middle:.1f} m/s (median over frames); are frame rate and unit right?"
    padded = torch.cat([steps[:1].expand(_WINDOW), steps, steps[-1:].expand(_WINDOW)])
    around = padded.unfold(0, 2 * _WINDOW + 1, 1).median(-1).values
    jumps = ((steps > _JUMP_SPEED) & (steps > _JUMP * around)).nonzero()[:, 0] + 1
    return f"the body jumps at {_frames(jumps.tolist())}" if len(jumps) else ""


def _head_over_feet(motion: Motion) -> Tensor:
    joints, skeleton = motion.joints.double(), motion.skeleton
    ankles = (joints[:, skeleton.index("l_ankle")] + joints[:, skeleton.index("r_ankle")]) / 2
    return joints[:, skeleton.index("head")] - ankles


def _bone_lengths(joints: Tensor, skeleton: Skeleton) -> Tensor:
    """Lengths (T, J - 1) of the bones that end in the joints after the root."""
    return (joints[:, 1:] - joints[:, list(skeleton.parents[1:])]).norm(dim=-1)


def _table(skeleton: Skeleton) -> Tensor:
    return torch.tensor(skeleton.bone_lengths[1:], dtype=torch.float64) * skeleton.metres_per_unit


def _frames(frames: list[int]) -> str:
    more = f" and {len(frames) - _NAMED} more" if len(frames) > _NAMED else ""
    return ("frame " if len(frames) == 1 else "frames ") + ", ".join(map(str, frames[:_NAMED])) + more


def _first(bad: Tensor) -> int:
    return int(bad.nonzero()[0])
