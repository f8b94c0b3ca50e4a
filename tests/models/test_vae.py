"""The motion VAE: padding and neighbours change nothing, latents scale both ways, any length can be made."""

from __future__ import annotations

import pytest
import torch

from mld.checkpoint import load_model, save_model
from mld.errors import ConfigError, DataError
from mld.example import FeatureBatch
from mld.models.tokenizers.vae import MotionVAE
from tests.models.tiny import features, tiny_vae


def batch(*lengths: int) -> FeatureBatch:
    rows = [features(length, seed) for seed, length in enumerate(lengths)]
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return FeatureBatch(torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=3.0), mask)


@pytest.mark.parametrize(
    "options",
    [{}, {"patch": 4}, {"tokens_per_clip": 3}, {"frequencies": 6, "width": 24}, {"frequencies": 3, "patch": 4}],
)
@torch.no_grad()
def test_a_row_does_not_depend_on_padding_or_neighbours(options: dict) -> None:
    vae, rows = tiny_vae(**options), batch(30, 17, 5)
    together, mask = vae.encode(rows.features, rows.mask)
    assert together.shape == (3, options.get("tokens_per_clip", 1), 16) and mask.all()
    decoded = vae.decode(together, mask, rows.mask)
    for i, length in enumerate((30, 17, 5)):
        alone, one = vae.encode(rows.features[i : i + 1, :length], rows.mask[i : i + 1, :length])
        torch.testing.assert_close(alone[0], together[i], atol=1e-5, rtol=1e-5)
        again = vae.decode(alone, one, rows.mask[i : i + 1, :length])
        torch.testing.assert_close(again[0], decoded[i, :length], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_latents_leave_and_enter_scaled() -> None:
    fixed = tiny_vae(latent_scale=0.5)
    rows = batch(12)
    mean = fixed.posterior(rows.features, rows.mask).mu
    latents, mask = fixed.encode(rows.features, rows.mask)
    torch.testing.assert_close(latents, 0.5 * mean)
    want = fixed.denormalize(fixed.network.decode(mean, rows.mask))
    torch.testing.assert_close(fixed.decode(latents, mask, rows.mask), want)


def test_the_scale_is_measured_in_training_only_and_saved(tmp_path) -> None:
    vae, rows = tiny_vae(), batch(20, 20, 12)
    before = float(vae.latent_scale)
    vae.eval().loss(rows)
    assert float(vae.latent_scale) == before
    vae.train()
    for _ in range(600):
        vae._measure(torch.full((2, 1, 16), 4.0))
    assert float(vae.latent_scale) == pytest.approx(0.25, rel=0.05)
    vae.loss(rows)
    again = load_model(save_model(vae, tmp_path / "vae", dtype="float16"))
    assert isinstance(again, MotionVAE) and float(again.latent_scale) == float(vae.latent_scale)
    published = tiny_vae(latent_scale=0.8457).train()
    published.loss(rows)
    assert float(published.latent_scale) == pytest.approx(0.8457)


def test_loss_ignores_padding_and_trains_every_weight() -> None:
    vae, rows = tiny_vae(), batch(20, 9)
    terms = vae.loss(rows)
    other = FeatureBatch(torch.where(rows.mask[..., None], rows.features, torch.tensor(-7.0)), rows.mask)
    assert all(torch.equal(terms[name], value) for name, value in vae.loss(other).items())
    vae.train()
    sum(weight * vae.loss(rows)[name] for name, weight in {**vae.loss_weights, "recons_root": 1.0}.items()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in vae.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    "options",
    [{"position_encoding": "sinusoidal"}, {"separate_logvar": False}, {"norm_first": True}, {"frequencies": 4}],
)
@torch.no_grad()
def test_other_position_encodings_and_distributions(options: dict) -> None:
    """Each makes another network of the same weights, as far as it has them."""
    plain, vae, rows = tiny_vae(), tiny_vae(**options), batch(14, 1)
    own = vae.state_dict()
    own |= {name: value for name, value in plain.state_dict().items() if name in own and value.shape == own[name].shape}
    vae.load_state_dict(own)
    decoded, usual = (each.decode(*each.encode(rows.features, rows.mask), rows.mask) for each in (vae, plain))
    assert decoded.shape == rows.features.shape and torch.isfinite(decoded).all()
    assert not torch.allclose(decoded, usual, atol=1e-3)


def test_bounds() -> None:
    with pytest.raises(ConfigError, match="odd"):
        tiny_vae(num_layers=4)
    with pytest.raises(ConfigError, match="width"):
        tiny_vae(width=8)
    with pytest.raises(ConfigError, match="one latent"):
        tiny_vae(frequencies=4, tokens_per_clip=2)
    with pytest.raises(ConfigError, match="norm_first have no meaning"):
        tiny_vae(frequencies=4, norm_first=True)
    vae = tiny_vae(max_positions=8, patch=4)
    assert vae.layout.longest == (8 - 2) * 4
    with pytest.raises(DataError, match="at most 24"):
        vae.encode(features(25)[None], torch.ones(1, 25, dtype=torch.bool))


@torch.no_grad()
def test_a_spectral_latent_holds_what_its_components_and_cosines_can() -> None:
    """As many components as training spectra: a smooth motion of the training set comes back without any training."""
    vae = tiny_vae(frequencies=5, latent_channels=15, width=8)
    time = torch.linspace(0, 1, 40)[:, None]
    clips = [vae.denormalize(torch.cos(3.14159 * n * time) * torch.randn(1, 263)) for n in (0, 1, 2, 3) for _ in (0, 1)]
    vae.measure(clips)
    mask = torch.ones(1, 40, dtype=torch.bool)
    for clip in clips:
        latents, ones = vae.encode(clip[None], mask)
        error = vae.normalize(vae.decode(latents, ones, mask)[0]) - vae.normalize(clip)
        assert error.square().mean() < 0.05 * vae.normalize(clip).square().mean()
