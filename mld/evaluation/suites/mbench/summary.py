"""What the records of a run say together: mean, interval, spread and coverage of every dimension, as entries of
`results.json`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from mld.evaluation.suites.mbench.dimensions import DIMENSIONS, JOINT
from mld.evaluation.suites.mbench.prompts import Suite
from mld.evaluation.suites.mbench.records import Record, Result
from mld.evaluation.suites.mbench.scoring import ALL_FRAMES
from mld.evaluation.suites.mbench.settings import COLUMNS, MBenchSettings
from mld.metrics.mbench import aggregate
from mld.metrics.mode import Mode
from mld.metrics.uncertainty import PerItem, bootstrap_mean

TASK, DIGITS = "mbench-motion", 4
FEW = "partial: {n} of {of} prompts have a value, so it is not ranked; --partial gives the mean of these"
DIFFERENCE = (
    "The columns differ because published code (`upstream`) takes index 2 as height although its files are y up, reads "
    "files at the frame rate they have, feeds the root's rotation to the pose network and leaves out what is missing, "
    "while `strict` measures the true height at 20 fps, the 21 joints of the body, and all prompts or none."
)


def protocol(dimension: str, column: Mode, settings: MBenchSettings, by: str) -> str:
    """The line that says what a number means, as `mld.evaluation.protocol` writes it. by: who gave the values."""
    what = TASK if DIMENSIONS[dimension].needs == JOINT else f"{TASK} by {by or 'nobody'}"
    floor = f"/floor={settings.floor}" if column == "strict" else ""
    return f"{what}/{column}/captions={settings.text}{floor}"


def entries(suite: Suite, records: Mapping[str, Record], settings: MBenchSettings) -> dict[str, dict[str, Any]]:
    """`strict/Jitter_Degree` ... -> value, interval, std, n, of, and a reason where there is no value."""
    found = {}
    for column in _ordered(settings.mode):
        for dimension in DIMENSIONS:
            prompts = suite.of(dimension)
            if prompts:
                results = [records[prompt.id].get(column, dimension) for prompt in prompts]
                found[f"{column}/{dimension}"] = _entry(dimension, column, settings, results)
    return found


def _entry(
    dimension: str, column: Mode, settings: MBenchSettings, results: Sequence[Result | None]
) -> dict[str, Any]:
    values = [result.value for result in results if result is not None and result.value is not None]
    n, of = len(values), len(results)
    by = Counter(result.by for result in results if result is not None and result.value is not None)
    spread = aggregate(values)
    entry: dict[str, Any] = {
        "unit": DIMENSIONS[dimension].unit, "n": n, "of": of, "coverage": round(n / of, 4), "digits": DIGITS,
        "better": "higher" if DIMENSIONS[dimension].better > 0 else "lower",
        "protocol": protocol(dimension, column, settings, ", ".join(sorted(by))),
    }  # fmt: skip
    reasons = Counter(result.reason for result in results if result is not None and result.value is None)
    if n < of:
        entry["missing"] = dict(reasons.most_common(5)) or {"not scored": of - n}
    if not n or (n < of and column == "strict" and not settings.partial):
        why = next(iter(entry.get("missing", {})), "no prompt")
        return {"value": None, "ci95": None, "reason": FEW.format(n=n, of=of) if n else why, **entry}
    totals = torch.tensor(values, dtype=torch.float64)
    interval = bootstrap_mean(PerItem(torch.arange(n), totals, torch.ones_like(totals)))
    depths = [result.said.get(ALL_FRAMES) for result in results if result is not None and result.value is not None]
    known = [depth for depth in depths if isinstance(depth, float)]
    if known and len(known) == n:
        entry[ALL_FRAMES] = aggregate(known)["mean"]
    entry |= {"std": spread["std"], "interval_over_items": list(interval) if interval else None}
    return {"value": spread["mean"], "ci95": None, **entry}


def _ordered(mode: Mode) -> list[Mode]:
    """Both columns, the one that ranks first."""
    return sorted(COLUMNS, key=lambda column: column != mode)
