"""Metrics on embeddings of text and motion: R-precision, matching score, FID, KID, diversity, multimodality.

Pure functions of arrays in float64; the networks that make the embeddings are elsewhere, the objects that collect them
in `embedding_scores.py`. Formulas: evaluation spec 4.1-4.3 and 4.10 (Guo et al. 2022). Distances are formed from
differences of rows, so equal rows are at distance 0: the published expansion of the square gives NaN there.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mld.errors import DataError
from mld.metrics.mode import Mode

Distance = Literal["euclidean", "cosine"]
GROUP_SIZE = 32
TOP_K = 3


def distances(text: Tensor, motion: Tensor, metric: Distance = "euclidean") -> Tensor:
    """Distances of text rows (N, E) to motion rows (M, E) -> (N, M); "cosine" is 1 - cosine similarity."""
    text, motion = text.double(), motion.double()
    if metric == "cosine":
        text, motion = F.normalize(text, dim=-1), F.normalize(motion, dim=-1)
    exact = torch.cdist(text, motion, compute_mode="donot_use_mm_for_euclid_dist")
    return exact.square() / 2 if metric == "cosine" else exact


def hits(
    text: Tensor, motion: Tensor, group_size: int = GROUP_SIZE, top_k: int = TOP_K, mode: str = "strict",
    metric: Distance = "euclidean", labels: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Whether the motion of each text is among the k nearest of its group, for k = 1..top_k -> (rows, top_k) float64.

    text, motion: (N, E), matching rows. Groups are consecutive; rows beyond the last full group are dropped. labels
    (N,): motions of the same label count as right too. Ties: "upstream" takes the row order, "strict" the chance that
    a random order of the tied ones gives, so that a model which always does the same gets 1/32."""
    used = _full_groups(text, motion, group_size)
    names = torch.arange(len(text)) if labels is None else labels
    found = []
    for start in range(0, used, group_size):
        rows = slice(start, start + group_size)
        apart = distances(text[rows], motion[rows], metric)
        right = names[rows, None] == names[None, rows]
        found.append(_chances(apart, right.to(apart.device), top_k, mode))
    return torch.cat(found)


def r_precision(text: Tensor, motion: Tensor, group_size: int = GROUP_SIZE, top_k: int = TOP_K, **how) -> Tensor:
    """Mean of `hits` over the rows used -> (top_k,)."""
    return hits(text, motion, group_size, top_k, **how).mean(0)


def pair_distances(text: Tensor, motion: Tensor, metric: Distance = "euclidean") -> Tensor:
    """Distance of each text to its own motion: (N, E) twice -> (N,)."""
    text, motion = text.double(), motion.double()
    if metric == "cosine":
        return (F.normalize(text, dim=-1) - F.normalize(motion, dim=-1)).square().sum(-1) / 2
    return (text - motion).norm(dim=-1)


def matching_score(text: Tensor, motion: Tensor, group_size: int = GROUP_SIZE) -> Tensor:
    """Mean distance of matching rows (N, E), over the same rows as `r_precision`."""
    used = _full_groups(text, motion, group_size)
    return pair_distances(text[:used], motion[:used]).mean()


