"""Results of several models side by side, where that is fair: one table holds one protocol, data set and evaluator.

Results that differ in any of these go into tables of their own, with a line that says what differs. Published results
carry each author's own protocol, so they never share a table with ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mld.errors import DataError
from mld.evaluation.protocol import split_identity
from mld.evaluation.report import EMBEDDING, OWN, Entry, Table, is_partial, kind_of, short, title_of

PUBLISHED = Path(__file__).parent / "reference" / "published.yaml"
SOURCES = {"paper": "", "recalled": " *"}
RECALLED = "* recalled, not checked against a source"
PARTIAL = "(n/of): over so many of the prompts only; not to be ranked with the others."
CAREFUL = "Each row has its authors' own protocol; check a row before quoting it."


@dataclass(frozen=True)
class Key:
    """What numbers of one table share. quick: one replication only, which is not compared with several."""

    task: str
    evaluator: str
    kind: str
    protocol: str
    data: str
    quick: bool

    @property
    def subject(self) -> tuple[str, str, str]:
        return self.task, self.evaluator, self.kind

    @property
    def title(self) -> str:
        if self.evaluator:
            return f"{self.task}: {title_of(self.evaluator, self.kind)}"
        return f"{self.task}: without evaluator" + ("" if self.kind == OWN else f", {self.kind}")

    @property
    def notes(self) -> tuple[str, ...]:
        quick = ", 1 replication" if self.quick else ""
        return (f"Protocol {self.protocol}{quick}; data {self.data}.",)


@dataclass
class Board:
    """Rows of one table: row -> (metric, what was measured) -> entry; and rows that tasks do not make, by metric."""

    rows: dict[str, dict[tuple[str, str], Entry]] = field(default_factory=dict)
    reference: dict[str, dict[str, Entry]] = field(default_factory=dict)

    def table(self, key: Key, notes: Sequence[str]) -> Table:
        columns = list(dict.fromkeys(column for row in self.rows.values() for column in row))
        metrics = [metric for metric, _ in columns]
        heads = [short(m) if metrics.count(m) == 1 else f"{short(m)} ({what})" for m, what in columns]
        body = [(name, [row.get(metric) for metric in metrics]) for name, row in self.reference.items()]
        body = [(name, cells) for name, cells in body if any(cells)]
        body += [(name, [row.get(column) for column in columns]) for name, row in self.rows.items()]
        partial = any(is_partial(cell) for _, cells in body for cell in cells)
        return Table(key.title, heads, body, (*key.notes, *notes, *([PARTIAL] if partial else [])))


def merge(results: Mapping[str, Mapping[str, Any]]) -> list[Table]:
    """results: name of the model -> content of its `results.json`."""
    boards: dict[Key, Board] = {}
    for name, content in results.items():
        for task, entries in content["tasks"].items():
            for key, column, entry in _cells(content, task, entries):
                boards.setdefault(key, Board()).rows.setdefault(name, {})[column] = entry
    for content in results.values():
        _add_reference(boards, content)
    ordered = sorted(boards, key=lambda key: (*key.subject[:2], key.kind != EMBEDDING, key.kind))
    return [boards[key].table(key, _differences(key, ordered)) for key in ordered]


def published(keys: Sequence[str] = (), tasks: Sequence[str] = ()) -> list[Table]:
    """The published tables with these keys, or all that belong to these tasks. `DataError` names the keys there are."""
    import yaml

    known = {table["key"]: table for table in yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))}
    unknown = [key for key in keys if key not in known]
    if unknown:
        raise DataError(f"no published table '{unknown[0]}'; known: {', '.join(known)}")
    chosen = [known[key] for key in keys] or [table for table in known.values() if table["task"] in tasks]
    return [_published(table) for table in chosen]


def unique_names(folders: Sequence[Path], contents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Row names: the model's, with the folder where two results have the same."""
    names = [content["model"]["name"] if content["model"] else "real" for content in contents]
    return [name if names.count(name) == 1 else f"{name} ({folder.name})" for name, folder in zip(names, folders)]


def _cells(content: Mapping[str, Any], row: str, entries: Mapping[str, Entry]):
    """Key, column and entry of every value of a row."""
    data = content["data"]
    where = f"{data['name']}, {data['clips']} clips, {data['hash']}/{data['captions_hash']}"
    for name, entry in entries.items():
        if entry["value"] is None:
            continue
        label, kind, metric = kind_of(name, list(content["evaluators"]))
        if not label and "/" in metric:
            kind, _, metric = metric.partition("/")
        what, how = split_identity(entry["protocol"])
        yield Key(row, label, kind, how, where, content["seeds"]["replications"] == 1), (metric, what), entry


def _add_reference(boards: Mapping[Key, Board], content: Mapping[str, Any]) -> None:
    """Put the real row and the controls into every table that they belong to; of equal rows the first one stays."""
    for row, entries in content["rows"].items():
        for key, (metric, _), entry in _cells(content, row, entries):
            for other, board in boards.items():
                if (other.evaluator, other.kind, *other.notes) == (key.evaluator, key.kind, *key.notes):
                    board.reference.setdefault(row, {}).setdefault(metric, entry)


def _differences(key: Key, keys: Sequence[Key]) -> list[str]:
    """Lines that say why this table is not one with the others on the same subject."""
    lines = []
    for other in keys:
        if other == key or other.subject != key.subject:
            continue
        pairs = zip(key.protocol.split("/"), other.protocol.split("/"))
        parts = [f"{mine} here, {theirs} there" for mine, theirs in pairs if mine != theirs]
        parts += ["other data"] if other.data != key.data else []
        parts += ["one replication against several"] if other.quick != key.quick else []
        lines.append(f"Not to be compared with the other table on this: {'; '.join(parts)}.")
    return list(dict.fromkeys(lines))


def _published(table: Mapping[str, Any]) -> Table:
    rows = [
        (line["system"] + SOURCES[line["source"]], [_cell(value, table.get("as_written")) for value in line["values"]])
        for line in table["rows"]
    ]  # fmt: skip
    notes = [CAREFUL, f"Evaluator: {table['evaluator']}."]
    notes += [f"{table['note'][0].upper()}{table['note'][1:]}."] if table.get("note") else []
    notes += [RECALLED] if any(line["source"] == "recalled" for line in table["rows"]) else []
    return Table(f"Published: {table['title']}", [short(metric) for metric in table["metrics"]], rows, notes)


def _cell(value: float | None, as_written: bool | None) -> Entry | None:
    if value is None:
        return None
    return {"value": value, "ci95": None, "text": str(value) if as_written else ""}
