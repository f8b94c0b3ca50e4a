"""The diffusion head: schedules, chains, losses, and the fast sampler against the plain one."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from mld.config import typed
from mld.errors import ConfigError
from mld.models.heads import diffusion_sampling
from mld.models.heads.diffusion import DiffusionHead, DiffusionHeadConfig
from mld.models.heads.diffusion_process import Chain, discretised_log_likelihood, gaussian_divergence
from mld.models.heads.diffusion_sampling import PlainSampler
from mld.models.heads.diffusion_schedule import SCHEDULES, betas, kept_timesteps

CHANNELS, CONDITION, COUNT = 6, 8, 4
VARIANTS = {
    "published": {},
    "end_to_end": {"pooling": False},
    "learned": {"learn_sigma": True},
    "large": {"sigma_small": False, "noise_schedule": "linear"},
    "cosine_ddim": {"noise_schedule": "cosine", "num_inference_steps": "ddim10"},
    "parts": {"num_inference_steps": "5,3"},
    "short_chain": {"noise_schedule": "cosine", "diffusion_steps": 20, "num_inference_steps": ""},
    "one_step": {"num_inference_steps": "1"},
    "preconditioned": {"precondition": True},
    "velocity": {"prediction": "v", "noise_schedule": "cosine", "diffusion_steps": 50},
    "velocity_of_the_measured": {"prediction": "v", "precondition": True},
}


def tiny_head(size: int = 1, seed: int = 0, **config) -> DiffusionHead:
    torch.manual_seed(seed)
    config = DiffusionHeadConfig(**{"width": 16, "depth": 2, "num_inference_steps": "12", **config})
    return DiffusionHead(config, CHANNELS, size, CONDITION, COUNT).eval()


def conditions(rows: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, COUNT, CONDITION, generator=torch.Generator().manual_seed(seed))


def last_state(head: DiffusionHead, condition, noise, scale=1.0, null=None, temperature=1.0) -> torch.Tensor:
    plain = PlainSampler(head.net, head.short_chain)
    return list(plain.run(head.guidance(condition, scale, null), noise, temperature))[-1].state


def same(a: torch.Tensor, b: torch.Tensor) -> None:
    """Equal to 1e-5 of the largest entry: untrained networks let states grow."""
    torch.testing.assert_close(a, b, rtol=0, atol=1e-5 * max(1.0, b.abs().max().item()))


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("guided", ["no", "one_null", "null_per_row"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_fast_sampler_equals_plain_loop(variant: str, guided: str, rows: int) -> None:
    head = tiny_head(size=2, **VARIANTS[variant])
    null = {"no": None, "one_null": conditions(1, 5)[0], "null_per_row": conditions(rows, 6)}[guided]
    scale = 1.0 if null is None else 3.0
    noise = head.draw_noise(range(rows))
    got = head.sample(conditions(rows), noise, scale, null, temperature=0.8)
    same(got, last_state(head, conditions(rows), noise, scale, null, temperature=0.8))


def test_modulations_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many rows or steps are prepared piece by piece; the pieces do not show."""
    head, null = tiny_head(), conditions(1, 5)[0]
    noise = head.draw_noise(range(3))
    whole = head.sample(conditions(3), noise, 2.0, null)
    monkeypatch.setattr(diffusion_sampling, "ROWS_AT_ONCE", 30)
    same(head.sample(conditions(3), noise, 2.0, null), whole)


def test_a_row_is_the_same_alone_and_in_a_batch() -> None:
    head, null, seeds = tiny_head(), conditions(1, 5)[0], [7, 3, 7]
    together = head.sample(conditions(3), head.draw_noise(seeds), 2.0, null)
    for i, seed in enumerate(seeds):
        same(head.sample(conditions(3)[i : i + 1], head.draw_noise([seed]), 2.0, null)[0], together[i])
    assert not torch.allclose(together[0], together[2]), "the same seed with another condition is another latent"


def test_steps_are_reported() -> None:
    head, seen = tiny_head(num_inference_steps="5"), []
    result = head.sample(conditions(2), head.draw_noise([0, 1]), on_step=lambda *step: seen.append(step))
    assert [(done, total) for done, total, _ in seen] == [(i, 5) for i in range(1, 6)]
    assert torch.equal(seen[-1][2], result)


