"""What the answer of a judge says: a label of a list, yes or no, or JSON that says whether a motion matches.

Each is read in two ways. As published (specs mbench 8, vimogen 8.3), so that numbers compare; and robustly: the last
line counts, labels are whole, and an answer that says nothing is None instead of no.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

_THOUGHT = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_ANSWER = re.compile(r"answer\W*:\W*", re.IGNORECASE)
_ANSWER_LINE = re.compile(r"^\W*(?:final\s+)?answer\W*:\W*(\w+)", re.IGNORECASE | re.MULTILINE)
_MATCHES = re.compile(r"""["']matches["']\s*:\s*["']?(true|false|yes|no|1|0)\b""", re.IGNORECASE)
_YES, _NO = ("true", "yes", "1"), ("false", "no", "0")
_AROUND = " \t\r\n.,;:!?'\"`*_()[]{}<>“”‘’„«»"


class Verdict(NamedTuple):
    """matches: None where the answer does not say it."""

    analysis: str
    matches: bool | None


def published_choice(answer: str, label: str) -> tuple[str, float]:
    """The label that the published parser takes from an answer, and 1 where it is the right one: what comes after the
    first blank line, if there is one, and there after the first colon."""
    text = answer.strip()
    if "\n\n" in text:
        text = text.split("\n\n", 1)[1]
    if ":" in text:
        text = text.split(":", 1)[1]
    text = text.strip().rstrip(".,;:!?'\"")
    return text, float(text.lower() == label.lower())


def robust_choice(answer: str, labels: Sequence[str]) -> str | None:
    """The label that an answer ends with, as the list has it; None where that is none of the list, or several.

    What stands behind the last colon of the last line, else the last line, has to be a whole label; else the line
    names one of them alone."""
    known = {_plain(label): label for label in labels}
    lines = [line for line in _said(answer).splitlines() if _plain(line)]
    if not lines:
        return None
    for part in (lines[-1].rpartition(":")[2], lines[-1]):
        if _plain(part) in known:
            return known[_plain(part)]
    line, named = f" {_words(lines[-1])} ", set()
    for label in sorted(known, key=len, reverse=True):  # "running in place" is not "running"
        form = f" {_words(label)} "
        if form.strip() and form in line:
            named.add(label)
            line = line.replace(form, " | ")
    return known[named.pop()] if len(named) == 1 else None


def published_yes(answer: str) -> tuple[str, float]:
    """What the published parser takes as the decision, and 1 where "yes" is in it: all behind the first "Answer:"."""
    decision = answer.split("Answer:", 1)[1] if "Answer:" in answer else answer
    decision = decision.strip()
    return decision, float("yes" in decision.lower())


def robust_yes(answer: str) -> bool | None:
    """Whether an answer says yes: in the last line that begins with "Answer:", else behind the last "Answer:", else as
    the first or the last word of the last line."""
    text = _said(answer)
    lines = [line for line in text.splitlines() if _plain(line)]
    if not lines:
        return None
    found = [word.lower() for word in _ANSWER_LINE.findall(text) if word.lower() in (*_YES, *_NO)]
    if not found and (parts := _ANSWER.split(text))[1:]:
        found = re.findall(r"\w+", parts[-1].lower())[:1]
    if not found:
        words = re.findall(r"\w+", lines[-1].lower())
        ends = {word for word in (*words[:1], *words[-1:]) if word in ("yes", "no")}
        found = list(ends) if len(ends) == 1 else []
    if not found or found[-1] not in (*_YES, *_NO):
        return None
    return found[-1] in _YES


def verdict(answer: str, published: bool = False) -> Verdict:
    """What an answer in JSON, by itself or in a ``` block, says of a motion.

    Where nothing parses as JSON, `"matches": true` or false is looked for. published: as the published gate does it,
    whose pattern for that never fits: `"matches"` and "true" anywhere make a match, and silence is no."""
    text = answer.strip() if published else _said(answer)
    for part in (text, *_blocks(text)):
        found = _mapping(part)
        if found is not None:
            matches = _truth(found.get("matches"))
            analysis = found.get("analysis")
            said = analysis.strip() if isinstance(analysis, str) and analysis.strip() else text
            return Verdict(said, bool(matches) if published else matches)
    if published:
        return Verdict(text, '"matches"' in text and "true" in text.lower())
    found_words = _MATCHES.findall(text)
    return Verdict(text, found_words[-1].lower() in _YES if found_words else None)


def _said(answer: str) -> str:
    """An answer without what a model thought before it."""
    return _THOUGHT.sub("", answer).rpartition("</think>")[2].strip()


def _plain(text: str) -> str:
    return " ".join(text.split()).strip(_AROUND).lower()


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def _blocks(text: str) -> list[str]:
    return [block.strip().removeprefix("json").strip() for block in text.split("```")[1::2]]


def _mapping(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and "matches" in found else None


def _truth(value: Any) -> bool | None:
    if isinstance(value, (bool, int, float)):
        return bool(value)
    if isinstance(value, str) and value.strip().lower() in (*_YES, *_NO):
        return value.strip().lower() in _YES
    return None
