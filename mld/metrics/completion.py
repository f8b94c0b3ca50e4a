"""How far a completed motion is from the true one: ADE and FDE (evaluation spec 4.6), metres.

The distance of a frame is the L2 norm over all its coordinates at once (66 numbers for 22 joints), not a joint mean.
Prediction counts the frames from int(0.2 L) on, in-between those from int(0.25 L) to L - int(0.25 L).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from mld.metrics.items import Items, MeanMetric
from mld.metrics.mode import Mode
from mld.metrics.uncertainty import PerItem

RATIOS = {"pred": 0.2, "inbetween": 0.25}


def hidden_frames(kind: Literal["pred", "inbetween"], length: int, padded: int, mode: Mode = "strict") -> slice:
    """The frames that count in a clip of `length` frames within `padded`; "upstream" lets `pred` run into padding."""
    given = int(RATIOS[kind] * length)
    if kind == "inbetween":
        return slice(given, length - given)
    return slice(given, padded if mode == "upstream" else length)


def frame_distance(predicted: Tensor, reference: Tensor) -> Tensor:
    """L2 norm over joints and coordinates: (..., T, J, 3) twice -> (..., T) metres."""
    return (predicted - reference).flatten(-2).norm(dim=-1)


class CompletionErrors(MeanMetric):
    """ADE (mean over the hidden frames) and FDE (last of them), each averaged over clips."""

    columns = ("errors",)
    names = ("ADE", "FDE")
    units = {"ADE": "m", "FDE": "m"}

    def __init__(self, kind: Literal["pred", "inbetween"], mode: Mode = "strict") -> None:
        super().__init__()
        self.kind, self.mode = kind, mode

    def update(
        self, predicted: Tensor, reference: Tensor, mask: Tensor, ids: Sequence[int] | Tensor | None = None
    ) -> None:
        """predicted, reference: (B, T, J, 3) metres. mask: (B, T) bool, True = real frame, padding at the end."""
        distance = frame_distance(predicted.double(), reference.double())
        hidden = [
            row[hidden_frames(self.kind, length, len(row), self.mode)]
            for row, length in zip(distance, mask.sum(1).tolist())
        ]
        self._add(ids, errors=torch.stack([torch.stack((row.mean(), row[-1])) for row in hidden]))

    def per_item(self, items: Items) -> dict[str, PerItem]:
        ones = torch.ones(len(items), dtype=torch.float64)
        return {name: PerItem(items.ids, errors, ones) for name, errors in zip(self.names, items["errors"].T)}
