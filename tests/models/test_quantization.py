"""Rounded weights: kernels against the same in float64, rows alone and together, every family, never saved."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mld.checkpoint import save_model
from mld.engine.pipeline import Pipeline
from mld.engine.request import Request
from mld.errors import ConfigError, RequestError
from mld.example import Text
from mld.models import quantization, rounded_products
from mld.models.quantization import HalfLinear, Int8Linear, RoundedLinear, round_weights, rounded
from tests.models.tiny import tiny_motiongpt, tiny_motiongpt3
from tests.models.tiny_streamer import tiny_streamer

KERNELS = [maker for maker in rounded_products.MAKERS if rounded_products.levels_of(maker)]


def coarser(made: RoundedLinear) -> float:
    """How much coarser the steps of the input are than 8 bits allow: processors without VNNI have 7 (`levels_of`)."""
    return rounded_products.STEPS / made.levels if isinstance(made, Int8Linear) and made.product is not None else 1.0


def layer(seed: int = 0) -> nn.Linear:
    torch.manual_seed(seed)
    made = nn.Linear(192, 100).eval()
    made.weight.data *= torch.logspace(-2, 2, 100)[:, None]  # channels of very different sizes
    return made


def inputs(rows: int) -> torch.Tensor:
    x = torch.randn(rows, 192, generator=torch.Generator().manual_seed(1))
    return x * torch.logspace(-3, 3, rows)[:, None]


def by_hand(linear: nn.Linear, x: torch.Tensor, levels: int) -> torch.Tensor:
    """int8 times int8 in whole numbers, scaled afterwards, in float64."""
    steps, size = rounded(linear.weight)
    each = x.double().abs().amax(-1, keepdim=True) / levels
    whole = (x.double() / each).round() @ steps.double().t()
    return whole * each * size.double() + linear.bias.double()


@pytest.mark.skipif(not KERNELS, reason="no int8 kernel on this machine")
@pytest.mark.parametrize("maker", KERNELS)
@pytest.mark.parametrize("rows", [1, 2, 7, 40])
def test_a_kernel_gives_what_whole_numbers_give(maker, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounded_products, "MAKERS", (maker,))
    linear, x = layer(), inputs(rows)
    made = Int8Linear(linear.weight.detach(), linear.bias.detach())
    assert made.product is not None
    want = by_hand(linear, x, made.levels)
    # An entry half way between two steps may go either way, as it is divided in float32.
    assert ((made(x) - want).abs() <= 2e-3 * want.abs().amax(1, keepdim=True)).all()
    assert ((made(x) - want).abs() <= 1e-5 * want.abs().amax(1, keepdim=True)).float().mean() > 0.95


@pytest.mark.parametrize("kind, most", [(HalfLinear, 5e-4), (Int8Linear, 0.015)])
def test_error_of_a_layer(kind: type[RoundedLinear], most: float) -> None:
    linear, x = layer(), torch.randn(200, 192, generator=torch.Generator().manual_seed(2))
    linear.bias.data.zero_()
    made, want = kind(linear.weight.detach(), linear.bias.detach()), linear(x)
    error = (made(x) - want).norm(dim=0) / want.norm(dim=0)  # channel by channel, however small it is
    assert 0 < error.max() < most * coarser(made)


@pytest.mark.parametrize("kind", [HalfLinear, Int8Linear])
def test_without_a_kernel_weights_are_widened(kind: type[RoundedLinear], monkeypatch: pytest.MonkeyPatch) -> None:
    linear, x = layer(), inputs(5)
    packed = kind(linear.weight.detach(), linear.bias.detach())
    monkeypatch.setattr(rounded_products, "MAKERS", ())
    monkeypatch.setattr(quantization, "half_product", lambda weight: None)
    plain = kind(linear.weight.detach(), linear.bias.detach())
    assert plain.product is None
    steps, size = rounded(linear.weight)
    held = linear.weight.half().float() if kind is HalfLinear else steps * size[:, None]
    torch.testing.assert_close(plain(x), F.linear(x, held, linear.bias))
    assert ((packed(x) - plain(x)).norm() / plain(x).norm()) < 0.01 * coarser(packed)


@pytest.mark.parametrize("kind", [HalfLinear, Int8Linear])
def test_a_row_is_the_same_alone_and_among_others(kind: type[RoundedLinear]) -> None:
    made, x = kind(layer().weight.detach(), layer().bias.detach()), inputs(33)
    together = made(x.view(3, 11, 192)).view(33, 100)
    for i in range(33):  # sums of halves are in another order in another number of rows
        alone, least = made(x[i]), 0.0 if kind is Int8Linear else 1e-6 * float(together[i].abs().max())
        torch.testing.assert_close(alone, together[i], rtol=0 if kind is Int8Linear else 1e-5, atol=least)


@pytest.mark.parametrize("kind", [HalfLinear, Int8Linear])
def test_zeros_and_numbers_that_are_none(kind: type[RoundedLinear]) -> None:
    made, x = kind(torch.zeros(64, 192), torch.ones(64)), inputs(3)
    assert torch.equal(made(x), torch.ones(3, 64))
    made = kind(layer().weight.detach(), layer().bias.detach())
    torch.testing.assert_close(made(torch.zeros(1, 192))[0], layer().bias.detach())
    x[1, 5] = torch.nan
    assert made(x).isnan().any(1).tolist() == [False, True, False]


@pytest.mark.parametrize("weights", ["float16", "int8"])
@pytest.mark.parametrize("family", [tiny_streamer, tiny_motiongpt, tiny_motiongpt3])
def test_every_family_answers_with_rounded_weights(family, weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "LEAST", 16)  # these models are tiny
    model = family()
    exact = [value.clone() for value in model.tokenizer.state_dict().values()]
    found = round_weights(model, weights)
    layers = [module for module in model.modules() if isinstance(module, RoundedLinear)]
    assert found.layers == len(layers) > 3 and 0 < found.error < 0.02 and found.after < 0.6 * found.before
    assert all(torch.equal(a, b) for a, b in zip(exact, model.tokenizer.state_dict().values()))
    request = Request((Text("a person walks"),), "motion", num_frames=40, seed=5)
    (answer,) = Pipeline(model, bones="clip").run([request])
    assert len(answer.features) == 40 and answer.features.isfinite().all()


def test_a_streams_latents_stay_near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one history and one noise; the more bits, the nearer."""
    monkeypatch.setattr(quantization, "LEAST", 16)

    def conditions(weights: str) -> torch.Tensor:
        model = tiny_streamer()
        round_weights(model, weights)
        latents = torch.randn(2, 9, 8, generator=torch.Generator().manual_seed(0))
        return model.conditions(torch.stack([model.null_text()] * 2), latents).detach()

    exact, *rounded_ones = (conditions(weights) for weights in quantization.WEIGHTS)
    half, brain, eighth = (float((made - exact).norm() / exact.norm()) for made in rounded_ones)
    assert 0 < half < 2e-3 and half < brain < 0.02 and half < eighth < 0.05


def test_float32_changes_nothing() -> None:
    model = tiny_streamer()
    assert round_weights(model, "float32") is None
    assert not any(isinstance(module, RoundedLinear) for module in model.modules())


def test_fused_layers_of_torch_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "LEAST", 1)
    model = tiny_motiongpt3()
    round_weights(model, "int8")
    fused = [module for module in model.modules() if isinstance(module, nn.TransformerEncoderLayer)]
    assert fused and not any(isinstance(m, RoundedLinear) for layer in fused for m in layer.modules())


def test_neither_saved_nor_trained(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "LEAST", 16)
    model = tiny_streamer()
    round_weights(model, "int8")
    with pytest.raises(RequestError, match="not saved"):
        save_model(model, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    with pytest.raises(RequestError, match="to train it"):
        model.train()


def test_unknown_name() -> None:
    with pytest.raises(ConfigError, match="'int4' is not one of float32, float16, bfloat16, int8"):
        round_weights(tiny_streamer(), "int4")
