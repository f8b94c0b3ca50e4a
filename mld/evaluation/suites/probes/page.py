"""`results.html` of probes: shares by group, every prompt, and its failing motions in the 3D viewer."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mld.evaluation.suites.page import write_suite_page
from mld.evaluation.suites.probes.prompts import ALL, Suite
from mld.evaluation.suites.probes.report import INTERVALS, SAYS, interval, notes, percent, physical_line
from mld.evaluation.suites.probes.scoring import Outcome, Row
from mld.evaluation.suites.probes.summary import TASK
from mld.motion.motion import Motion
from mld.view.browser import ViewItem

WEB = Path(__file__).parent / "web"
MOST = 160  # motions of a page: about 2 MB, and a second until they can be seen
STEP = 1024  # joints are shown to a millimetre, which packs into half the bytes; the files have them as they are


def write_page(path: Path, results: Mapping[str, Any], suite: Suite, rows: Mapping[str, Row]) -> Path:
    """results: the content of `results.json`."""
    places: dict[tuple[str, int], int] = {}
    items = []
    failing = list(_failing(suite, rows))
    for row, number in failing[:MOST]:
        places[row.probe.id, number] = len(items)
        items.append(_item(row, number))
    groups = [_group(name, suite, rows, results, places) for name in [ALL, *suite.groups]]
    intervals = INTERVALS.replace("[ ]", "Small numbers")
    words = [SAYS, intervals, f"All motions: {physical_line(results)}.", *notes(results)]
    if len(failing) > MOST:
        words.append(f"{MOST} of {len(failing)} failing motions are on this page, one of every prompt first; all are "
                     "in their folder.")  # fmt: skip
    share = percent(results["tasks"][TASK][ALL])
    about = f"{share} of the samples do what is said; {len(suite.probes)} prompts of {suite.name}"
    script, style = ((WEB / f"probes.{kind}").read_text(encoding="utf-8") for kind in ("js", "css"))
    content = {"groups": groups, "notes": words}
    return write_suite_page(path, f"Probes: {results['model']['name']}", about, content, items, script, style)


def _failing(suite: Suite, rows: Mapping[str, Row]) -> Iterator[tuple[Row, int]]:
    """Failing motions as row and place among its samples: the first of every prompt, then the second of every, ..."""
    found = []
    for order, probe in enumerate(suite.probes):
        wrong = [n for n, one in enumerate(rows[probe.id].outcomes) if not one.passed and one.motion is not None]
        found += [(turn, order, number) for turn, number in enumerate(wrong)]
    for _, order, number in sorted(found):
        yield rows[suite.probes[order].id], number


def _item(row: Row, number: int) -> ViewItem:
    outcome = row.outcomes[number]
    assert outcome.motion is not None
    return ViewItem(_shown(outcome.motion), row.probe.prompt, label=f"sample {number}")


def _shown(motion: Motion) -> Motion:
    return dataclasses.replace(motion, joints=(motion.joints * STEP).round() / STEP)


def _group(
    name: str, suite: Suite, rows: Mapping[str, Row], results: Mapping[str, Any], places: Mapping[tuple[str, int], int]
) -> dict[str, Any]:
    entry = results["tasks"][TASK][name]
    prompts = []
    for probe in suite.of(name):
        row = rows[probe.id]
        samples = [_sample(one, places.get((probe.id, number))) for number, one in enumerate(row.outcomes)]
        prompts.append({"id": probe.id, "prompt": probe.prompt, "samples": samples})
    return {"name": name.replace("_", " "), "share": entry["value"], "percent": percent(entry),
            "interval": interval(entry), "prompts": prompts}  # fmt: skip


def _sample(outcome: Outcome, place: int | None) -> dict[str, Any]:
    """place: among the motions of the page, if it is one of them."""
    return {"passed": outcome.passed, "reasons": list(outcome.reasons), "file": outcome.sample.name, "place": place}
