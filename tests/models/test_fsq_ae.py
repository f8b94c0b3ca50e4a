"""MotionMillion's tokenizer: masks, lengths, long clips in pieces, streams, losses, folders."""

from __future__ import annotations

import itertools

import pytest
import torch

from mld.checkpoint import load_model, save_model
from mld.errors import ConfigError, DataError
from mld.example import FeatureBatch
from mld.models.tokenizers.fsq_ae import FSQAE, FSQAEConfig
from mld.padding import padded
from tests.models.tiny_fsq_ae import COLUMNS, clip, whole
from tests.models.tiny_fsq_ae import tiny_fsq_ae as tiny

CLOSE = {"atol": 2e-5, "rtol": 1e-4}
SHAPES = [
    {}, {"norm": None, "activation": "silu", "down": 2, "depth": 3}, {"patch_size": 4, "norm": "BN"},
    {"patch_size": 2, "patch_method": "rearrange", "down": 0}, {"causal": True},
    {"causal": True, "down": 2, "patch_size": 2}, {"attention": True, "attention_window": 5},
    {"attention": True, "attention_window": 3, "causal": True, "patch_size": 2},
    {"patch_size": 3, "patch_method": "rearrange", "causal": True},
]  # fmt: skip


def test_published_size() -> None:
    model = FSQAE(FSQAEConfig())
    assert sum(p.numel() for p in model.parameters()) == 11_349_782
    assert (model.layout.codebook_size, model.layout.frames_per_token, model.layout.causal) == (64000, 2, False)


