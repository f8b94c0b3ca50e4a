"""ViMoGen's sampling step: the fast way gives what the published loop gives, whatever stands in a batch."""

from __future__ import annotations

import pytest
import torch

from mld.models.backbones.dit import DiT
from mld.models.families.vimogen import guidance
from mld.models.families.vimogen.guidance import Above, Exact, Faithful
from tests.models.dits import Rows, rows_of, small_dit

NULL_ROWS = 9
BATCHES = {  # frames, and words of each row's text or None for a reference
    "one text": ([20], [5]),
    "no words": ([8, 8], [0, 3]),
    "full texts": ([10, 7], [226, 12]),
    "longer than usual": ([10, 12, 9], [300, 40, 228]),
    "references": ([20, 13, 6], [None, None, None]),
    "mixed": ([20, 9, 20, 1, 14], [6, None, 0, 240, None]),
}


def null_of(dit: DiT) -> torch.Tensor:
    """The features of the empty text, as they are published: one row, and zeros."""
    null = torch.zeros(NULL_ROWS, dit.config.text_width)
    null[0] = torch.randn(dit.config.text_width, generator=torch.Generator().manual_seed(3))
    return null


def made(way, dit: DiT, rows: Rows, scale: float = 5.0, t: float = 731.25, **more) -> torch.Tensor:
    return way(dit, rows.texts, null_of(dit), rows.references, rows.mask, scale, **more)(rows.state, t)


def largest(one: torch.Tensor, other: torch.Tensor, mask: torch.Tensor) -> float:
    """Relative to the size of what is compared."""
    return float((one - other)[mask].abs().max() / other[mask].abs().max().clamp(min=1))


LARGER = {"width": 48, "heads": 6, "layers": 3, "reference_layers": 2, "ffn": 96}


@pytest.mark.parametrize("sizes", [{}, {"pool_texts": True}, {"text_order": True}, LARGER])
@pytest.mark.parametrize("name", BATCHES)
def test_the_fast_way_gives_the_velocities_of_the_published_loop(name: str, sizes: dict) -> None:
    dit = small_dit(**sizes)
    rows = rows_of(dit, *BATCHES[name])
    for t in (0.0, 66.3, 921.0526, 1000.0):
        wanted = made(Faithful, dit, rows, t=t)
        assert largest(made(Exact, dit, rows, t=t), wanted, rows.mask) < 1e-5
        assert wanted.dtype == torch.float32 and wanted.shape == rows.state.shape


@pytest.mark.parametrize("sizes", [{}, {"pool_texts": True}])
@pytest.mark.parametrize("way", [Faithful, Exact])
def test_a_row_of_a_mixed_batch_is_the_row_alone(way, sizes: dict) -> None:
    dit = small_dit(**sizes)
    rows = rows_of(dit, *BATCHES["mixed"])
    together = made(way, dit, rows)
    for index in range(len(rows.texts)):
        alone = rows.row(index)
        assert largest(together[index : index + 1, : alone.state.shape[1]], made(way, dit, alone), alone.mask) < 1e-5


def test_both_ways_are_the_same_mathematics() -> None:
    """In float64 nothing is left of the difference."""
    dit = small_dit().double()
    rows = rows_of(dit, *BATCHES["mixed"])
    rows = Rows(rows.state.double(), rows.mask, rows.texts, rows.references)
    assert largest(made(Exact, dit, rows), made(Faithful, dit, rows), rows.mask) < 1e-13


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5])
def test_guidance_of_any_strength(scale: float) -> None:
    dit = small_dit()
    rows = rows_of(dit, *BATCHES["mixed"])
    assert largest(made(Exact, dit, rows, scale), made(Faithful, dit, rows, scale), rows.mask) < 1e-5


def test_the_mean_of_a_text_goes_with_the_time() -> None:
    """The order of its rows does not matter to it, zeros behind are none, and references have none."""
    dit, follows = small_dit(pool_texts=True), torch.tensor([True, True, False])
    text = torch.randn(4, dit.config.text_width, generator=torch.Generator().manual_seed(5))
    longer = torch.cat((text.flip(0), torch.zeros(3, dit.config.text_width)))
    told = dit.told(torch.stack((torch.cat((text, torch.zeros_like(text[:3]))), longer, longer)), follows)
    torch.testing.assert_close(told[0], told[1])
    assert told[0].any() and not told[2].any()
    assert small_dit().told(text[None], follows[:1]) is None


def test_rows_of_a_text_know_their_order_where_asked() -> None:
    """At first they do not. Zeros in between and behind have no place."""
    dit = small_dit(text_order=True)
    assert not DiT(dit.config).text_order.any() and small_dit().text_order is None
    text = torch.randn(4, dit.config.text_width, generator=torch.Generator().manual_seed(5))

    def added(rows: torch.Tensor) -> torch.Tensor:
        return (dit.read(rows[None]) - dit.text_embed(rows[None]))[0]

    torch.testing.assert_close(added(text), dit.text_order[:4])
    gap = added(torch.cat((text[:2], torch.zeros_like(text[:1]), text[2:], torch.zeros_like(text[:2]))))
    torch.testing.assert_close(gap[[0, 1, 3, 4]], dit.text_order[:4])
    assert not gap[[2, 5, 6]].any()
    torch.testing.assert_close(added(text[:1].expand(80, -1))[63:], dit.text_order[-1:].expand(17, -1))