def test_guidance() -> None:
    """Without a difference between the conditions any scale is none; scales up to 1 do not look at the null."""
    head, noise = tiny_head(), tiny_head().draw_noise([0, 1])
    same_rows = conditions(1).expand(2, -1, -1)
    plain = head.sample(same_rows, noise)
    same(head.sample(same_rows, noise, 5.0, conditions(1)[0]), plain)
    assert torch.equal(head.sample(same_rows, noise, 0.5, conditions(1, 9)[0]), plain)
    assert not torch.allclose(head.sample(same_rows, noise, 5.0, conditions(1, 9)[0]), plain, atol=1e-3)
    with pytest.raises(ConfigError, match="guidance_scale 2.0"):
        head.sample(same_rows, noise, 2.0)


@pytest.mark.parametrize("variant", ["published", "learned"])
def test_temperature_scales_the_noise_of_the_steps(variant: str) -> None:
    head = tiny_head(**VARIANTS[variant])
    noise, other = head.draw_noise([0]), head.draw_noise([1])
    other[:, 0] = noise[:, 0]
    cold = [head.sample(conditions(1), n, temperature=0.0) for n in (noise, other)]
    assert torch.equal(*cold)
    assert not torch.allclose(head.sample(conditions(1), noise), cold[0], atol=1e-3)
    other[:, 1:-1] = noise[:, 1:-1]
    assert torch.equal(head.sample(conditions(1), other), head.sample(conditions(1), noise)), "no noise at the end"


def test_noise_of_a_wrong_shape_is_refused() -> None:
    head = tiny_head()
    with pytest.raises(ValueError, match="noise has shape"):
        head.sample(conditions(2), head.draw_noise([0]))


def test_published_size_and_names() -> None:
    head = DiffusionHead(DiffusionHeadConfig(), 256, 1, 768, 4)
    assert sum(p.numel() for p in head.parameters()) == 27_947_776
    names = set(head.state_dict())
    assert {name.split(".")[1] for name in names} == {
        "time_embed", "cond_embed", "input_proj", "res_blocks", "final_layer"
    }  # fmt: skip
    assert {
        "net.time_embed.mlp.2.bias",
        "net.cond_embed.hid_pos.pe",
        "net.res_blocks.2.adaLN_modulation.1.weight",
    } <= names
    assert head.steps == 100 and head.short_chain.timesteps[:3].tolist() == [0, 10, 20]


def test_schedules_have_the_published_values() -> None:
    signal = torch.cumprod(1 - betas("scaled_linear", 1000), 0)
    torch.testing.assert_close(
        signal[[0, 499, 999]].float(), torch.tensor([0.99915, 0.16181, 0.0015790]), rtol=1e-4, atol=0
    )
    signal = torch.cumprod(1 - betas("cosine", 50), 0)
    torch.testing.assert_close(
        signal[[0, 24, 48, 49]].float(), torch.tensor([0.99825, 0.4938, 9.7e-4, 9.7e-7]), rtol=5e-3, atol=0
    )


@given(st.integers(1, 1000), st.data())
@settings(max_examples=60, deadline=None)
def test_kept_timesteps_are_spread_evenly(steps: int, data) -> None:
    count = data.draw(st.integers(1, steps))
    kept = kept_timesteps(str(count), steps)
    assert len(kept) == len(set(kept)) == count and kept == sorted(kept) and kept[0] == 0
    if count > 1:
        assert kept[-1] == steps - 1
        gaps = {b - a for a, b in zip(kept, kept[1:])}
        assert max(gaps) - min(gaps) <= 1


def test_kept_timesteps_of_other_requests() -> None:
    assert kept_timesteps("", 4) == [0, 1, 2, 3]
    assert kept_timesteps("ddim5", 50) == [0, 10, 20, 30, 40]
    assert kept_timesteps("2,3", 11) == [0, 5, 6, 8, 10]
    assert kept_timesteps("2, 2", 4) == [0, 1, 2, 3]


@pytest.mark.parametrize("request_", ["0", "ddim", "ddim37", "51", "3,x", "-2", "30,10"])
def test_wrong_steps_are_refused(request_: str) -> None:
    with pytest.raises(ConfigError, match="num_inference_steps"):
        kept_timesteps(request_, 50)


@pytest.mark.parametrize(
    "config",
    [{"noise_schedule": "sigmoid"}, {"num_pooling_heads": 3}, {"depth": 0}, {"diffusion_steps": 0}],
    ids=lambda config: next(iter(config)),
)
def test_wrong_configs_are_refused(config: dict) -> None:
    with pytest.raises(ConfigError):
        tiny_head(**config)


