"""Caption scores: known values, conventions, reference styles, reasons for what is missing."""

from __future__ import annotations

import shutil
import sys
from types import SimpleNamespace

import pytest

from mld.errors import DataError, MldError
from mld.metrics.captions import CaptionScores, normalise, spacy_lemmatiser
from mld.metrics.captions.cider import cider_d
from mld.metrics.captions.meteor import meteor
from mld.metrics.captions.rouge import longest_common, rouge_l
from mld.metrics.captions.scores import PROTOCOLS
from mld.metrics.captions.text import lemmas, three, words_of_tokens
from mld.metrics.uncertainty import compare

SAID = ["a person walks forward", "someone jumps up and down", "the man waves his left hand", "a person sits down"]
WRITTEN = [
    ["a man walks forward slowly", "a person walks forward"],
    ["a person is jumping on the spot"],
    ["the man waves with the left hand", "someone waves his left hand", "a man greets", "not used"],
    ["a person takes a seat"],
]


def scores(captions: list[str], references: list[list[str]], **settings) -> dict[str, float]:
    metric = CaptionScores(java=False, python=None, **settings)
    metric.update(captions, references)
    return {name: value.item() for name, value in metric.compute().items()}


def test_normalise() -> None:
    assert normalise("  A person's WALK, then\tstops.") == "a person s walk then stops"


def test_same_words_are_perfect_whatever_the_punctuation() -> None:
    found = scores(["A man walks slowly forward."], [["someone runs", "a man walks slowly forward"]])
    assert found["exact"] == 100.0
    assert found["BLEU_1"] == pytest.approx(100.0)
    assert found["BLEU_4"] == pytest.approx(100.0)
    assert found["ROUGE_L"] == pytest.approx(100.0)


def test_bleu_by_hand() -> None:
    """6 words, 5 in the reference, 3 of 5 pairs, equal lengths: BLEU-1 = 5/6, BLEU-2 = sqrt(5/6 * 3/5)."""
    found = scores(["the man walks to the left"], [["the man runs to the left"]])
    assert found["BLEU_1"] == pytest.approx(100 * 5 / 6)
    assert found["BLEU_2"] == pytest.approx(100 * (5 / 6 * 3 / 5) ** 0.5)
    assert found["exact"] == 0.0


def test_the_conventions_differ_in_the_length_that_counts() -> None:
    """4 words said; references of 2 and 5 words: the shortest asks for no penalty, the closest for exp(1 - 5/4)."""
    found = scores(["a b c d"], [["a b", "a b c d e"]], protocols=("metricverse-raw", "coco-raw"))
    assert found["BLEU_1"] == pytest.approx(100.0)
    assert found["coco-raw/BLEU_1"] == pytest.approx(100 * 2.718281828 ** (-1 / 4), rel=1e-6)
    missing = scores(["a"], [["b"]], protocols=("metricverse-raw", "coco-raw"))
    assert missing["BLEU_1"] == 0.0
    assert 0 < missing["coco-raw/BLEU_1"] < 1e-3


def test_rouge_by_hand() -> None:
    """Common subsequence "a walks": precision 2/3, recall 2/4."""
    assert longest_common("abcde", "bxdae") == 3
    said, reference = ["a", "dog", "walks"], ["a", "cat", "walks", "home"]
    assert rouge_l([said], [[reference]], "metricverse").item() == pytest.approx(
        2 * (2 / 3) * (1 / 2) / (2 / 3 + 1 / 2)
    )
    expected = 2.44 * (2 / 3) * (1 / 2) / (1 / 2 + 1.44 * 2 / 3)
    assert rouge_l([said], [[reference]], "coco").item() == pytest.approx(expected)


def test_cider_rewards_rare_words_and_belongs_to_the_set() -> None:
    references = [[["a", "man", "cartwheels"]], [["a", "man", "walks"]], [["a", "man", "sits"]]]
    rare, common = cider_d([["cartwheels"], ["a", "man"], ["sits"]], references)[:2]
    assert rare > common
    assert cider_d([["a", "man"]], [[["a", "man"]]]).item() == 0.0