@pytest.mark.parametrize("shape", [*SHAPES, {"norm": "GN", "width": 32}, {"attention": True, "attention_window": 0}])
@torch.no_grad()
def test_a_row_in_a_batch_is_what_it_is_alone(shape: dict) -> None:
    model, lengths = tiny(**shape), (53, 18, 35, 3)
    unit = model.layout.frames_per_token
    clips = [clip(length, length) for length in lengths]
    x, mask = padded(clips)
    x[~mask] = float("nan")
    codes, kept = model.encode(x, mask)
    assert kept.sum(1).tolist() == [length // unit for length in lengths] and len(codes[kept].unique()) > 3
    decoded = model.decode(codes.masked_fill(~kept, 7), kept)
    for row, frames in enumerate(clips):
        if len(frames) < unit:
            continue
        alone, own = model.encode(frames[None], whole(frames[None]))
        count = alone.shape[1]
        assert own.all() and torch.equal(alone[0], codes[row, :count])
        torch.testing.assert_close(decoded[row, : unit * count], model.decode(alone, own)[0], **CLOSE)


@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_pieces_are_the_whole(shape: dict) -> None:
    model = tiny(**shape)
    for frames, piece in itertools.product((1, 31, 97, 160), (1, 3, 16)):
        x, mask = padded([clip(frames, 1), clip(max(1, frames // 3), 2)])
        model.config.piece = 0
        codes, kept = model.encode(x, mask)
        decoded = model.decode(codes, kept)
        model.config.piece = piece
        again, also = model.encode(x, mask)
        assert torch.equal(codes, again) and torch.equal(kept, also)
        real = kept.repeat_interleave(model.layout.frames_per_token, 1)
        torch.testing.assert_close(model.decode(codes, kept)[real], decoded[real], **CLOSE)


@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_the_reach_is_as_far_as_anything_has_an_effect(shape: dict) -> None:
    """A frame just beyond the reach of a token changes nothing of it; one within changes something."""
    model = tiny(**shape)
    unit, (reach, written) = model.layout.frames_per_token, model.reach
    count = 2 * (reach.left // unit + reach.right // unit + 4)
    at = count // 2
    x, mask = clip(count * unit, 5)[None].double(), torch.ones(1, count * unit, dtype=torch.bool)
    model.double()
    before = model.hidden(x, mask)[0][..., at]
    for place, inside in ((at * unit - reach.left - unit, False), (at * unit, True), ((at + 1) * unit - 1, True)):
        other = x.clone()
        other[:, : place + 1] += 0 if inside else 1
        other[:, place] += 1
        assert torch.equal(before, model.hidden(other, mask)[0][..., at]) != inside
    other = x.clone()
    other[:, (at + 1) * unit + reach.right + unit - 1 :] += 1
    assert torch.equal(before, model.hidden(other, mask)[0][..., at])
    codes = torch.zeros(1, written.left + written.right + 3, dtype=torch.long)
    at, moved = written.left + 1, codes.clone()
    moved[:, : at - written.left] = 77
    moved[:, at + written.right + 1 :] = 77
    kept = torch.ones_like(codes, dtype=torch.bool)
    place = slice(at * unit, (at + 1) * unit)
    assert torch.equal(model._decode(codes, kept)[:, place], model._decode(moved, kept)[:, place])


def test_memory_of_a_long_clip_is_that_of_a_piece() -> None:
    """No layer sees more than a piece with what is around it."""
    model = tiny(piece=50)
    seen: list[int] = []
    for layer in (model.encoder.model[0], model.decoder.model[0]):
        layer.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[-1]))
    with torch.no_grad():
        codes, kept = model.encode(clip(5000)[None], torch.ones(1, 5000, dtype=torch.bool))
        assert model.decode(codes, kept).shape == (1, 5000, COLUMNS)
    reach, written = model.reach
    most = max(100 + reach.left + reach.right + 4, 50 + written.left + written.right)
    assert len(seen) == 2 * 50 and max(seen) <= most


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape.get("causal")])
def test_streams_give_the_whole(shape: dict) -> None:
    model = tiny(**shape)
    frames, unit = clip(64)[None], model.layout.frames_per_token
    with torch.no_grad():
        codes, kept = model.encode(frames, whole(frames))
        decoded = model.decode(codes, kept)
    for sizes in ([1] * 64, [3, 1, 7, 2, 17, 34], [64]):
        stream = model.stream()
        assert torch.equal(torch.cat([stream.encode(piece) for piece in frames.split(sizes, 1)], 1), codes)
    stream, steps = model.stream(2), [1, 2, codes.shape[1] - 3]
    for piece, want in zip(codes.split(steps, 1), decoded.split([unit * step for step in steps], 1)):
        torch.testing.assert_close(stream.push(piece, [1]), want, **CLOSE)
    held = stream.held(1)
    after = stream.push(codes[:, :1], [1])
    stream.begin(1)
    torch.testing.assert_close(stream.push(codes[:, :3], [1]), decoded[:, : 3 * unit], **CLOSE)
    stream.restore(1, held)
    assert torch.equal(stream.push(codes[:, :1], [1]), after)


def test_what_cannot_stream_says_why() -> None:
    for shape, said in (
        ({}, "does not stream"), ({"causal": True, "norm": "BN"}, "looks at later frames"),
        ({"causal": True, "attention": True, "attention_window": 0}, "give attention_window"),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=said):
            tiny(**shape).stream()


def test_losses_do_not_see_padding_and_are_learnt_from() -> None:
    model, frames = tiny(), clip(32)
    alone = model.loss(FeatureBatch(frames[None], whole(frames[None])))
    padding = torch.cat((frames, torch.full((12, COLUMNS), float("nan"))))
    beside = model.loss(FeatureBatch(padding[None], torch.arange(44)[None] < 32))
    assert set(model.loss_weights) | {"monitor/perplexity", "monitor/usage"} == set(alone)
    for name, value in alone.items():
        torch.testing.assert_close(value, beside[name], **CLOSE)
    assert 1 < alone["monitor/perplexity"] <= 16 and 0 < alone["monitor/usage"] <= 16 / 240
    model.train()
    optimizer, first = torch.optim.Adam(model.parameters(), lr=3e-3), None
    for _ in range(30):
        terms = model.loss(FeatureBatch(frames[None], whole(frames[None])))
        total = sum(weight * terms[name] for name, weight in model.loss_weights.items())
        first = total.item() if first is None else first
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert total.item() < 0.8 * first


def test_a_clip_of_one_token_has_losses() -> None:
    frames = clip(2)[None]
    losses = tiny().loss(FeatureBatch(frames, whole(frames)))
    assert all(value.isfinite() for value in losses.values()) and losses["recons_acceleration"] == 0


@pytest.mark.parametrize("shape", [{}, {"causal": True, "attention": True, "patch_size": 2, "levels": [5, 4]}])
def test_a_folder_gives_the_same_model(shape: dict, tmp_path) -> None:
    model, frames = tiny(**shape), clip(40)[None]
    again = load_model(save_model(model, tmp_path / "model"))
    codes, kept = model.encode(frames, whole(frames))
    assert again.layout == model.layout and torch.equal(again.encode(frames, whole(frames))[0], codes)
    assert torch.equal(again.decode(codes, kept), model.decode(codes, kept))


@pytest.mark.parametrize("shape", [{}, {"causal": True}])
def test_codes_of_another_tokenizer_are_refused(shape: dict) -> None:
    """Their levels would wrap around, and a motion come out that nobody made. Padding does not matter."""
    model = tiny(**shape)
    codes, mask = torch.tensor([[0, 239, 5], [3, 4, 5]]), torch.tensor([[True, True, True], [True, True, False]])
    model.decode(torch.where(mask, codes, 999), mask)
    for wrong in (240, 64_000, -1):
        with pytest.raises(DataError, match=f"code {wrong} is none of this tokenizer's, which go from 0 to 239"):
            model.decode(torch.where(codes == 239, wrong, codes), mask)
        if shape:
            with pytest.raises(DataError, match="is none"):
                model.stream().push(torch.tensor([[wrong]]))


def test_wrong_sizes_are_said_in_a_line() -> None:
    for wrong, said in (
        ({"patch_size": 3}, "power of two"), ({"codes": 300}, "no published code size 300"),
        ({"width": 0}, "width is 0"), ({"norm": "GN"}, "32 groups"),
        ({"activation": "swiGLU"}, "swiGLU"), ({"attention": True, "down": 0}, "down 0"),
        ({"levels": [1, 8]}, "from 2 on"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=said):
            tiny(**wrong)
