"""Rotations: matrices, quaternions (x, y, z, w) as in scipy, vectors (axis times angle in radians), 6-D (first two
matrix columns), and turns about the y axis.

These few formulas are our own: a library of rotations (roma) loads the compiler of torch when it is imported, which
takes as long as making a motion. Tests compare with it.

A turn about the vertical is a pair (cos, sin) of *half* the angle, that is the w and y of its quaternion: the published
features store half angles, and their sign (w >= 0) matters there.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_SMALLEST = 1e-12  # length of a column that has a direction


def between(a: Tensor, b: Tensor) -> Tensor:
    """Quaternions (..., 4) of the shortest rotations that take unit vectors a (..., 3) to b (..., 3).

    Antiparallel vectors have no shortest rotation and a zero vector no direction; both give the identity.
    """
    ax, ay, az = a.unbind(-1)
    bx, by, bz = b.unbind(-1)
    dot = ax * bx + ay * by + az * bz
    quaternion = torch.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx, 1 + dot], dim=-1)
    norm = quaternion.norm(dim=-1, keepdim=True)
    identity = quaternion.new_tensor([0.0, 0.0, 0.0, 1.0])
    return torch.where(norm > 0, quaternion / norm.clamp_min(torch.finfo(norm.dtype).tiny), identity)


def relative(a: Tensor, b: Tensor) -> Tensor:
    """Quaternions (..., 4) of b as seen from a: inverse(a) * b, both unit."""
    ax, ay, az, aw = a.unbind(-1)
    bx, by, bz, bw = b.unbind(-1)
    return torch.stack([
        aw * bx - ax * bw - ay * bz + az * by,
        aw * by - ay * bw - az * bx + ax * bz,
        aw * bz - az * bw - ax * by + ay * bx,
        aw * bw + ax * bx + ay * by + az * bz,
    ], dim=-1)


def matrix_to_6d(matrix: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) to their first two columns, one after the other (..., 6)."""
    return matrix[..., :2].transpose(-1, -2).flatten(-2)


def quaternion_to_6d(quaternion: Tensor) -> Tensor:
    """The first two matrix columns (..., 6) of unit quaternions (..., 4)."""
    x, y, z, w = quaternion.unbind(-1)
    first = [1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w)]
    second = [2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w)]
    return torch.stack(first + second, dim=-1)


def matrix_from_6d(vector: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) from two raw columns (..., 6) by Gram-Schmidt; no direction gives no NaN."""
    first, second = vector.unflatten(-1, (2, 3)).unbind(-2)
    first = F.normalize(first, dim=-1, eps=_SMALLEST)
    second = F.normalize(second - (first * second).sum(-1, keepdim=True) * first, dim=-1, eps=_SMALLEST)
    return torch.stack([first, second, torch.linalg.cross(first, second)], dim=-1)


def nearest_rotation(matrix: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) nearest to any matrices, in the sum of squares (Kabsch 1976)."""
    left, _, right = torch.linalg.svd(matrix)
    sign = torch.linalg.det(left) * torch.linalg.det(right)  # -1 where the nearest orthogonal matrix mirrors
    left = torch.cat([left[..., :2], left[..., 2:] * sign[..., None, None]], dim=-1)
    return left @ right


def quaternion_to_matrix(quaternion: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) of unit quaternions (..., 4)."""
    x, y, z, w = quaternion.unbind(-1)
    return torch.stack([
        x * x - y * y - z * z + w * w, 2 * (x * y - z * w), 2 * (x * z + y * w),
        2 * (x * y + z * w), y * y - x * x - z * z + w * w, 2 * (y * z - x * w),
        2 * (x * z - y * w), 2 * (y * z + x * w), z * z - x * x - y * y + w * w,
    ], dim=-1).unflatten(-1, (3, 3))  # fmt: skip


def matrix_to_quaternion(matrix: Tensor) -> Tensor:
    """Unit quaternions (..., 4) of rotation matrices (..., 3, 3); the largest number of each is positive.

    Computed from that largest one, so that nothing is divided by what is almost zero (Shepperd 1978)."""
    (a, b, c), (d, e, f), (g, h, i) = (row.unbind(-1) for row in matrix.unbind(-2))
    rows = torch.stack([
        1 + a - e - i, b + d, c + g, h - f,
        b + d, 1 - a + e - i, f + h, c - g,
        c + g, f + h, 1 - a - e + i, d - b,
        h - f, c - g, d - b, 1 + a + e + i,
    ], dim=-1).unflatten(-1, (4, 4))  # fmt: skip
    largest = rows.diagonal(dim1=-2, dim2=-1).argmax(-1)[..., None, None].expand(*rows.shape[:-2], 1, 4)
    return F.normalize(rows.gather(-2, largest).squeeze(-2), dim=-1)


def rotvec_to_matrix(rotvec: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) of rotation vectors (..., 3)."""
    angle = rotvec.norm(dim=-1, keepdim=True)
    half = torch.sinc(angle / (2 * math.pi)) / 2  # sin(angle / 2) / angle, also where the angle is 0
    return quaternion_to_matrix(torch.cat([half * rotvec, (angle / 2).cos()], dim=-1))


