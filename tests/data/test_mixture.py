"""Weights of tasks: uniform by default, by group or sub-task, with errors that name the nearest."""

import numpy as np
import pytest

from mld.data.mixture import Mixture
from mld.errors import ConfigError

SUBTASKS = ("T2M/caption", "T2M/random", "M2T/caption")


def _shares(weights: dict[str, float]) -> list[float]:
    mixture, rng = Mixture(SUBTASKS, weights), np.random.default_rng(0)
    drawn = [mixture.draw(rng) for _ in range(3000)]
    return [drawn.count(name) / len(drawn) for name in SUBTASKS]


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        ({}, [1 / 3, 1 / 3, 1 / 3]),
        ({"T2M/caption": 3.0, "M2T/caption": 1.0}, [0.75, 0, 0.25]),
        ({"T2M": 1.0}, [0.5, 0.5, 0]),
        ({"T2M": 1.0, "T2M/random": 3.0}, [0.25, 0.75, 0]),
    ],
)
def test_tasks_are_drawn_by_weight(weights: dict, shares: list[float]) -> None:
    assert np.allclose(_shares(weights), shares, atol=0.03)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"T2M/captoin": 1.0}, "did you mean 'T2M/caption'"),
        ({"T2M": -1.0}, "must not be negative"),
        ({"T2M": float("nan")}, "must not be negative"),
        ({"T2M": 0.0}, "all weights are zero"),
    ],
)
def test_wrong_weights_are_refused(weights: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Mixture(SUBTASKS, weights)
