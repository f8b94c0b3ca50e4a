"""Sentences for one action or several: frames in which the phrases of actions stand, said of a person and typed."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from mld.data.sources.procedural.actions import Action
from mld.data.sources.procedural.language.keyboard import typed
from mld.data.sources.procedural.language.people import YOU, Person, someone
from mld.data.sources.procedural.language.phrases import Said, candidates

MAX_TRIES = 40
TRUE_TOLD = 0.5  # share of sentences that also say what holds for the whole clip
_FIELD = re.compile(r"\{([abc])\.(third|base|ing)\}|\{(who|he|his|is|is_he)\}")


def sentences(
    rng: np.random.Generator, actions: Sequence[Action], join: str, count: int, table: dict, true: Sequence[str] = ()
) -> tuple[str, ...]:
    """Up to `count` different sentences (at least one) for actions joined as a key of `frames`.

    table: `actions` (phrases by action), `slots` (wordings by slot and word), `frames` (by join), as in `phrases/`.
    true: clauses that hold for the whole clip, such as "without turning"."""
    found: dict[str, str] = {}
    for _ in range(MAX_TRIES):
        sentence = _sentence(rng, actions, join, table, true)
        found.setdefault(sentence.lower().rstrip("."), sentence)
        if len(found) == count:
            break
    return tuple(found.values())


def _sentence(rng: np.random.Generator, actions: Sequence[Action], join: str, table: dict, true: Sequence[str]) -> str:
    told = {}
    for letter, action in zip("abc", actions):
        said = candidates(table["actions"][action.name], action)
        told[letter] = said[int(rng.integers(len(said)))]
    frames = table["frames"][join]
    if join == "one" and told["a"].noun and rng.random() < 0.5:
        sentence = _bare(rng, told["a"], table["slots"])
    else:
        frame, person = _draw(rng, frames), someone(rng)
        if "{who}" not in frame and "{is" not in frame:
            person = (
                YOU
                if ".base}" in frame
                else Person("", *(("they", "their", "them") if rng.random() < 0.5 else ("he", "his", "him")))
            )
        sentence = _FIELD.sub(lambda match: _field(rng, match, frame, person, told, table["slots"]), frame)
    if true and rng.random() < TRUE_TOLD:
        sentence = f"{sentence} {true[int(rng.integers(len(true)))]}"
    return typed(rng, sentence)


def _bare(rng: np.random.Generator, said: Said, slots: dict) -> str:
    """A noun alone: "left kick", "three left kicks"."""
    text = said.form(rng, "noun", Person(""), slots)
    return re.sub(r"^a ", "", text) if rng.random() < 0.6 else text


def _draw(rng: np.random.Generator, frames: dict[str, float]) -> str:
    chances = np.fromiter(frames.values(), float)
    return list(frames)[int(rng.choice(len(chances), p=chances / chances.sum()))]


def _field(
    rng: np.random.Generator, match: re.Match, frame: str, person: Person, told: dict[str, Said], slots: dict
) -> str:
    letter, form, word = match.groups()
    before = frame[: match.start()]
    if word:
        many = person.later_many if word == "is_he" else person.many
        return {"who": person.name, "he": person.he, "his": person.his}.get(word) or ("are" if many else "is")
    if form == "third":
        pronoun = before.rfind("{he}") > before.rfind("{who}")
        form = "base" if (person.later_many if pronoun else person.many) else "third"
    return told[letter].form(rng, form, person, slots)
