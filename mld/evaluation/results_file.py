"""`results.json` as it comes from anywhere: what is not as an evaluation writes it is told, with its place, before a
table is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mld.errors import DataError, shown
from mld.files import parse_json
from mld.reading import read_text

LARGEST = 50_000_000  # bytes of a file
MOST = 1e100  # of numbers


def read_results(file: Path) -> dict[str, Any]:
    """The content of a results file; `DataError` says in one line what is wrong with it."""
    try:
        content = parse_json(read_text(file, LARGEST))
        _check(content)
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{file}: not a results file of this version ({error})") from error
    return content


def _check(content: Any) -> None:
    """`ValueError` where the content has not the form of results."""
    _keys(content, "results", {"tasks": Mapping, "rows": Mapping, "data": Mapping, "seeds": Mapping})
    _keys(content["data"], "data", {"name": str, "clips": int, "hash": str, "captions_hash": str})
    _keys(content["seeds"], "seeds", {"seed": int, "replications": int})
    _keys(content, "results", {"evaluators": Mapping})
    for label, evaluator in content["evaluators"].items():
        _keys(evaluator, f"evaluators.{label}", {"name": str})
    if "model" not in content:
        raise ValueError("results lacks 'model'")
    if content["model"]:
        _keys(content["model"], "model", {"name": str, "weights_hash": str})
    for part in ("rows", "tasks"):
        for row, entries in content[part].items():
            _of(entries, Mapping, f"{part}.{row}")
            for name, entry in entries.items():
                _check_entry(entry, f"{part}.{row}.{name}")


def _check_entry(entry: Any, where: str) -> None:
    """A number with its interval, or none and the reason."""
    _keys(entry, where, {"protocol": str, "unit": str, "value": (float, int, type(None))})
    if entry["value"] is None:
        return _keys(entry, where, {"reason": str})
    _number(entry["value"], f"{where}.value")
    if entry.get("ci95") is not None:
        _number(entry["ci95"], f"{where}.ci95")
    if interval := entry.get("interval_over_items"):
        if not isinstance(interval, list) or len(interval) != 2:
            raise ValueError(f"{where}.interval_over_items is {shown(interval)}, expected two numbers")
        for number in interval:
            _number(number, f"{where}.interval_over_items")
    return _of(entry.get("note") or "", str, f"{where}.note")


def _keys(content: Any, where: str, types: Mapping[str, Any]) -> None:
    _of(content, Mapping, where)
    for key, kind in types.items():
        if key not in content:
            raise ValueError(f"{shown(where)[1:-1]} lacks '{key}'")
        _of(content[key], kind, f"{where}.{key}")


def _of(value: Any, kind: Any, where: str) -> None:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
        raise ValueError(f"{shown(where)[1:-1]} is {shown(value)}")


def _number(value: Any, where: str) -> None:
    if type(value) not in (int, float) or not abs(value) < MOST:
        raise ValueError(f"{shown(where)[1:-1]} is {shown(value)}, expected a number")
