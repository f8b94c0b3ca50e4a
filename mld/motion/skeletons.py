"""Skeletons by name: joint names, parents, mirror pairs, kinematic chains, foot and facing joints, target bone lengths.

The numbers are data in `skeletons.yaml`. Everything that needs to know which joint is where asks a `Skeleton`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import torch
import yaml
from torch import Tensor

from mld.errors import ConfigError, nearest

_AXES = {"0": (0, 0, 0), "+x": (1, 0, 0), "-x": (-1, 0, 0), "+y": (0, 1, 0), "-y": (0, -1, 0), "+z": (0, 0, 1)}
_UNITS = {"m": 1.0, "mm": 0.001}


@dataclass(frozen=True)
class Skeleton:
    """A joint tree of J joints; joint 0 is the root and every parent has a smaller index than its child.

    chains: paths of joint indices, for the rotations of the published features. mirror_pairs: (left, right).
    left_foot, right_foot: joints whose stillness is a foot contact. face_joints: right hip, left hip, right shoulder,
    left shoulder. leg_joints: their bones set the scale of a figure. raw_offsets: unit direction of the bone that ends
    in a joint, in the rest pose. bone_lengths: of the target skeleton, in the unit of the features (`metres_per_unit`
    converts), 0 for the root. fps: the frame rate that the data of this skeleton comes in.
    """

    name: str
    joint_names: tuple[str, ...]
    parents: tuple[int, ...]
    mirror_pairs: tuple[tuple[int, int], ...]
    chains: tuple[tuple[int, ...], ...]
    left_foot: tuple[int, ...]
    right_foot: tuple[int, ...]
    face_joints: tuple[int, int, int, int]
    leg_joints: tuple[int, int]
    raw_offsets: tuple[tuple[float, float, float], ...]
    bone_lengths: tuple[float, ...]
    metres_per_unit: float
    fps: float

    @property
    def num_joints(self) -> int:
        return len(self.parents)

    @cached_property
    def mirror_index(self) -> tuple[int, ...]:
        """The joint on the other side, by joint: `joints[..., mirror_index, :]` swaps left and right."""
        index = list(range(self.num_joints))
        for left, right in self.mirror_pairs:
            index[left], index[right] = right, left
        return tuple(index)

    @cached_property
    def rotation_parents(self) -> tuple[int, ...]:
        """The joint whose bone rotation a joint's own is relative to: the one before it in its chain, or the root (0)
        for the first bone of a chain, also where the chain starts at the chest (compat: as published)."""
        before = [0] * self.num_joints
        for chain in self.chains:
            for previous, joint in zip(chain[1:], chain[2:]):
                before[joint] = previous
        return tuple(before)

    @property
    def offsets(self) -> Tensor:
        """Rest-pose offset of each joint from its parent (J, 3) float64, in the unit of the features."""
        lengths = torch.tensor(self.bone_lengths, dtype=torch.float64)
        return torch.tensor(self.raw_offsets, dtype=torch.float64) * lengths[:, None]

    def index(self, joint_name: str) -> int:
        return self.joint_names.index(joint_name)

    def with_bone_lengths(self, pose: Tensor) -> Skeleton:
        """The same skeleton with the bone lengths of one pose (J, 3), given in the unit of the features."""
        pose = torch.as_tensor(pose, dtype=torch.float64)
        lengths = (pose[1:] - pose[list(self.parents[1:])]).norm(dim=-1)
        return dataclasses.replace(self, bone_lengths=(0.0, *lengths.tolist()))


@lru_cache(maxsize=1)
def _table() -> dict:
    return yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))


def skeleton_names() -> tuple[str, ...]:
    return tuple(_table())


@lru_cache
def get_skeleton(name: str) -> Skeleton:
    """The registered skeleton "smpl22" or "kit21"; `ConfigError` names the nearest for any other name."""
    table = _table()
    if name not in table:
        raise ConfigError(f"no skeleton '{name}'; {nearest(name, table)}")
    entry = table[name]
    names, parents, axes, lengths = zip(*entry["joints"])
    return Skeleton(
        name=name,
        joint_names=names,
        parents=parents,
        mirror_pairs=tuple(map(tuple, entry["mirror"])),
        chains=tuple(map(tuple, entry["chains"])),
        left_foot=tuple(entry["left_foot"]),
        right_foot=tuple(entry["right_foot"]),
        face_joints=tuple(entry["face"]),
        leg_joints=tuple(entry["legs"]),
        raw_offsets=tuple(_AXES[axis] for axis in axes),
        bone_lengths=lengths,
        metres_per_unit=_UNITS[entry["unit"]],
        fps=float(entry["fps"]),
    )


def skeleton_with(num_joints: int) -> Skeleton | None:
    """The registered skeleton of that many joints, if there is one."""
    known = (get_skeleton(name) for name in _table())
    return next((skeleton for skeleton in known if skeleton.num_joints == num_joints), None)
