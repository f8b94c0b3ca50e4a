"""`results.md` and `results.tex`: the numbers of `results.json` as tables for people and papers.

One table per evaluator and kind of number, its rows the real motions, the controls and the tasks; one list per task of
what needs no evaluator. Below: what could not be computed and why, warnings, and what the numbers depend on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mld.metrics.retrieval import PROTOCOLS as RETRIEVAL

Entry = Mapping[str, Any]
EMBEDDING, OWN = "embeddings", "own"
SHORT = {
    "R_precision_top_1": "R@1", "R_precision_top_2": "R@2", "R_precision_top_3": "R@3", "Matching_score": "MM-Dist",
    "MultiModality": "MModality", "PAMPJPE": "PA-MPJPE",
}  # fmt: skip
NOTHING = "–"
MATCHES = {"item": "a clip's own caption only", "label": "every caption of a clip's label"}


@dataclass(frozen=True)
class Table:
    """rows: name and cells; a cell is an entry of the results file or None."""

    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Entry | None]]]
    notes: Sequence[str] = field(default=())

    def markdown(self) -> str:
        cells = [["", *self.columns], *([name, *map(_plain, entries)] for name, entries in self.rows)]
        cells = [[cell.replace("|", "\\|") for cell in row] for row in cells]
        widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
        lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in cells]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        return "\n".join([f"### {self.title}", "", *lines, *(f"\n{note}" for note in self.notes)])

    def latex(self) -> str:
        """A tabular for the package booktabs."""
        head = " & ".join(["", *map(_escaped, self.columns)])
        rows = [" & ".join([_escaped(name), *map(_math, entries)]) + r" \\" for name, entries in self.rows]
        return "\n".join([
            *(f"% {line}" for line in (self.title, *self.notes)),
            rf"\begin{{tabular}}{{l{'c' * len(self.columns)}}}", r"\toprule", head + r" \\", r"\midrule",
            *rows, r"\bottomrule", r"\end{tabular}",
        ])  # fmt: skip


def kind_of(name: str, evaluators: Sequence[str]) -> tuple[str, str, str]:
    """Evaluator ("" for none), kind of number and metric of a result's name: `tmr/all/t2m/R01` -> tmr, all, t2m/R01."""
    label, _, rest = name.partition("/")
    if label not in evaluators:
        return "", OWN, name
    kind, _, metric = rest.partition("/")
    return (label, kind, metric) if metric and kind in RETRIEVAL else (label, EMBEDDING, rest)


def short(metric: str) -> str:
    """A metric as a column head."""
    way, _, rank = metric.partition("/")
    if rank.startswith("R") and rank[1:].isdigit():
        return f"{way} R@{int(rank[1:])}"
    return SHORT.get(metric, metric.replace("/", " "))


def title_of(label: str, kind: str) -> str:
    return f"Evaluator {label}" if kind == EMBEDDING else f"Evaluator {label}, retrieval '{kind}'"


def tables(results: Mapping[str, Any]) -> list[Table]:
    """results: the content of `results.json`."""
    evaluators = list(results["evaluators"])
    all_rows = {**results["rows"], **results["tasks"]}
    grouped: dict[tuple[str, str], dict[str, dict[str, Entry]]] = {}
    for row, entries in all_rows.items():
        for name, entry in entries.items():
            label, kind, metric = kind_of(name, evaluators)
            if label and entry["value"] is not None:
                grouped.setdefault((label, kind), {}).setdefault(row, {})[metric] = entry
    found = [grid(title_of(label, kind), rows) for (label, kind), rows in sorted(grouped.items(), key=_order)]
    for task, entries in results["tasks"].items():
        own = {n: e for n, e in entries.items() if e["value"] is not None and not kind_of(n, evaluators)[0]}
        if own:
            rows = [(_with_unit(name, entry), [entry]) for name, entry in own.items()]
            found.append(Table(f"{task}: without evaluator", ("value",), rows))
    return found


def grid(title: str, rows: Mapping[str, Mapping[str, Entry]], notes: Sequence[str] = ()) -> Table:
    """A table of rows (metric -> entry each), a column for every metric that a row has."""
    metrics = list(dict.fromkeys(metric for entries in rows.values() for metric in entries))
    body = [(name, [entries.get(metric) for metric in metrics]) for name, entries in rows.items()]
    return Table(title, [short(metric) for metric in metrics], body, notes)


def markdown(results: Mapping[str, Any], brief: bool = False) -> str:
    """The whole of `results.md`; brief: for a terminal, without retrieval."""
    chosen = [table for table in tables(results) if not (brief and "retrieval" in table.title)]
    parts = [table.markdown() for table in chosen]
    return "\n\n".join([*parts, *missing(results), *remarks(results), *basis(results)]) + "\n"


