"""`results.md` and `results.tex` of probes: shares by group, how natural the motions are, and every prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mld.evaluation.report import Entry, Table, number
from mld.evaluation.suites.probes.prompts import ALL
from mld.evaluation.suites.probes.summary import TASK

INTERVALS = "[ ] are 95 % intervals over prompts (bootstrap; samples of a prompt stay together)."
SAYS = "A sample has passed where all facts that its prompt names were measured on the motion; see docs/probes.md."
PARTIAL = "(n/of): over motions that are there alone; not to be ranked with others."
WORST = 5  # prompts named in the short report


def tables(results: Mapping[str, Any]) -> list[Table]:
    """results: the content of `results.json`."""
    entries, name = results["tasks"][TASK], results["model"]["name"]
    counts = _counts(results)
    groups = [(group, [entries[group], {"value": n, "text": str(n)}]) for group, n in counts.items()]
    rest = {key: entry for key, entry in entries.items() if key not in counts}
    natural = [(_with_unit(key, entry), [entry]) for key, entry in rest.items()]
    partial = [PARTIAL] if results["protocol"]["partial"] else []
    return [
        Table(f"Probes: {name}", ("samples that do what is said (%)", "prompts"), groups, [SAYS, INTERVALS, *partial]),
        Table("How natural these motions are", ("mean",), natural, notes(results)),
    ]


def notes(results: Mapping[str, Any]) -> list[str]:
    data, model, seeds = results["data"], results["model"], results["seeds"]
    opened = f"; {model['opened_with']}" if model.get("opened_with") else ""
    lengths = data["lengths"]
    lines = [f"{data['clips']} prompts of {data['name']} (hash {data['hash']}), up to {seeds['samples']} samples each, "
             f"seed {seeds['seed']}; {model['name']} ({model['weights_hash']}{opened})."]  # fmt: skip
    if lengths["motions"]:
        lines.append(f"{lengths['motions']} motions of {lengths['seconds']:.2f} s on average.")
    return lines


def markdown(results: Mapping[str, Any], brief: bool = False) -> str:
    """The whole of `results.md`; brief: for a terminal, the prompts that hold least alone."""
    parts = [table.markdown() for table in tables(results)]
    if brief:
        poor = sorted((one for one in results["prompts"] if one["of"]), key=lambda one: one["passed"] / one["of"])
        worst = [f"{one['prompt']!r} {one['passed']}/{one['of']}" for one in poor if one["passed"] < one["of"]]
        parts += [f"Least: {', '.join(worst[:WORST])}."] if worst else ["Every sample does what is said."]
    else:
        parts.append(_prompts(results))
    return "\n\n".join(parts) + "\n"


def latex(results: Mapping[str, Any]) -> str:
    return "\n".join(table.latex() + "\n" for table in tables(results))


def percent(entry: Entry) -> str:
    return "–" if entry["value"] is None else f"{entry['value']:.0f} %"


def interval(entry: Entry) -> str:
    ends = entry.get("interval_over_items")
    return "{} – {}".format(*(f"{end:.0f}" for end in ends)) if ends else ""


def _counts(results: Mapping[str, Any]) -> dict[str, int]:
    """Prompts by group, all first."""
    found = {ALL: len(results["prompts"])}
    for one in results["prompts"]:
        found[one["group"]] = found.get(one["group"], 0) + 1
    return found


def _prompts(results: Mapping[str, Any]) -> str:
    """A line for every prompt, with what its samples do not do."""
    lines = ["### Every prompt", "", "| id | group | prompt | passed | what was not done |", "|---|---|---|---|---|"]
    for one in results["prompts"]:
        wrong = [f"{place}: {'; '.join(sample['reasons'])}" for place, sample in enumerate(one["samples"])
                 if not sample["passed"]]  # fmt: skip
        cells = [one["id"], one["group"], one["prompt"], f"{one['passed']}/{one['of']}", " · ".join(wrong)]
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("&", "&amp;").replace("<", "&lt;").split())


def _with_unit(name: str, entry: Entry) -> str:
    words = name.replace("_", " ")
    return f"{words} ({entry['unit']})" if entry["unit"] else words


def physical_line(results: Mapping[str, Any]) -> str:
    """The physical numbers in one line, for the page."""
    counts, parts = _counts(results), []
    for name, entry in results["tasks"][TASK].items():
        if name not in counts and entry["value"] is not None:
            parts.append(f"{_with_unit(name, entry)} {number(entry['value'])}")
    return ", ".join(parts)
