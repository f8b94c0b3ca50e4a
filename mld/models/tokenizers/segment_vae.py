"""A motion VAE that learns within minutes: one latent per clip, read from and written to segments of the clip's time.

In MLD's VAE the latent reaches every frame in the same way, and it takes hundreds of thousands of steps until frames
learn to differ. Here the encoder's tokens start as local averages of the clip, one per segment, and the decoder's
queries as interpolated segments; between them a linear layer packs all segments into one latent, so that a diffusion
head models them together.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mld.models.tokenizers.skip_transformer import Gaussian, SkipVAE

FIRST_LOGVAR = -5.0  # of a new encoder: its noise starts small beside its mean


class SegmentVAE(SkipVAE):
    """segments: tokens between frames and latent. channels: of the latent, independent of the width."""

    def __init__(self, segments: int, channels: int, *sizes, **options) -> None:
        super().__init__(*sizes, **options)
        self.segments = segments
        self.global_motion_token = nn.Parameter(0.02 * torch.randn(segments, self.width))
        self.to_latent = nn.Linear(segments * self.width, 2 * channels)
        self.from_latent = nn.Linear(channels, segments * self.width)
        with torch.no_grad():
            self.to_latent.bias[channels:] = FIRST_LOGVAR

    def first_tokens(self, frames: Tensor, mask: Tensor) -> Tensor:
        nearness = _nearness(mask, self.segments).masked_fill(~mask[:, None], 0.0)
        return self.global_motion_token + _mean(nearness, frames)

    def encode(self, features: Tensor, mask: Tensor) -> Gaussian:
        """Normalised features (B, T, D), mask (B, T) -> posterior of the latent (B, 1, C)."""
        found = self.to_latent(self.distribution_tokens(features, mask).flatten(1))[:, None]
        return Gaussian(*found.chunk(2, dim=-1))

    def memory(self, latents: Tensor) -> Tensor:
        return self.from_latent(latents[:, 0]).unflatten(-1, (self.segments, self.width))

    def first_queries(self, memory: Tensor, mask: Tensor) -> Tensor:
        return _mean(_nearness(mask, self.segments).transpose(1, 2), memory)


def _nearness(mask: Tensor, segments: int) -> Tensor:
    """How near positions (B, P) are to segments in the relative time of their clip, (B, segments, P): a bell one
    segment wide."""
    count = mask.sum(1, keepdim=True)
    place = (torch.arange(mask.shape[1], device=mask.device) + 0.5) / count * segments - 0.5
    distance = place[:, None] - torch.arange(segments, device=mask.device)[:, None]
    return torch.exp(-2 * distance.square()) + 1e-9


def _mean(weights: Tensor, values: Tensor) -> Tensor:
    """Weighted means (B, N, C) of values (B, M, C) by weights (B, N, M)."""
    return (weights / weights.sum(-1, keepdim=True)).to(values) @ values
