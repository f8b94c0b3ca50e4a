"""Sentences that say in which order things happen."""

import re

import numpy as np
import pytest

from mld.data.sequence_captions import gerund, in_order, take_apart


def _all(*sentences: list[str], count: int = 60) -> set[str]:
    return set(in_order(np.random.default_rng(0), sentences, count))


@pytest.mark.parametrize(
    ("sentence", "who", "does"),
    [
        ("a person walks forward.", "a person", "walks forward"),
        ("someone quickly turns left.", "someone", "quickly turns left"),
        ("a basketball player side steps to the left.", "a basketball player", "side steps to the left"),
        ("the man is running ahead.", "the man", "is running ahead"),
        ("a person on the ground pushes up and stands.", "", ""),  # what follows the subject is no verb
        ("pushed off balance, a person steps back.", "", ""),
        ("walk forward", "", ""),
        ("a man's hands go up", "", ""),
    ],
)
def test_a_subject_is_taken_away_where_a_verb_follows(sentence: str, who: str, does: str) -> None:
    told = take_apart(sentence)
    assert (told.who, told.does) == (who, does)


@pytest.mark.parametrize(
    ("verb", "ing"),
    [("walks", "walking"), ("runs", "running"), ("waves", "waving"), ("punches", "punching"), ("lies", "lying"),
     ("goes", "going"), ("claps", "clapping"), ("carries", "carrying"), ("bows", "bowing"), ("veers", "veering"),
     ("begins", "beginning"), ("stretches", "stretching"), ("passes", "passing"), ("sits", "sitting")],
)  # fmt: skip
def test_gerunds(verb: str, ing: str) -> None:
    assert gerund(verb) == ing


def test_two_things_are_told_in_their_order_in_many_wordings() -> None:
    told = _all(["a person walks forward."], ["someone turns left."])
    assert len(told) >= 12
    for sentence in told:
        low = sentence.lower()
        walk, turn = re.search("walk", low).start(), re.search("turn", low).start()
        backwards = low.startswith("before") or "left after walking" in low
        assert (turn < walk) == backwards, sentence
        assert low.count("person") <= 2 and "someone" not in low and low.endswith(".")
    assert "a person walks forward, then turns left." in told
    assert "after walking forward, a person turns left." in told
    assert "a person walks forward before turning left." in told


def test_three_things() -> None:
    told = _all(["a man walks forward."], ["a person jumps twice."], ["the person sits down."])
    assert "a man walks forward, then jumps twice and finally sits down." in told
    assert "first a man walks forward, then he jumps twice, and finally he sits down." in told
    for sentence in told:
        places = [re.search(word, sentence).start() for word in ("walk", "jump", "sit")]
        assert places == sorted(places), sentence


def test_sentences_with_an_order_of_their_own_stay_whole_or_go_on_as_a_chain() -> None:
    told = _all(["a person walks, then stops."], ["someone turns around. After that they bow."])
    assert {sentence.split("turns")[0].split(". ")[0] for sentence in told} <= {
        "a person walks, then stops", "first, a person walks, then stops"}  # fmt: skip
    assert all("the person turns around. After that they bow." in sentence for sentence in told)
    chain = _all(["a person walks, then stops."], ["someone turns around."])
    assert "a person walks, then stops, then turns around." in chain


def test_what_has_no_subject_is_put_behind_another_sentence() -> None:
    told = _all(["Walk forward"], ["Turn left"])
    assert "Walk forward. Then turn left" in told and all(sentence[0].isupper() for sentence in told)


def test_no_wording_with_and_where_that_could_be_misread() -> None:
    told = _all(["a person walks and stops."], ["a person bends and lifts a box."])
    assert told and not any(re.search("stops and|after walk|after bend|box after", sentence) for sentence in told)


def test_the_same_seed_gives_the_same_sentences() -> None:
    parts = (["a person walks.", "someone strolls."], ["a man bows."])
    one, two = (in_order(np.random.default_rng(7), parts, 4) for _ in range(2))
    assert one == two and len(set(one)) == 4
