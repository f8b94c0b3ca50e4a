"""The transformer on frames: what rows look at, in which precision, and that every weight takes part in training."""

from __future__ import annotations

import copy

import pytest
import torch

from mld.errors import ConfigError
from mld.models.backbones.dit import DiT, DiTConfig
from mld.models.backbones.dit_blocks import DiTBlock
from mld.models.conversion.keymap import KeyMap
from mld.models.quantization import RoundedLinear, round_weights
from mld.padding import padded
from tests.models.dits import rows_of, small_dit
from tests.parity.runners.vimogen_dit import KEYS

LENGTHS, WORDS = [14, 9, 11], [5, None, 5]


def given(dit: DiT) -> dict:
    """Arguments of a mixed batch."""
    rows = rows_of(dit, LENGTHS, WORDS)
    texts = torch.stack([text if len(text) else torch.zeros(5, dit.config.text_width) for text in rows.texts])
    nothing = torch.zeros(0, dit.config.reference_channels)
    references, seen = padded([nothing if one is None else one for one in rows.references])
    space = rows.state.shape[1] - references.shape[1]
    return {
        "frames": rows.state, "t": torch.tensor([900.0, 31.5, 440.0]), "texts": texts, "mask": rows.mask,
        "reference": torch.nn.functional.pad(references, (0, 0, 0, space)),
        "reference_mask": torch.nn.functional.pad(seen, (0, space)), "by_text": torch.tensor([True, False, True]),
    }  # fmt: skip


@torch.no_grad()
def test_what_rows_look_at() -> None:
    """A text changes rows that follow texts, a reference the others; what is masked changes nothing."""
    dit = small_dit()
    usual = given(dit)
    plain = dit(**usual)

    def changed(name: str, where) -> list[bool]:
        other = usual[name].clone()
        other[where] += 1.0
        moved = (dit(**{**usual, name: other}) - plain).abs().amax(-1)
        return [bool(row[real].max() > 1e-4) for row, real in zip(moved, usual["mask"])]

    assert changed("texts", slice(None)) == [True, False, True]
    assert changed("reference", slice(None)) == [False, True, False]
    assert changed("frames", (slice(None), slice(0, 1))) == [True, True, True]
    assert changed("frames", ~usual["mask"]) == [False, False, False]
    assert changed("reference", (1, slice(9, None))) == [False, False, False]


@torch.no_grad()
def test_a_row_follows_its_text_where_it_has_no_reference() -> None:
    dit = small_dit()
    usual = given(dit)
    assert torch.equal(dit(**{**usual, "by_text": None}), dit(**usual))


@torch.no_grad()
def test_masks_with_holes_are_seen_as_they_are_or_counted_as_published() -> None:
    dit = small_dit()
    usual = given(dit)
    holes = usual["reference_mask"].clone()
    holes[1, 3] = False
    first = usual["reference_mask"].clone()
    first[1, 8] = False  # of nine frames; so many are left, counted from the first on
    exact, counted = dit(**{**usual, "reference_mask": holes}), dit(**{**usual, "reference_mask": first})
    assert (exact - counted).abs().max() > 1e-5
    dit.counts = True
    assert torch.equal(dit(**{**usual, "reference_mask": holes}), counted)


@torch.no_grad()
def test_a_reference_of_which_all_frames_are_hidden_gives_numbers() -> None:
    dit = small_dit()
    usual = given(dit)
    assert dit(**{**usual, "reference_mask": torch.zeros_like(usual["mask"])}).isfinite().all()


def test_every_weight_takes_part_whatever_a_batch_holds() -> None:
    """Processes that share a network agree on which weights have gradients; those of nobody's branch are zero."""
    dit = small_dit().train()
    usual = given(dit)
    for by_text in (torch.tensor([True] * 3), torch.tensor([False] * 3), usual["by_text"]):
        dit.zero_grad()
        dit(**{**usual, "by_text": by_text}).square().mean().backward()
        assert all(parameter.grad is not None for parameter in dit.parameters())
        used = {name: bool(parameter.grad.any()) for name, parameter in dit.named_parameters()}
        assert used["blocks.0.text_attention.key.weight"] == bool(by_text.any())
        assert used["reference_blocks.0.mlp.0.weight"] == (not by_text.all())
        with torch.no_grad():
            alone = dit(**{**usual, "by_text": by_text})
        torch.testing.assert_close(dit(**{**usual, "by_text": by_text}), alone, atol=1e-6, rtol=0)


