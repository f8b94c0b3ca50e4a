"""English sentences for what was played, from the phrases in `phrases.yaml`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import yaml

from mld.data.sources.procedural.actions import Action, either

MAX_TRIES = 24


@lru_cache(maxsize=1)
def phrases() -> dict:
    """The table of phrases."""
    return yaml.safe_load(Path(__file__).with_name("phrases.yaml").read_text(encoding="utf-8"))


def captions(rng: np.random.Generator, actions: Sequence[Action], join: str, count: int) -> tuple[str, ...]:
    """Up to `count` different sentences (at least one) for actions joined as "one", "then" or "while"."""
    found: dict[tuple[str, ...], str] = {}
    for _ in range(MAX_TRIES):
        told = [_phrase(rng, actions[0], "actions")]
        if join != "one":
            told.append(_phrase(rng, actions[1], "while" if join == "while" else "actions"))
        frame, who = either(rng, *phrases()["joins"][join]), either(rng, *phrases()["people"])
        sentence = frame.format(**dict(zip(("who", "first", "second"), (who, *told))))
        found.setdefault(tuple(told), re.sub(r"\s+(?=[,. ])", "", sentence))
        if len(found) == count:
            break
    return tuple(found.values())


def _phrase(rng: np.random.Generator, action: Action, table: str) -> str:
    """One phrase of an action with its slots filled; a word listed under `slots` gets one of its wordings."""
    listed = phrases()["slots"]
    words = {
        slot: either(rng, *listed[slot][word]) if word in listed.get(slot, {}) else word
        for slot, word in action.words.items()
    }
    return either(rng, *phrases()[table][action.name]).format(**words)
