"""Draws that many actions share: how fast, which side, how often."""

from __future__ import annotations

import numpy as np

from mld.data.sources.procedural.actions import either
from mld.data.sources.procedural.stage import SIDES

TEMPI = {"slow": (1.5, 1.8), "normal": (0.9, 1.1), "fast": (0.6, 0.7)}  # times the usual duration, from and to


def tempo(rng: np.random.Generator, slow: float = 0.18, fast: float = 0.18) -> tuple[str, float]:
    """ "slow", "normal" or "fast", with shares `slow` and `fast`, and by how much it changes durations."""
    drawn = rng.random()
    name = "slow" if drawn < slow else "fast" if drawn < slow + fast else "normal"
    return name, float(rng.uniform(*TEMPI[name]))


def one_side(rng: np.random.Generator) -> str:
    return either(rng, *SIDES)


def any_side(rng: np.random.Generator, both: float = 0.25) -> str:
    """A side, or "both" with that chance."""
    return "both" if rng.random() < both else either(rng, *SIDES)


def often(rng: np.random.Generator, most: int = 4, once: float = 0.4) -> int:
    """1 with the chance `once`, else 2 to `most`."""
    return 1 if rng.random() < once else int(rng.integers(2, most + 1))


def hands_of(side: str) -> tuple[str, ...]:
    """The sides that "both" or a side stands for."""
    return SIDES if side == "both" else (side,)
