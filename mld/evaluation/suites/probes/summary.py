"""What the rows of a run say together: shares with their intervals, as entries of `results.json`, and every prompt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from mld.evaluation.suites.probes.prompts import ALL, Suite
from mld.evaluation.suites.probes.scoring import Outcome, Row, physical_units
from mld.evaluation.suites.probes.settings import ProbeSettings
from mld.metrics.uncertainty import PerItem, bootstrap_mean

TASK, DIGITS, NOTHING = "probes", 1, "no motion counts here"
Value = Callable[[Outcome], float | None]


def protocol(what: str, settings: ProbeSettings) -> str:
    """The line that says what a number means, as `mld.evaluation.protocol` writes it: numbers of different numbers of
    samples compare, those of another floor or of what is there alone do not."""
    partial = "/partial" if settings.partial else ""
    return f"{what}/strict/captions=prompt/length=open/floor={settings.floor}{partial}"


def entries(suite: Suite, rows: Mapping[str, Row], settings: ProbeSettings) -> dict[str, dict[str, Any]]:
    """`all` and every group -> share in percent; physical numbers of all motions."""
    found = {}
    for group in [ALL, *suite.groups]:
        some = [rows[probe.id] for probe in suite.of(group)]
        found[group] = _entry(some, _share, "%", settings) | {"digits": DIGITS, "better": "higher"}
    for name, unit in physical_units().items():
        found[name] = _entry(list(rows.values()), _physical(name), unit, settings) | {"better": "lower"}
    return found


def prompts(suite: Suite, rows: Mapping[str, Row], settings: ProbeSettings) -> list[dict[str, Any]]:
    """Every prompt with its samples, JSON-ready."""
    found = []
    for probe in suite.probes:
        row = rows[probe.id]
        counted = row.counted(settings.partial)
        samples = [
            {"file": one.sample.name, "passed": one.passed, "reasons": list(one.reasons), "seconds": one.seconds,
             **{name: round(value, 6) for name, value in one.physical.items()}}
            for one in row.outcomes
        ]  # fmt: skip
        found.append({"id": probe.id, "prompt": probe.prompt, "group": probe.group, "passed": row.passed,
                      "of": len(counted), "samples": samples})  # fmt: skip
    return found


def _share(outcome: Outcome) -> float:
    return 100.0 * outcome.passed


def _physical(name: str) -> Value:
    return lambda outcome: outcome.physical.get(name)


def _entry(rows: Sequence[Row], value: Value, unit: str, settings: ProbeSettings) -> dict[str, Any]:
    """Mean over motions, with an interval for other prompts of the kind: samples of a prompt stay together."""
    totals, weights, asked = [], [], 0
    for row in rows:
        values = [value(outcome) for outcome in row.counted(settings.partial)]
        known = [one for one in values if one is not None]
        totals.append(sum(known))
        weights.append(float(len(known)))
        asked += len(row.outcomes)
    n = int(sum(weights))
    entry: dict[str, Any] = {"unit": unit, "n": n, "protocol": protocol(TASK, settings)}
    if not n:
        return {"value": None, "ci95": None, "reason": NOTHING, **entry}
    shares = PerItem(torch.arange(len(rows)), *(torch.tensor(x, dtype=torch.float64) for x in (totals, weights)))
    interval = bootstrap_mean(shares)
    if settings.partial and n < asked:
        entry["of"] = asked
    return {"value": shares.value, "ci95": None, "interval_over_items": list(interval) if interval else None, **entry}