def test_time_and_head_are_float32_under_autocast() -> None:
    dit = small_dit()
    usual = given(dit)
    plain = dit(**usual)
    seen: dict[str, torch.dtype] = {}
    dit.time.register_forward_hook(lambda m, i, o: seen.update(time=o[0].dtype, modulation=o[1].dtype))
    dit.blocks[0].register_forward_hook(lambda m, i, o: seen.update(stream=o.dtype))
    dit.blocks[0].mlp[2].register_forward_hook(lambda m, i, o: seen.update(mlp=o.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        half = dit(**usual)
        times = dit.time(usual["t"])
    assert seen == {"time": torch.float32, "modulation": torch.float32, "stream": torch.float32, "mlp": torch.bfloat16}
    assert half.dtype == torch.float32 and 1e-6 < (half - plain).abs().max() < 0.1 * plain.abs().max()
    assert all(torch.equal(one, two) for one, two in zip(times, dit.time(usual["t"])))


@torch.no_grad()
def test_weights_in_half_precision() -> None:
    """As units of a sharded network are gathered, with and without autocast."""
    dit = small_dit()
    usual = given(dit)
    plain, half = dit(**usual), copy.deepcopy(dit).bfloat16()
    assert 1e-6 < (half(**usual) - plain).abs().max() < 0.2 * plain.abs().max()
    with torch.autocast("cpu", torch.bfloat16):
        assert half(**usual).dtype == torch.float32


@torch.no_grad()
@pytest.mark.parametrize("weights", ["float16", "bfloat16", "int8"])
def test_weights_can_be_rounded(weights: str) -> None:
    dit = small_dit(width=64, ffn=128, text_width=64, time_waves=64)
    usual = given(dit)
    plain = dit(**usual)
    dit.parts = {}
    told = round_weights(dit, weights)
    assert told is not None and isinstance(dit.blocks[0].mlp[0], RoundedLinear)
    assert 0 < (dit(**usual) - plain).abs().max() < 0.2 * plain.abs().max()


@torch.no_grad()
def test_times_are_cosines_then_sines_of_exact_angles() -> None:
    waves = small_dit(time_waves=256).time.sinusoid(torch.tensor([0.0, 999.5]))
    assert torch.equal(waves[0], torch.cat((torch.ones(128), torch.zeros(128))).double())
    angle = torch.tensor(999.5, dtype=torch.float64) / 10000 ** (torch.tensor(3.0, dtype=torch.float64) / 128)
    assert abs(waves[1, 3] - angle.cos()) < 1e-12 and abs(waves[1, 131] - angle.sin()) < 1e-12


def test_the_published_size_has_the_published_numbers() -> None:
    """Parameters, and entries of the published file, two of which are tables of positions (vimogen spec 0, 3.4)."""
    with torch.device("meta"):
        whole, light = DiT(DiTConfig()), DiT(DiTConfig(reference_layers=0, reference_channels=0))
    assert sum(p.numel() for p in whole.parameters()) == 2_258_214_420
    assert sum(p.numel() for p in light.parameters()) == 1_419_648_276
    names = KeyMap.load(KEYS).published({f"transformer.{name}": value for name, value in whole.state_dict().items()})
    assert len(names) + 2 == 1414
    for name in ("blocks.29.ref_motion_cross_attn.norm_k.weight", "ref_motion_encoder.14.self_attn.o.bias",
                 "time_projection.1.weight", "motion_head.modulation", "blocks.0.norm4.bias", "text_embedding.2.bias",
                 "blocks.3.cross_attn.q.weight", "blocks.3.ffn.2.weight", "motion_head.head.weight"):  # fmt: skip
        assert name in names
    assert sum(isinstance(module, DiTBlock) for module in whole.modules()) == 45


def test_initial_weights_are_those_of_the_published_network() -> None:
    torch.manual_seed(0)
    dit = DiT(DiTConfig(2, 1, 4, 128, 512, time_waves=64, text_width=96, positions=8))
    assert not any(m.bias.any() for m in dit.modules() if isinstance(m, torch.nn.Linear))
    bound = (6 / (128 + 512)) ** 0.5
    assert 0.98 * bound < dit.blocks[0].mlp[0].weight.detach().abs().max() <= bound
    assert abs(float(dit.time.embed[0].weight.detach().std()) / 0.02 - 1) < 0.05
    assert abs(float(dit.text_embed[2].weight.detach().std()) / 0.02 - 1) < 0.05
    assert abs(float(dit.blocks[1].modulation.detach().std()) * 128**0.5 - 1) < 0.15


@pytest.mark.parametrize("wrong, told", [
    ({"heads": 5}, "width 1536 is not an even number of channels in 5 heads"),
    ({"layers": 0}, "layers is 0"), ({"time_waves": 7}, "time_waves is 7"), ({"eps": 0.0}, "eps is 0.0"),
    ({"reference_channels": 0}, "there is nothing to encode"),
])  # fmt: skip
def test_sizes_that_cannot_be(wrong: dict, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        DiTConfig(**wrong)


def test_rows_that_cannot_be_made() -> None:
    dit = small_dit()
    usual = given(dit)
    with pytest.raises(ValueError, match="65 frames, this network has 64 positions"):
        dit(torch.zeros(1, 65, 12), torch.zeros(1), torch.zeros(1, 3, 10))
    with pytest.raises(ValueError, match="but there is none"):
        dit(**{**usual, "reference": None})