def matrix_to_rotvec(matrix: Tensor) -> Tensor:
    """Rotation vectors (..., 3) of rotation matrices (..., 3, 3), at most pi long."""
    quaternion = matrix_to_quaternion(matrix)
    quaternion = torch.where(quaternion[..., 3:] < 0, -quaternion, quaternion)
    axis, cos = quaternion[..., :3], quaternion[..., 3:]
    sin = axis.norm(dim=-1, keepdim=True)
    small = sin < 1e-7  # there the angle is twice its sine
    sin = torch.where(small, torch.ones_like(sin), sin)
    return axis * torch.where(small, 2 / cos, 2 * torch.atan2(sin, cos) / sin)


def turn_to_front(forward: Tensor) -> Tensor:
    """Half-angle pairs (..., 2) of the turns that take horizontal directions (..., 2) = (x, z) to +z, with cos >= 0.

    No direction, and exactly backwards, give the identity (compat: the published code has 0/0 there).
    """
    unit = forward / forward.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    pair = torch.stack([1 + unit[..., 1], -unit[..., 0]], dim=-1)
    norm = pair.norm(dim=-1, keepdim=True)
    known = (norm > 0) & (forward != 0).any(-1, keepdim=True)
    return torch.where(known, pair / norm.clamp_min(torch.finfo(norm.dtype).tiny), pair.new_tensor([1.0, 0.0]))


def turn_from_half_angle(half: Tensor) -> Tensor:
    """Half-angle pairs (..., 2) from half angles (...) in radians."""
    return torch.stack([half.cos(), half.sin()], dim=-1)


def undo(turn: Tensor) -> Tensor:
    """The opposite turns."""
    return torch.stack([turn[..., 0], -turn[..., 1]], dim=-1)


def apply_turn(turn: Tensor, vectors: Tensor) -> Tensor:
    """Turn vectors (..., 3) about the y axis by half-angle pairs (..., 2)."""
    cos = turn[..., 0].square() - turn[..., 1].square()
    sin = 2 * turn[..., 0] * turn[..., 1]
    x, y, z = vectors.unbind(-1)
    return torch.stack([cos * x + sin * z, y.expand((cos * x).shape), cos * z - sin * x], dim=-1)


def turn_to_quaternion(turn: Tensor) -> Tensor:
    """Quaternions (..., 4), x y z w, of half-angle pairs (..., 2)."""
    zero = torch.zeros_like(turn[..., 0])
    return torch.stack([zero, turn[..., 1], zero, turn[..., 0]], dim=-1)


def turn_to_matrix(turn: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) of half-angle pairs (..., 2)."""
    return quaternion_to_matrix(turn_to_quaternion(turn))


def slerp(start: Tensor, end: Tensor, fraction: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) on the shortest arcs from `start` (at 0) to `end` (at 1), `fraction` (...)."""
    step = matrix_to_rotvec(start.transpose(-1, -2) @ end)
    return start @ rotvec_to_matrix(fraction[..., None] * step)


def chained(turns: Tensor) -> Tensor:
    """Products (..., n, 3, 3) of all rotation matrices (..., n, 3, 3) up to each, later ones to the left.

    In rounds that join stretches of twice the length (Hillis and Steele 1986).
    """
    reach = 1
    while reach < turns.shape[-3]:
        later = turns[..., reach:, :, :] @ turns[..., :-reach, :, :]
        turns, reach = torch.cat([turns[..., :reach, :, :], later], dim=-3), 2 * reach
    return turns
