"""The training step of MotionStreamer: part of the history is what the model itself predicts (spec 6.2, 6.4).

A first pass over the true latents gives, without gradient, a guess of every one of them from a random noise level. A
share of places, the same in all rows, then holds these guesses in the second pass, whose loss counts. The share rises
from none to all in the course of training, so that the model learns to go on from its own mistakes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mld.models.heads.diffusion import DiffusionHead

Conditions = Callable[[Tensor], Tensor]  # latents (B, L, C) -> the condition (B, L, Z) of each, from those before it


@dataclass(frozen=True)
class Rows:
    """latents (B, L, C), zeros behind the end of each row. counted (B, L): those whose loss counts. history (B, L):
    those that were given, which stay as they are."""

    latents: Tensor
    counted: Tensor
    history: Tensor


@dataclass(frozen=True)
class Draws:
    """The random numbers of a step. t (B * L,), noise (B * L, C): of the first pass. order (L,): places in the order in
    which they are replaced. counted_t (M,), counted_noise (M, C): of the latents that count, `repeats` times over."""

    t: Tensor
    noise: Tensor
    order: Tensor
    counted_t: Tensor
    counted_noise: Tensor

    @classmethod
    def new(cls, rows: Rows, steps: int, repeats: int) -> Draws:
        """From torch's global generator."""
        latents, device = rows.latents, rows.latents.device
        total, counted = latents[..., 0].numel(), int(rows.counted.sum()) * repeats
        return cls(
            torch.randint(steps, (total,), device=device), torch.randn(total, latents.shape[-1], device=device),
            torch.randperm(latents.shape[1], device=device), torch.randint(steps, (counted,), device=device),
            torch.randn(counted, latents.shape[-1], device=device),
        )  # fmt: skip


def replaced_share(progress: float) -> float:
    """Share of the history that is predicted: half a cosine from 0 to 1."""
    return 0.5 * (1 - math.cos(math.pi * progress))


@torch.no_grad()
def guesses(rows: Rows, conditions: Conditions, head: DiffusionHead, draws: Draws, limit: float | None) -> Tensor:
    """What the first pass predicts of every latent (B, L, C)."""
    found = head.predict_clean(
        rows.latents.flatten(0, 1)[:, None], conditions(rows.latents).flatten(0, 1)[:, None], draws.t,
        draws.noise[:, None],
    )[:, 0].view_as(rows.latents)  # fmt: skip
    return found if limit is None else found.clamp(-limit, limit)


def mixed(rows: Rows, guessed: Tensor, draws: Draws, count: int) -> Tensor:
    """The latents with the first `count` places of the order guessed, but for given ones."""
    chosen = torch.zeros(rows.latents.shape[1], dtype=torch.bool, device=rows.latents.device)
    chosen[draws.order[:count]] = True
    return torch.where((chosen & ~rows.history)[..., None], guessed, rows.latents)


def counted_loss(rows: Rows, history: Tensor, conditions: Conditions, head: DiffusionHead, draws: Draws) -> Tensor:
    """Mean over the latents that count, each at `repeats` noise levels, of the error of the predicted noise."""
    repeats = len(draws.counted_t) // max(int(rows.counted.sum()), 1)
    condition = conditions(history)[rows.counted].repeat(repeats, 1)
    target = rows.latents[rows.counted].repeat(repeats, 1)
    terms = head.loss_terms(target[:, None], condition[:, None], draws.counted_t, draws.counted_noise[:, None])
    return terms["mse"].mean()
