"""`results.json`: every value with its unit, 95 % interval, number of items and protocol, or null with a reason.

One replication gives a `Score` per metric; several are summarised by mean and 1.96 x population std / sqrt(R)
(evaluation spec 4.4). A table for people is made from the same numbers.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Score:
    """One metric of one pass. value None: it cannot be computed, and `reason` says why.

    interval: 95 % interval over items. note: a warning that belongs to the value."""

    value: float | None
    unit: str = ""
    n: int = 0
    reason: str = ""
    interval: tuple[float, float] | None = None
    note: str = ""


def summarise(passes: Sequence[Mapping[str, Score]], protocol: str) -> dict[str, dict[str, Any]]:
    """JSON-ready metrics of one task from its replications: value, ci95, unit, n, protocol and values or reason."""
    return {name: _summary([scores[name] for scores in passes], protocol) for name in passes[0]}


def _summary(scores: Sequence[Score], protocol: str) -> dict[str, Any]:
    values = [score.value for score in scores if score.value is not None and math.isfinite(score.value)]
    entry: dict[str, Any] = {"unit": scores[0].unit, "n": scores[0].n, "protocol": protocol}
    if scores[0].note:
        entry["note"] = scores[0].note
    if len(values) < len(scores):
        reason = next((score.reason for score in scores if score.reason), "not a finite number")
        return {"value": None, "ci95": None, "reason": reason, **entry}
    mean = sum(values) / len(values)
    interval = None
    if len(values) > 1:
        spread = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
        interval = 1.96 * spread / math.sqrt(len(values))
    elif scores[0].interval is not None:
        entry["interval_over_items"] = list(scores[0].interval)
    return {"value": mean, "ci95": interval, "values": values, **entry}


def write_json(path: Path, content: Any) -> Path:
    """Write JSON at once or not at all; NaN is refused."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(temporary, path)
    return path


def file_hash(path: Path) -> str:
    """SHA-256 of a file, first 16 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()[:16]


def markdown(tasks: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """A table of all tasks, {task: metrics as `summarise` returns them}; below it what is missing, and why."""
    rows, missing = [("task", "metric", "value", "n")], []
    for task, metrics in tasks.items():
        rows += [(task, name, _cell(e), str(e["n"])) for name, e in metrics.items() if e["value"] is not None]
        missing += [(f"{task} {name}", e["reason"]) for name, e in metrics.items() if e["value"] is None]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    for reason in dict.fromkeys(why for _, why in missing):
        lines += ["", f"Not computed ({reason}): {', '.join(name for name, why in missing if why == reason)}."]
    return "\n".join(lines)


def _cell(entry: Mapping[str, Any]) -> str:
    interval = f" ± {entry['ci95']:.4g}" if entry["ci95"] is not None else ""
    return f"{entry['value']:.4g}{interval} {entry['unit']}".rstrip()
