"""Probes: a prompt in plain words, and what its motion must show. Read, and checked on joints; no network is asked.

The language of expectations. `expect` is a list of which all must hold; an expectation is a name of `facts.yaml` or
one of

    {forward: "> 0.6"}                          a measure (`measures.py`); also "< -0.4", ">= 2", "55 to 130"
    {did: turn, side: left, amount: ">= 40"}    an event (`mld.motion.facts.events.EVENTS`) that fits; side, way,
    amount,
                                                count (of one event), for (seconds)
    {never: turn, over: 40}                     no such event; over: none with a larger amount; side, way, for
    {count: {jump: 3}, side: left}              how often in all. A number up to 3 is exact, above it one more or less
                                                passes (people lose count as well). Steps: the closing step that brings
                                                the
                                                feet together may come on top.
    {order: [walk, {did: turn, side: left}]}    one after the other; an entry may be a name of a fact that is one event,
                                                or a list of alternatives
    {while: [walk, wave]}                       at the same time, for half a second or more
    {more: {punch: left}}                       more often (twice or more) with this side than with the other
    {down: left}                                this hand never is over its shoulder and its arm not held out
    {any: [...]}, {all: [...]}, {not: ...}
    {goes: true}                                an expectation of `facts.yaml` by name, as a mapping
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from yaml import YAMLError

from mld.errors import DataError
from mld.evaluation.suites.probes.expectations import Expectation, parse
from mld.motion.facts import Facts
from mld.yaml_text import read_yaml

GROUPS = ("actions", "sides", "directions", "counts", "speeds", "body_parts", "sequences", "negations")
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Verdict:
    """Whether a motion passed, and a plain line for each fact that failed, with what was measured."""

    passed: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Probe:
    """A prompt and what its motion must show. group: of our list, one of `GROUPS`. seconds: the length to ask for,
    None:
    the model's own. facts: the names out of `facts.yaml` among the expectations."""

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
    one
    list of such entries with a group each. `DataError` naming file and entry for what is missing or not understood.
    """
    path = Path(path) if path else HERE / "prompts.yaml"
    table = _read(path)
    if isinstance(table, Mapping):
        rows = [(group, entry) for group, entries in table.items() for entry in _list(entries, f"{path}: {group}")]
    else:
        rows = [
            (entry.get("group", "") if isinstance(entry, Mapping) else "", entry) for entry in _list(table, str(path))
        ]
    if not rows:
        raise DataError(f"{path}: no prompts; write groups ({', '.join(GROUPS)}) with lists of id, prompt and expect")
    probes = tuple(_probe(entry, str(group), number, path) for number, (group, entry) in enumerate(rows, start=1))
    seen: set[str] = set()
    for probe in probes:
        if probe.id in seen:
            raise DataError(f"{path}: probe '{probe.id}' is there twice; ids are of one probe each")
        seen.add(probe.id)
    return probes


def _read(path: Path) -> Any:
    try:
        return read_yaml(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); name a YAML file of probes") from error
    except (ValueError, YAMLError) as error:
        raise DataError(f"{path}: not YAML that can be read ({' '.join(str(error).split())[:120]})") from error


def _list(entries: Any, where: str) -> list[Any]:
    if not isinstance(entries, list):
        raise DataError(f"{where}: has to be a list of entries with id, prompt and expect")
    return entries


def _probe(entry: Any, group: str, number: int, path: Path) -> Probe:
    where = f"{path}: entry {number}"
    if not isinstance(entry, Mapping) or not {"id", "prompt", "expect"} <= set(entry) or not group:
        raise DataError(f"{where} needs id, prompt, expect and a group")
    unknown = sorted(set(map(str, entry)) - {"id", "prompt", "expect", "seconds", "group"})
    if unknown:
        raise DataError(
            f"{where} has an unknown field '{unknown[0][:40]}'; fields are id, prompt, expect, seconds, group"
        )
    wanted, seconds = entry["expect"], entry.get("seconds")
    if not isinstance(wanted, list) or not wanted or not str(entry["prompt"]).strip():
        raise DataError(f"{where}: a prompt needs words, and expect a list of one expectation or more")
    if seconds is not None and not (isinstance(seconds, (int, float)) and 0 < seconds < 3600):
        raise DataError(f"{where}: seconds has to be a number above 0, not {str(seconds)[:40]!r}")
    expect = tuple(parse(one, named_facts(), f"{path}: {entry['id']}") for one in wanted)
    facts = tuple(one for one in wanted if isinstance(one, str))
    return Probe(
        str(entry["id"]),
        str(entry["prompt"]).strip(),
        group,
        expect,
        None if seconds is None else float(seconds),
        facts,
    )


def check(probe: Probe, joints: NDArray[np.floating[Any]] | Facts, fps: float = 20.0) -> Verdict:
    """Whether joints (T, 22, 3), metres, y up, do what a probe expects. Motions of less than half a second fail."""
    facts = joints if isinstance(joints, Facts) else Facts(np.asarray(joints, dtype=np.float64), fps)
    if facts.seconds < 0.5:
        return Verdict(False, (f"the motion lasts {facts.seconds:.2f} s; 0.5 s are needed to see anything",))
    reasons = tuple(line for one in probe.expect for line in one(facts))
    return Verdict(not reasons, reasons)


def shows(name: str, facts: Facts) -> bool:
    """Whether a motion shows a fact of `facts.yaml` by its name."""
    return not named_facts()[name](facts)