def latex(results: Mapping[str, Any]) -> str:
    """The whole of `results.tex`; what the numbers depend on is in comments."""
    lines = [f"% {line}" for part in (*remarks(results), *basis(results)) for line in part.splitlines()]
    return "\n".join([*lines, "", *(table.latex() + "\n" for table in tables(results))])


def missing(results: Mapping[str, Any]) -> list[str]:
    """What has no value, one paragraph per reason."""
    reasons: dict[str, list[str]] = {}
    for row, entries in {**results["rows"], **results["tasks"]}.items():
        for name, entry in entries.items():
            if entry["value"] is None:
                reasons.setdefault(entry["reason"], []).append(f"{row} {name}")
    return [f"Not computed ({reason}): {_listed(names)}." for reason, names in reasons.items()]


def remarks(results: Mapping[str, Any]) -> list[str]:
    """Warnings of the checks, and notes that belong to values."""
    lines = [f"Real row, {label}: {check['status']} ({'; '.join(check['lines'])})."
             for label, check in results["checks"].items()]  # fmt: skip
    notes: dict[str, list[str]] = {}
    for row, entries in {**results["rows"], **results["tasks"]}.items():
        for name, entry in entries.items():
            if entry.get("note") and entry["value"] is not None:
                notes.setdefault(entry["note"], []).append(f"{row} {name}")
    return lines + [f"Note ({note}): {_listed(names)}." for note, names in notes.items()]


def basis(results: Mapping[str, Any]) -> list[str]:
    """What the numbers depend on."""
    data, seeds = results["data"], results["seeds"]
    several = f"{seeds['replications']} replications, ± is 1.96 standard errors over them"
    single = "1 replication, [ ] are 95 % intervals over clips: never compare it with tables of 20"
    how = several if seeds["replications"] > 1 else single
    lines = [
        f"{data['clips']} clips of {data['name']} (data {data['hash']}, captions {data['captions_hash']}), {how}; "
        f"seeds {seeds['seed']} to {seeds['seed'] + seeds['replications'] - 1}.",
        f"Protocol: `{results['protocol']['id']}`, right is {MATCHES[results['protocol']['matches']]}.",
    ]
    lines += [f"Evaluator {label}: `{each['name']}`." for label, each in results["evaluators"].items()]
    if results["model"]:
        model = results["model"]
        opened = f"; {model['opened_with']}" if model.get("opened_with") else ""
        lines.append(f"Model: {model['name']} (weights {model['weights_hash']}{opened}).")
    return lines


def number(value: float, digits: int = 3) -> str:
    """Three decimals, or `digits`, fewer for large and as many as it takes for tiny values."""
    if value == 0 or 0.01 <= abs(value) < 100:
        return f"{value:.{digits}f}" if value else "0"
    return f"{value:.3g}" if not 0.01 <= abs(value) < 1e7 else f"{value:.1f}"


def _plain(entry: Entry | None) -> str:
    if entry is None or entry["value"] is None:
        return NOTHING
    if entry.get("text"):
        return entry["text"]
    if entry.get("ci95") is not None:
        return f"{number(entry['value'])} ± {_margin(entry)}"
    return " ".join(filter(None, [_number(entry), _over_items(entry), _part(entry)]))


def _math(entry: Entry | None) -> str:
    if entry is None or entry["value"] is None:
        return "--"
    if entry.get("text"):
        return entry["text"]
    if entry.get("ci95") is not None:
        return rf"${number(entry['value'])}^{{\pm {_margin(entry)}}}$"
    return " ".join(filter(None, [f"${_number(entry)}$", _over_items(entry), _part(entry)]))


def _over_items(entry: Entry) -> str:
    """The interval over clips, where replications give none."""
    interval = entry.get("interval_over_items")
    digits = entry.get("digits", 3)
    return "[{}, {}]".format(*(number(end, digits) for end in interval)) if interval else ""


def _number(entry: Entry) -> str:
    return number(entry["value"], entry.get("digits", 3))


def _part(entry: Entry) -> str:
    """Over how many of the items that count, where it is not all."""
    return f"({entry['n']}/{entry['of']})" if is_partial(entry) else ""


def is_partial(entry: Entry | None) -> bool:
    """Whether a value is of some of the items that count; those of several such models do not compare."""
    return entry is not None and entry["value"] is not None and entry.get("of", 0) > entry.get("n", 0)


def _margin(entry: Entry) -> str:
    return f"{entry['ci95']:.3f}" if entry["ci95"] >= 0.0005 else f"{entry['ci95']:.1g}"


def _with_unit(name: str, entry: Entry) -> str:
    return f"{name} ({entry['unit']})" if entry["unit"] else name


def _listed(names: Sequence[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _order(item: tuple[tuple[str, str], Any]) -> tuple[str, int]:
    label, kind = item[0]
    return label, (EMBEDDING, *RETRIEVAL).index(kind)


def _escaped(text: str) -> str:
    for character in "&%_#$":
        text = text.replace(character, "\\" + character)
    return text.replace(NOTHING, "--")
