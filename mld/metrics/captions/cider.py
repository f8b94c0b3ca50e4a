"""CIDEr-D per item (Vedantam et al. 2015, evaluation spec 4.9): the same in both conventions.

Words are weighted by how few items of the evaluated set have them in a reference. The values belong to the set: do not
average them over batches or processes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from mld.metrics.captions.bleu import ORDERS, ngrams

SIGMA = 6.0
SCALE = 10.0
Vector = dict[tuple[str, ...], float]


def cider_d(predictions: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]) -> Tensor:
    """Words of each prediction and of its references -> (N,) float64; all 0 for a single item."""
    frequency: Counter[tuple[str, ...]] = Counter()
    for several in references:
        frequency.update({gram for words in several for order in range(1, ORDERS + 1) for gram in ngrams(words, order)})
    items = math.log(max(1, len(references)))

    def vectors(words: Sequence[str]) -> list[Vector]:
        return [
            {gram: times * (items - math.log(max(1, frequency[gram]))) for gram, times in ngrams(words, order).items()}
            for order in range(1, ORDERS + 1)
        ]

    scores = []
    for said, several in zip(predictions, references):
        ours = vectors(said)
        likeness = [_likeness(ours, vectors(words), len(said), len(words)) for words in several]
        scores.append(SCALE * sum(likeness) / len(likeness))
    return torch.tensor(scores, dtype=torch.float64)


def _likeness(ours: list[Vector], theirs: list[Vector], said: int, expected: int) -> float:
    """Mean over n-gram orders of the clipped cosine, lower for another length (counted in word pairs)."""
    total = 0.0
    for a, b in zip(ours, theirs):
        shared = sum(min(weight, b[gram]) * b[gram] for gram, weight in a.items() if gram in b)
        norm = math.sqrt(sum(w * w for w in a.values())) * math.sqrt(sum(w * w for w in b.values()))
        total += shared / norm if norm else 0.0
    gap = max(said - 1, 0) - max(expected - 1, 0)
    return total / ORDERS * math.exp(-gap * gap / (2 * SIGMA**2))
