"""Rectified flow (Liu et al. 2022): straight ways from noise to data, in a table of noise levels (vimogen spec 4).

At level sigma the state is (1 - sigma) data + sigma noise; a network foretells the velocity, noise less data, and a
sample follows it from noise down to sigma 0. Networks are told the time 1000 sigma.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from mld.models.contracts.sampling import StepHook
from mld.models.heads.flow_solvers import SOLVERS

TRAINED = 1000  # levels of the table of training, and the time of pure noise
CENTRE, SPREAD = 500.0, 1000.0  # of the bell of loss weights, in times
FLOOR = 0.2  # level below which errors of clean data weigh no more
SEEN = 0.04  # data over noise of the level from which on errors grow no more, as nothing is seen
TAPS, UNTOUCHED = 5, 2  # of the smoothing: weights, and frames at either end that stay


class Velocity(Protocol):
    """What a sample follows, guidance included."""

    def __call__(self, state: Tensor, t: float) -> Tensor:
        """States (B, T, C) at a time from 0 to 1000 -> velocities (B, T, C)."""
        ...


def sigmas(steps: int, shift: float = 5.0, strength: float = 1.0) -> Tensor:
    """Noise levels (steps + 1,) float32, from the highest down to 0. shift: above 1, more levels are high. strength:
    how far up the table begins, 1 at pure noise; as published a sample begins with pure noise all the same."""
    even = strength * (1 - torch.arange(steps + 1, dtype=torch.float64) / steps)
    return (shift * even / (1 + (shift - 1) * even)).float()


def weights(levels: Tensor) -> Tensor:
    """Loss weights (N,) float32 of levels (N,), mean 1: a bell over the time, 0 where it is lowest."""
    bell = torch.exp(-2 * ((TRAINED * levels.double() - CENTRE) / SPREAD).square())
    raised = bell - bell.min()
    return (raised * len(levels) / raised.sum()).float()


def clean_weights(levels: Tensor) -> Tensor:
    """Loss weights (N,) float32, mean 1, of levels (N,) where the clean data is foretold: those of the error of the
    velocity that follows, as far as `FLOOR`, below which the state itself is nearly clean."""
    raised = levels.double().clamp(min=FLOOR) ** -2
    return (raised / raised.mean()).float()


def balanced_weights(levels: Tensor) -> Tensor:
    """Loss weights (N,) float32, mean 1, of levels (N,) where the clean data is foretold, under which each level's loss
    is about as large as any other's (as Karras et al. 2024, "EDM2", learn them; here of the usual error of frames,
    which is that of data over noise up to where nothing is seen): what is small and fast is learnt at the lower ones,
    whose errors are a hundredth of those of the highest."""
    low = levels.double().clamp(min=FLOOR)
    raised = (1 - low) / low + SEEN
    return (raised / raised.mean()).float()


def nearest(levels: Tensor, times: Tensor) -> Tensor:
    """Places (B,) in a table of levels (N,) nearest to times (B,), as published loops look a level up."""
    return (TRAINED * levels[None] - times[:, None].to(levels)).abs().argmin(1)


def noised(clean: Tensor, sigma: Tensor, noise: Tensor) -> Tensor:
    """States (B, T, C) of clean frames (B, T, C) at levels (B,)."""
    level = sigma.view(-1, *[1] * (clean.ndim - 1))
    return (1 - level) * clean + level * noise


def target(clean: Tensor, noise: Tensor) -> Tensor:
    """The velocity that a network is to foretell."""
    return noise - clean


def leading_to(clean: Tensor, state: Tensor, sigma: float) -> Tensor:
    """The velocity of states (B, T, C) at a level that leads to clean data (B, T, C)."""
    return (state - clean) / sigma


def solve(
    velocity: Velocity, noise: Tensor, levels: Tensor, solver: str = "euler",
    put: Callable[[Tensor, float], Tensor] | None = None, on_step: StepHook | None = None,
) -> Tensor:  # fmt: skip
    """From noise (B, T, C) to clean frames, along levels (N + 1,) whose last is 0.

    put: writes what is given into a state at a level, wherever a velocity is asked for and at the end."""
    table = [float(level) for level in levels]
    steps = len(table) - 1

    def at(state: Tensor, level: float) -> Tensor:
        return state if put is None else put(state, level)

    def asked(state: Tensor, level: float) -> Tensor:
        return velocity(at(state, level), TRAINED * level)

    walk, state = SOLVERS[solver](asked), noise
    for step in range(steps):
        state = at(walk.on(at(state, table[step]), table[step], table[step + 1]), table[step + 1])
        if on_step is not None:
            on_step(step + 1, steps, state)
    return state


def smoothed(frames: Tensor, lengths: Sequence[int]) -> Tensor:
    """Frames (B, T, C), the first `lengths` of each row averaged with their neighbours by a Gaussian of one frame.

    The first two and the last two of a row stay as they are, and so do rows too short for anything else."""
    places = torch.arange(TAPS, dtype=torch.float64, device=frames.device) - TAPS // 2
    kernel = torch.exp(-places.square() / 2)
    kernel = (kernel / kernel.sum()).to(frames.dtype)
    found = frames.clone()
    for row, length in enumerate(lengths):
        if length > 2 * UNTOUCHED:
            found[row, UNTOUCHED : length - UNTOUCHED] = frames[row, :length].unfold(0, TAPS, 1) @ kernel
    return found
