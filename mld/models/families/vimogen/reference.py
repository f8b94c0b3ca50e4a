"""Reference motions: what of their frames is read, and how they are spoilt in training (vimogen spec 3.7, 5.4).

A motion that was recovered from a video trembles, jumps and loses frames. In training the reference is the motion
itself, made so by noise, frames blended from their neighbours and frames that are not seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mld.models.families.vimogen.config import ViMoGenConfig

BLEND = 0.3  # how far the weights of a blended frame's neighbours are from halves


@dataclass(frozen=True)
class Spoiling:
    """What a batch (B, T, C) of references is spoilt with. corrupt, blend, drop: shares of frames; scale: of the noise.
    noise (B, T, C): standard normal; the others (B, T): uniform numbers that decide for a frame, and of the weight of
    a blend."""

    corrupt: float
    scale: float
    blend: float
    drop: float
    noise: Tensor
    u_noise: Tensor
    u_blend: Tensor
    u_weight: Tensor
    u_drop: Tensor

    @classmethod
    def new(cls, config: ViMoGenConfig, references: Tensor) -> Spoiling:
        """Drawn from torch's generator of random numbers; the three shares once for the batch, as published."""
        shares = torch.rand(3).tolist()
        spans = (config.corrupt_rate, config.corrupt_scale, config.blend_rate)
        corrupt, scale, blend = (low + u * (high - low) for u, (low, high) in zip(shares, spans))
        uniform = torch.rand(4, *references.shape[:2]).to(references.device)
        noise = torch.randn(references.shape).to(references.device)
        return cls(corrupt, scale, blend, config.drop_rate, noise, *uniform)


def spoilt(references: Tensor, mask: Tensor, how: Spoiling) -> tuple[Tensor, Tensor]:
    """References (B, T, C) and their mask (B, T) as training shows them; frames that are not real stay as they are.

    A blend is of the neighbours as they were, around the ends of the padded row as published; a neighbour that is not
    real is the frame itself."""
    noisy = torch.where((mask & (how.u_noise < how.corrupt))[..., None], references + how.scale * how.noise, references)
    weight = (0.5 + BLEND * (how.u_weight - 0.5)).clamp(0, 1)[..., None]
    before, after = (
        torch.where(mask.roll(shift, 1)[..., None], references.roll(shift, 1), references) for shift in (1, -1)
    )
    blended = (mask & (how.u_blend < how.blend))[..., None]
    noisy = torch.where(blended, weight * before + (1 - weight) * after, noisy)
    dropped = mask & (how.u_drop < how.drop)
    return noisy.masked_fill(dropped[..., None], 0.0), mask & ~dropped
