"""Words in letters that the text tokenizer never saw: told by its pieces, not by a list of languages."""

from __future__ import annotations

from pathlib import Path

import pytest

from mld.checkpoint import load_model
from mld.models.backbones.text_tokenizer import (
    letters_of,
    load_text_tokenizer,
    train_causal_tokenizer,
    train_text_tokenizer,
    unknown_words,
)
from tests.models.sentence_piece import write_sentence_piece

UNKNOWN = [
    ("人が歩く", "人が歩く", 100),
    ("человек идёт", "человек идёт", 100),
    ("شخص يمشي", "شخص يمشي", 100),
    ("चलना", "चलना", 100),
    ("걷는 사람", "걷는 사람", 100),
    ("🙂🕺", "🙂🕺", 100),
    ("a person 走る forward", "走る", 12),
    ("walk walk walk walk walk 🙂", "🙂", 5),
]
BUNDLED = ("motiongpt", "motiongpt3")
KNOWN = ["a person walks", "HELLO WORLD 123", "a café worker’s “naïve” dance — twice…", "", "120 %", "x² + y"]


@pytest.fixture(scope="module", params=["bytes", "causal bytes", "unigram", *BUNDLED])
def english(request, tmp_path_factory) -> frozenset[str]:
    """The letters of a tokenizer that was made from English."""
    texts = ["a person walks forward and waves", "somebody jumps quickly over a lazy box of kicks"]
    if request.param == "unigram":
        folder: Path = tmp_path_factory.mktemp("unigram")
        write_sentence_piece(folder)
        return letters_of(load_text_tokenizer(folder))
    if request.param in BUNDLED:
        return load_model(request.param).vocabulary.letters
    train = train_text_tokenizer if request.param == "bytes" else train_causal_tokenizer
    return letters_of(train(texts, 400))


@pytest.mark.parametrize(("text", "words", "share"), UNKNOWN)
def test_other_scripts_are_unknown(english: frozenset[str], text: str, words: str, share: int) -> None:
    assert unknown_words(text, english) == (words, share)


@pytest.mark.parametrize("text", KNOWN)
def test_what_can_be_read_is_known(english: frozenset[str], text: str) -> None:
    assert unknown_words(text, english) == ("", 0)


def test_a_tokenizer_made_from_another_language_knows_it() -> None:
    texts = ["человек идёт вперёд", "человек прыгает", "человек идёт"] * 20
    for train in (train_text_tokenizer, train_causal_tokenizer):
        letters = letters_of(train(texts, 400))
        assert unknown_words("человек идёт", letters) == ("", 0)
        assert unknown_words("человек 歩く", letters) == ("歩く", 22)


def test_a_model_that_reads_by_an_english_encoder_knows_its_letters() -> None:
    model = load_model("vimogen")
    assert model.unknown_words("一个人 walks") == ("一个人", 38)
    assert model.unknown_words("a person walks déjà, 3 times!") == ("", 0)
