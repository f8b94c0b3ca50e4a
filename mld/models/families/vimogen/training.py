"""The loss of a flow over frames: squared errors of velocities, weighted by time and by column (vimogen spec 4)."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from mld.models.families.vimogen.config import ViMoGenConfig
from mld.models.heads.flow import TRAINED, balanced_weights, clean_weights, nearest, sigmas, target, weights


class Batch(NamedTuple):
    """clean (B, T, C): normalised frames, real where mask (B, T). counted (B, C): columns that the loss counts. texts
    (B, L, Z), of which text_mask (B, L) is read, all where there is none. references (B, T, R) with reference_mask
    (B, T). by_text (B,): rows that follow their text."""

    clean: Tensor
    mask: Tensor
    counted: Tensor
    texts: Tensor
    text_mask: Tensor | None
    references: Tensor | None
    reference_mask: Tensor | None
    by_text: Tensor


class Draws(NamedTuple):
    """sigma, weight (B,): noise levels of rows and what their losses weigh; time (B,): what the network is told. noise
    (B, T, C)."""

    sigma: Tensor
    time: Tensor
    weight: Tensor
    noise: Tensor

    @classmethod
    def new(cls, clean: Tensor, config: ViMoGenConfig) -> Draws:
        """Drawn from torch's generator of random numbers."""
        places = torch.randint(TRAINED, (len(clean),))
        noise = torch.randn(clean.shape).to(clean.device)
        return cls.at(places.to(clean.device), noise, config)

    @classmethod
    def at(cls, places: Tensor, noise: Tensor, config: ViMoGenConfig) -> Draws:
        """At places (B,) of the table of training. compat: the time is rounded to bfloat16, the level is that nearest
        to it."""
        found = table_of(config.training_shift or config.shift, config.levels_weigh)
        levels, table = (part.to(noise.device) for part in found)
        time = TRAINED * levels[places]
        if config.compat:
            time = time.bfloat16().float()
            places = nearest(levels, time)
        return cls(levels[places], time, table[places], noise)


# What errors of levels weigh: of velocities as published, of the velocities that follow from clean frames, all alike.
WEIGHTS = {"bell": weights, "velocity": clean_weights, "balanced": balanced_weights}


@lru_cache(maxsize=8)
def table_of(shift: float, weighting: str = "bell") -> tuple[Tensor, Tensor]:
    """Levels of training, from pure noise down, and the weights of their losses; (1000,) each."""
    with torch.inference_mode(False):  # kept: must stay usable in training
        levels = sigmas(TRAINED, shift)[:-1]
        return levels, WEIGHTS[weighting](levels)


def flow_losses(
    foretold: Tensor, rows: Batch, draws: Draws, column_weights: Tensor, prediction: str = "velocity",
    step_weights: Tensor | None = None,
) -> dict[str, Tensor]:  # fmt: skip
    """`flow_loss` of velocities (B, T, C), or of clean frames where these are foretold, over real frames and counted
    columns, and the same of both kinds of rows; the weights are not part of what is divided by. step_weights (C,): of
    the errors of steps from one frame to the next, none where these do not count."""
    wanted = target(rows.clean, draws.noise) if prediction == "velocity" else rows.clean
    counted = rows.mask[..., None] & rows.counted[:, None]
    off = (foretold.float() - wanted) * counted
    sums, counts = (off.square() * column_weights).sum((1, 2)), counted.sum((1, 2))
    if step_weights is not None:
        steps = off.diff(dim=1) * rows.mask[:, 1:, None]
        sums = sums + (steps.square() * step_weights).sum((1, 2))
    sums = sums * draws.weight
    found = {"flow_loss": sums.sum() / counts.sum().clamp(min=1)}
    for name, chosen in (("text", rows.by_text), ("reference", ~rows.by_text)):
        if bool(chosen.any()):
            found[f"monitor/loss_{name}"] = (sums[chosen].sum() / counts[chosen].sum().clamp(min=1)).detach()
    return found
