"""Joints of published feature rows that this toolkit only reads: 272 columns (MotionStreamer) and 276 (ViMoGen).

Both hold 22 SMPL joints. Their joint rotations are separate estimates that need not agree with the positions (spec
motion_272, 4.5; spec vimogen, 1.7), so positions alone are taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mld.errors import DataError
from mld.motion.rotations import matrix_from_6d

_JOINTS = 22
_SMALLEST = 1e-6  # a heading below this length, or this near to a line, has no direction


def decode_272(features: Tensor) -> Tensor:
    """Joints (T, 22, 3), metres, y up, of raw MotionStreamer features (T, 272) (spec motion_272, sections 1 and 4).

    Columns 0:2 are the step of the pelvis since the last frame, x and z in metres as seen from that frame's heading;
    2:8 the turn of the heading since then, the first two rows of a matrix; 8:74 the joints without heading and path.
    The dtype is kept. Raises `DataError` for another width, and where 2:8 are no rotation (rows of padding).
    """
    _check_width(features, 272)
    exact = features.double()
    from_heading = _headings(exact[:, 2:8])
    before = torch.cat([torch.eye(3, dtype=exact.dtype, device=exact.device)[None], from_heading[:-1]])
    step = torch.stack([exact[:, 0], torch.zeros_like(exact[:, 0]), exact[:, 1]], dim=-1)
    path = (before @ step[..., None])[..., 0].cumsum(0)
    path[:, 1] = 0  # heights are absolute: they are in the joints
    local = exact[:, 8:74].unflatten(-1, (_JOINTS, 3))
    return (local @ from_heading.transpose(-1, -2) + path[:, None]).to(features.dtype)


def decode_276(features: Tensor) -> Tensor:
    """Joints (T, 22, 3), metres, y up and facing +z, of raw ViMoGen features (T, 276) (spec vimogen, 1.1, 1.7, 1.8).

    Columns 126:192 are the joints, z up, and 192:258 their steps to the next frame in metres. As published, the joints
    of frame 0 are followed along the steps; later rows of 126:192 are not used. The dtype is kept. Raises `DataError`
    for another width.
    """
    _check_width(features, 276)
    exact = features.double()
    joints = torch.cat([exact[:1, 126:192], exact[:-1, 192:258]]).cumsum(0).unflatten(-1, (_JOINTS, 3))
    x, y, z = joints.unbind(-1)
    return torch.stack([-x, z, y], dim=-1).to(features.dtype)


@dataclass(frozen=True)
class Columns:
    """How rows of one width become joints, and the frames per second they were published at."""

    decode: Callable[[Tensor], Tensor]
    fps: float


COLUMNS = {272: Columns(decode_272, 30.0), 276: Columns(decode_276, 20.0)}


def _headings(turns: Tensor) -> Tensor:
    """Rotations (T, 3, 3) from the heading frame to the world, of the turns (T, 6) from each frame to the next.

    Rows of a matrix are the columns of its inverse, and the inverse turns lead back to the world one after the other.
    """
    first, second = turns[:, :3], turns[:, 3:]
    spread = torch.linalg.cross(first, second).norm(dim=-1) / first.norm(dim=-1) / second.norm(dim=-1)
    known = (first.norm(dim=-1) > _SMALLEST) & (second.norm(dim=-1) > _SMALLEST) & (spread > _SMALLEST)
    if not known.all():
        frame = int((~known).int().argmax())
        raise DataError(f"columns 2:8 are no rotation at frame {frame}; rows have to be raw features without padding")
    headings = list(matrix_from_6d(turns))
    for frame in range(1, len(headings)):
        headings[frame] = headings[frame - 1] @ headings[frame]
    return torch.stack(headings)


def _check_width(features: Tensor, width: int) -> None:
    if features.ndim != 2 or features.shape[1] != width:
        raise DataError(f"features have to be (T, {width}), got {tuple(features.shape)}")