def test_references_come_in_threes() -> None:
    assert three(["A"]) == ["A", "A", "A"]
    assert three(["A", "B"]) == ["A", "B", "A"]
    assert three(["A", "B", "C", "D"]) == ["A", "B", "C"]
    with pytest.raises(DataError, match="reference"):
        three([])


def test_saying_always_the_same_shows() -> None:
    found = scores(["a person walks"] * 4, [["one"], ["two"], ["three"], ["three"]])
    assert found["unique"] == 25.0
    assert found["unique_reference"] == 75.0


def test_batches_add_up_and_reset_forgets() -> None:
    metric = CaptionScores(java=False, python=None)
    metric.update(["nothing"], [["else"]])
    metric.reset()
    metric.update(["a b c d"], [["a b c d"]])
    metric.update(["e f g h"], [["x y z w"]])
    metric.update([], [])
    assert metric.compute()["exact"].item() == 50.0
    assert metric.compute()["BLEU_1"].item() == pytest.approx(50.0)


@pytest.mark.parametrize("protocol", ["metricverse-raw", "coco-raw"])
def test_an_empty_answer_scores_zero(protocol: str) -> None:
    found = scores([""], [["a person walks"]], protocols=(protocol,))
    for name in ("exact", "BLEU_1", "BLEU_4", "ROUGE_L", "CIDEr"):
        assert found[name] == pytest.approx(0.0, abs=1e-6)


def test_items_without_a_reference_are_named() -> None:
    metric = CaptionScores(java=False, python=None)
    metric.update(["a", "b", "c"], [["x"], [], [" "]], ids=[4, 7, 8])
    for score in metric.scores(draws=10).values():
        assert score.value is None
        assert "2 of 3" in score.reason
        assert "7, 8" in score.reason
    with pytest.raises(DataError, match="1 captions"):
        metric.update(["a"], [])
    with pytest.raises(DataError, match="bleurt"):
        CaptionScores(("bleurt",))


def test_token_references_and_their_reasons() -> None:
    tokens = [[["a/DET", "man/NOUN", "walk/VERB"]], [["a/DET", "man/NOUN", "sit/VERB"]]]
    metric = CaptionScores(("metricverse-token", "coco-raw"), java=False, python=None)
    metric.update(["a man walk", "a man sits"], [["a man walks."], ["a man sits."]], tokens=tokens)
    assert metric.scores()["BLEU_1"].value == pytest.approx(100 * 5 / 6)
    metric.update(["a man"], [["a man"]])
    found = metric.scores(draws=20)
    assert found["BLEU_1"].value is None
    assert "1 of 3" in found["BLEU_1"].reason
    assert found["coco-raw/BLEU_1"].value is not None
    assert words_of_tokens(("a/DET", "either/or/CCONJ", "odd")) == "a either/or odd"


def test_a_lemmatiser_serves_answers_and_references_without_tokens() -> None:
    metric = CaptionScores(
        ("metricverse-token",), java=False, python=None, lemmatiser=lambda text: text.replace("walks", "walk")
    )
    metric.update(["a man walks"], [["a man walks"]])
    metric.update(["a man walks"], [["a man walks."]], tokens=[[["a/DET", "man/NOUN", "walk/VERB"]]])
    assert metric.scores()["BLEU_1"].value == pytest.approx(100.0)


def test_lemmas_of_nouns_and_verbs_except_left() -> None:
    parsed = [("men", "man", "NOUN"), ("left", "leave", "VERB"), ("slower", "slow", "ADJ"), ("3", "3", "NUM")]
    tokens = [SimpleNamespace(text=text, lemma_=lemma, pos_=pos) for text, lemma, pos in parsed]
    assert lemmas(tokens) == "man left slower"
    with pytest.raises(MldError, match="spaCy pipeline|spacy"):
        spacy_lemmatiser("no_such_pipeline")


