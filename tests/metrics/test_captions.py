"""Caption scores."""

from __future__ import annotations

import pytest

from mld.metrics.captions import CaptionScores, normalise


def scores(captions: list[str], references: list[list[str]]) -> dict[str, float]:
    metric = CaptionScores()
    metric.update(captions, references)
    return {name: value.item() for name, value in metric.compute().items()}


def test_normalise() -> None:
    assert normalise("  A person's WALK, then\tstops.") == "a person s walk then stops"


def test_same_words_are_perfect_whatever_the_punctuation() -> None:
    found = scores(["A man walks slowly forward."], [["someone runs", "a man walks slowly forward"]])
    assert found["exact"] == 1.0
    assert found["BLEU_1"] == pytest.approx(1.0)
    assert found["BLEU_4"] == pytest.approx(1.0)


def test_bleu_by_hand() -> None:
    """6 words, 5 in the reference, 3 of 5 pairs, equal lengths: BLEU-1 = 5/6, BLEU-2 = sqrt(5/6 * 3/5)."""
    found = scores(["the man walks to the left"], [["the man runs to the left"]])
    assert found["BLEU_1"] == pytest.approx(5 / 6)
    assert found["BLEU_2"] == pytest.approx((5 / 6 * 3 / 5) ** 0.5)
    assert found["exact"] == 0.0


def test_saying_always_the_same_shows() -> None:
    found = scores(["a person walks"] * 4, [["one"], ["two"], ["three"], ["three"]])
    assert found["unique"] == 0.25
    assert found["unique_reference"] == 0.75


def test_batches_add_up_and_reset_forgets() -> None:
    metric = CaptionScores()
    metric.update(["nothing"], [["else"]])
    metric.reset()
    metric.update(["a b c d"], [["a b c d"]])
    metric.update(["e f g h"], [["x y z w"]])
    assert metric.compute()["exact"].item() == 0.5
    assert metric.compute()["BLEU_1"].item() == pytest.approx(0.5)


def test_an_empty_answer_scores_zero() -> None:
    found = scores([""], [["a person walks"]])
    assert found["exact"] == 0.0
    assert found["BLEU_1"] == 0.0
