"""Rectified flow: tables, solvers against an equation with a known solution and in their orders, smoothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mld.models.heads.flow import TRAINED, nearest, noised, sigmas, smoothed, solve, target, weights
from mld.models.heads.flow_solvers import SOLVERS

CLEAN = torch.randn(2, 7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
NOISE = torch.randn(2, 7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
SPREAD = 0.3  # of the data of the curved flow


def straight(state: Tensor, t: float) -> Tensor:
    """The velocity towards one clean motion."""
    return (state - CLEAN) / (t / TRAINED)


def curved(state: Tensor, t: float) -> Tensor:
    """The mean velocity where data are normal with a spread: noise to be expected less data to be expected."""
    sigma = t / TRAINED
    variance = (1 - sigma) ** 2 * SPREAD**2 + sigma**2
    return state * (sigma - (1 - sigma) * SPREAD**2) / variance


def test_the_table_falls_to_nothing_and_begins_where_the_strength_says() -> None:
    levels = sigmas(50, 5.0, 0.7)
    assert levels.shape == (51,) and levels[-1] == 0 and (levels.diff() < 0).all()
    assert math.isclose(TRAINED * levels[0], 921.0526, abs_tol=1e-3)
    assert math.isclose(TRAINED * levels[-2], 66.2879, abs_tol=1e-3)
    assert sigmas(10, 1.0)[0] == 1 and torch.allclose(sigmas(10, 1.0).diff(), torch.tensor(-0.1))


def test_weights_have_mean_one_and_are_nothing_at_the_least_likely_level() -> None:
    levels = sigmas(TRAINED)[:-1]
    table = weights(levels)
    assert math.isclose(table.mean(), 1, abs_tol=1e-5) and table.min() == 0
    assert abs(levels[table.argmax()] - 0.5) < 0.01
    places = torch.tensor([0, 3, 999])
    assert torch.equal(nearest(levels, TRAINED * levels[places] + 1e-3), places)


def test_noise_is_a_straight_way_whose_slope_is_the_target() -> None:
    levels = torch.tensor([0.2, 0.9], dtype=torch.float64)
    ahead = noised(CLEAN, levels + 0.01, NOISE) - noised(CLEAN, levels, NOISE)
    torch.testing.assert_close(ahead / 0.01, target(CLEAN, NOISE), atol=1e-9, rtol=0)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("strength", [1.0, 0.7])
def test_every_solver_ends_at_the_motion_that_a_straight_flow_leads_to(solver: str, strength: float) -> None:
    made = solve(straight, NOISE, sigmas(5, 5.0, strength), solver)
    torch.testing.assert_close(made, CLEAN, atol=1e-9, rtol=0)


def error(solver: str, steps: int) -> float:
    """Of a curved flow, from where noise and data mix to where it was followed in 4000 steps of Heun."""
    levels = sigmas(steps, 1.0, 0.95)[: steps // 2 + 1]
    exact = solve(curved, NOISE, sigmas(4000, 1.0, 0.95)[:2001], "heun")
    return (solve(curved, NOISE, levels, solver) - exact).abs().max().item()


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2), ("ab2", 2), ("dpm++", 2)])
def test_solvers_have_their_orders(solver: str, order: int) -> None:
    """Half the step, a half or a quarter of the error."""
    ratio = error(solver, 40) / error(solver, 80)
    assert 2**order * 0.8 < ratio < 2**order * 1.35


def test_second_order_needs_a_fraction_of_the_steps() -> None:
    """With half of Euler's steps Adams-Bashforth is nearer to the end of the flow; the others are at as many."""
    exact = solve(curved, NOISE, sigmas(2000, 5.0, 0.9), "heun")

    def off(solver: str, steps: int) -> float:
        return (solve(curved, NOISE, sigmas(steps, 5.0, 0.9), solver) - exact).abs().max().item()

    assert off("ab2", 20) < off("euler", 40) and off("ab2", 40) < off("dpm++", 40) < 0.5 * off("euler", 40)
    assert off("heun", 40) < 0.5 * off("euler", 40)


def test_heun_asks_twice_but_for_the_last_step() -> None:
    asked = []
    solve(lambda state, t: asked.append(t) or straight(state, t), NOISE, sigmas(6), "heun")
    assert len(asked) == 11 and min(asked) > 0
    asked.clear()
    solve(lambda state, t: asked.append(t) or straight(state, t), NOISE, sigmas(6), "dpm++")
    assert len(asked) == 6


@pytest.mark.parametrize("solver", SOLVERS)
def test_what_is_put_in_is_seen_at_every_level_and_stays(solver: str) -> None:
    given = torch.full((2, 2, 3), 4.0, dtype=torch.float64)

    def put(state: Tensor, level: float) -> Tensor:
        return torch.cat(((1 - level) * given + level * NOISE[:, :2], state[:, 2:]), 1)

    def velocity(state: Tensor, t: float) -> Tensor:
        torch.testing.assert_close(state, put(state, t / TRAINED))
        return straight(state, t)

    done = []
    made = solve(velocity, NOISE, sigmas(4), solver, put, lambda step, steps, state: done.append((step, steps)))
    assert torch.equal(made[:, :2], given) and done == [(step, 4) for step in range(1, 5)]
    torch.testing.assert_close(made[:, 2:], CLEAN[:, 2:], atol=1e-9, rtol=0)


def test_smoothing_ends_with_the_motion_and_leaves_its_ends() -> None:
    frames = torch.randn(3, 12, 2, generator=torch.Generator().manual_seed(2))
    found = smoothed(frames, [12, 7, 4])
    alone = smoothed(frames[1:2, :7], [7])
    assert torch.equal(found[1, :7], alone[0]) and torch.equal(found[1, 7:], frames[1, 7:])
    assert torch.equal(found[:2, :2], frames[:2, :2]) and torch.equal(found[1, 5:7], frames[1, 5:7])
    assert torch.equal(found[2], frames[2]), "too short for anything to be smoothed"
    assert not torch.allclose(found[0, 2:10], frames[0, 2:10])
    steady = torch.linspace(0, 1, 9)[None, :, None]
    torch.testing.assert_close(smoothed(steady, [9]), steady)
