"""A body whose bones have fixed lengths, near to the places of joints that a network foretold.

Each frame by itself: of all poses with the right lengths, that whose joints are nearest to where they were (weighted
least squares, Newton's method on the constraints; Goldenthal et al. 2007, section 4, "fast projection"). Feet weigh
more, the lowest most, so that one that stands goes on standing, and the pelvis gives way.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mld.motion import kinematics
from mld.motion.skeletons import Skeleton

STEPS = 4  # of Newton's method; what is left then is below a millimetre and goes into the places of children
SOFT = 0.02  # metres; a foot that is so much higher than the lowest weighs 1/e of it
TINY = 1e-9  # joints that coincide have no direction to be moved in; they stay together
FOOT = 20.0  # weight of the lowest foot; other joints have 1


def fixed(poses: Tensor, skeleton: Skeleton) -> Tensor:
    """Poses (..., J, 3), y up and in the unit of the skeleton, moved as little as its bone lengths allow."""
    parents, children = list(skeleton.parents[1:]), range(1, skeleton.num_joints)
    lengths = poses.new_tensor(skeleton.bone_lengths[1:])
    ends = poses.new_zeros(skeleton.num_joints - 1, skeleton.num_joints)  # from joints to bones
    ends[range(len(parents)), children] = 1.0
    ends[range(len(parents)), parents] = -1.0
    light = 1 / _weights(poses, skeleton)
    shared = torch.einsum("ij,...j,kj->...ik", ends, light, ends)
    made = poses
    for _ in range(STEPS):
        bones = ends @ made
        length = bones.norm(dim=-1)
        along = bones / length[..., None].clamp_min(1e-12)
        pulls = shared * (along @ along.transpose(-1, -2)) + TINY * torch.eye(len(parents)).to(poses)
        pull = torch.linalg.solve(pulls, length - lengths)
        made = made - light[..., None] * (ends.T @ (pull[..., None] * along))
    bones = kinematics.bone_directions(made, skeleton) * lengths[:, None]
    return kinematics.place(made[..., 0, :], bones, skeleton)


def over_root(poses: Tensor) -> tuple[Tensor, Tensor]:
    """Poses (..., J, 3) with the root over the origin, and by how much (..., 3) they were moved against that."""
    moved = poses[..., 0, :] * poses.new_tensor([1.0, 0.0, 1.0])
    return poses - moved[..., None, :], moved


def _weights(poses: Tensor, skeleton: Skeleton) -> Tensor:
    """What it costs to move a joint (..., J)."""
    feet = [*skeleton.left_foot, *skeleton.right_foot]
    heights = poses[..., feet, 1] * skeleton.metres_per_unit
    weights = torch.ones_like(poses[..., 0])
    weights[..., feet] += FOOT * torch.exp((heights.amin(-1, keepdim=True) - heights) / SOFT)
    return weights
