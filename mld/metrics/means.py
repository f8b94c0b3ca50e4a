"""Means over items of values that a caller has at hand, such as the length error of an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mld.metrics.items import Items, MeanMetric
from mld.metrics.uncertainty import PerItem


class NamedMeans(MeanMetric):
    """units: result name -> unit."""

    columns = ("values",)

    def __init__(self, units: Mapping[str, str]) -> None:
        super().__init__()
        self.names, self.units = tuple(units), dict(units)

    def update(self, values: Sequence[float], ids: Sequence[int] | Tensor | None = None) -> None:
        """values: of one item, in the order of the names."""
        self._add(ids, values=torch.tensor([list(values)], dtype=torch.float64))

    def per_item(self, items: Items) -> dict[str, PerItem]:
        ones = torch.ones(len(items), dtype=torch.float64)
        return {name: PerItem(items.ids, items["values"][:, i], ones) for i, name in enumerate(self.names)}