def test_intervals_hold_the_values_and_models_compare() -> None:
    metric = CaptionScores(PROTOCOLS[::2], java=False, python=None)
    worse = CaptionScores(PROTOCOLS[::2], java=False, python=None)
    for said, written in zip(SAID * 6, WRITTEN * 6):
        metric.update([said], [written])
        worse.update(["nothing to see here"], [written])
    found = metric.scores(draws=200)
    measured = {name for name, score in found.items() if score.value is not None}
    assert {"exact", "BLEU_1", "BLEU_4", "ROUGE_L", "CIDEr", "coco-raw/BLEU_4"} <= measured
    for name, score in found.items():
        if name in measured and not name.endswith(("unique", "unique_reference", "METEOR")):
            assert score.interval[0] - 1e-9 <= score.value <= score.interval[1] + 1e-9, name
    ours, theirs = (each.per_item(each.items())["ROUGE_L"] for each in (metric, worse))
    found = compare(ours, theirs, draws=200)
    assert found.difference < 0
    assert found.p_value < 0.05


def test_what_needs_more_says_so() -> None:
    metric = CaptionScores(("metricverse-raw", "coco-raw"), java=False, python=None)
    metric.update(SAID, WRITTEN)
    found = metric.scores()
    assert "prepare.nlg" in found["METEOR"].reason
    assert "model folder" in found["BERTScore"].reason
    assert "built-in" in metric.backend
    assert "left out" in found["coco-raw/METEOR"].reason


def test_meteor_without_java(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="Java"):
        meteor(SAID, WRITTEN)


def test_meteor_without_the_package(monkeypatch, tmp_path) -> None:
    java = tmp_path / "java"
    java.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "pycocoevalcap.meteor.meteor", None)
    with pytest.raises(MldError, match=r"\[nlg\]"):
        meteor(SAID, WRITTEN)


@pytest.mark.skipif(shutil.which("java") is None, reason="no Java")
def test_meteor_of_the_same_words_is_one() -> None:
    pytest.importorskip("pycocoevalcap")
    score, each = meteor(["a man walks\nforward", "xyz"], [["a man walks forward"], ["a b"]])
    assert each[1] == 0.0
    assert 0.9 < each[0] <= 1.0 + 1e-9
    assert 0 < score < 1


def test_pycocoevalcap_gives_the_same_numbers() -> None:
    pytest.importorskip("pycocoevalcap")
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    written = {i: three(several) for i, several in enumerate(WRITTEN)}
    said = {i: [text] for i, text in enumerate(SAID)}
    found = scores(SAID, WRITTEN, protocols=("coco-raw",))
    for order, value in enumerate(Bleu(4).compute_score(written, said, verbose=0)[0], start=1):
        assert found[f"BLEU_{order}"] == pytest.approx(100 * value)
    assert found["ROUGE_L"] == pytest.approx(100 * Rouge().compute_score(written, said)[0])
    assert found["CIDEr"] == pytest.approx(100 * Cider().compute_score(written, said)[0])


def test_the_lemmatiser_is_used_and_named_where_it_is_installed(monkeypatch) -> None:
    """Without spaCy there is none; with it, its versions are named and the pipeline's tokens make the caption."""
    import sys
    from importlib.metadata import PackageNotFoundError
    from types import SimpleNamespace

    from mld.metrics.captions import installed_lemmatiser, lemmatiser_name, text

    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(text, "version", missing)
    assert installed_lemmatiser() is None and lemmatiser_name() == "none"
    tokens = [SimpleNamespace(text=t, lemma_=lemma, pos_=pos) for t, lemma, pos in
              (("walks", "walk", "VERB"), ("left", "leave", "VERB"), (".", ".", "PUNCT"))]  # fmt: skip
    monkeypatch.setattr(text, "version", lambda name: "3.8")
    monkeypatch.setitem(sys.modules, "spacy", SimpleNamespace(load=lambda name: lambda caption: tokens))
    assert installed_lemmatiser()("walks left.") == "walk left"
    assert lemmatiser_name() == "spacy 3.8, en_core_web_sm 3.8"
