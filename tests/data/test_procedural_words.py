"""Sentences of the wide set: whole, in grammar, many, true about sides; and twins have mirrored words."""

import re

import numpy as np
import pytest

from mld.data.mirroring import mirror_caption
from mld.data.sources.procedural.actions import WIDE, Action
from mld.data.sources.procedural.body import play
from mld.data.sources.procedural.captions import captions, phrases
from mld.data.sources.procedural.language.verbs import base, gerund, plural, third
from mld.data.sources.procedural.source import clip_script
from mld.data.sources.procedural.stage import Stage, Style

FOOT, KNEE, WRIST = {"left": 10, "right": 11}, {"left": 4, "right": 5}, {"left": 20, "right": 21}
SEEDS = range(24)


@pytest.fixture(scope="module")
def told() -> list[str]:
    """The captions of 1000 clips."""
    return [text for index in range(1000) for text in clip_script(11, "train", index, wide=True).captions]


def act(name: str, seed: int) -> tuple[Action, np.ndarray]:
    rng = np.random.default_rng(seed)
    action = WIDE[name].factory(rng)
    stage = Stage(round((action.duration + 0.6) * 20) + 1, Style.draw(rng))
    action.play(stage, 0.3)
    return action, play(stage).joints


def test_no_sign_of_the_grammar_is_left_over(told):
    for text in told:
        assert not re.search(r"[{}\[\]<>|~:#]|  |\s[.,]|\.\.", text), text
        assert not re.search(r"\ba (?=anti|angle|arm|object)|\bthe the\b|\bis is\b", text, re.IGNORECASE), text


def test_people_ask_in_many_ways(told):
    words = {word for text in told for word in re.findall(r"[a-z]+", text.lower())}
    assert len(words) > 900
    assert len(set(told)) > 0.95 * len(told)
    share = lambda test: np.mean([bool(test(text)) for text in told])  # noqa: E731
    assert 0.2 < share(lambda text: text.endswith(".")) < 0.9
    assert 0.2 < share(lambda text: text[0].isupper()) < 0.7
    assert share(lambda text: re.match(r"(a|the|someone|he|she|they)\b", text, re.IGNORECASE)) > 0.3
    assert share(lambda text: re.match(r"\w+ing\b", text, re.IGNORECASE)) > 0.03


@pytest.mark.parametrize("name", list(WIDE))
def test_an_action_is_said_in_24_ways_or_more(name):
    rng = np.random.default_rng(0)
    found = set()
    for seed in range(40):
        action = WIDE[name].factory(np.random.default_rng(seed))
        found |= {text.lower() for text in captions(rng, (action,), "one", 6, wide=True)}
    assert len(found) >= 24


@pytest.mark.parametrize("name", ["wave", "raise_arm", "kick", "raise_knee", "throw", "punch"])
def test_sides_in_words_are_sides_in_joints(name):
    """The named limb moves more than the other one, over many performances; the other side is not named."""
    joint = FOOT if name in ("kick", "raise_knee") else WRIST
    for seed in SEEDS:
        action, joints = act(name, seed)
        side = action.words["side"]
        if side == "both":
            continue
        ways = {each: np.ptp(joints[:, joint[each]] - joints[:, 0], axis=0).sum() for each in joint}
        if name in ("kick", "raise_knee"):
            ways = {each: np.ptp(joints[:, joint[each], 1]) for each in joint}
        idle = "right" if side == "left" else "left"
        if name != "throw":
            assert ways[side] > ways[idle], (name, action.words)
        for text in captions(np.random.default_rng(seed), (action,), "one", 6, wide=True):
            sides = re.sub(rf"\bon (the|a|one|his|her|their|your|its) {idle}\b", "", text)  # the leg that bears it
            assert idle not in re.findall(r"left|right", sides) or side in re.findall(r"left|right", sides), text


@pytest.mark.parametrize("name", ["kneel", "squat", "sit", "lie_down", "sit_on_floor", "pick_up"])
def test_going_down_goes_down_and_comes_up(name):
    for seed in SEEDS:
        _, joints = act(name, seed)
        assert joints[:, 0, 1].min() < joints[0, 0, 1] - (0.15 if name == "squat" else 0.25)
        assert abs(joints[-1, 0, 1] - joints[0, 0, 1]) < 0.03


def test_every_action_has_phrases_of_its_name():
    table = phrases(wide=True)["actions"]
    for name in WIDE:
        for seed in range(30):
            assert WIDE[name].factory(np.random.default_rng(seed)).name in table


def test_a_twin_has_mirrored_words(told):
    def spelt(text: str) -> str:
        return re.sub("(?:anti|counter)[- ]?clockwise", "counterclockwise", text, flags=re.IGNORECASE).lower()

    for text in told[:500]:
        twin = mirror_caption(text)
        assert ("left" in text.lower()) == ("right" in re.sub("right away|upright", "", twin.lower())), text
        assert spelt(mirror_caption(twin)) == spelt(text)


def test_forms_of_verbs():
    for verb, he, ing in (
        ("wave", "waves", "waving"),
        ("pick up", "picks up", "picking up"),
        ("carry", "carries", "carrying"),
        ("clap", "claps", "clapping"),
        ("lie", "lies", "lying"),
        ("push", "pushes", "pushing"),
    ):
        assert (third(verb), gerund(verb)) == (he, ing)
    assert [base(word) for word in ("goes", "waves", "punches", "carries")] == ["go", "wave", "punch", "carry"]
    assert [plural(word) for word in ("left kick", "punch")] == ["left kicks", "punches"]
