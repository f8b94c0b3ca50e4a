"""Metric objects over embeddings: `RPrecision`, `DistributionDistance`, `Diversity`, `MultiModality`.

Rows come with item ids, so that several processes give the numbers of one (see `items.py`). Groups and pairs are drawn
from a recorded seed over the items in id order, never from the order of arrival.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mld.errors import DataError
from mld.metrics import embeddings, uncertainty
from mld.metrics.embeddings import GROUP_SIZE, TOP_K, Distance
from mld.metrics.items import ItemMetric, Items, MeanMetric, attempt
from mld.metrics.mode import Mode
from mld.metrics.results import Score
from mld.metrics.uncertainty import PerItem

DIVERSITY_PAIRS = 300
UPSTREAM_FEWER_PAIRS = 100  # for sets of up to 300 rows, in two of the published repositories
MULTIMODALITY_PAIRS = 10


class RPrecision(MeanMetric):
    """R_precision_top_1..k (shares) and Matching_score (distance units) of texts and their motions.

    seed: shuffles the items before they are cut into groups. labels given to `update`: motions of one label match."""

    columns = ("text", "motion", "label")

    def __init__(
        self, seed: int = 0, mode: Mode = "strict", metric: Distance = "euclidean",
        group_size: int = GROUP_SIZE, top_k: int = TOP_K,
    ) -> None:  # fmt: skip
        super().__init__()
        self.seed, self.mode, self.metric, self.group_size, self.top_k = seed, mode, metric, group_size, top_k
        self.names = (*(f"R_precision_top_{k}" for k in range(1, top_k + 1)), "Matching_score")

    def update(
        self, text: Tensor, motion: Tensor, ids: Sequence[int] | Tensor | None = None, labels: Tensor | None = None
    ) -> None:
        """text, motion: (B, E). ids: (B,). labels: (B,) int; without them only the own motion is right."""
        ids = self._ids(ids, len(text))
        self._add(ids, text=text, motion=motion, label=ids if labels is None else torch.as_tensor(labels))

    def per_item(self, items: Items) -> dict[str, PerItem]:
        items.require("text", "motion")
        items = items.take(embeddings.shuffled(len(items), self.seed))
        found = embeddings.hits(
            items["text"], items["motion"], self.group_size, self.top_k, self.mode, self.metric, items["label"]
        )
        used = items.ids[: len(found)]
        apart = embeddings.pair_distances(items["text"][: len(found)], items["motion"][: len(found)], self.metric)
        weights = torch.ones(len(found), dtype=torch.float64)
        return {name: PerItem(used, totals, weights) for name, totals in zip(self.names, (*found.T, apart))}


class DistributionDistance(ItemMetric):
    """FID and KID of generated against reference motions of the same items. Mode "upstream": see `embeddings.kid`."""

    columns = ("generated", "reference")
    names = ("FID", "KID")

    def __init__(self, seed: int = 0, mode: Mode = "strict") -> None:
        super().__init__()
        self.seed, self.mode = seed, mode

    def update(self, generated: Tensor, reference: Tensor, ids: Sequence[int] | Tensor | None = None) -> None:
        """generated, reference: (B, E). ids: (B,)."""
        self._add(ids, generated=generated, reference=reference)

    def measure(self, items: Items) -> dict[str, Score]:
        def distances() -> dict[str, Score]:
            items.require("generated", "reference")
            count, width = items["generated"].shape
            few = f"{count} items for {width} dimensions: biased upwards" if count <= width else ""
            fid = embeddings.fid(items["generated"], items["reference"])
            kid = embeddings.kid(items["generated"], items["reference"], seed=self.seed, mode=self.mode).mean()
            return {"FID": Score(float(fid), "", count, note=few), "KID": Score(float(kid), "", count)}

        return attempt(self.names, distances)

    def intervals(self, items: Items, draws: int, seed: int) -> dict[str, tuple[float, float] | None]:
        """The jackknife interval of FID; none of KID, whose subsets make it slow."""

        def fid(rows: Tensor) -> dict[str, float]:
            return {"FID": float(embeddings.fid(items["generated"][rows], items["reference"][rows]))}

        return uncertainty.jackknife(fid, len(items), seed=seed)


class Diversity(ItemMetric):
    """Mean distance of 300 random pairs of motions. Mode "upstream" takes 100 pairs where there are not more than 300
    motions; "strict" then has no value, because the number depends on what is counted."""

    columns = ("motion",)
    names = ("Diversity",)

    def __init__(self, seed: int = 0, mode: Mode = "strict", pairs: int = DIVERSITY_PAIRS) -> None:
        super().__init__()
        self.seed, self.mode, self.pairs = seed, mode, pairs

    def update(self, motion: Tensor, ids: Sequence[int] | Tensor | None = None) -> None:
        """motion: (B, E). ids: (B,)."""
        self._add(ids, motion=motion)

    def measure(self, items: Items) -> dict[str, Score]:
        def spread() -> dict[str, Score]:
            items.require("motion")
            few = self.mode == "upstream" and len(items) <= self.pairs
            pairs = embeddings.random_pairs(len(items), UPSTREAM_FEWER_PAIRS if few else self.pairs, self.seed)
            return {"Diversity": Score(float(embeddings.diversity(items["motion"], *pairs)), "", len(items))}

        return attempt(self.names, spread)


class MultiModality(MeanMetric):
    """Mean distance of 10 random pairs of repeats, the same repeats for all captions; the items are captions."""

    columns = ("repeats",)
    names = ("MultiModality",)

    def __init__(self, seed: int = 0, pairs: int = MULTIMODALITY_PAIRS) -> None:
        super().__init__()
        self.seed, self.pairs = seed, pairs

    def update(self, repeats: Tensor, ids: Sequence[int] | Tensor | None = None) -> None:
        """repeats: (B, K, E), K motions for each caption. ids: (B,)."""
        if repeats.ndim != 3:
            raise DataError(f"MultiModality takes (captions, repeats, width), got {tuple(repeats.shape)}")
        self._add(ids, repeats=repeats)

    def per_item(self, items: Items) -> dict[str, PerItem]:
        items.require("repeats")
        pairs = embeddings.random_pairs(items["repeats"].shape[1], self.pairs, self.seed)
        spread = embeddings.caption_spread(items["repeats"], *pairs)
        return {"MultiModality": PerItem(items.ids, spread, torch.ones_like(spread))}
