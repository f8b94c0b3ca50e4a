"""Metrics on embeddings of text and motion: R-precision, matching score, FID, diversity, multimodality.

Pure functions of arrays; the networks that make the embeddings are elsewhere. Formulas: evaluation spec 4.1-4.3
(Guo et al. 2022). Everything is computed in float64.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mld.errors import DataError


def distances(text: Tensor, motion: Tensor) -> Tensor:
    """Euclidean distances of text rows (N, D) to motion rows (M, D) -> (N, M); equal rows are at distance 0."""
    text, motion = text.double(), motion.double()
    squared = text.square().sum(-1, keepdim=True) + motion.square().sum(-1) - 2 * text @ motion.T
    return squared.clamp(min=0).sqrt()


def r_precision(text: Tensor, motion: Tensor, group_size: int = 32, top_k: int = 3) -> Tensor:
    """Share of texts whose motion is among the k nearest of its group, for k = 1..top_k -> (top_k,).

    text, motion: (N, D), matching rows. Groups are consecutive; rows beyond the last full group are dropped."""
    hits = []
    for t, m in _groups(text, motion, group_size):
        order = distances(t, m).argsort(dim=1, stable=True)
        place = (order == torch.arange(group_size, device=order.device)[:, None]).int().argmax(dim=1)
        hits.append(place[:, None] < torch.arange(1, top_k + 1, device=order.device))
    return torch.cat(hits).double().mean(0)


def matching_score(text: Tensor, motion: Tensor, group_size: int = 32) -> Tensor:
    """Mean distance of matching rows (N, D), over the same rows as `r_precision`."""
    return torch.cat([distances(t, m).diagonal() for t, m in _groups(text, motion, group_size)]).mean()


def fid(generated: Tensor, reference: Tensor) -> Tensor:
    """Frechet distance of two sets of embeddings (N, D) and (M, D) with unbiased covariances.

    The trace of the matrix root comes from the eigenvalues of the symmetric S_r^1/2 S_g S_r^1/2, which also holds for
    singular covariances (fewer rows than columns)."""
    if len(generated) < 2 or len(reference) < 2:
        raise DataError("FID needs at least two embeddings in each set")
    generated, reference = generated.double(), reference.double()
    cov_g, cov_r = torch.cov(generated.T), torch.cov(reference.T)
    values, vectors = torch.linalg.eigh(cov_r)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ cov_g @ root).clamp(min=0).sqrt().sum()
    shift = (generated.mean(0) - reference.mean(0)).square().sum()
    return shift + cov_g.trace() + cov_r.trace() - 2 * cross


def diversity(embeddings: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Mean distance of the row pairs (first, second), each (P,), of embeddings (N, D)."""
    embeddings = embeddings.double()
    return (embeddings[first] - embeddings[second]).norm(dim=-1).mean()


def multimodality(embeddings: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Mean distance of repeats (first, second), each (P,), the same for all captions: embeddings (M, K, D)."""
    embeddings = embeddings.double()
    return (embeddings[:, first] - embeddings[:, second]).norm(dim=-1).mean()


def random_pairs(count: int, pairs: int, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of `pairs` random pairs out of `count`: two independent draws without replacement, as published (a
    pair may be a row with itself). `DataError` if there are fewer rows than pairs."""
    if count < pairs:
        raise DataError(f"{pairs} different rows are needed, there are {count}")
    legacy = np.random.RandomState(seed)  # the generator of the published numbers
    first, second = (legacy.choice(count, pairs, replace=False) for _ in range(2))
    return torch.from_numpy(first), torch.from_numpy(second)


def _groups(text: Tensor, motion: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    if text.shape != motion.shape or len(text) < size:
        raise DataError(f"matching rows and at least one group of {size} are needed, got {len(text)} and {len(motion)}")
    full = len(text) // size * size
    return list(zip(text[:full].split(size), motion[:full].split(size)))
