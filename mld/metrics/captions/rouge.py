"""ROUGE-L per item in two conventions (evaluation spec 4.9): F1 of the best reference ("metricverse"), or F with beta
1.2 of the best precision and the best recall ("coco"). The corpus value is the mean over items; the library behind the
first convention reports a median of random resamples of it, which differs by about 0.001 from call to call.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mld.metrics.captions.bleu import Convention

BETA = 1.2


def rouge_l(
    predictions: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]], convention: Convention
) -> Tensor:
    """Words of each prediction and of its references -> (N,) float64 between 0 and 1."""
    score = _best_f1 if convention == "metricverse" else _weighted_f
    return torch.tensor([score(said, several) for said, several in zip(predictions, references)], dtype=torch.float64)


def longest_common(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(second) + 1)
    for word in first:
        before = 0
        for place, other in enumerate(second, start=1):
            above = row[place]
            row[place] = before + 1 if word == other else max(above, row[place - 1])
            before = above
    return row[-1]


def _shares(said: Sequence[str], words: Sequence[str]) -> tuple[float, float]:
    common = longest_common(said, words)
    return (common / len(said), common / len(words)) if common else (0.0, 0.0)


def _best_f1(said: Sequence[str], several: Sequence[Sequence[str]]) -> float:
    return max(2 * p * r / (p + r) if p else 0.0 for p, r in (_shares(said, words) for words in several))


def _weighted_f(said: Sequence[str], several: Sequence[Sequence[str]]) -> float:
    precision, recall = (max(column) for column in zip(*(_shares(said, words) for words in several)))
    if not precision:
        return 0.0
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)
