"""Damped least squares: turn all joints of a tree a little at a time until they come near their targets.

Every frame is solved by itself, all frames at once. The unknowns are the Euler angles of every joint (R = Rz Ry Rx).
"""

from __future__ import annotations

import torch
from torch import Tensor

from mld.motion import kinematics
from mld.motion.euler import euler_to_matrix, matrix_to_euler


def reach(
    rotations: Tensor, positions: Tensor, parents: tuple[int, ...], targets: Tensor, iterations: int, damping: float
) -> Tensor:
    """Local rotations (T, J, 3, 3) that bring all joints near `targets` (T, J, 3), begun at `rotations`.

    positions (T, J, 3): of the root in the world, of other joints relative to their parents; the root is not moved.
    damping: metres per radian; the larger, the shorter the steps of an iteration.
    """
    below = _descendants(parents).to(rotations)
    angles = matrix_to_euler(rotations, "ZYX")
    calm = damping**2 * torch.eye(3 * len(parents)).to(rotations)
    for _ in range(iterations):
        joints, world = kinematics.forward(positions[:, 0], euler_to_matrix(angles, "ZYX"), positions, parents)
        axes = _axes(angles, world, parents)
        levers = (joints[:, None] - joints[:, :, None]) * below[..., None]  # (T, turned, moved, 3)
        columns = torch.linalg.cross(axes[:, :, :, None], levers[:, :, None])  # (T, turned, angle, moved, 3)
        jacobian = columns.flatten(3).flatten(1, 2).transpose(1, 2)
        error = (targets - joints).flatten(1)[..., None]
        transposed = jacobian.transpose(1, 2)
        step = torch.linalg.solve(transposed @ jacobian + calm, transposed @ error)
        angles = angles + step.view_as(angles)
    return euler_to_matrix(angles, "ZYX")


def _descendants(parents: tuple[int, ...]) -> Tensor:
    """(J, J) bool: whether the second joint hangs on the first."""
    below = torch.zeros(len(parents), len(parents), dtype=torch.bool)
    for joint, parent in enumerate(parents[1:], start=1):
        below[:, joint] = below[:, parent]
        below[parent, joint] = True
    return below


def _axes(angles: Tensor, world: Tensor, parents: tuple[int, ...]) -> Tensor:
    """World axes (T, J, 3, 3), one row for each of the angles z, y, x (T, J, 3), about which they turn."""
    still = torch.eye(3).to(world).expand_as(world[:, :1])
    frame = torch.cat([still, world[:, list(parents[1:])]], dim=1)
    turned = frame @ euler_to_matrix(angles[..., :1], "Z")
    twice = turned @ euler_to_matrix(angles[..., 1:2], "Y")
    return torch.stack([frame[..., 2], turned[..., 1], twice[..., 0]], dim=-2)
