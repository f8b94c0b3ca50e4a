"""Places that agree with places and with steps, both from a network: least squares over a whole motion.

The places that a network foretells for single frames tremble, as each has an error of its own. Steps have small errors,
but summed up they drift, each joint another way. Together they give places that neither tremble nor drift.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

STEADY = 10.0  # how much more a step weighs than a place: the ratio of their squared errors
ONWARD = 30.0  # the same where what comes later is not known, and so cannot take out of the trembling
SMALLEST = 1e-10  # of a kernel
FIXED = 1e6  # weight of a place that is known


def reconciled(places: Tensor, steps: Tensor, known: Tensor) -> Tensor:
    """The places q (T, C) with the least (q - places)^2 + STEADY (q[t+1] - q[t] - steps[t])^2, of places and steps
    (T, C); the last step leads behind the end. Places that are known (T,) stay, but for rounding."""
    if len(places) < 2:
        return places
    first, count = places.double(), len(places)
    weight = torch.where(known, FIXED, 1.0).to(first)
    between = torch.eye(count, dtype=first.dtype, device=first.device).diff(dim=0)  # (T-1, T): from places to steps
    matrix = torch.diag(weight) + STEADY * between.T @ between
    wanted = weight[:, None] * first + STEADY * between.T @ steps[:-1].double()
    return torch.linalg.solve(matrix, wanted).to(places)


def corrections(slips: Tensor, mask: Tensor | None = None) -> Tensor:
    """What places (B, T, C) are to be moved by for the same least squares, many motions at once and of any length.

    slips (B, T, C): by how much the step from each row is longer than the way to the next place. mask (B, T) bool: rows
    of a motion, the first ones; the slip of its last row is not read. Others come back as zeros.

    The matrix of the problem is a Toeplitz one but for its ends, which mirror: its inverse is a short kernel."""
    rows = torch.arange(slips.shape[1], device=slips.device)
    if mask is None:
        mask = torch.ones(slips.shape[:2], dtype=torch.bool, device=slips.device)
    counts = mask.sum(1, keepdim=True)
    known = slips.masked_fill((rows >= counts - 1)[..., None], 0.0)
    pushes = F.pad(known, (0, 0, 1, 0))[:, :-1] - known
    root = _decay(STEADY)
    reach = math.ceil(math.log(SMALLEST) / math.log(root))
    around = torch.arange(-reach, slips.shape[1] + reach, device=slips.device) % (2 * counts.clamp_min(1))
    mirrored = torch.minimum(around, 2 * counts.clamp_min(1) - 1 - around)
    wide = pushes.gather(1, mirrored[..., None].expand(-1, -1, slips.shape[2]))
    apart = torch.arange(-reach, reach + 1, device=slips.device).abs()
    kernel = (root / (1 - root**2)) * torch.full_like(apart, root, dtype=slips.dtype) ** apart
    return _filtered(wide, kernel).masked_fill(~mask[..., None], 0.0)


def onward(slips: Tensor, start: Tensor) -> Tensor:
    """The same (B, T, C) where each row knows what came before alone: the filter of Kalman, with its gain at rest.

    slips (B, T, C): by how much the step to each row is longer than the way from the place before. start (B, C): the
    correction of the row before the first."""
    root = _decay(ONWARD)
    reach = math.ceil(math.log(SMALLEST) / math.log(root))
    powers = torch.arange(reach, 0, -1, device=slips.device)
    kernel = torch.full_like(powers, root, dtype=slips.dtype) ** powers
    made = _filtered(F.pad(slips, (0, 0, reach - 1, 0)), kernel)
    fading = torch.full(slips.shape[1:2], root, dtype=slips.dtype, device=slips.device).cumprod(0)
    return made + fading[:, None] * start[:, None]


def _decay(weight: float) -> float:
    """By what a correction is smaller one row further on: the root below 1 of r + 1/r = 2 + 1/weight."""
    half = 1 + 0.5 / weight
    return half - math.sqrt(half * half - 1)


def _filtered(rows: Tensor, kernel: Tensor) -> Tensor:
    """Rows (B, T, C) times a kernel (K) -> (B, T - K + 1, C)."""
    lines = rows.transpose(1, 2).flatten(0, 1)[:, None]
    return torch.conv1d(lines, kernel[None, None]).view(len(rows), rows.shape[2], -1).transpose(1, 2)
