"""Rows of features at another frame rate, as published: every column on its own (vimogen spec 1.10, 6.1).

That bends rotations a little and leaves the steps of velocities as long as they were. A motion that is opened with its
frame rate (`Motion.load(path, fps=16)`) and encoded has neither; this is for results that are to be the published ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mld.errors import DataError


def linear_columns(rows: Tensor, fps: int, wanted: int) -> Tensor:
    """Rows (T, D) at `fps` to (T * wanted // fps, D), linear in time, the first and the last row as they are."""
    if rows.ndim != 2 or fps < 1 or wanted < 1:
        raise DataError(f"rows {tuple(rows.shape)} from {fps} to {wanted} a second: expected (T, D) and whole rates")
    count = len(rows) * wanted // fps
    if not count:
        raise DataError(f"{len(rows)} rows at {fps} a second are none at {wanted}")
    if fps == wanted or len(rows) == 1:
        return rows[:count] if fps == wanted else rows.expand(count, -1)
    place = torch.linspace(0, len(rows) - 1, count, dtype=torch.float64, device=rows.device)
    first = place.floor().long().clamp(max=len(rows) - 2)
    share = (place - first)[:, None]
    exact = rows.double()
    return torch.lerp(exact[first], exact[first + 1], share).to(rows)
