"""VQ-VAE: masks, four quantizers, the saved running averages."""

from __future__ import annotations

import pytest
import torch

from mld.errors import CheckpointError, ConfigError
from mld.example import FeatureBatch
from mld.models.tokenizers.quantizers import make_quantizer
from mld.models.tokenizers.resnet import make_norm
from mld.models.tokenizers.vqvae import VQVAE, VQVAEConfig
from mld.motion.normalizer import Normalizer
from tests.models.tiny import WIDTH, features, full_mask, tiny_vqvae

LENGTHS = (40, 27, 9, 3)


def padded(lengths=LENGTHS) -> tuple[torch.Tensor, torch.Tensor]:
    """Clips of several lengths in one batch; the padding is wild on purpose."""
    x = torch.full((len(lengths), max(lengths), WIDTH), float("nan"))
    mask = torch.zeros(x.shape[:2], dtype=torch.bool)
    for i, length in enumerate(lengths):
        x[i, :length], mask[i, :length] = features(length, i), True
    return x, mask


@pytest.mark.parametrize("norm", [None, "LN", "GN", "BN"])
@torch.no_grad()
def test_codes_and_features_do_not_depend_on_padding(norm: str | None) -> None:
    model = tiny_vqvae(norm=norm, width=32)
    x, mask = padded()
    codes, kept = model.encode(x, mask)
    assert kept.sum(1).tolist() == [length // 4 for length in LENGTHS]
    assert len(codes[kept].unique()) > 1
    codes = codes.masked_fill(~kept, 7)  # what stands in the padding must not matter
    decoded = model.decode(codes, kept)
    assert decoded.shape == (4, 40, WIDTH)
    for i, length in enumerate(LENGTHS[:3]):
        alone, mask_alone = model.encode(x[i : i + 1, :length], mask[i : i + 1, :length])
        assert torch.equal(alone[0], codes[i, : length // 4]) and mask_alone.all()
        torch.testing.assert_close(model.decode(alone, mask_alone)[0], decoded[i, : length // 4 * 4])


def test_normalizer_is_inside() -> None:
    """Raw features in and out: other units change nothing but the units."""
    model = tiny_vqvae()
    x = features(24)[None]
    twin = VQVAE(model.config, Normalizer(model.feature_mean * 3, model.feature_std * 3, "fitted")).eval()
    rest = {k: v for k, v in model.state_dict().items() if not k.startswith("feature_")}
    twin.load_state_dict({**twin.state_dict(), **rest})
    codes, mask = model.encode(x, full_mask(x))
    assert torch.equal(twin.encode(x * 3, full_mask(x))[0], codes)
    torch.testing.assert_close(twin.decode(codes, mask), 3 * model.decode(codes, mask))


def test_wrong_statistics_are_refused() -> None:
    with pytest.raises(CheckpointError, match="251"):
        VQVAE(VQVAEConfig(width=8, code_dim=8), Normalizer.identity(251))


@pytest.mark.parametrize("quantizer", ["ema_reset", "ema", "reset", "orig"])
def test_every_quantizer_learns(quantizer: str) -> None:
    """A few steps on one batch bring the weighted loss down."""
    torch.manual_seed(0)
    model = VQVAE(VQVAEConfig(quantizer=quantizer, width=24, code_dim=16, codebook_size=16))
    batch = FeatureBatch(*(t[:3] for t in (torch.nan_to_num(padded()[0]), padded()[1])))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    totals = []
    for _ in range(12):
        terms = model.loss(batch)
        assert set(terms) == {*model.loss_weights, "monitor/perplexity"}
        total = sum(weight * terms[name] for name, weight in model.loss_weights.items())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.9 * totals[0]


def test_loss_ignores_padding() -> None:
    model = tiny_vqvae()
    x, mask = padded((40, 28))
    alone = [model.loss(FeatureBatch(x[i : i + 1, :n], mask[i : i + 1, :n])) for i, n in enumerate((40, 28))]
    both = model.loss(FeatureBatch(x, mask))
    mean = (40 * alone[0]["recons_feature"] + 28 * alone[1]["recons_feature"]) / 68
    torch.testing.assert_close(both["recons_feature"], mean)


def test_kit_positions_have_their_own_columns() -> None:
    model = VQVAE(VQVAEConfig(representation="kit", width=8, code_dim=8, codebook_size=4))
    assert (model.positions.start, model.positions.stop) == (4, 64)


def test_running_averages_survive_saving() -> None:
    """Resumed training goes on exactly; a published file, which lacks them, counts every code once."""
    torch.manual_seed(0)
    model = make_quantizer("ema_reset", 8, 4, 0.99, 1.0)
    x = [torch.randn(2, 4, 16) for _ in range(3)]
    mask = torch.ones(2, 16, dtype=torch.bool)
    for step in x[:2]:
        model(step, mask)
    resumed, published = (make_quantizer("ema_reset", 8, 4, 0.99, 1.0) for _ in range(2))
    resumed.load_state_dict(model.state_dict())
    published.load_state_dict({"codebook": model.codebook.clone()})
    assert torch.equal(published.code_sum, model.codebook) and (published.code_count == 1).all()
    before = published.codebook.clone()
    for quantizer in (model, resumed, published):
        quantizer(x[2], mask)
    assert torch.equal(resumed.codebook, model.codebook)
    assert (published.codebook - before).abs().max() < 2, "a loaded codebook is not initialised again"
    assert not torch.equal(published.codebook, x[2].transpose(1, 2).reshape(-1, 4)[:8])


def test_empty_published_codebook_is_not_seen() -> None:
    model = make_quantizer("ema_reset", 8, 4, 0.99, 1.0)
    model.load_state_dict({"codebook": torch.zeros(8, 4)})
    assert not model.initialised and not model.code_count.any()


MISTAKES = [("quantizer", "emma"), ("activation", "tanh"), ("norm", "XN"), ("width", 0)]


@pytest.mark.parametrize(("key", "value"), MISTAKES)
def test_wrong_config_is_named(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=key):
        VQVAE(VQVAEConfig(**{"width": 8, "code_dim": 8, key: value}))


@pytest.mark.parametrize("norm", ["GN", "BN"])
def test_norms_over_time_see_real_frames_only(norm: str) -> None:
    """Without padding they are torch's own; with padding the real frames keep their values."""
    torch.manual_seed(0)
    x, full = torch.randn(3, 64, 10), torch.ones(3, 1, 10, dtype=torch.bool)
    own = make_norm(norm, 64)
    theirs = torch.nn.GroupNorm(32, 64, eps=1e-6) if norm == "GN" else torch.nn.BatchNorm1d(64, eps=1e-6)
    torch.testing.assert_close(own(x, full), theirs(x), atol=1e-5, rtol=1e-5)
    longer = torch.cat([x, torch.full((3, 64, 4), 7.0)], dim=2)
    mask = torch.cat([full, torch.zeros(3, 1, 4, dtype=torch.bool)], dim=2)
    torch.testing.assert_close(make_norm(norm, 64)(longer, mask)[..., :10], theirs.train()(x), atol=1e-5, rtol=1e-5)