def test_guidance_leads_texts_away_from_the_null_text_and_leaves_references_alone() -> None:
    dit = small_dit()
    rows = rows_of(dit, *BATCHES["mixed"])
    plain, guided = made(Faithful, dit, rows, 1.0), made(Faithful, dit, rows, 5.0)
    moved = [bool((guided[i] - plain[i])[rows.mask[i]].abs().max() > 1e-3) for i in range(len(plain))]
    assert moved == [reference is None for reference in rows.references]


@pytest.mark.parametrize("way", [Faithful, Exact])
def test_levels_below_the_limit_are_not_guided(way) -> None:
    dit = small_dit()
    rows = rows_of(dit, *BATCHES["mixed"])
    strong, plain = (
        way(dit, rows.texts, null_of(dit), rows.references, rows.mask, scale) for scale in (5.0, 1.0)
    )
    limited = Above(strong, plain, 0.8)
    for t, wanted in ((1000.0, strong), (800.0, strong), (799.0, plain), (10.0, plain)):
        assert torch.equal(limited(rows.state, t), wanted(rows.state, t))
    assert not torch.allclose(strong(rows.state, 799.0), plain(rows.state, 799.0))


def test_zeros_behind_a_text_count() -> None:
    """They are looked at as published: a text of 40 rows is not that of 41, the last of them zeros."""
    dit = small_dit()
    rows = rows_of(dit, [12], [4])
    few, many = (made(Exact, dit, rows, text_rows=count) for count in (5, 226))
    assert largest(few, many, rows.mask) > 1e-3
    assert largest(few, made(Faithful, dit, rows, text_rows=5), rows.mask) < 1e-5


def test_a_text_with_zeros_between_its_rows() -> None:
    dit = small_dit()
    rows = rows_of(dit, [12], [9])
    rows.texts[0][3:5] = 0
    assert largest(made(Exact, dit, rows), made(Faithful, dit, rows), rows.mask) < 1e-5


def test_texts_in_half_precision_and_beside_others() -> None:
    dit = small_dit()
    rows = rows_of(dit, [12, 12], [9, 4])
    rows.texts[0] = rows.texts[0].bfloat16()
    assert largest(made(Exact, dit, rows), made(Faithful, dit, rows), rows.mask) < 1e-5


def test_a_model_without_references() -> None:
    dit = small_dit(reference_layers=0, reference_channels=0)
    rows = rows_of(dit, [12, 5], [9, 0])
    assert not any("reference" in name for name in dit.state_dict())
    assert largest(made(Exact, dit, rows), made(Faithful, dit, rows), rows.mask) < 1e-5


def test_keys_and_values_that_would_not_fit_are_computed_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    dit = small_dit()
    rows = rows_of(dit, *BATCHES["mixed"])
    kept = made(Exact, dit, rows)
    monkeypatch.setattr(guidance, "KEPT", 0)
    assert torch.equal(made(Exact, dit, rows), kept)


def test_texts_are_embedded_once_and_the_encoder_runs_for_references_alone() -> None:
    dit, seen = small_dit(), {"text": 0, "encoder": 0, "stream": 0}
    rows = rows_of(dit, *BATCHES["mixed"])

    def count(name: str):
        return lambda module, inputs, output: seen.__setitem__(name, seen[name] + len(inputs[0]))

    dit.text_embed.register_forward_hook(count("text"))
    dit.reference_blocks[0].register_forward_hook(count("encoder"))
    dit.blocks[0].register_forward_hook(count("stream"))
    fast = Exact(dit, rows.texts, null_of(dit), rows.references, rows.mask, 5.0)
    for t in (900.0, 500.0, 100.0):
        fast(rows.state, t)
    assert seen == {"text": 3 + 1, "encoder": 3 * 2, "stream": 3 * (5 + 3)}  # three rows by text, two by reference


@pytest.mark.parametrize("way", [Faithful, Exact])
def test_rows_that_do_not_belong_together_are_refused(way) -> None:
    dit = small_dit()
    rows = rows_of(dit, [12, 5], [9, None])
    with pytest.raises(ValueError, match="1 texts and 2 references for 2 rows"):
        way(dit, rows.texts[:1], null_of(dit), rows.references, rows.mask, 5.0)
    with pytest.raises(ValueError, match="a reference of 13 frames for rows of 12"):
        way(dit, rows.texts, null_of(dit), [None, torch.zeros(13, 7)], rows.mask, 5.0)
