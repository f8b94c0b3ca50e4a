"""How evenly the codes of a tokenizer are used: perplexity and number of codes, counted (MotionMillion spec 2.4)."""

from __future__ import annotations

import torch
from torch import Tensor

from mld.errors import DataError
from mld.metrics.items import ItemMetric, Items, attempt
from mld.metrics.results import Score

LONGEST = 2**24  # codes of a clip
EPS = 1e-7


def perplexity(counts: Tensor) -> Tensor:
    """exp of the entropy of codes that occur `counts` (K,) times: as many codes, evenly used, say as much."""
    share = counts.double() / counts.sum().clamp(min=1)
    return torch.exp(-(share * (share + EPS).log()).sum())


class CodeUse(ItemMetric):
    """Over all codes of all clips. Both grow with the split: compare models on the same one.

    A row is a code, not a clip, so there are no intervals."""

    columns = ("codes",)
    names = ("code_perplexity", "codes_used")

    def __init__(self) -> None:
        super().__init__()
        self.clips = 0

    def update(self, codes: Tensor, number: int | None = None) -> None:
        """codes (L,) of a clip. number: of the clip in the split; needed when several processes share a pass."""
        if len(codes) > LONGEST:
            raise DataError(f"a clip of {len(codes)} codes, at most {LONGEST} are counted")
        first = self.clips if number is None else number
        self.clips += 1
        self._add(first * LONGEST + torch.arange(len(codes)), codes=codes.long())

    def measure(self, items: Items) -> dict[str, Score]:
        def counted() -> dict[str, Score]:
            items.require()
            counts = items["codes"].bincount()
            clips = len((items.ids // LONGEST).unique())
            found = float(perplexity(counts)), float((counts > 0).sum())
            return {name: Score(value, "codes", clips) for name, value in zip(self.names, found)}

        return attempt(self.names, counted)

    def intervals(self, items: Items, draws: int, seed: int) -> dict[str, tuple[float, float] | None]:
        return {}
