"""Corpus BLEU-1..4 in two conventions (evaluation spec 4.9).

"metricverse": the shortest reference counts for the length, and a missing n-gram order makes the score 0. "coco": the
closest reference counts, and tiny constants stand for 0. Counts are kept per item, so that a bootstrap only adds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Convention = Literal["metricverse", "coco"]
ORDERS = 4
_TINY, _SMALL = 1e-15, 1e-9  # of the coco convention


def ngrams(words: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    """How often each run of `order` words occurs."""
    return Counter(zip(*(words[start:] for start in range(order))))


def counts(
    predictions: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]], convention: Convention
) -> Tensor:
    """Counts of each item (N, 10) float64: matches of order 1..4, n-grams of order 1..4, words, reference words.

    predictions: words of each. references: words of each reference of each item."""
    return torch.tensor(
        [_count(said, several, convention) for said, several in zip(predictions, references)], dtype=torch.float64
    ).reshape(-1, 2 * ORDERS + 2)


def precisions(total: Tensor) -> Tensor:
    """Added-up counts (..., 10) -> share of n-grams that match (..., 4), 0 where there is none."""
    matches, possible = total[..., :ORDERS], total[..., ORDERS : 2 * ORDERS]
    return torch.where(possible > 0, matches / possible.clamp(min=1), 0)


def bleu(total: Tensor, convention: Convention) -> Tensor:
    """Added-up counts (..., 10) -> BLEU-1..4 (..., 4), between 0 and 1."""
    orders = torch.arange(1, ORDERS + 1, dtype=torch.float64)
    said, expected = total[..., 2 * ORDERS :].unbind(-1)
    if convention == "coco":
        shares = (total[..., :ORDERS] + _TINY) / (total[..., ORDERS : 2 * ORDERS] + _SMALL)
        ratio = (said + _TINY) / (expected + _SMALL)
    else:
        shares, ratio = precisions(total), said / expected.clamp(min=1)
    geometric = (shares.log().cumsum(-1) / orders).exp()
    return geometric * brevity_penalty(ratio)[..., None]


def brevity_penalty(ratio: Tensor) -> Tensor:
    """Length ratio said / expected (...) -> 1 where it is at least 1, else exp(1 - 1 / ratio)."""
    return torch.exp((1 - 1 / ratio).clamp(max=0))


def _count(said: Sequence[str], several: Sequence[Sequence[str]], convention: Convention) -> list[int]:
    matches, possible = [], []
    for order in range(1, ORDERS + 1):
        best: Counter[tuple[str, ...]] = Counter()
        for words in several:
            best |= ngrams(words, order)
        matches.append(sum((ngrams(said, order) & best).values()))
        possible.append(max(len(said) - order + 1, 0))
    lengths = sorted(len(words) for words in several)
    near = min(lengths, key=lambda length: abs(length - len(said))) if convention == "coco" else lengths[0]
    return [*matches, *possible, len(said), near]
