"""The smoother against what it is by definition, and its response to waves."""

from __future__ import annotations

import math

import pytest
import roma
import torch

from mld.motion.cleanup.smoothing import PINNED, envelope, low_pass, low_pass_rotations, whittaker


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("frames", [2, 3, 4, 30])
def test_whittaker_solves_its_equations(order: int, frames: int) -> None:
    generator = torch.Generator().manual_seed(order)
    values = torch.randn(frames, 2, 3, generator=generator, dtype=torch.float64)
    weights = torch.rand(frames, generator=generator, dtype=torch.float64)
    difference = torch.eye(frames, dtype=torch.float64).diff(n=min(order, frames - 1), dim=0)
    system = torch.diag(weights + 0.3) + 5.0 * difference.T @ difference
    naive = torch.linalg.solve(system, (weights[:, None, None] * values).flatten(1)).view_as(values)
    torch.testing.assert_close(whittaker(values, weights, 5.0, order, 0.3), naive)


@pytest.mark.parametrize("cutoff", [0.05, 0.1, 0.2])
def test_low_pass_halves_a_wave_at_the_cutoff_without_delay(cutoff: float) -> None:
    time = torch.arange(400, dtype=torch.float64)
    for frequency, gain in ((cutoff, 0.5), (cutoff / 4, 1.0), (min(3 * cutoff, 0.45), 0.0)):
        wave = torch.sin(2 * math.pi * frequency * time)
        middle = slice(150, 250)
        torch.testing.assert_close(low_pass(wave, cutoff)[middle], gain * wave[middle], atol=0.05, rtol=0)


def test_kept_frames_stay_exactly() -> None:
    values = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    keep = torch.zeros(40, dtype=torch.bool)
    keep[10:15] = True
    smooth = low_pass(values, 0.05, keep)
    keep[[0, -1]] = True
    assert torch.equal(smooth[keep], values[keep])
    assert not torch.allclose(smooth[20:], values[20:], atol=0.1)


def test_a_gap_is_filled_and_far_from_what_is_known_comes_zero() -> None:
    weights = torch.zeros(60, dtype=torch.float64)
    weights[:5] = PINNED
    filled = whittaker(torch.ones(60, dtype=torch.float64), weights, 1.0, 2, 6.0**-4)
    assert filled[:5].sub(1).abs().max() < 1e-6
    assert filled.diff().abs().max() < 0.3
    assert filled[-10:].abs().max() < 0.05


def test_rotations_are_smoothed_across_the_double_cover() -> None:
    angle = torch.linspace(0, 4 * math.pi, 80, dtype=torch.float64)
    spin = roma.rotvec_to_rotmat(torch.stack([0 * angle, angle, 0 * angle], dim=-1))
    torch.testing.assert_close(low_pass_rotations(spin, 0.2), spin, atol=2e-3, rtol=0)


def test_an_envelope_is_above_and_smooth() -> None:
    values = torch.zeros(50)
    values[20:23] = 1.0
    cover = envelope(values, 4)
    assert (cover >= values - 1e-6).all()
    assert cover.diff().abs().max() < 0.3
    assert cover[:10].abs().max() == 0
