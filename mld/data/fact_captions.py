"""Sentences out of measured facts: "a person turns left by about 90 degrees, then takes three steps forward and stops."

Beside the sentences that a clip has, these say sides, angles, ways and counts, which annotators leave out. They are of
the clip as it is served, so a mirrored twin has the other side by measure, not by exchange of words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mld.data.facts_in_order import ACTIVITY, Measured, Part, contradicts, ends_facing, parts_of, stops
from mld.data.sequence_captions import in_order, take_apart
from mld.motion.facts.facts import Facts

TRIES = 5  # for each sentence that is wanted
TAIL = 0.3  # share of sentences that are the clip's own, with a fact at its end
OWN_SUBJECT = 0.4  # share of the others that speak of whom the clip's own sentences do: "a boxer"
TURNING = re.compile(r"\b(?:turn|left|right|around|circl|spin|curv|pivot|veer|fac|rotat|back|return)", re.IGNORECASE)
FOUR = (
    "{who} {a}, then {b}, then {c} and finally {d}",
    "{who} {a}, {b}, {c} and then {d}",
    "first {who} {a} and then {b}, after that {c}, and finally {d}",
)


@lru_cache(maxsize=1)
def phrases() -> dict[str, Any]:
    """The table of phrases."""
    return yaml.safe_load(Path(__file__).with_name("fact_phrases.yaml").read_text(encoding="utf-8"))


def measure(joints: np.ndarray, fps: float) -> Measured:
    """Of joints (T, 22, 3), metres, y up."""
    facts = Facts(joints, fps)
    return Measured(facts.seconds, facts.turned, facts.events)


def fact_sentences(
    rng: np.random.Generator, measured: Measured, own: Sequence[str], count: int
) -> tuple[str, ...]:
    """Up to `count` different sentences that are true of the motion; none where nothing is beyond doubt, or where facts
    and the clip's own sentences disagree."""
    said = " ".join(own).lower()
    parts = parts_of(measured, said)
    if contradicts(parts, said):
        return ()
    alone = bool(parts) and not ACTIVITY.search(said)
    found: dict[str, None] = {}
    for _ in range(TRIES * count):
        told = _with_tail(rng, measured, parts, own) if not alone or rng.random() < TAIL else ""
        told = told or (_sentence(rng, measured, parts, own) if alone else "")
        if told:
            found.setdefault(told)
        if len(found) == count:
            break
    return tuple(found)


def _sentence(rng: np.random.Generator, measured: Measured, parts: Sequence[Part], own: Sequence[str]) -> str:
    """The things in their order, as one sentence."""
    who = _either(rng, phrases()["people"])
    subject = take_apart(_either(rng, own)).who
    if subject and rng.random() < OWN_SUBJECT:
        who = subject
    told = [phrase(rng, part) for part in parts]
    if told[-1] and stops(measured, parts) and rng.random() < 0.6:
        told[-1] += f" and {_either(rng, phrases()['stops'])}"
    elif (way := ends_facing(measured)) and rng.random() < 0.4 and not re.search(r"other way|straight", told[-1]):
        told[-1] += f" and {_either(rng, phrases()['ends'][way])}"
    if len(told) == 1:
        return f"{who} {told[0]}."
    if len(told) <= 3:
        return in_order(rng, [[f"{who} {one}."] for one in told], 1)[0]
    return _either(rng, FOUR).format(who=who, **dict(zip("abcd", told))) + "."


def _with_tail(rng: np.random.Generator, measured: Measured, parts: Sequence[Part], own: Sequence[str]) -> str:
    """A sentence of the clip with a fact that it does not tell; "" where there is none."""
    base = take_apart(_either(rng, own))
    if not base.does or not base.plain or "," in base.text:
        return ""
    tails = []
    if not TURNING.search(base.text):
        if way := ends_facing(measured):
            tails += phrases()["ending"][way]
        turned = [part for part in parts if part.kind.startswith("turn") and part.angle]
        if len(turned) == 1 and sum(e.name == "turn" for e in measured.events) == 1:
            degrees = _either(rng, phrases()["degrees"][str(turned[0].angle)])
            tails += [f"turning {turned[0].side} {degrees}", f"turning to the {turned[0].side}"]
    hands = [part for part in parts if part.kind == "overhead"]
    if len(hands) == 1 and not re.search(r"\b(?:arm|hand)", base.text):
        tails.append(f"raising {_either(rng, phrases()['hands'][hands[0].side])} above the head")
    return f"{base.text}, {_either(rng, tails)}." if tails else ""


def phrase(rng: np.random.Generator, part: Part) -> str:
    """One wording of a thing."""
    slots = _slots(rng, part)
    usable = [text for text in phrases()["does"][part.kind] if all(slots.get(s) is not None for s in _names(text))]
    return " ".join(_either(rng, usable).format(**slots).split())


def _slots(rng: np.random.Generator, part: Part) -> dict[str, str | None]:
    table, angle = phrases(), str(part.angle)
    return {
        "side": part.side or None,
        "degrees": _either(rng, table["degrees"][angle]) if part.angle else None,
        "turn_name": _either(rng, table["turn_name"][angle]) if angle in table["turn_name"] else None,
        "metres": _metres(rng, part.metres),
        "steps": _steps(rng, part.steps),
        "curve": "" if part.gentle else None,
        "pace": _either(rng, table["pace"][part.pace]),
        "times": _either(rng, table["times"].get(str(part.count), table["times"]["many"])),
        "hands": _either(rng, table["hands"][part.side]) if part.side else None,
    }


def _metres(rng: np.random.Generator, metres: float) -> str | None:
    """"about two metres": to the next whole one, where that is within a fifth."""
    whole = round(metres)
    if not 1 <= whole <= 8 or abs(metres - whole) > 0.2 * whole:
        return None
    unit = _either(rng, phrases()["unit"]["one" if whole == 1 else "many"])
    return f"{_either(rng, phrases()['about'])} {_either(rng, phrases()['numbers'][str(whole)])} {unit}"


def _steps(rng: np.random.Generator, steps: int) -> str | None:
    """"three steps", of more than three "about five steps"."""
    if not 2 <= steps <= 8:
        return None
    told = f"{_either(rng, phrases()['numbers'][str(steps)])} steps"
    return told if steps <= 3 else f"about {told}"


def _names(text: str) -> list[str]:
    return re.findall(r"{(\w+)}", text)


def _either(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]
