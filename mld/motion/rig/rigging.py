"""A motion as a rig with rotations, which is what animation files hold: the way from `Motion` to `RigMotion`.

Rotations are the motion's own where it has them, otherwise they are solved from the joints
(`mld.motion.rig.rest_pose`).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
import yaml
from torch import Tensor

from mld.errors import RequestError
from mld.motion.edit import check_finite
from mld.motion.motion import Motion
from mld.motion.rig.rest_pose import offsets_of, rest_pose, size_of, solve
from mld.motion.rig.rig import Rig, RigMotion
from mld.motion.skeletons import Skeleton

OWN_NAMES = "own"


def to_rig(motion: Motion, names: str = OWN_NAMES) -> RigMotion:
    """The motion as a rig in its T-pose with local rotations over time; joints are called as `joint_names` says.

    The rest position of the root lets the rest pose stand on the floor. Raises `DataError` for NaN or infinity.
    """
    check_finite(motion)
    if motion.rotations is None:
        rotations, offsets = solve(motion)
    else:
        rotations, offsets = motion.rotations, offsets_of(motion)
    size = size_of(motion)
    ends = {joint: end * size for joint, end in rest_pose(motion.skeleton.name).ends.items()}
    rig = Rig(joint_names(motion.skeleton, names), motion.skeleton.parents, offsets, ends)
    offsets = offsets.clone()
    offsets[0] = torch.tensor([0.0, -_lowest(rig), 0.0], dtype=offsets.dtype)
    rig = Rig(rig.joint_names, rig.parents, offsets, ends)
    return RigMotion(rig, rotations, motion.joints[:, 0], motion.fps, source=motion.skeleton.name)


def joint_names(skeleton: Skeleton, names: str) -> tuple[str, ...]:
    """What the joints of a skeleton are called: "own", "mixamo" or "unreal"; `RequestError` for another name."""
    tables = {OWN_NAMES: skeleton.joint_names, **_table()[skeleton.name]}
    if names not in tables:
        raise RequestError(f"no joint names '{names}'; known: {', '.join(tables)}")
    return tuple(tables[names])


@lru_cache(maxsize=1)
def _table() -> dict[str, dict[str, list[str]]]:
    return yaml.safe_load(Path(__file__).with_name("joint_names.yaml").read_text(encoding="utf-8"))


def _lowest(rig: Rig) -> float:
    """Height of the lowest point of the rest pose, the root at 0."""
    placed = rig.rest_positions()
    heights: list[Tensor] = [placed[:, 1].min()]
    heights += [placed[joint, 1] + end[1] for joint, end in rig.end_offsets.items()]
    return float(torch.stack(heights).min())