def gaussian(embeddings: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (E,) and unbiased covariance (E, E) of rows (N, E), float64; `DataError` for fewer than two rows."""
    if len(embeddings) < 2:
        raise DataError(f"FID needs at least two embeddings in each set, there are {len(embeddings)}")
    embeddings = embeddings.double()
    return embeddings.mean(0), torch.cov(embeddings.T).reshape(embeddings.shape[1], -1)


def frechet(generated: tuple[Tensor, Tensor], reference: tuple[Tensor, Tensor]) -> Tensor:
    """Frechet distance of two Gaussians (mean, covariance), scalar.

    The trace of the root of S_g S_r is the sum of the singular values of S_g^1/2 S_r^1/2, which also holds, to full
    precision, for singular covariances (fewer rows than columns)."""
    (mean_g, cov_g), (mean_r, cov_r) = generated, reference
    cross = torch.linalg.svdvals(_root(cov_g) @ _root(cov_r)).sum()
    return (mean_g - mean_r).square().sum() + cov_g.trace() + cov_r.trace() - 2 * cross


def fid(generated: Tensor, reference: Tensor) -> Tensor:
    """Frechet distance of two sets of embeddings (N, E) and (M, E). Biased upwards by about 1/N; for N below E the
    covariance is singular and the number says little."""
    return frechet(gaussian(generated), gaussian(reference))


def polynomial_mmd(generated: Tensor, reference: Tensor) -> Tensor:
    """Unbiased squared MMD with the kernel (x.y / E + 1)^3: (N, E) and (M, E) -> scalar."""
    x, y = generated.double(), reference.double()
    if min(len(x), len(y)) < 2:
        raise DataError("KID needs at least two embeddings in each set")

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def off_diagonal_mean(gram: Tensor) -> Tensor:
        return (gram.sum() - gram.trace()) / (len(gram) * (len(gram) - 1))

    return off_diagonal_mean(kernel(x, x)) + off_diagonal_mean(kernel(y, y)) - 2 * kernel(x, y).mean()


def kid(
    generated: Tensor, reference: Tensor, subsets: int = 50, subset_size: int = 1000, seed: int = 0,
    mode: Mode = "strict",
) -> Tensor:  # fmt: skip
    """`polynomial_mmd` of random subsets without replacement -> (subsets,); their mean is KID. A set smaller than
    `subset_size` is used whole, and where both are there is a single value. Mode "upstream" draws with replacement, as
    the code of MLD does."""
    sizes = [min(len(rows), subset_size) for rows in (generated, reference)]
    if mode == "strict" and sizes == [len(generated), len(reference)]:
        return polynomial_mmd(generated, reference)[None]
    generator = torch.Generator().manual_seed(seed)

    def draw(rows: Tensor, size: int) -> Tensor:
        if mode == "upstream":
            return rows[torch.randint(len(rows), (size,), generator=generator)]
        return rows[torch.randperm(len(rows), generator=generator)[:size]]

    return torch.stack([polynomial_mmd(draw(generated, sizes[0]), draw(reference, sizes[1])) for _ in range(subsets)])


def diversity(embeddings: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Mean distance of the row pairs (first, second), each (P,), of embeddings (N, E)."""
    embeddings = embeddings.double()
    return (embeddings[first] - embeddings[second]).norm(dim=-1).mean()


def caption_spread(embeddings: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Mean distance of the repeats (first, second), each (P,), of every caption: (M, K, E) -> (M,)."""
    embeddings = embeddings.double()
    return (embeddings[:, first] - embeddings[:, second]).norm(dim=-1).mean(-1)


def multimodality(embeddings: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Mean of `caption_spread`: the same repeats for all captions."""
    return caption_spread(embeddings, first, second).mean()


def random_pairs(count: int, pairs: int, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of `pairs` random pairs out of `count`: two independent draws without replacement, as published (a
    pair may be a row with itself). `DataError` unless there are more rows than pairs."""
    if count <= pairs:
        raise DataError(f"{pairs} pairs are drawn out of more than {pairs} rows, there are {count}")
    legacy = np.random.RandomState(seed)  # the generator of the published numbers
    first, second = (legacy.choice(count, pairs, replace=False) for _ in range(2))
    return torch.from_numpy(first), torch.from_numpy(second)


def shuffled(count: int, seed: int) -> Tensor:
    """A random order of `count` rows (count,), the same for a seed everywhere."""
    return torch.from_numpy(np.random.RandomState(seed).permutation(count))


def _chances(apart: Tensor, right: Tensor, top_k: int, mode: str) -> Tensor:
    """Chance that a right one is among the k nearest: distances (G, G), right (G, G) bool -> (G, top_k)."""
    best = apart.masked_fill(~right, torch.inf).amin(1, keepdim=True)
    better = ((apart < best) & ~right).sum(1, keepdim=True)
    tied = (apart == best) & ~right
    k = torch.arange(1, top_k + 1, device=apart.device)
    if mode == "upstream":
        own = ((apart == best) & right).int().argmax(1, keepdim=True)
        before = (tied & (torch.arange(len(apart), device=apart.device) < own)).sum(1, keepdim=True)
        return (better + before < k).double()
    return ((k - better).double() / (tied.sum(1, keepdim=True) + 1)).clamp(0, 1)


def _root(covariance: Tensor) -> Tensor:
    """The symmetric square root of a covariance (E, E)."""
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T


def _full_groups(text: Tensor, motion: Tensor, size: int) -> int:
    """The number of rows in full groups; `DataError` if there is none."""
    if text.shape != motion.shape:
        raise DataError(f"R-precision needs matching rows, got {tuple(text.shape)} and {tuple(motion.shape)}")
    if len(text) < size:
        raise DataError(f"R-precision needs at least one group of {size} items, there are {len(text)}")
    return len(text) // size * size
