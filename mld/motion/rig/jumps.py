"""Frames between which a body jumps from place to place, as no person moves: cuts, and frames without data."""

from __future__ import annotations

from torch import Tensor

_FASTEST = 12.0  # metres per second, mean over the joints
_STILL = 1e-4  # metres
_TIMES = 8.0  # faster than the median step


def jumps(joints: Tensor, fps: float) -> list[int]:
    """The frames, from 0, that follow a jump in joints (T, J, 3) in metres."""
    if len(joints) < 3:
        return []
    steps = (joints[1:] - joints[:-1]).norm(dim=-1).mean(-1)
    fastest = max(_FASTEST / fps, _TIMES * float(steps.median()))
    return [int(frame) + 1 for frame in (steps > fastest).nonzero()[:, 0]]


def longest_part(joints: Tensor, fps: float) -> slice:
    """The longest run of frames without a jump, the first of such; one in which the body moves, where there is one, as
    frames without data stand still."""
    ends = [0, *jumps(joints, fps), len(joints)]

    def worth(part: tuple[int, int]) -> tuple[bool, int]:
        moves = float((joints[part[0] : part[1]] - joints[part[0]]).abs().max()) > _STILL
        return moves, part[1] - part[0]

    return slice(*max(zip(ends, ends[1:]), key=worth))