def test_config_from_a_file() -> None:
    """A bare number in YAML is a number of steps; an unknown key is named."""
    assert typed(DiffusionHeadConfig, {"num_inference_steps": 50}, "x").num_inference_steps == "50"
    with pytest.raises(ConfigError, match="sampling_steps"):
        typed(DiffusionHeadConfig, {"sampling_steps": "50"}, "x")


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_shortened_chain_has_the_same_signal(schedule: str) -> None:
    chain = Chain(betas(schedule, 100), "small")
    short = chain.respaced("13")
    torch.testing.assert_close(short.alphas_cumprod, chain.alphas_cumprod[short.timesteps], rtol=1e-10, atol=0)
    assert torch.equal(chain.respaced("").betas.log().round(decimals=6), chain.betas.log().round(decimals=6))
    again = short.respaced("4")
    assert set(again.timesteps.tolist()) <= set(short.timesteps.tolist()), "original numbers, also when cut twice"


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_one_reverse_step_undoes_one_forward_step(schedule: str) -> None:
    """With the true clean data, posterior mean and variance are those of Bayes' rule for two normal distributions."""
    chain, t = Chain(betas(schedule, 50), "small"), torch.tensor([3, 20, 40])
    clean, noise = torch.randn(3, 1, 4), torch.randn(3, 1, 4)
    state = chain.noised(clean, t, noise)
    torch.testing.assert_close(chain.clean(state, t, noise), clean, rtol=1e-3, atol=1e-3)
    beta, before = chain.betas[t], chain.alphas_cumprod[t - 1]
    precision = (1 - beta) / beta + 1 / (1 - before)
    torch.testing.assert_close(1 / precision, chain.posterior_variance[t])
    weighed = ((1 - beta).sqrt() / beta)[:, None, None] * state + (before.sqrt() / (1 - before))[:, None, None] * clean
    torch.testing.assert_close(chain.mean(clean, state, t), (weighed / precision[:, None, None]).float())


def test_divergence_and_likelihood() -> None:
    a, b, log_a, log_b = torch.randn(4, 50)
    expected = kl_divergence(Normal(a, (log_a / 2).exp()), Normal(b, (log_b / 2).exp()))
    torch.testing.assert_close(gaussian_divergence(a, log_a, b, log_b), expected)
    bins = torch.linspace(-1, 1, 256)
    for mean, log_scale in ((0.0, -1.0), (0.95, -3.0), (-2.0, 0.0)):
        chances = discretised_log_likelihood(bins, torch.tensor(mean), torch.tensor(log_scale)).exp()
        torch.testing.assert_close(chances.sum(), torch.tensor(1.0), rtol=0, atol=1e-4)


def test_every_weight_learns_and_the_bound_teaches_the_variance_only() -> None:
    head = tiny_head(size=2, learn_sigma=True).train()
    target, t = torch.randn(5, 2, CHANNELS), torch.tensor([0, 1, 10, 500, 999])
    head.loss(target, conditions(5), t).mean().backward()
    silent = [name for name, p in head.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []
    head.zero_grad()
    head.loss_terms(target, conditions(5), t)["bound"].sum().backward()
    taught = head.net.final_layer.linear.bias.grad
    assert not taught[:CHANNELS].any() and taught[CHANNELS:].all()


def test_loss_draws_its_own_steps_and_noise() -> None:
    head, target = tiny_head(), torch.randn(4, 1, CHANNELS)
    torch.manual_seed(0)
    first, second = (head.loss(target, conditions(4)) for _ in range(2))
    torch.manual_seed(0)
    assert torch.equal(head.loss(target, conditions(4)), first) and not torch.equal(first, second)
    assert first.shape == (4,)


def test_zero_start_predicts_nothing() -> None:
    head, noise = tiny_head(zero_init=True), torch.randn(3, 1, CHANNELS)
    loss = head.loss(torch.randn(3, 1, CHANNELS), conditions(3), noise=noise)
    torch.testing.assert_close(loss, (noise**2).mean((1, 2)))


@pytest.mark.parametrize("variant", ["published", "learned", "end_to_end"])
def test_half_precision(variant: str) -> None:
    """Under bfloat16 autocast, after a validation in inference mode: float32 losses and states near the exact ones."""
    head, target = tiny_head(**VARIANTS[variant]), torch.randn(8, 1, CHANNELS)
    t, noise, null = torch.arange(0, 1000, 125), torch.randn(8, 1, CHANNELS), conditions(1, 5)[0]
    with torch.inference_mode():
        exact = head.loss(target, conditions(8), t, noise)
        latents = head.sample(conditions(8), head.draw_noise(range(8)), 2.0, null)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = head.loss(target, conditions(8), t, noise)
        sampled = head.sample(conditions(8), head.draw_noise(range(8)), 2.0, null)
    rough.mean().backward()
    assert rough.dtype == sampled.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.05, atol=0.05)
    assert (sampled - latents).abs().max() < 0.05 * latents.abs().max()
    assert all(torch.isfinite(p.grad).all() for p in head.parameters())


