"""Metrics that keep one row per item of the split: the base of all metric objects here.

Rows carry the item's id. `compute` gathers them from all ranks, orders them by id and keeps each id once, so the
numbers depend neither on the number of processes, nor on the order of the batches, nor on the rows that a distributed
sampler repeats to fill its last batch. Because items are kept, intervals and paired tests over items are possible.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.distributed as dist
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from mld.errors import DataError
from mld.metrics import uncertainty
from mld.metrics.results import Score
from mld.metrics.uncertainty import PerItem

SHOWN_IDS = 5  # in a message about bad rows


@dataclass(frozen=True, eq=False)
class Items:
    """Gathered rows: ids (N,) int64, ascending and unique; columns of N rows each."""

    ids: Tensor
    columns: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, name: str) -> Tensor:
        return self.columns[name]

    def take(self, index: Tensor) -> Items:
        """The rows `index` (P,), in that order."""
        return Items(self.ids[index], {name: column[index] for name, column in self.columns.items()})

    def require(self, *names: str) -> None:
        """`DataError` if there is no row, or one of the columns has a row that is not finite."""
        if not len(self):
            raise DataError("no item was measured")
        for name in names:
            bad = ~self[name].flatten(1).isfinite().all(1) if self[name].ndim > 1 else ~self[name].isfinite()
            if bad.any():
                raise DataError(not_finite(self.ids[bad], len(self), name))


def not_finite(ids: Tensor, count: int, what: str) -> str:
    """The sentence about items with NaN or infinite values."""
    shown = ", ".join(str(i) for i in ids[:SHOWN_IDS].tolist()) + (", ..." if len(ids) > SHOWN_IDS else "")
    return f"{len(ids)} of {count} items have a {what} that is not finite (items {shown})"


def gather_rows(rows: Tensor, group: Any = None) -> list[Tensor]:
    """The rows of all ranks, in rank order. Ranks may have different numbers of rows, or none."""
    parts: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(parts, rows.detach().cpu(), group)
    return [part for part in parts if part.numel()] or parts[:1]


def _many_processes() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class ItemMetric(Metric):
    """A metric over rows. A subclass names its `columns` and `names` (its results), calls `_add` in `update` and gives
    scores in `measure`. `compute` returns tensors (NaN where there is no value), `scores` values with reasons."""

    full_state_update = False
    columns: ClassVar[tuple[str, ...]] = ()
    names: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__(dist_sync_fn=gather_rows)
        for name in ("ids", *self.columns):
            self.add_state(_state(name), default=[], dist_reduce_fx="cat")

    @abstractmethod
    def measure(self, items: Items) -> dict[str, Score]:
        """All results of a set of items, each with its reason where it has no value. Must not fail on few items."""

    def compute(self) -> dict[str, Tensor]:
        """Result name -> scalar float64; NaN where `scores` has a reason instead of a value."""
        found = self.measure(self._collect())
        return {name: torch.tensor(nan_for_none(score.value), dtype=torch.float64) for name, score in found.items()}

    def scores(self, draws: int = 0, seed: int = 0) -> dict[str, Score]:
        """Result name -> `Score`; with `draws` > 0 each with a 95 % interval over items."""
        items = self.items()
        found = self.measure(items)
        if not draws or all(score.value is None for score in found.values()):
            return found
        intervals = self.intervals(items, draws, seed)
        return {name: replace(score, interval=intervals.get(name)) for name, score in found.items()}

    def items(self) -> Items:
        """The rows of all ranks, ordered and without repetitions."""
        with self.sync_context(dist_sync_fn=gather_rows):
            return self._collect()

    def intervals(self, items: Items, draws: int, seed: int) -> dict[str, tuple[float, float] | None]:
        """95 % intervals by leaving out one block of items at a time: for values that are no means over items (a
        bootstrap would repeat rows, which biases distances between distributions). `draws` is not used."""
        return uncertainty.jackknife(lambda index: _values(self.measure(items.take(index))), len(items), seed=seed)

    def _add(self, ids: Sequence[int] | Tensor | None, **columns: Tensor) -> None:
        """Keep rows: every column (B, ...) on the CPU. ids (B,): which items they are, by default numbered on."""
        count = len(next(iter(columns.values())))
        if any(len(rows) != count for rows in columns.values()):
            counts = ", ".join(f"{len(rows)} {name}" for name, rows in columns.items())
            raise DataError(f"{type(self).__name__}.update got rows of different numbers: {counts}")
        for name, rows in columns.items():
            self._rows(name).append(rows.detach().cpu())
        self._rows("ids").append(self._ids(ids, count))

    def _ids(self, ids: Sequence[int] | Tensor | None, count: int) -> Tensor:
        if ids is None:
            if _many_processes():
                raise DataError(f"{type(self).__name__}.update needs item ids when several processes evaluate")
            start = sum(len(part) for part in self._rows("ids"))
            return torch.arange(start, start + count)
        ids = torch.as_tensor(ids, dtype=torch.int64).cpu().reshape(-1)
        if len(ids) != count:
            raise DataError(f"{type(self).__name__}: {len(ids)} ids for {count} rows")
        return ids

    def _rows(self, name: str) -> list[Tensor]:
        return getattr(self, _state(name))

    def _collect(self) -> Items:
        ids, order = self._order()
        return Items(ids, {name: dim_zero_cat(self._rows(name))[order] if len(ids) else torch.zeros(0)
                           for name in self.columns})  # fmt: skip

    def _order(self) -> tuple[Tensor, Tensor]:
        """Unique ids, ascending, and the row at which each first occurs."""
        if not len(self._rows("ids")):
            return torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
        ids, order = dim_zero_cat(self._rows("ids")).to(torch.int64).sort(stable=True)
        first = torch.ones_like(ids, dtype=torch.bool)
        first[1:] = ids[1:] != ids[:-1]
        return ids[first], order[first]


class MeanMetric(ItemMetric):
    """A metric whose results are weighted means over items; `per_item` gives the items' shares."""

    units: Mapping[str, str] = {}

    @abstractmethod
    def per_item(self, items: Items) -> dict[str, PerItem]:
        """Result name -> totals and weights by item; the result is sum(totals) / sum(weights). `DataError` if there
        are too few items."""

    def measure(self, items: Items) -> dict[str, Score]:
        def means() -> dict[str, Score]:
            if not len(items):
                raise DataError("no item was measured")
            return {name: _mean(shares, self.units.get(name, "")) for name, shares in self.per_item(items).items()}

        return attempt(self.names, means)

    def intervals(self, items: Items, draws: int, seed: int) -> dict[str, tuple[float, float] | None]:
        """95 % bootstrap intervals over items; none where there is no value."""
        try:
            shares = self.per_item(items)
        except DataError:
            return {}
        return {name: uncertainty.bootstrap_mean(each, draws, seed) for name, each in shares.items()}


def attempt(names: Sequence[str], function: Callable[[], dict[str, Score]]) -> dict[str, Score]:
    """The scores that `function` gives, or no value and the reason for each of `names` if it raises `DataError`."""
    try:
        return function()
    except DataError as error:
        return {name: Score(None, reason=str(error)) for name in names}


def nan_for_none(value: float | None) -> float:
    return float("nan") if value is None else value


def _mean(shares: PerItem, unit: str) -> Score:
    counted = shares.weights != 0
    count = int(counted.sum())
    if not count:
        return Score(None, unit, 0, "no item is long enough")
    bad = counted & ~shares.totals.isfinite()
    if bad.any():
        return Score(None, unit, count, not_finite(shares.ids[bad], len(shares.ids), "value"))
    return Score(shares.value, unit, count)


def _values(scores: Mapping[str, Score]) -> dict[str, float]:
    return {name: nan_for_none(score.value) for name, score in scores.items()}


def _state(name: str) -> str:
    return f"rows_{name}"
