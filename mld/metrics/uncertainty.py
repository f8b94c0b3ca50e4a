"""How sure a number is, and whether two models differ: bootstrap over items, block jackknife, permutation test.

Intervals over items answer "would another test set of this kind say the same?"; intervals over replications (see
`results.py`) only answer "would another seed say the same?" (evaluation spec 8.1, 8.3). All draws are seeded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mld.errors import DataError

DRAWS = 1000
BLOCKS = 20
NORMAL_95 = 1.96
_CELLS = 4_000_000  # draws x items held at a time


@dataclass(frozen=True, eq=False)
class PerItem:
    """The shares of items in a weighted mean: the mean is sum(totals) / sum(weights).

    ids, totals, weights: (N,), totals and weights float64. An item of weight 0 does not count."""

    ids: Tensor
    totals: Tensor
    weights: Tensor

    @property
    def value(self) -> float:
        return float(self.totals[self.weights != 0].sum() / self.weights.sum())

    def shared(self, other: PerItem) -> tuple[PerItem, PerItem]:
        """Both restricted to the items that count in both, in the same order."""
        common = sorted(set(self._counted()) & set(other._counted()))
        return self._pick(common), other._pick(common)

    def _counted(self) -> list[int]:
        return self.ids[(self.weights != 0) & self.totals.isfinite()].tolist()

    def _pick(self, ids: list[int]) -> PerItem:
        place = {item: row for row, item in enumerate(self.ids.tolist())}
        rows = torch.tensor([place[item] for item in ids], dtype=torch.int64)
        return PerItem(self.ids[rows], self.totals[rows], self.weights[rows])


@dataclass(frozen=True)
class Comparison:
    """Second model minus first on the same items: difference of the means, its 95 % interval (paired bootstrap), the
    two-sided p-value (permutation of the models within items) and the number of shared items."""

    difference: float
    interval: tuple[float, float]
    p_value: float
    n: int


def bootstrap_mean(
    shares: PerItem, draws: int = DRAWS, seed: int = 0, strata: Tensor | None = None
) -> tuple[float, float] | None:
    """95 % percentile interval of a weighted mean when items are drawn with replacement; None for fewer than 2 items.

    strata (N,): draw within these groups, for example within replications."""
    counted = (shares.weights != 0) & shares.totals.isfinite()
    if int(counted.sum()) < 2:
        return None
    totals, weights = shares.totals[counted].double(), shares.weights[counted].double()
    groups = None if strata is None else strata[counted]
    means = [totals[rows].sum(1) / weights[rows].sum(1) for rows in resamples(len(totals), draws, seed, groups)]
    return percentiles(torch.cat(means))


def compare(first: PerItem, second: PerItem, draws: int = DRAWS, seed: int = 0) -> Comparison:
    """Does the second model differ from the first? Only items that both have count; `DataError` for fewer than 2."""
    first, second = first.shared(second)
    count = len(first.ids)
    if count < 2:
        raise DataError(f"a paired test needs at least 2 items that both models have, there are {count}")
    a, wa, b, wb = (column.double() for column in (first.totals, first.weights, second.totals, second.weights))

    def gap(a: Tensor, wa: Tensor, b: Tensor, wb: Tensor) -> Tensor:
        return b.sum(-1) / wb.sum(-1) - a.sum(-1) / wa.sum(-1)

    observed = gap(a, wa, b, wb)
    resampled = torch.cat([gap(a[r], wa[r], b[r], wb[r]) for r in resamples(count, draws, seed)])
    generator = torch.Generator().manual_seed(seed + 1)
    extreme, tolerance = 0, 1e-12 * max(1.0, abs(float(observed)))
    for size in _chunks(count, draws):
        swap = torch.rand(size, count, generator=generator) < 0.5
        x, y = torch.where(swap, b, a), torch.where(swap, a, b)
        mixed = gap(x, torch.where(swap, wb, wa), y, torch.where(swap, wa, wb))
        extreme += int((mixed.abs() >= observed.abs() - tolerance).sum())
    return Comparison(float(observed), percentiles(resampled), (1 + extreme) / (1 + draws), count)


def compare_all(
    first: Mapping[str, PerItem], second: Mapping[str, PerItem], draws: int = DRAWS, seed: int = 0
) -> dict[str, Comparison]:
    """`compare` for every result that both models have."""
    return {name: compare(first[name], second[name], draws, seed) for name in first if name in second}


def jackknife(
    statistic: Callable[[Tensor], Mapping[str, float]], count: int, blocks: int = BLOCKS, seed: int = 0
) -> dict[str, tuple[float, float] | None]:
    """95 % intervals of statistics of rows by leaving out one of `blocks` random blocks of rows at a time.

    statistic: (P,) row indices -> named values, NaN where there is none. The interval is value +- 1.96 standard errors;
    None where a value is missing or there are fewer rows than blocks."""
    whole = statistic(torch.arange(count))
    if count < blocks:
        return dict.fromkeys(whole)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    parts = [statistic(order[torch.arange(count) % blocks != block].sort().values) for block in range(blocks)]
    found: dict[str, tuple[float, float] | None] = {}
    for name, value in whole.items():
        left_out = torch.tensor([part[name] for part in parts], dtype=torch.float64)
        variance = (blocks - 1) / blocks * (left_out - left_out.mean()).square().sum()
        margin = NORMAL_95 * math.sqrt(variance)
        found[name] = (value - margin, value + margin) if math.isfinite(value + margin) else None
    return found


def resamples(count: int, draws: int, seed: int, strata: Tensor | None = None):
    """Row indices of `draws` bootstrap samples, as tensors (some draws, count)."""
    generator = torch.Generator().manual_seed(seed)
    groups = [torch.arange(count)] if strata is None else [torch.where(strata == s)[0] for s in strata.unique()]
    for size in _chunks(count, draws):
        drawn = [rows[torch.randint(len(rows), (size, len(rows)), generator=generator)] for rows in groups]
        yield torch.cat(drawn, dim=1)


def _chunks(count: int, draws: int) -> list[int]:
    step = max(1, _CELLS // count)
    return [min(step, draws - start) for start in range(0, draws, step)]


def percentiles(values: Tensor) -> tuple[float, float]:
    """The middle 95 % of values (P,)."""
    low, high = values.double().quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high
