"""The causal auto-encoder: nothing looks ahead, pieces are the whole, padding and other rows do not matter."""

from __future__ import annotations

import pytest
import torch

from mld.checkpoint import load_model, save_model
from mld.errors import ConfigError
from mld.example import FeatureBatch
from mld.padding import padded
from tests.models.tiny_streamer import COLUMNS, tiny_causal_ae

CLOSE = {"atol": 2e-5, "rtol": 1e-4}


def clip(frames: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(frames, COLUMNS, generator=torch.Generator().manual_seed(seed))


def whole(frames: torch.Tensor) -> torch.Tensor:
    return torch.ones(1, len(frames), dtype=torch.bool)


@pytest.fixture(scope="module", params=[{}, {"norm": "LN", "activation": "gelu"}, {"down": 1, "depth": 3}])
def tokenizer(request):
    return tiny_causal_ae(**request.param)


def test_later_frames_change_no_latent(tokenizer) -> None:
    frames, unit = clip(48), tokenizer.layout.frames_per_token
    tokens, _ = tokenizer.encode(frames[None], whole(frames))
    changed = frames.clone()
    changed[24:] += 3
    other, _ = tokenizer.encode(changed[None], whole(frames))
    assert tokens.shape == (1, 48 // unit, 8)
    assert torch.equal(tokens[:, : 24 // unit], other[:, : 24 // unit]) and not torch.equal(tokens, other)
    decoded = tokenizer.decode(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool))
    moved = tokens.clone()
    moved[:, 5:] += 1
    again = tokenizer.decode(moved, torch.ones(tokens.shape[:2], dtype=torch.bool))
    assert decoded.shape == (1, 48, COLUMNS)
    assert torch.equal(decoded[:, : 5 * unit], again[:, : 5 * unit]) and not torch.equal(decoded, again)


@pytest.mark.parametrize("sizes", [[1] * 30, [3, 1, 7, 2, 17], [30], [4, 26]])
def test_pieces_are_the_whole(tokenizer, sizes: list[int]) -> None:
    frames, stream = clip(30), tokenizer.stream()
    tokens, _ = tokenizer.encode(frames[None], whole(frames))
    pieces = [stream.encode(piece) for piece in frames[None].split(sizes, 1)]
    torch.testing.assert_close(torch.cat(pieces, 1), tokens, **CLOSE)
    decoded = tokenizer.decode(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool))
    pushed = [stream.push(piece) for piece in tokens.split([1, 2, tokens.shape[1] - 3], 1)]
    torch.testing.assert_close(torch.cat(pushed, 1), decoded, **CLOSE)


def test_a_row_in_a_batch_is_what_it_is_alone(tokenizer) -> None:
    clips = [clip(length, length) for length in (37, 12, 21)]
    tokens, mask = tokenizer.encode(*padded(clips))
    decoded = tokenizer.decode(tokens, mask)
    unit = tokenizer.layout.frames_per_token
    assert mask.sum(1).tolist() == [length // unit for length in (37, 12, 21)]
    for row, frames in enumerate(clips):
        alone, own = tokenizer.encode(frames[None], whole(frames))
        count = alone.shape[1]
        torch.testing.assert_close(tokens[row, :count], alone[0], **CLOSE)
        torch.testing.assert_close(decoded[row, : unit * count], tokenizer.decode(alone, own)[0], **CLOSE)


def test_rows_of_a_stream_are_pushed_by_turns() -> None:
    tokenizer = tiny_causal_ae()
    tokens = torch.randn(3, 6, 8)
    together, apart = tokenizer.stream(3), tokenizer.stream(1)
    want = together.push(tokens)
    apart.grow(3)
    found = {row: [] for row in range(3)}
    for row, first in [(0, 0), (2, 0), (0, 1), (1, 0), (0, 2), (2, 1), (2, 2), (1, 1), (1, 2)]:
        found[row].append(apart.push(tokens[row : row + 1, 2 * first : 2 * first + 2], [row])[0])
    torch.testing.assert_close(torch.stack([torch.cat(found[row]) for row in range(3)]), want, **CLOSE)
    held = apart.held(1)
    more = torch.randn(1, 1, 8)
    next_one = apart.push(more, [1])
    apart.begin(1)
    assert not torch.allclose(apart.push(more, [1]), next_one)
    apart.restore(1, held)
    assert torch.equal(apart.push(more, [1]), next_one)


def test_norms_over_frames_do_not_stream() -> None:
    tokenizer = tiny_causal_ae(norm="GN", width=32)
    assert not tokenizer.layout.causal
    with pytest.raises(TypeError, match="looks at later frames"):
        tokenizer.stream()
    clips = [clip(37, 1), clip(20, 2)]
    tokens, mask = tokenizer.encode(*padded(clips))
    alone, _ = tokenizer.encode(clips[1][None], whole(clips[1]))
    torch.testing.assert_close(tokens[1, :5], alone[0], **CLOSE)


@pytest.mark.parametrize("mean", [False, True])
def test_losses_do_not_see_padding_and_are_learnt_from(mean: bool) -> None:
    tokenizer = tiny_causal_ae(mean_losses=mean)
    frames = clip(32)
    alone = tokenizer.loss(FeatureBatch(frames[None], whole(frames)))
    padding = torch.cat((frames, torch.full((12, COLUMNS), 7.0)))
    mask = torch.arange(44)[None] < 32
    padded_out = tokenizer.loss(FeatureBatch(padding[None], mask))
    for name in ("recons_feature", "recons_root", "kl_loss"):
        torch.testing.assert_close(alone[name], padded_out[name], rtol=1e-4, atol=1e-4)
    tokenizer.train()
    optimizer = torch.optim.Adam([p for p in tokenizer.parameters() if p.requires_grad], lr=3e-3)
    batch, first = FeatureBatch(frames[None] * tokenizer.feature_std, whole(frames)), None
    for _ in range(30):
        terms = tokenizer.loss(batch)
        total = sum(tokenizer.loss_weights.get(k, 1.0) * v for k, v in terms.items() if not k.startswith("monitor/"))
        first = float(total) if first is None else first
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert float(total) < first


def test_samples_are_drawn_where_that_is_asked() -> None:
    frames = clip(32)
    tokenizer = tiny_causal_ae(sample_latents=True)
    one, two = (tokenizer.encode(frames[None], whole(frames))[0] for _ in range(2))
    assert not torch.equal(one, two)
    tokenizer.config.sample_latents = False
    one, two = (tokenizer.encode(frames[None], whole(frames))[0] for _ in range(2))
    assert torch.equal(one, two)


def test_a_model_folder_gives_it_back(tmp_path) -> None:
    tokenizer = tiny_causal_ae()
    again = load_model(save_model(tokenizer, tmp_path / "model"))
    frames = clip(20)
    assert torch.equal(again.encode(frames[None], whole(frames))[0], tokenizer.encode(frames[None], whole(frames))[0])


def test_a_clip_shorter_than_a_latent_has_none() -> None:
    tokens, mask = tiny_causal_ae().encode(clip(3)[None], whole(clip(3)))
    assert tokens.shape == (1, 0, 8) and mask.shape == (1, 0)


@pytest.mark.parametrize("wrong", [{"width": 0}, {"latent_channels": -1}, {"norm": "XX"}, {"activation": "soft"}])
def test_settings_that_cannot_be(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        tiny_causal_ae(**wrong)
