"""LLaMA blocks with kept keys and values: rows of different lengths, places that come, and positions as pairs."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from mld.errors import ConfigError
from mld.models.backbones.kv_cache import RowCache
from mld.models.backbones.llama import Llama, LlamaBlock, LlamaConfig, RMSNorm, Rotation

CONFIG = LlamaConfig(layers=2, heads=2, width=16, positions=12)
CLOSE = {"atol": 1e-5, "rtol": 1e-4}


@pytest.fixture(scope="module")
def llama() -> Llama:
    torch.manual_seed(0)
    return Llama(CONFIG).eval()


def rows(*lengths: int, seed: int = 1) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(length, CONFIG.width, generator=draw) for length in lengths]


def padded(some: list[torch.Tensor]) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(some, batch_first=True)


def extend(llama: Llama, cache: RowCache, places: list[int], pieces: list[torch.Tensor], starts: list[int]):
    """States of the pieces, each behind `starts` positions of its row; shorter ones are padded on the right."""
    x = padded(pieces)
    positions = torch.tensor(starts)[:, None] + torch.arange(x.shape[1])
    states = llama.extend(x, positions, cache, torch.tensor(places))
    return [state[: len(piece)] for state, piece in zip(states, pieces)]


@torch.no_grad()
def test_padding_on_the_right_and_what_comes_later_change_nothing(llama: Llama) -> None:
    long, short = rows(9, 4)
    both = llama(padded([long, short]))
    torch.testing.assert_close(both[1, :4], llama(short[None])[0], **CLOSE)
    other = long.clone()
    other[5:] += 1
    changed = llama(other[None])[0]
    torch.testing.assert_close(changed[:5], both[0, :5], **CLOSE)
    assert ((changed[5:] - both[0, 5:]).abs().amax(1) > 1e-4).all()


@torch.no_grad()
def test_rows_of_different_lengths_piece_by_piece(llama: Llama) -> None:
    """Padding of a first piece stands where the row goes on, and is overwritten."""
    some, places = rows(9, 6, 11), [2, 0, 1]
    whole = [llama(row[None])[0] for row in some]
    cache, read = llama.new_cache(3), [0, 0, 0]
    found: list[list[torch.Tensor]] = [[], [], []]
    for sizes in ((5, 2, 7), (1, 1, 1), (3, 3, 3)):
        pieces = [row[start : start + size] for row, start, size in zip(some, read, sizes)]
        for kept, state in zip(found, extend(llama, cache, places, pieces, read)):
            kept.append(state)
        read = [start + size for start, size in zip(read, sizes)]
    assert read == [9, 6, 11]
    for kept, want in zip(found, whole):
        torch.testing.assert_close(torch.cat(kept), want, **CLOSE)


@torch.no_grad()
def test_places_that_come_leave_the_others_and_can_be_begun_anew(llama: Llama) -> None:
    first, second = rows(6, 8)
    cache = llama.new_cache(1)
    extend(llama, cache, [0], [first[:4]], [0])
    cache.grow(3)
    assert cache.rows == 3
    cache.grow(2)
    assert cache.rows == 3
    go_on = extend(llama, cache, [0, 2], [first[4:5], second[:1]], [4, 0])
    torch.testing.assert_close(go_on[0], llama(first[None])[0, 4:5], **CLOSE)
    anew = extend(llama, cache, [0], [second[:3]], [0])  # longer things stood there
    torch.testing.assert_close(anew[0], llama(second[None])[0, :3], **CLOSE)


@torch.no_grad()
def test_what_a_row_holds_is_put_back_to_the_bit(llama: Llama) -> None:
    (row,) = rows(8)
    cache, other = llama.new_cache(2), llama.new_cache(5)
    extend(llama, cache, [1], [row[:5]], [0])
    held = cache.read([1], 5)
    other.restore([3], held)
    assert torch.equal(other.read([3], 5), held)
    want = extend(llama, cache, [1], [row[5:6]], [5])[0]
    assert not torch.equal(held, torch.zeros_like(held))
    assert torch.equal(extend(llama, other, [3], [row[5:6]], [5])[0], want)


def test_positions_turn_neighbouring_channels() -> None:
    """Channel pair i of position p by p / base^(2i / width); lengths stay, and products depend on distances."""
    positions = torch.tensor([[0, 3, 7]])
    turn = Rotation.of(positions, 8, 10000.0)
    x = torch.randn(1, 1, 3, 8, generator=torch.Generator().manual_seed(0))
    found = turn.turn(x)
    pairs = torch.view_as_complex(x.unflatten(-1, (4, 2)).contiguous())
    angles = torch.tensor([[p / 10000 ** (i / 4) for i in range(4)] for p in (0, 3, 7)])
    want = torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)
    torch.testing.assert_close(found, want)
    torch.testing.assert_close(found.norm(dim=-1), x.norm(dim=-1))
    q, k = torch.randn(2, 8, generator=torch.Generator().manual_seed(1))

    def product(a: int, b: int) -> torch.Tensor:
        at = Rotation.of(torch.tensor([[a, b]]), 8, 10000.0).turn(torch.stack((q, k))[None, None])[0, 0]
        return at[0] @ at[1]

    torch.testing.assert_close(product(2, 5), product(40, 43))


def test_blocks_by_hand() -> None:
    """One block of one head without a position but the first: attention gives the value itself."""
    config = LlamaConfig(layers=1, heads=1, width=8, positions=4)
    torch.manual_seed(0)
    network = Llama(config)
    x = torch.randn(1, 1, 8)
    block = network.h[0]
    assert isinstance(block, LlamaBlock)

    def norm(values: torch.Tensor) -> torch.Tensor:
        return values * torch.rsqrt(values.square().mean(-1, keepdim=True) + 1e-5)

    value = (norm(x) @ block.attn.c_attn.weight.T)[..., 16:]
    after = x + value @ block.attn.c_proj.weight.T
    inner = norm(after)
    gate, up = inner @ block.mlp.c_fc1.weight.T, inner @ block.mlp.c_fc2.weight.T
    want = norm(after + (F.silu(gate) * up) @ block.mlp.c_proj.weight.T)
    torch.testing.assert_close(network(x), want)
    assert block.mlp.c_fc1.out_features == 256 and isinstance(network.ln_f, RMSNorm)


def test_settings() -> None:
    assert LlamaConfig().scale == pytest.approx(math.log2(78 * 77))
    assert LlamaConfig(qk_norm=False).scale == pytest.approx(1 / 8)
    assert LlamaConfig(attention_scale=3.0).scale == 3.0
    for wrong, said in (
        ({"width": 30, "heads": 4}, "is not 4 heads"), ({"width": 12, "heads": 4}, "even number"),
        ({"rope_base": 1.0}, "rope_base is 1.0"), ({"layers": 0}, "layers"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=said):
            LlamaConfig(**wrong)
    with pytest.raises(ValueError, match="13 positions, this network has 12"):
        Llama(CONFIG)(torch.zeros(1, 13, 16))


@pytest.mark.parametrize("sizes", [(5, 2, 0), (0, 0, 0), (9, 9, 9), (3, 7, 12)])
def test_a_prefix_apart_equals_a_mask_forwards_and_backwards(llama: Llama, sizes: tuple[int, ...], monkeypatch) -> None:
    """What a GPU computes without a mask: causal attention of all, and a small one within the prefixes."""
    x, prefix = torch.stack(rows(9, 9, 9)), torch.tensor(sizes)
    found = []
    for masks in (True, False):
        monkeypatch.setattr(llama, "masks_prefix", masks)
        llama.zero_grad()
        own = x.clone().requires_grad_()
        states = llama(own, prefix)
        (states * torch.linspace(-1, 1, states.numel()).view_as(states)).sum().backward()
        found.append([states.detach(), own.grad, *(parameter.grad.clone() for parameter in llama.parameters())])
    for masked, apart in zip(*found, strict=True):
        assert apart.isfinite().all()
        torch.testing.assert_close(apart, masked, atol=1e-5, rtol=1e-4)
    if max(sizes):
        assert not torch.allclose(found[0][0], llama(x).detach(), atol=1e-3), "a prefix is read both ways"
