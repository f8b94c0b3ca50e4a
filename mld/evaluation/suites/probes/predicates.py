"""Probes: a prompt in plain words, and what its motion must show. Read, and checked on joints; no network is asked.

The language of expectations. `expect` is a list of which all must hold; an expectation is a name of `facts.yaml` or
one of

    {forward: "> 0.6"}                          a measure (`measures.py`); also "< -0.4", ">= 2", "55 to 130"
    {did: turn, side: left, amount: ">= 40"}    an event (`mld.motion.facts.events.EVENTS`) that fits; side, way,
                                                amount, count (of one event), for (seconds)
    {never: turn, over: 40}                     no such event; over: none with a larger amount; side, way, for
    {count: {jump: 3}, side: left}              how often in all. A number up to 3 is exact, above it one more or less
                                                passes (people lose count as well). Steps: the closing step that brings
                                                the feet together may come on top.
    {order: [walk, {did: turn, side: left}]}    one after the other; an entry is the name of an event, an event as
                                                above, or a list of alternatives
    {while: [walk, wave]}                       at the same time, for half a second or more
    {more: {punch: left}}                       more often (twice or more) with this side than with the other
    {down: left}                                this hand never is over its shoulder and its arm not held out
    {any: [...]}, {all: [...]}, {not: ...}
    {goes: true}                                an expectation of `facts.yaml` by name, as a mapping
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from yaml import YAMLError

from mld.errors import DataError, shown
from mld.evaluation.suites.probes.expectations import Expectation, parse
from mld.evaluation.suites.results_folder import plain_id
from mld.motion.facts import Facts
from mld.reading import read_bytes
from mld.yaml_text import read_yaml

GROUPS = ("actions", "sides", "directions", "counts", "speeds", "body_parts", "sequences", "negations")
HERE = Path(__file__).parent
LEAST = 0.5  # seconds in which something can be seen
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NAME = re.compile(r"[\w-](?:[\w .-]{0,98}[\w-])?")  # Windows drops dots and blanks at the end of names


@dataclass(frozen=True)
class Verdict:
    """Whether a motion passed, and a plain line for each fact that failed, with what was measured."""

    passed: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Probe:
    """A prompt and what its motion must show. group: of our list, one of `GROUPS`. seconds: the length to ask for,
    None: the model's own. facts: the names out of `facts.yaml` among the expectations."""

    id: str
    prompt: str
    group: str
    expect: tuple[Expectation, ...]
    seconds: float | None = None
    facts: tuple[str, ...] = ()


@lru_cache(maxsize=1)
def named_facts() -> dict[str, Expectation]:
    """The table of `facts.yaml`: what a name means."""
    table = _read(HERE / "facts.yaml")
    known: dict[str, Expectation] = {}
    for name, entry in table.items():
        known[name] = parse({"all": entry["all"]}, known, f"facts.yaml: {name}")
    return known


def read_probes(path: Path | None = None) -> tuple[Probe, ...]:
    """The probes of a YAML file, the project's own without one: groups with lists of {id, prompt, expect, seconds}, or
    one list of such entries with a group each. `DataError` naming file and entry for what is missing or not understood.
    """
    path = Path(path) if path else HERE / "prompts.yaml"
    table = _read(path)
    if isinstance(table, Mapping) and table:
        lists = [(group, _list(entries, f"{path}: {shown(group)}")) for group, entries in table.items()]
        rows = [(group, entry) for group, entries in lists for entry in entries]
    else:
        rows = [(None, entry) for entry in _list(table, str(path))]
    probes = tuple(_probe(entry, group, f"{path}: entry {number}", path)
                   for number, (group, entry) in enumerate(rows, start=1))  # fmt: skip
    check_ids(probes, str(path))
    return probes


