"""Doing nothing, in several poses."""

from __future__ import annotations

import numpy as np

from mld.data.sources.procedural.actions import Action, action, either
from mld.data.sources.procedural.manners import place_arms
from mld.data.sources.procedural.stage import Stage, window


@action(weight=7.0, wide=True)
def stand(rng: np.random.Generator) -> Action:
    """Stand still for the whole time, the arms where they are kept."""
    arms = either(rng, "", "", "", "", "hips", "crossed", "behind", "out")
    shift = float(rng.uniform(0.0, 0.04))

    def play(stage: Stage, start: float) -> None:
        t = stage.t
        if arms:
            away = start > 0.8 or start + duration < t[-1] - 0.8  # something goes before it, or follows
            weight = _within(t, start, start + duration) if away else np.ones_like(t)
            place_arms(stage, weight, arms)
        stage.add(left=shift * np.sin(2 * np.pi * 0.11 * (t - start)))

    duration = float(rng.uniform(1.4, 6.0))
    return Action("stand", duration, play, {"arms": arms}, f"stand {arms}".strip(), travels=True)


def _within(t: np.ndarray, start: float, end: float) -> np.ndarray:
    return window(t, start, end, min(0.6, 0.45 * (end - start)))
