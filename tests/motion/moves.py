"""Random but human-like test motions: a rest pose with smoothly swinging bones that walks along a curve."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mld.motion import kinematics, rotations
from mld.motion.motion import Motion
from mld.motion.skeletons import Skeleton, get_skeleton


def random_joints(seed: int, frames: int, skeleton: Skeleton, turn: float = 1.0, swing: float = 0.4) -> Tensor:
    """Joints (T, J, 3) float64 in the unit of the skeleton; the heading wanders within about +-`turn` radians."""
    generator = torch.Generator().manual_seed(seed)

    def waves(*shape: int) -> Tensor:
        """(T, *shape) sums of two slow sines with random phase, about +-1."""
        time = torch.arange(frames, dtype=torch.float64).view(-1, *[1] * len(shape)) / 20
        speed = 0.3 + torch.rand(2, *shape, generator=generator, dtype=torch.float64)
        phase = 2 * math.pi * torch.rand(2, *shape, generator=generator, dtype=torch.float64)
        return sum((2 * math.pi * speed[i] * time + phase[i]).sin() for i in range(2)) / 2

    count = skeleton.num_joints
    lengths = torch.tensor(skeleton.bone_lengths[1:], dtype=torch.float64)[:, None]
    bones = torch.tensor(skeleton.raw_offsets[1:], dtype=torch.float64) + swing * waves(count - 1, 3)
    bones = bones / bones.norm(dim=-1, keepdim=True) * lengths
    size = 1 / skeleton.metres_per_unit
    path = torch.cumsum(0.05 * waves(3) * torch.tensor([1.0, 0.1, 1.0]), dim=0) + torch.tensor([0.0, 0.9, 0.0])
    heading = rotations.turn_from_half_angle(turn * waves(1) / 2)
    return rotations.apply_turn(heading, kinematics.place(path * size, bones, skeleton))


def random_motion(seed: int = 0, frames: int = 50, skeleton: str = "smpl22", **options: float) -> Motion:
    """A motion in metres with rotations and translation (of no meaning beyond being smooth)."""
    skeleton = get_skeleton(skeleton)
    joints = random_joints(seed, frames, skeleton, **options) * skeleton.metres_per_unit
    angles = torch.linspace(0, 1, frames, dtype=torch.float64)[:, None] * torch.linspace(-2, 2, skeleton.num_joints)
    local = rotations.turn_to_matrix(rotations.turn_from_half_angle(angles / 2))
    return Motion(joints, skeleton.fps, skeleton, rotations=local, translation=joints[:, 0])
