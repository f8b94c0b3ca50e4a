"""`results.json`: every value with its unit, 95 % interval, number of items and protocol, or null with a reason.

One replication gives a `Score` per metric; several are summarised by mean and 1.96 x population std / sqrt(R)
(evaluation spec 4.4). `report.py` makes tables of the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
