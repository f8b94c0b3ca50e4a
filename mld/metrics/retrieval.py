"""Retrieval between texts and motions: R@k and median rank under four protocols (evaluation spec 2.3, TMR).

"all": every item against the whole set. "threshold": items whose sentences are near duplicates count as right.
"nsim": a subset of mutually dissimilar items. "guo": shuffled groups of 32. Clips of one label can count as right too.
Pure functions of a similarity matrix, and an object that collects embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mld.errors import DataError
from mld.metrics import embeddings
from mld.metrics.items import ItemMetric, Items, attempt
from mld.metrics.mode import Mode
from mld.metrics.results import Score

RANKS = (1, 2, 3, 5, 10)
PROTOCOLS = ("all", "threshold", "nsim", "guo")
SENTENCE_THRESHOLD = 0.95  # (cosine + 1) / 2 above which two captions say the same
NSIM_ITEMS = 100
GUO_SEED = 0
DIRECTIONS = ("t2m", "m2t")


def cosine_similarities(text: Tensor, motion: Tensor) -> Tensor:
    """Cosine of text rows (N, E) and motion rows (M, E) -> (N, M) float64."""
    return F.normalize(text.double(), dim=-1) @ F.normalize(motion.double(), dim=-1).T


def similarities(text: Tensor, motion: Tensor, metric: embeddings.Distance = "cosine") -> Tensor:
    """What retrieval sorts by: the cosine, or the negative Euclidean distance -> (N, M) float64."""
    return cosine_similarities(text, motion) if metric == "cosine" else -embeddings.distances(text, motion)


def same_sentence(sentences: Tensor, threshold: float = SENTENCE_THRESHOLD) -> Tensor:
    """Which captions count as the same: sentence embeddings (N, E) with cosine > 2 threshold - 1 -> (N, N) bool."""
    same = cosine_similarities(sentences, sentences) > 2 * threshold - 1
    return same | torch.eye(len(sentences), dtype=torch.bool)


def ranks(similarity: Tensor, right: Tensor | None = None) -> Tensor:
    """Rank of the best right item of each query, from 0: similarity (N, N), rows are queries -> (N,) float64.

    right (N, N) bool: which items are right for a query, by default the one of its own index. The rank is the number of
    strictly better items; ties share the mean of their places."""
    if right is None:
        best = similarity.diagonal()[:, None]
    else:
        best = similarity.masked_fill(~right, -torch.inf).amax(1, keepdim=True)
    better, tied = (similarity > best).sum(1), (similarity == best).sum(1)
    return better + (tied - 1) / 2.0


def summary(rank: Tensor) -> dict[str, float]:
    """R01..R10 in percent (share of ranks below k) and MedR, the median rank from 1: ranks (N,)."""
    rank = rank.double()
    found = {f"R{k:02d}": 100 * float((rank < k).double().mean()) for k in RANKS}
    return found | {"MedR": float(rank.quantile(0.5)) + 1}


def both_ways(similarity: Tensor, right: Tensor | None = None) -> dict[str, float]:
    """`summary` of text to motion ("t2m/R01", ...) and motion to text: similarity (N, N), rows are texts."""
    turned = None if right is None else right.T
    found = {"t2m": summary(ranks(similarity, right)), "m2t": summary(ranks(similarity.T, turned))}
    return {f"{way}/{name}": value for way, values in found.items() for name, value in values.items()}


def in_groups(
    similarity: Tensor, order: Tensor, right: Tensor | None = None, group_size: int = embeddings.GROUP_SIZE
) -> dict[str, float]:
    """Mean over groups of `both_ways`: the items in `order` (N,) are cut into groups, the remainder is dropped."""
    if len(order) < group_size:
        raise DataError(f"protocol guo needs at least one group of {group_size} items, there are {len(order)}")
    groups = order[: len(order) // group_size * group_size].split(group_size)
    found = [both_ways(similarity[rows][:, rows], None if right is None else right[rows][:, rows]) for rows in groups]
    return {name: sum(values[name] for values in found) / len(found) for name in found[0]}


def dissimilar_items(sentences: Tensor, count: int = NSIM_ITEMS) -> Tensor:
    """`count` mutually dissimilar items for a set without a published list, ascending: starting at item 0, always the
    one whose nearest chosen neighbour is farthest. sentences: (N, E)."""
    if len(sentences) < count:
        raise DataError(f"protocol nsim needs {count} items, there are {len(sentences)}")
    cosine = cosine_similarities(sentences, sentences)
    chosen = [0]
    nearest = cosine[0].clone()
    while len(chosen) < count:
        nearest[chosen[-1]] = torch.inf
        chosen.append(int(nearest.argmin()))
        nearest = torch.maximum(nearest, cosine[chosen[-1]])
    return torch.tensor(sorted(chosen))


class Retrieval(ItemMetric):
    """R@k (%) and MedR of both directions, named "<protocol>/t2m/R01".

    Mode "upstream" rounds to two decimals. nsim_ids: the published list; without it the items are chosen by
    `dissimilar_items`. Protocols "threshold" and "nsim" need sentence embeddings in `update`."""

    columns = ("text", "motion", "sentence", "label")

    def __init__(
        self, protocols: Sequence[str] = PROTOCOLS, mode: Mode = "strict", metric: embeddings.Distance = "cosine",
        threshold: float = SENTENCE_THRESHOLD, nsim_ids: Sequence[int] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        unknown = set(protocols) - set(PROTOCOLS)
        if unknown:
            raise DataError(f"no retrieval protocol {sorted(unknown)}; known: {', '.join(PROTOCOLS)}")
        self.protocols, self.mode, self.metric, self.threshold = tuple(protocols), mode, metric, threshold
        self.nsim_ids = None if nsim_ids is None else torch.as_tensor(nsim_ids)
        self.names = tuple(name for protocol in protocols for name in _names(protocol))

    def update(
        self, text: Tensor, motion: Tensor, ids: Sequence[int] | Tensor | None = None,
        sentences: Tensor | None = None, labels: Tensor | None = None,
    ) -> None:  # fmt: skip
        """text, motion: (B, E). ids: (B,). sentences: (B, S), embeddings of the captions. labels: (B,) int."""
        ids = self._ids(ids, len(text))
        sentences = torch.zeros(len(text), 0) if sentences is None else sentences
        self._add(ids, text=text, motion=motion, sentence=sentences, label=ids if labels is None else labels)

    def measure(self, items: Items) -> dict[str, Score]:
        found: dict[str, Score] = {}
        for protocol in self.protocols:
            found |= attempt(_names(protocol), lambda protocol=protocol: self._protocol(protocol, items))
        return found

    def _protocol(self, protocol: str, items: Items) -> dict[str, Score]:
        items.require("text", "motion")
        if protocol in ("threshold", "nsim") and not items["sentence"].shape[1]:
            raise DataError(f"protocol {protocol} needs sentence embeddings of the captions")
        if protocol == "nsim":
            items = items.take(self._dissimilar(items))
        similarity = similarities(items["text"], items["motion"], self.metric)
        right = items["label"][:, None] == items["label"]
        if protocol == "threshold":
            right |= same_sentence(items["sentence"], self.threshold)
        if protocol == "guo":
            values = in_groups(similarity, embeddings.shuffled(len(items), GUO_SEED), right)
        else:
            values = both_ways(similarity, right)
        digits = 2 if self.mode == "upstream" else 15
        return {
            f"{protocol}/{name}": Score(round(value, digits), "" if name.endswith("MedR") else "%", len(items))
            for name, value in values.items()
        }

    def _dissimilar(self, items: Items) -> Tensor:
        if self.nsim_ids is None:
            return dissimilar_items(items["sentence"])
        found = torch.where(torch.isin(items.ids, self.nsim_ids))[0]
        if not len(found):
            raise DataError("none of the items of the nsim list was measured")
        return found


def _names(protocol: str) -> list[str]:
    kinds = (*(f"R{k:02d}" for k in RANKS), "MedR")
    return [f"{protocol}/{way}/{kind}" for way in DIRECTIONS for kind in kinds]
