"""Losses between a text and a motion distribution, of TMR and the 272-d evaluator (evaluation spec 2.2 and 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mld.models.gaussian import Gaussian


def cosine_matrix(text: Tensor, motion: Tensor) -> Tensor:
    """Cosines (N, M) of text (N, E) and motion (M, E)."""
    return F.normalize(text, dim=-1) @ F.normalize(motion, dim=-1).T


def kl_divergence(q: Gaussian, p: Gaussian) -> Tensor:
    """Mean over rows and dimensions of KL(q || p)."""
    difference = q.logvar - p.logvar
    distance = (q.mu - p.mu).square() / p.logvar.exp()
    return 0.5 * (difference.exp() + distance - 1 - difference).mean()


def kl_losses(text: Gaussian, motion: Gaussian) -> dict[str, Tensor]:
    """Each towards the other and towards the standard normal."""
    standard = Gaussian(torch.zeros_like(text.mu), torch.zeros_like(text.logvar))
    return {
        "kl_text_motion": kl_divergence(text, motion), "kl_motion_text": kl_divergence(motion, text),
        "kl_text": kl_divergence(text, standard), "kl_motion": kl_divergence(motion, standard),
    }  # fmt: skip


def info_nce(text: Tensor, motion: Tensor, temperature: float, matching: Tensor | None = None) -> Tensor:
    """Symmetric InfoNCE of text and motion (B, E): row i belongs to row i.

    matching: (B, B) bool, pairs off the diagonal that are no negatives either."""
    scores = cosine_matrix(text, motion) / temperature
    if matching is not None:
        others = matching & ~torch.eye(len(text), dtype=torch.bool, device=text.device)
        scores = scores.masked_fill(others, float("-inf"))
    target = torch.arange(len(text), device=text.device)
    return (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2


def similar_sentences(cosines: Tensor, above: float, keep_equal: bool = False) -> Tensor:
    """(B, B) bool: sentences so alike that they are no negatives of each other.

    keep_equal (compat): equal sentences stay negatives, as in the published training of the 272-d evaluator."""
    similar = cosines > above
    return similar & (cosines < 1.0) if keep_equal else similar
