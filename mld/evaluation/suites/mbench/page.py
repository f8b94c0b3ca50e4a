"""`results.html`: the table of a run, and the worst and best clips of each dimension in the 3D viewer. One file that
loads nothing from anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from mld.evaluation.report import number
from mld.evaluation.suites.mbench.dimensions import DIMENSIONS, Dimension
from mld.evaluation.suites.mbench.prompts import Prompt, Suite
from mld.evaluation.suites.mbench.records import Record
from mld.evaluation.suites.mbench.report import notes
from mld.evaluation.suites.mbench.settings import MBenchSettings
from mld.evaluation.suites.mbench.summary import DIGITS, TASK
from mld.evaluation.suites.page import write_suite_page
from mld.evaluation.suites.reading import Clip
from mld.view.browser import ViewItem

WEB = Path(__file__).parent / "web"
LONGEST = 200  # characters of a caption


class Scored(Protocol):
    """What a run has scored; `clip` gives the motion of a prompt, as the column that ranks has it."""

    suite: Suite
    settings: MBenchSettings
    records: dict[str, Record]

    def clip(self, prompt: Prompt, dimension: str) -> Clip | None: ...


def write_page(path: Path, results: Mapping[str, Any], run: Scored) -> Path:
    """results: the content of `results.json`."""
    items: list[ViewItem] = []
    rows = [row for one in DIMENSIONS.values() if (row := _row(one, results, run, items))]
    words = [note.replace("`", "") for note in notes(results)]
    content = {"columns": _columns(results), "rows": rows, "notes": words}
    title = f"MBench: {results['model']['name']}"
    script = (WEB / "mbench.js").read_text(encoding="utf-8")
    return write_suite_page(path, title, _about(results), content, items, script)


def _row(one: Dimension, results: Mapping[str, Any], run: Scored, items: list[ViewItem]) -> dict[str, Any] | None:
    """A dimension with its numbers and the places of its clips among `items`, which grow."""
    entries = {column: results["tasks"][TASK].get(f"{column}/{one.name}") for column in _columns(results)}
    if not any(entries.values()):
        return None
    cells = [_cell(entries[column]) for column in entries]
    clips = {}
    for kind, chosen in (("worst", _ranked(one, run, -1)), ("best", _ranked(one, run, 1))):
        clips[kind] = []
        for place, (prompt, value) in enumerate(chosen, start=1):
            clip = run.clip(prompt, one.name)
            if clip is not None:
                words = prompt.prompt if len(prompt.prompt) <= LONGEST else f"{prompt.prompt[:LONGEST]} ..."
                label = f"{kind} {place}: {number(value, DIGITS)}"
                items.append(ViewItem(clip.motion, f"#{prompt.id} {words}", label=label))
                clips[kind].append(len(items) - 1)
    first = next(entry for entry in entries.values() if entry is not None)
    title = f"{one.title}\N{NO-BREAK SPACE}{one.arrow}"
    return {"title": title, "says": one.says, "unit": one.unit, "cells": cells, **clips,
            "coverage": f"{first['n']}/{first['of']}", "reason": first.get("reason", "")}  # fmt: skip


def _ranked(one: Dimension, run: Scored, end: int) -> list[tuple[Prompt, float]]:
    """The prompts at one end of a dimension with their values, the outermost first; end: 1 for the best. None is at
    both."""
    found = []
    for prompt in run.suite.of(one.name):
        result = run.records[prompt.id].get(run.settings.mode, one.name)
        if result is not None and result.value is not None:
            found.append((prompt, result.value))
    found.sort(key=lambda pair: (-one.better * pair[1], pair[0].order))  # the best first
    most = run.settings.clips if end < 0 else min(run.settings.clips, max(0, len(found) - run.settings.clips))
    return found[::-1][:most] if end < 0 else found[:most]


def _cell(entry: Mapping[str, Any] | None) -> dict[str, str]:
    if entry is None:
        return {"value": "", "more": ""}
    if entry["value"] is None:
        return {"value": "–", "more": ""}
    interval = entry.get("interval_over_items")
    ends = "\N{NO-BREAK SPACE}– ".join(number(end, DIGITS) for end in interval) if interval else ""
    return {"value": number(entry["value"], DIGITS), "more": ends}


def _columns(results: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(name.partition("/")[0] for name in results["tasks"][TASK]))


def _about(results: Mapping[str, Any]) -> str:
    return f"{results['data']['clips']} prompts of {results['data']['name']}; 95 % intervals over prompts"
