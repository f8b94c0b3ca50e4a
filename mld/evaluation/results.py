"""The result files: `results.json`, and the tables of the same numbers in `results.md` and `results.tex`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mld.evaluation.report import latex, markdown
from mld.files import parse_json, write_json, write_text
from mld.metrics import ranks
from mld.reading import read_text

FILE = "results.json"


def earlier_tasks(results: Mapping[str, Any]) -> dict[str, Any]:
    """Tasks that an earlier command of the same evaluation has written, so that the file keeps them."""
    try:
        there = parse_json(read_text(Path(results["folder"]) / FILE))
    except (OSError, ValueError):
        return {}
    if not isinstance(there, dict) or not isinstance(there.get("tasks"), dict):
        return {}
    same = all(there.get(key) == results[key] for key in ("identity", "seeds"))
    return there["tasks"] if same else {}


def write(results: Mapping[str, Any]) -> None:
    """The three files, from one process. results: the content of `results.json`."""
    if not ranks.is_first():
        return
    place = Path(results["folder"])
    write_json(place / FILE, results)
    write_text(place / "results.md", markdown(results))
    write_text(place / "results.tex", latex(results))
