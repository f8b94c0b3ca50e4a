"""English sentences for what was played, from the phrases in the folder `phrases`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import yaml

from mld.data.sources.procedural.actions import Action, either
from mld.data.sources.procedural.language import sentences

MAX_TRIES = 24


@lru_cache(maxsize=2)
def phrases(wide: bool = False) -> dict:
    """The table of phrases: of the basic set that in `basic.yaml`; of the wide set all files, one after the other.

    Lists of the same name are joined; a list whose name ends in "!" stands instead of what was there."""
    folder = Path(__file__).with_name("phrases")
    table: dict = {}
    more = sorted(set(folder.glob("*.yaml")) - {folder / "basic.yaml"}) if wide else []
    for path in [folder / "basic.yaml", *more]:
        _join(table, yaml.safe_load(path.read_text(encoding="utf-8")))
    return table


def _join(table: dict, more: dict) -> None:
    for key, value in more.items():
        if isinstance(value, dict):
            _join(table.setdefault(str(key), {}), value)
        elif not isinstance(value, list):
            table[key] = value
        elif str(key).endswith("!"):
            table[key[:-1]] = value
        else:
            table[str(key)] = table.get(str(key), []) + value


def captions(
    rng: np.random.Generator,
    actions: Sequence[Action],
    join: str,
    count: int,
    wide: bool = False,
    true: Sequence[str] = (),
) -> tuple[str, ...]:
    """Up to `count` different sentences (at least one) for actions joined as "one", "then", "three" or "while".

    true: clauses that hold for the whole clip, such as "without turning"; some sentences end with one of them."""
    table = phrases(wide)
    if wide:
        return sentences(rng, actions, join, count, table, true)
    found: dict[tuple[str, ...], str] = {}
    for _ in range(MAX_TRIES):
        told = [_phrase(rng, actions[0], "actions", table)]
        told += [_phrase(rng, other, "while" if join == "while" else "actions", table) for other in actions[1:]]
        frame, who = either(rng, *table["joins"][join]), either(rng, *table["people"])
        sentence = frame.format(**dict(zip(("who", "first", "second", "third"), (who, *told))))
        found.setdefault(tuple(told), re.sub(r"\s+(?=[,. ])", "", sentence))
        if len(found) == count:
            break
    return tuple(found.values())


def _phrase(rng: np.random.Generator, action: Action, form: str, table: dict) -> str:
    """One phrase of an action with its slots filled; a word listed under `slots` gets one of its wordings."""
    listed = table["slots"]
    words = {
        slot: either(rng, *listed[slot][word]) if word in listed.get(slot, {}) else word
        for slot, word in action.words.items()
    }
    return either(rng, *table[form][action.name]).format(**words)
