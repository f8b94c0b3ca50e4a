"""Euler angles and rotation matrices for any axis order, computed over whole arrays, as motion files need them.

An order names the axes from the left of the product: "ZXY" is R = Rz Rx Ry, the BVH channels Zrotation Xrotation
Yrotation. Orders may be shorter than three axes, or repeat an axis, when matrices are made from angles.
"""

from __future__ import annotations

import torch
from torch import Tensor

_AXES = {"X": (0, 1, 2), "Y": (1, 2, 0), "Z": (2, 0, 1)}


def euler_to_matrix(angles: Tensor, order: str) -> Tensor:
    """Rotation matrices (..., 3, 3) of angles (..., len(order)) in radians, one per axis of `order`."""
    columns = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    for number, axis in enumerate(order.upper()):
        _, a, b = _AXES[axis]
        cos, sin = angles[..., number].cos(), angles[..., number].sin()
        columns[a], columns[b] = _mix(columns[a], columns[b], cos, sin), _mix(columns[b], columns[a], cos, -sin)
    matrix = angles.new_empty(*angles.shape[:-1], 3, 3)
    for row in range(3):
        for column in range(3):
            matrix[..., row, column] = columns[column][row]
    return matrix


def matrix_to_euler(matrix: Tensor, order: str) -> Tensor:
    """Angles (..., 3) in radians of rotation matrices (..., 3, 3); `order` names three different axes.

    The middle angle is in [-pi/2, pi/2]. Where it is a right angle only the sum or difference of the outer two is
    fixed: the last is 0 there.
    """
    i, j, k = (_AXES[axis][0] for axis in order.upper())
    sign = 1.0 if (j - i) % 3 == 1 else -1.0
    flat = torch.hypot(matrix[..., i, i], matrix[..., i, j])
    middle = torch.atan2(sign * matrix[..., i, k], flat)
    locked = flat < 4 * torch.finfo(matrix.dtype).eps
    first = torch.where(
        locked,
        torch.atan2(sign * matrix[..., k, j], matrix[..., j, j]),
        torch.atan2(-sign * matrix[..., j, k], matrix[..., k, k]),
    )
    last = torch.atan2(-sign * matrix[..., i, j], matrix[..., i, i]).masked_fill(locked, 0.0)
    return torch.stack([first, middle, last], dim=-1)


def _mix(ours: list, other: list, cos: Tensor, sin: Tensor) -> list:
    """One column of the product with an axis rotation. Entries that are still 0 or 1 stay numbers and cost nothing."""
    return [_sum(_times(a, cos), _times(b, sin)) for a, b in zip(ours, other)]


def _times(entry: float | Tensor, factor: Tensor) -> float | Tensor:
    if isinstance(entry, float):
        return 0.0 if entry == 0.0 else factor
    return entry * factor


def _sum(a: float | Tensor, b: float | Tensor) -> float | Tensor:
    if isinstance(a, float) and a == 0.0:
        return b
    return a if isinstance(b, float) and b == 0.0 else a + b
