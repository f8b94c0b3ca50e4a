"""Patchers: inverses of any power of two, the published scale, what does not fit."""

from __future__ import annotations

import pytest
import torch

from mld.errors import ConfigError
from mld.models.tokenizers.haar import METHODS, Patcher


@pytest.mark.parametrize("size, method", [
    *((size, method) for size in (1, 2, 4, 8, 32) for method in METHODS), (3, "rearrange"), (6, "rearrange"),
])  # fmt: skip
def test_there_and_back(size: int, method: str) -> None:
    x, patcher = torch.randn(2, 5, 96), Patcher(size, method)
    patched = patcher.patch(x)
    assert patched.shape == (2, 5 * size, 96 // size)
    torch.testing.assert_close(patcher.unpatch(patched), x, atol=1e-5, rtol=1e-5)
    assert size > 1 or torch.equal(patched, x)
    odd = patcher.patch(torch.cat((x, torch.randn(2, 5, size - 1)), -1))
    assert torch.equal(odd, patched)  # frames beyond a whole patch are left out


def test_sums_and_differences_of_pairs() -> None:
    x = torch.tensor([[[1.0, 3.0, 5.0, 6.0]]])
    factor = 0.5**0.5 / 2
    torch.testing.assert_close(Patcher(2).patch(x), torch.tensor([[[4.0, 11.0], [-2.0, -1.0]]]) * factor)
    packet = torch.tensor([[[15.0], [-3.0], [-7.0], [-1.0]]]) * factor**2
    torch.testing.assert_close(Patcher(4).patch(x), packet)  # sums of sums and of differences, then differences
    assert Patcher(2, "rearrange").patch(x).tolist() == [[[1.0, 5.0], [3.0, 6.0]]]


def test_a_patch_is_real_when_all_its_frames_are() -> None:
    mask = torch.arange(12) < torch.tensor([[12], [7], [3]])
    assert Patcher(4).mask(mask).sum(1).tolist() == [3, 1, 0]


def test_what_does_not_fit_is_said_in_a_line() -> None:
    for size in (0, 3, 6, -2):
        with pytest.raises(ConfigError, match=f"patch_size is {size}, expected a power of two"):
            Patcher(size)
    with pytest.raises(ConfigError, match="patch_size is 0"):
        Patcher(0, "rearrange")
    with pytest.raises(ConfigError, match="patch_method=rearrange takes any size"):
        Patcher(6)
    with pytest.raises(ConfigError, match="'dct' is not one of haar, rearrange"):
        Patcher(2, "dct")
