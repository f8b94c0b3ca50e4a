"""A motion on another skeleton: KIT's 21 joints onto smpl22 and back.

Limbs are the same joints; those of the trunk lie between what the other skeleton has, by the lengths of the two tables.
In the published KIT joints the side that the skeleton calls right is the left one of the body (their order is that of
the MMM model, left first); the toes tell which it is.
"""

from __future__ import annotations

import dataclasses

import torch

from mld.errors import DataError
from mld.motion.motion import Motion
from mld.motion.skeletons import get_skeleton

_SHORTEST_FOOT = 0.03  # metres
_SIDES = ("l", "r")
_SAME = ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
# Joint by joint, what it is made of: joints of the other skeleton with their weights, which sum to 1.
_TRUNKS: dict[tuple[str, str], dict[str, dict[str, float]]] = {
    ("kit21", "smpl22"): {
        "pelvis": {"root": 1.0}, "spine1": {"pelvis": 1.0}, "spine2": {"spine": 0.9, "neck": 0.1},
        "spine3": {"spine": 0.55, "neck": 0.45}, "neck": {"neck": 0.45, "head": 0.55}, "head": {"head": 1.0},
    },
    ("smpl22", "kit21"): {
        "root": {"pelvis": 1.0}, "pelvis": {"spine1": 1.0}, "spine": {"spine2": 1.0},
        "neck": {"l_shoulder": 0.5, "r_shoulder": 0.5}, "head": {"head": 1.0},
    },
}  # fmt: skip
_LIMBS: dict[tuple[str, str], dict[str, dict[str, float]]] = {
    ("kit21", "smpl22"): {"foot": {"_midfoot": 1.0}, "collar": {"neck": 0.55, "_shoulder": 0.45}},
    ("smpl22", "kit21"): {"midfoot": {"_foot": 1.0}, "foot": {"_foot": 1.5, "_ankle": -0.5}},
}


def on_skeleton(motion: Motion, name: str) -> Motion:
    """The motion on the skeleton `name`, in metres at its own frame rate; rotations do not go with it. The motion
    itself where it is on that skeleton. `DataError` for a skeleton that it cannot be carried onto."""
    known = motion.skeleton.name
    if known == name:
        return motion
    if (known, name) not in _TRUNKS:
        raise DataError(f"a motion on the skeleton '{known}' cannot be carried onto '{name}'")
    target = get_skeleton(name)
    crossed = _crossed(motion) if known == "kit21" else True
    parts = _parts(known, name, crossed)
    if known == "kit21" and _no_midfoot(motion):
        parts |= {f"{a}_foot": {f"{b}_foot": 1.0} for a, b in zip(_SIDES, reversed(_SIDES) if crossed else _SIDES)}
    weights = torch.zeros(target.num_joints, motion.skeleton.num_joints, dtype=torch.float64)
    for joint, made in parts.items():
        for source, weight in made.items():
            weights[target.index(joint), motion.skeleton.index(source)] = weight
    joints = (weights @ motion.joints.double()).float()
    return dataclasses.replace(motion, joints=joints, skeleton=target, rotations=None, translation=None)


def _parts(known: str, name: str, crossed: bool) -> dict[str, dict[str, float]]:
    """The sources of all joints. crossed: left of one skeleton is right of the other."""
    parts = dict(_TRUNKS[known, name])
    for side, other in zip(_SIDES, reversed(_SIDES) if crossed else _SIDES):
        parts |= {f"{side}_{joint}": {f"{other}_{joint}": 1.0} for joint in _SAME}
        for joint, made in _LIMBS[known, name].items():
            parts[f"{side}_{joint}"] = {other + key if key[0] == "_" else key: w for key, w in made.items()}
    return parts


def _crossed(motion: Motion) -> bool:
    """Whether the joints called left are on the right of a body that walks where its toes point."""
    joints, index = motion.joints.double(), motion.skeleton.index
    toes = torch.stack([joints[:, index(f"{side}_foot")] - joints[:, index(f"{side}_ankle")] for side in _SIDES]).sum(0)
    left = torch.stack([toes[:, 2], torch.zeros_like(toes[:, 0]), -toes[:, 0]], dim=-1)
    hips = joints[:, index("l_hip")] - joints[:, index("r_hip")]
    return bool((hips * left).sum() < 0)


def _no_midfoot(motion: Motion) -> bool:
    """Whether the joints between ankles and toes lie in the ankles, as in files made from another skeleton."""
    index = motion.skeleton.index
    step = motion.joints[:, index("l_midfoot")] - motion.joints[:, index("l_ankle")]
    return float(step.norm(dim=-1).median()) < _SHORTEST_FOOT
