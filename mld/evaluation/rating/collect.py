"""What several raters say together: means with 95 % intervals, differences of models, and how far raters agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from mld.errors import DataError
from mld.evaluation.rating.exports import Export
from mld.evaluation.rating.scale import AXES, SCALE
from mld.metrics import uncertainty
from mld.metrics.uncertainty import PerItem

EVERY = "all"


def collect(sheet: Mapping[str, Any], exports: Sequence[Export]) -> dict[str, Any]:
    """A report of plain values. Intervals are over prompts (bootstrap): another list of prompts of this kind would give
    a mean in them; each prompt counts as often as it was rated. `DataError` where nobody rated anything."""
    twice = {one.rater for one in exports if sum(other.rater == one.rater for other in exports) > 1}
    if twice:
        raise DataError(f"two exports are of the rater '{min(twice)}'; give only the last one, or another name")
    if not any(one.marks for one in exports):
        raise DataError("there is no rating in the exports")
    categories = sorted({_category(entry) for entry in sheet["prompts"] if entry["category"]})
    shares = {
        (model, axis, category): _shares(sheet, exports, model, axis, category)
        for model in range(len(sheet["models"])) for axis in AXES for category in (EVERY, *categories)
    }  # fmt: skip
    return {
        "sheet": sheet["sheet"], "scale": SCALE, "raters": [one.rater for one in exports],
        "models": [{"name": model["name"], "hash": model["hash"]} for model in sheet["models"]],
        "means": [
            {"model": sheet["models"][model]["name"], "axis": axis, "category": category, **_mean(found)}
            for (model, axis, category), found in shares.items()
        ],
        "differences": [
            {"first": sheet["models"][a]["name"], "second": sheet["models"][b]["name"], "axis": axis,
             **_difference(shares[a, axis, EVERY], shares[b, axis, EVERY])}
            for a, b in combinations(range(len(sheet["models"])), 2) for axis in AXES
        ],
        "agreement": {axis: _agreement(exports, axis) for axis in AXES},
    }  # fmt: skip


def markdown(report: Mapping[str, Any]) -> str:
    """The report as tables."""
    count = len(report["raters"])
    lines = [f"{count} {'rater' if count == 1 else 'raters'} ({', '.join(report['raters'])}), sheet {report['sheet']}; "
             f"1 {SCALE[1]} to {max(SCALE)} {SCALE[max(SCALE)]}; mean [95 % interval over prompts]", ""]  # fmt: skip
    titles = [name for name, _ in AXES.values()]
    lines += [f"| model | prompts | {' | '.join(titles)} |", "|---" * (len(titles) + 2) + "|"]
    cells: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for row in report["means"]:
        cells.setdefault((row["model"], row["category"]), {})[row["axis"]] = row
    for (model, category), row in cells.items():
        prompts = max(one["prompts"] for one in row.values())
        name = model if category == EVERY else f"{model}, {category}"
        lines.append(f"| {name} | {prompts} | {' | '.join(_cell(row[axis]) for axis in AXES)} |")
    if report["differences"]:
        lines += ["", "| second minus first | axis | difference | p |", "|---|---|---|---|"]
        for row in report["differences"]:
            p = "–" if row["value"] is None else f"{row['p_value']:.3f}"
            lines.append(f"| {row['second']} - {row['first']} | {AXES[row['axis']][0]} | {_cell(row)} | {p} |")
    lines += ["", "| agreement | Krippendorff's alpha (interval) | motions rated by several |", "|---|---|---|"]
    for axis, row in report["agreement"].items():
        alpha = row["reason"] if row["alpha"] is None else f"{row['alpha']:.3f}"
        lines.append(f"| {AXES[axis][0]} | {alpha} | {row['motions']} |")
    return "\n".join(lines)


def krippendorff(units: Iterable[Sequence[float]]) -> float | None:
    """Krippendorff's alpha for interval data (2011): units, each the values that raters gave it. 1 is agreement, 0 is
    chance; None where no unit has two values, or all values are the same, so that chance has no spread."""
    pairable = [torch.tensor(values, dtype=torch.float64) for values in units if len(values) > 1]
    if not pairable:
        return None
    everything = torch.cat(pairable)
    expected = _spread(everything)
    if expected == 0:
        return None
    observed = sum(len(values) * _spread(values) for values in pairable) / len(everything)
    return float(1 - observed / expected)


def _spread(values: Tensor) -> float:
    """Mean squared difference of two different ones of the values: twice their unbiased variance."""
    return float(2 * values.var())


def _shares(sheet: Mapping[str, Any], exports: Sequence[Export], model: int, axis: str, category: str) -> PerItem:
    """Sums and counts of the ratings of a model, by prompt."""
    ids, totals, counts = [], [], []
    for entry in sheet["prompts"]:
        if category not in (EVERY, _category(entry)):
            continue
        clip = next(clip["id"] for clip in entry["clips"] if clip["model"] == model)
        values = _values(exports, clip, axis)
        ids.append(entry["line"])
        totals.append(float(sum(values)))
        counts.append(float(len(values)))
    return PerItem(torch.tensor(ids), *(torch.tensor(column, dtype=torch.float64) for column in (totals, counts)))


def _category(entry: Mapping[str, Any]) -> str:
    """That of a prompt; one called `all` is not all prompts."""
    return f"{EVERY} (category)" if entry["category"] == EVERY else entry["category"]


def _values(exports: Sequence[Export], clip: str, axis: str) -> list[int]:
    return [one.marks[clip][axis] for one in exports if axis in one.marks.get(clip, {})]


def _mean(shares: PerItem) -> dict[str, Any]:
    ratings = int(shares.weights.sum())
    if not ratings:
        return {"value": None, "interval": None, "prompts": 0, "ratings": 0}
    interval = uncertainty.bootstrap_mean(shares)
    return {"value": shares.value, "interval": None if interval is None else list(interval),
            "prompts": int((shares.weights > 0).sum()), "ratings": ratings}  # fmt: skip


def _difference(first: PerItem, second: PerItem) -> dict[str, Any]:
    try:
        found = uncertainty.compare(first, second)
    except DataError as error:
        return {"value": None, "interval": None, "p_value": None, "prompts": 0, "reason": str(error)}
    return {"value": found.difference, "interval": list(found.interval), "p_value": found.p_value, "prompts": found.n}


def _agreement(exports: Sequence[Export], axis: str) -> dict[str, Any]:
    clips = sorted({clip for one in exports for clip in one.marks})
    units = [values for clip in clips if len(values := _values(exports, clip, axis)) > 1]
    alpha = krippendorff(units)
    reason = "" if alpha is not None else "needs two raters of a motion" if not units else "all ratings are the same"
    return {"alpha": alpha, "motions": len(units), "reason": reason}


def _cell(row: Mapping[str, Any]) -> str:
    if row["value"] is None:
        return "–"
    interval = "" if row["interval"] is None else " [{:.2f}, {:.2f}]".format(*row["interval"])
    return f"{row['value']:.2f}{interval}"
