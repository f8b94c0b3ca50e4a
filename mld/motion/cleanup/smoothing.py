"""Zero-phase smoothing over time by penalised least squares (Whittaker 1923; Eilers 2003, "A perfect smoother").

The smooth curve z minimises sum of weights * (z - values)^2 + stiffness * (differences of z)^2, a banded system.
Weights say frame by frame how much a value counts: 0 leaves a gap that is filled smoothly, PINNED keeps a value as it
is.
"""

from __future__ import annotations

import math
from math import comb

import numpy as np
import torch
from torch import Tensor

from mld.motion.rotations import matrix_to_quaternion, quaternion_to_matrix

PINNED = 1e8


def whittaker(values: Tensor, weights: Tensor, stiffness: float, order: int = 3, towards_zero: float = 0.0) -> Tensor:
    """The smooth curve (T, ...) through values (T, ...) with weights (T,), by differences of `order`.

    towards_zero: weight of zero in every frame, so that gaps that are long come back to it. The stiffness is in units
    of the weights; weights and towards_zero must not all be 0.
    """
    from scipy.linalg import solveh_banded

    frames = len(values)
    order = min(order, frames - 1)
    difference = [(-1) ** k * comb(order, k) for k in range(order + 1)]
    bands = np.zeros((order + 1, frames))  # of the upper triangle, as scipy stores them
    for first, a in enumerate(difference):
        for second in range(first, order + 1):
            bands[order - (second - first), second : frames - order + second] += stiffness * a * difference[second]
    bands[order] += weights.double().numpy() + towards_zero
    right = (weights.double()[:, None] * values.double().reshape(frames, -1)).numpy()
    return torch.from_numpy(solveh_banded(bands, right)).view(values.shape).to(values.dtype)


def low_pass(values: Tensor, cutoff: float, keep: Tensor | None = None) -> Tensor:
    """Values (T, ...) with what is faster than `cutoff` (cycles per frame, halved in size there) taken out.

    No delay; the first and last value stay, and those of the frames `keep` (T,) bool.
    """
    pinned = torch.zeros(len(values), dtype=torch.bool) if keep is None else keep.clone()
    pinned[[0, -1]] = True
    stiffness = (2 * math.sin(math.pi * min(cutoff, 0.5))) ** -6
    return torch.where(
        pinned.view(-1, *[1] * (values.ndim - 1)),
        values,
        whittaker(values, 1 + PINNED * pinned, stiffness),
    )


def low_pass_rotations(rotations: Tensor, cutoff: float, keep: Tensor | None = None) -> Tensor:
    """`low_pass` of rotation matrices (T, ..., 3, 3), through quaternions on one side of the sphere."""
    turns = matrix_to_quaternion(rotations.double())
    flips = torch.where((turns[1:] * turns[:-1]).sum(-1, keepdim=True) < 0, -1.0, 1.0)
    turns = torch.cat([turns[:1], turns[1:] * flips.cumprod(0)])
    smooth = low_pass(turns, cutoff, keep)
    return quaternion_to_matrix(torch.nn.functional.normalize(smooth, dim=-1)).to(rotations.dtype)


def envelope(values: Tensor, spread: int) -> Tensor:
    """A smooth curve (T,) that is nowhere below `values` (T,): it rises `spread` frames early and falls as late."""
    from scipy.ndimage import convolve1d, maximum_filter1d

    size = 2 * spread + 1
    kernel = np.hanning(size + 2)[1:-1]
    highest = maximum_filter1d(values.double().numpy(), size, mode="nearest")
    return torch.from_numpy(convolve1d(highest, kernel / kernel.sum(), mode="nearest")).to(values.dtype)
