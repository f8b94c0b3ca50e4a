"""`results.md` and `results.tex` of MBench: a row for each dimension, strict and upstream column side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mld.evaluation.report import Entry, Table, number
from mld.evaluation.suites.mbench.dimensions import DIMENSIONS
from mld.evaluation.suites.mbench.scoring import ALL_FRAMES
from mld.evaluation.suites.mbench.settings import COLUMNS
from mld.evaluation.suites.mbench.summary import DIFFERENCE, DIGITS, TASK

INTERVALS = "[ ] are 95 % intervals over prompts (bootstrap); std is that of the population of prompts."


def table(results: Mapping[str, Any]) -> Table:
    """results: the content of `results.json`."""
    entries = results["tasks"][TASK]
    columns = list(dict.fromkeys(name.partition("/")[0] for name in entries)) or list(COLUMNS)
    rows = []
    for name, one in DIMENSIONS.items():
        cells = [entries.get(f"{column}/{name}") for column in columns]
        if any(cells):
            first = cells[0]
            rows.append((f"{one.title} {one.arrow}", [*cells, _std(first), _coverage(first)]))
    head = [*columns, f"std ({columns[0]})", f"prompts ({columns[0]})"]
    return Table(f"MBench: {results['model']['name']} on {results['data']['name']}", head, rows, notes(results))


def notes(results: Mapping[str, Any]) -> list[str]:
    data, model = results["data"], results["model"]
    opened = f"; {model['opened_with']}" if model.get("opened_with") else ""
    lines = [
        DIFFERENCE, INTERVALS,
        f"{data['clips']} prompts of {data['name']} (hash {data['hash']}, text '{results['protocol']['text']}'), "
        f"seed {results['seeds']['seed']}; {model['name']} ({model['weights_hash']}{opened}).",
    ]  # fmt: skip
    lengths = data["lengths"]
    if lengths["motions"]:
        lines.append(f"{lengths['motions']} scored motions of {lengths['seconds']:.2f} s on average; "
                     f"{lengths['asked_seconds']:.2f} s were asked for. No dimension counts length.")  # fmt: skip
    deep = {name: entry[ALL_FRAMES] for name, entry in results["tasks"][TASK].items() if ALL_FRAMES in entry}
    if deep:
        numbers = ", ".join(f"{number(depth, DIGITS)} ({name.partition('/')[0]})" for name, depth in deep.items())
        lines.append(f"Ground Penetration is of the samples in the ground alone; over all frames it is {numbers} m.")
    return [*lines, *missing(results)]


def missing(results: Mapping[str, Any]) -> list[str]:
    """What has no value, or not of all prompts, a paragraph for each reason."""
    reasons: dict[str, list[str]] = {}
    for name, entry in results["tasks"][TASK].items():
        if entry["value"] is None:
            reasons.setdefault(f"Not computed ({entry['reason']})", []).append(name.replace("/", " "))
        elif entry["n"] < entry["of"]:
            reasons.setdefault(f"Partial ({entry['n']} of {entry['of']} prompts)", []).append(name.replace("/", " "))
    return [f"{reason}: {', '.join(names)}." for reason, names in reasons.items()]


def markdown(results: Mapping[str, Any]) -> str:
    return table(results).markdown() + "\n"


def latex(results: Mapping[str, Any]) -> str:
    return table(results).latex() + "\n"


def _std(entry: Entry | None) -> Entry | None:
    if entry is None or entry["value"] is None:
        return None
    return {"value": entry["std"], "digits": entry["digits"]}


def _coverage(entry: Entry | None) -> Entry | None:
    return None if entry is None else {"value": entry["n"], "text": f"{entry['n']}/{entry['of']}"}