def test_weights_in_half_precision() -> None:
    """A head cast to bfloat16 keeps its tables and states in float32."""
    head = tiny_head()
    noise, exact = head.draw_noise([0]), head.sample(conditions(1), head.draw_noise([0]))
    rough = copy.deepcopy(head).bfloat16().sample(conditions(1).bfloat16(), noise)
    assert rough.dtype == torch.float32 and (rough - exact).abs().max() < 0.05 * exact.abs().max()


def test_it_learns_where_its_conditions_point() -> None:
    """Two conditions, two places: after a short training samples land there, with guidance from an empty condition."""
    head = tiny_head(width=48, num_inference_steps="20").train()
    places = torch.tensor([[1.0], [-1.0]]).expand(2, CHANNELS)[:, None]
    told = torch.cat((conditions(2), torch.zeros(1, COUNT, CONDITION)))
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-3)
    for _ in range(150):
        which = torch.randint(2, (64,))
        shown = torch.where(torch.rand(64) < 0.1, 2, which)
        optimizer.zero_grad()
        head.loss(places[which], told[shown]).mean().backward()
        optimizer.step()
    head.eval()
    which = torch.tensor([0, 1, 0, 1])
    for scale in (1.0, 1.5):
        latents = head.sample(told[which], head.draw_noise(range(4)), scale, told[2])
        assert (latents - places[which]).abs().max() < 0.5


def test_preconditioning_is_exact_for_gaussian_targets_and_measured_in_training() -> None:
    """With nothing learnt (zero_init), targets of the measured variance are predicted as well as a linear map can."""
    head = tiny_head(precondition=True, zero_init=True).train()
    spread = torch.linspace(0.2, 2.0, CHANNELS)
    torch.manual_seed(0)
    for _ in range(900):
        head.net.prior.measure(torch.randn(64, 1, CHANNELS) * spread)
    torch.testing.assert_close(head.net.prior.variance[0], spread.square(), rtol=0.1, atol=0.01)
    head.eval()
    target, t = torch.randn(4000, 1, CHANNELS) * spread, torch.full((4000,), 400)
    signal = head.chain.alphas_cumprod[400]
    floor = (signal * spread.square() / (signal * spread.square() + 1 - signal)).mean()
    loss = head.loss(target, conditions(1).expand(4000, -1, -1), t).mean()
    assert loss.item() == pytest.approx(floor.item(), rel=0.05)
    with pytest.raises(ConfigError, match="learn_sigma"):
        tiny_head(precondition=True, learn_sigma=True)


@pytest.mark.parametrize("precondition", [False, True])
def test_v_is_what_it_is_called_and_its_errors_are_never_blown_up(precondition: bool) -> None:
    """v = sqrt(a) noise - sqrt(1 - a) clean (Salimans & Ho 2022): the output of the network, and what is compared."""
    chain = {"noise_schedule": "cosine", "diffusion_steps": 50}
    head = tiny_head(prediction="v", precondition=precondition, pooling=False, **chain)
    torch.manual_seed(0)
    for parameter in head.net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    target, noise, told = torch.randn(50, 1, CHANNELS), torch.randn(50, 1, CHANNELS), conditions(50)
    t = torch.arange(50)
    signal = head.chain.alphas_cumprod.float()[:, None, None]
    state = signal.sqrt() * target + (1 - signal).sqrt() * noise
    prior, head.net.prior = head.net.prior, None
    output = head.net(state, t, told)
    head.net.prior = prior
    v = signal.sqrt() * noise - (1 - signal).sqrt() * target
    clean = signal.sqrt() * state - (1 - signal).sqrt() * output
    error = (v - output).square().flatten(1).mean(1)
    torch.testing.assert_close(head.loss(target, told, t, noise), error, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(head.predict_clean(target, told, t, noise), clean, rtol=1e-3, atol=2e-3)
    assert head.predict_clean(target, told, t, noise).abs().max() < 10
    with pytest.raises(ConfigError, match="learn_sigma"):
        tiny_head(prediction="v", learn_sigma=True)
    with pytest.raises(ConfigError, match="epsilon, v"):
        tiny_head(prediction="velocity")
