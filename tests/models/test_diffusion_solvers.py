"""Solvers of the reverse process: they converge to what is known of Gaussian data, at the order that they have."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from mld.config import typed
from mld.errors import ConfigError
from mld.models.heads.diffusion import DiffusionHeadConfig
from mld.models.heads.diffusion_process import Chain
from mld.models.heads.diffusion_schedule import betas
from mld.models.heads.diffusion_solvers import SOLVERS, Deterministic
from tests.models.test_diffusion_head import VARIANTS, conditions, tiny_head
from tests.models.tiny_streamer import tiny_streamer

MEAN, DEVIATION = 0.7, 0.4


def gaussian_run(name: str, steps: int, start: torch.Tensor) -> tuple[torch.Tensor, Chain]:
    """The state at the least noisy step, from one that is so far from the mean, of data with MEAN and DEVIATION, whose
    noise is known: float64."""
    # Signal over noise neither begins nor ends at 0, so that steps become shorter everywhere when there are more.
    chain = Chain(torch.cat((torch.tensor([0.3]), torch.full((3000,), 1e-3))).double(), "small").respaced(str(steps))
    solver, state = SOLVERS[name](chain), chain.signal_scale[-1] * MEAN + start
    for step in reversed(range(1, steps)):
        signal, variance = chain.signal_scale[step], chain.alphas_cumprod[step] * (DEVIATION**2 - 1) + 1
        epsilon = chain.noise_scale[step] * (state - signal * MEAN) / variance
        state, _ = solver.back(state, epsilon, None, step, torch.zeros_like(state), 1.0)
    return state, chain


def solution(chain: Chain, start: torch.Tensor) -> torch.Tensor:
    """Of the equation: deviations from the mean, over the standard deviation, stay what they are."""

    def spread(step: int) -> float:
        return math.sqrt(chain.alphas_cumprod[step] * (DEVIATION**2 - 1) + 1)

    return chain.signal_scale[0] * MEAN + spread(0) * start / spread(-1)


@pytest.mark.parametrize("name, order", [("ddim", 1), ("dpm++", 2)])
def test_converges_at_its_order(name: str, order: int) -> None:
    start = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None, None]
    errors = []
    for steps in (40, 80, 160):
        made, chain = gaussian_run(name, steps, start)
        errors.append(float((made - solution(chain, start)).abs().max()))
    assert errors[-1] < {1: 5e-3, 2: 5e-5}[order]
    for coarse, fine in zip(errors, errors[1:]):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.15)


def test_second_order_is_better_with_few_steps() -> None:
    start = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None, None]
    errors = []
    for name in ("ddim", "dpm++"):
        made, chain = gaussian_run(name, 10, start)
        errors.append(float((made - solution(chain, start)).abs().max()))
    assert errors[1] < errors[0] / 3


def test_first_order_is_ddim() -> None:
    """Song et al. 2021, formula 12 without noise: predicted clean data, noised again with the predicted noise."""
    chain = Chain(betas("cosine", 50), "small").respaced("10")
    generator = torch.Generator().manual_seed(0)
    state, epsilon = (torch.randn(3, 2, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    for step in range(10):
        made, clean = Deterministic(chain, 1).back(state, epsilon, None, step, state, 1.0)
        t = torch.full((3,), step)
        torch.testing.assert_close(clean, chain.clean(state, t, epsilon), rtol=1e-5, atol=1e-4)
        want = clean if not step else chain.signal_scale[step - 1] * clean + chain.noise_scale[step - 1] * epsilon
        torch.testing.assert_close(made, want, rtol=1e-8, atol=1e-8)
        first, _ = Deterministic(chain, 2).back(state, epsilon, None, step, state, 1.0)
        assert torch.equal(first, made)  # nothing is known before the first step


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", ["ddim", "dpm++"])
def test_only_the_first_state_is_random(name: str, variant: str) -> None:
    """A row follows from its first state alone, in any batch, whatever the temperature."""
    head, null = tiny_head(size=2, sampler=name, **VARIANTS[variant]), conditions(1, 5)[0]
    noise = head.draw_noise([1, 2, 3])
    made = head.sample(conditions(3), noise, 2.0, null)
    other = noise.clone()
    other[:, 1:] = 7.0
    assert torch.equal(head.sample(conditions(3), other, 2.0, null, temperature=0.1), made)
    alone = head.sample(conditions(3)[1:2], noise[1:2], 2.0, null)
    torch.testing.assert_close(alone[0], made[1], rtol=0, atol=1e-5 * max(1.0, made.abs().max().item()))


def test_streams_and_answers_by_another_sampler() -> None:
    """The setting is taken over like any other of sampling."""
    model = tiny_streamer()
    head = replace(model.config.head, sampler="dpm++", num_inference_steps="4")
    model.adopt(replace(model.config, head=head))
    assert (model.head.config.sampler, model.head.steps) == ("dpm++", 4)
    usual = tiny_streamer()
    usual.adopt(replace(usual.config, head=replace(head, sampler="ddpm")))
    condition, noise = torch.randn(2, 1, 32, generator=torch.Generator().manual_seed(0)), usual.head.draw_noise([1, 2])
    assert not torch.allclose(model.head.sample(condition, noise), usual.head.sample(condition, noise))


def test_unknown_sampler() -> None:
    with pytest.raises(ConfigError, match="sampler 'euler' is not one of ddpm, ddim, dpm"):
        typed(DiffusionHeadConfig, {"sampler": "euler"}, "x")
