"""Finite scalar quantization: levels, codes and back, gradients, precision, the use of codes."""

from __future__ import annotations

from math import prod

import pytest
import torch

from mld.errors import ConfigError
from mld.models.tokenizers.fsq import FSQ, LEVELS, levels_of

SIZES = {256: 240, 512: 512, 1024: 1000, 2048: 1920, 4096: 4375, 16384: 15360, 65536: 64000}


def mask_of(x: torch.Tensor) -> torch.Tensor:
    return torch.ones(len(x), x.shape[-1], dtype=torch.bool)


def test_published_sizes_and_free_levels() -> None:
    assert {name: prod(levels) for name, levels in LEVELS.items()} == SIZES
    assert levels_of(65536) == (8, 8, 8, 5, 5, 5)
    assert levels_of(65536, [3, 4]) == (3, 4)
    with pytest.raises(ConfigError, match="no published code size 64000; known: 256, .* levels="):
        levels_of(64000)
    for wrong in ([8, 1], [2**12, 2**13], [0]):
        with pytest.raises(ConfigError, match="from 2 on"):
            levels_of(0, wrong)


@pytest.mark.parametrize("levels", [*list(LEVELS.values())[:5], (2, 3), (9,)])
def test_every_code_is_a_vector_that_is_that_code(levels: tuple[int, ...]) -> None:
    quantizer = FSQ(levels, len(levels))
    codes = torch.arange(prod(levels))[None]
    values = quantizer.lookup(codes)
    assert values.abs().max() <= 1 and len(values[0].T.unique(dim=0)) == codes.numel()
    assert torch.equal(quantizer.index((values.transpose(1, 2) * (quantizer.sizes // 2)).round()), codes)
    assert torch.equal(quantizer.split(codes).max(1).values[0], quantizer.sizes - 1)


def test_a_level_is_the_nearest_and_ties_go_to_the_even_one() -> None:
    quantizer = FSQ((7,), 1)
    x = torch.linspace(-4, 4, 801)[None, None]
    bounded = quantizer.bound(x.transpose(1, 2))
    assert bounded.abs().max() < 3.5 and bounded.round().abs().max() == 3  # outermost levels are reached
    wanted = torch.tensor([round(value) for value in bounded.flatten().tolist()]) + 3  # of Python: half to even
    assert torch.equal(quantizer.codes(x)[0], wanted)
    assert FSQ((8,), 1).codes(torch.tensor([[[-9.0, 9.0]]])).tolist() == [[0, 7]]


def test_gradients_pass_the_rounding_as_if_it_were_not_there() -> None:
    torch.manual_seed(0)
    quantizer = FSQ((8, 5, 5), 3)
    x, weight = torch.randn(2, 3, 9, requires_grad=True), torch.randn(2, 3, 9)
    (quantizer(x, mask_of(x)).values * weight).sum().backward()
    smooth = x.detach().clone().requires_grad_()
    plain = quantizer.scaled(quantizer.bound(smooth.transpose(1, 2))).transpose(1, 2)
    (plain * weight).sum().backward()
    torch.testing.assert_close(x.grad, smooth.grad)
    assert x.grad.abs().min() > 0


def test_projections_stand_where_widths_differ() -> None:
    assert not FSQ((8, 5, 5), 3).state_dict()
    assert set(FSQ((8, 5, 5), 12).state_dict()) == {
        f"project_{way}.{name}" for way in ("in", "out") for name in ("weight", "bias")
    }


def test_it_is_exact_in_float32_whatever_is_around_it() -> None:
    torch.manual_seed(0)
    quantizer, x = FSQ(LEVELS[65536], 32), torch.randn(2, 32, 200).bfloat16()
    wanted = quantizer.codes(x.float())
    with torch.autocast("cpu", torch.bfloat16):
        found = quantizer(x, mask_of(x))
    assert torch.equal(found.codes, wanted) and found.values.dtype == torch.float32
    rounded = FSQ(LEVELS[65536], 32)
    rounded.load_state_dict({key: value.bfloat16().float() for key, value in quantizer.state_dict().items()})
    assert torch.equal(rounded.bfloat16().codes(x), FSQ.codes(rounded.float(), x.float()))


def test_use_of_codes_counts_what_the_mask_keeps() -> None:
    quantizer = FSQ((4, 4), 2)
    x = quantizer.lookup(torch.tensor([[0, 0, 5, 9, 15, 15]])) * 1.5
    mask = torch.tensor([[True, True, True, True, False, False]])
    found = quantizer(x, mask)
    share = torch.tensor([0.5, 0.25, 0.25])
    torch.testing.assert_close(found.perplexity, torch.exp(-(share * (share + 1e-7).log()).sum()))
    assert found.usage == 3 / 16 and found.commitment_loss == 0