def check_ids(probes: Sequence[Probe], where: str) -> None:
    """`DataError` where two probes have one id, or two ids that are one name for some disk: capitals, or zeros before a
    number."""
    seen: dict[str, str] = {}
    for probe in probes:
        before = seen.setdefault(plain_id(probe.id).casefold(), probe.id)
        if before != probe.id:
            raise DataError(f"{where}: probes '{before}' and '{probe.id}' would share a file; change one of the ids")
    twice = next((name for name, count in Counter(probe.id for probe in probes).items() if count > 1), None)
    if twice is not None:
        raise DataError(f"{where}: probe '{twice}' is there twice; ids are of one probe each")


def _read(path: Path) -> Any:
    try:
        return read_yaml(read_bytes(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); name a YAML file of probes") from error
    except (ValueError, YAMLError) as error:
        raise DataError(f"{path}: not YAML that can be read ({' '.join(str(error).split())[:120]})") from error


def _list(entries: Any, where: str) -> list[Any]:
    if not isinstance(entries, list):
        raise DataError(f"{where}: has to be a list of entries with id, prompt and expect")
    if not entries:
        raise DataError(f"{where}: no prompts; write entries with id, prompt and expect")
    return entries


def _probe(entry: Any, group: Any, where: str, path: Path) -> Probe:
    """group: None where an entry names its own."""
    if not isinstance(entry, Mapping) or not {"id", "prompt", "expect"} <= set(entry):
        raise DataError(f"{where} needs id, prompt, expect and a group")
    unknown = [key for key in entry if key not in ("id", "prompt", "expect", "seconds", "group")]
    if unknown:
        raise DataError(
            f"{where} has an unknown field {shown(unknown[0])}; fields are id, prompt, expect, seconds, group"
        )
    group = entry.get("group", "") if group is None else group
    if entry.get("group", group) != group:
        raise DataError(f"{where} stands under {shown(group)} and names the group {shown(entry['group'])}; write one")
    name = _name(entry["id"], f"{where}: the id")
    group = _name(group, f"{where}: the group")
    wanted, seconds, prompt = entry["expect"], entry.get("seconds"), entry["prompt"]
    if not isinstance(prompt, str):
        raise DataError(f"{where}: the prompt {shown(prompt)} is no text; put it in quotes")
    prompt = " ".join(prompt.split())
    if not isinstance(wanted, list) or not wanted or not prompt or _CONTROL.search(prompt):
        raise DataError(f"{where}: a prompt needs words, and expect a list of one expectation or more")
    if isinstance(seconds, bool) or seconds is not None and not (
        isinstance(seconds, (int, float)) and LEAST < seconds < 3600
    ):
        raise DataError(f"{where}: seconds has to be a number above {LEAST}, below an hour, not {shown(seconds)}")
    expect = tuple(parse(one, named_facts(), f"{path}: {name}") for one in wanted)
    facts = tuple(one for one in wanted if isinstance(one, str))
    return Probe(name, prompt, group, expect, None if seconds is None else float(seconds), facts)


def _name(value: Any, what: str) -> str:
    """A name that files, tables and options take; `DataError` for another."""
    name = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    if not _NAME.fullmatch(name):
        raise DataError(f"{what} {shown(value)} cannot be a name; letters, digits, '-', '_' and '.' can")
    return name


def check(probe: Probe, joints: NDArray[np.floating[Any]] | Facts, fps: float = 20.0) -> Verdict:
    """Whether joints (T, 22, 3), metres, y up, do what a probe expects. Motions of less than half a second fail."""
    facts = joints if isinstance(joints, Facts) else Facts(np.asarray(joints, dtype=np.float64), fps)
    if facts.seconds < LEAST:
        return Verdict(False, (f"the motion lasts {facts.seconds:.2f} s; {LEAST} s are needed to see anything",))
    reasons = tuple(line for one in probe.expect for line in one(facts))
    return Verdict(not reasons, reasons)


def shows(name: str, facts: Facts) -> bool:
    """Whether a motion shows a fact of `facts.yaml` by its name."""
    return not named_facts()[name](facts)
