"""Steps along the velocity of a flow: Euler's, as published, and solvers of second order that need fewer.

The ordinary differential equation of a rectified flow is dx / d sigma = velocity. Heun asks twice per step (Karras et
al. 2022, algorithm 1); Adams-Bashforth goes on from the last two velocities; DPM-Solver++ 2M from the last two
predictions of clean data, over the logarithm of data over noise (Lu et al. 2022, algorithm 2). All are Euler's step
where they have no earlier one, and Heun and DPM-Solver++ at the last, to no noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

Asked = Callable[[Tensor, float], Tensor]  # the velocity of a state at a level


class Solver(Protocol):
    """Goes down the levels of one sample, one after the other."""

    def on(self, state: Tensor, level: float, lower: float) -> Tensor:
        """The state (B, T, C) at the `lower` level, from that at `level`."""
        ...


class Euler:
    def __init__(self, asked: Asked) -> None:
        self.asked = asked

    def on(self, state: Tensor, level: float, lower: float) -> Tensor:
        return torch.add(state, self.asked(state, level), alpha=lower - level)


class Heun:
    def __init__(self, asked: Asked) -> None:
        self.asked = asked

    def on(self, state: Tensor, level: float, lower: float) -> Tensor:
        first = self.asked(state, level)
        ahead = torch.add(state, first, alpha=lower - level)
        if not lower:
            return ahead
        return torch.add(state, first + self.asked(ahead, lower), alpha=(lower - level) / 2)


class AdamsBashforth:
    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.before: tuple[Tensor, float] | None = None  # the velocity of the step before, and its length

    def on(self, state: Tensor, level: float, lower: float) -> Tensor:
        velocity, stride = self.asked(state, level), lower - level
        aim = velocity
        if self.before is not None:
            last, length = self.before
            aim = torch.add(velocity, velocity - last, alpha=stride / (2 * length))
        self.before = velocity, stride
        return torch.add(state, aim, alpha=stride)


class DPMSolver:
    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.before: tuple[Tensor, float] | None = None  # the clean data of the step before, and its length

    def on(self, state: Tensor, level: float, lower: float) -> Tensor:
        clean = torch.add(state, self.asked(state, level), alpha=-level)
        if not lower:
            return clean
        stride = _log_ratio(lower) - _log_ratio(level)
        aim = clean
        if self.before is not None and self.before[1] < math.inf:
            last, length = self.before
            aim = torch.add(clean, clean - last, alpha=stride / (2 * length))
        self.before = clean, stride
        kept = lower / level
        return torch.add(kept * state, aim, alpha=1 - kept)


def _log_ratio(level: float) -> float:
    """Logarithm of data over noise; at pure noise there is none."""
    return math.log((1 - level) / level) if level < 1 else -math.inf


SOLVERS: dict[str, Callable[[Asked], Solver]] = {
    "euler": Euler, "heun": Heun, "ab2": AdamsBashforth, "dpm++": DPMSolver,
}  # fmt: skip
