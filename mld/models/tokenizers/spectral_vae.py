"""A motion VAE that needs minutes of training: its latent is a clip's low frequencies, packed by principal components.

MLD's VAE takes hundreds of thousands of steps until the frames of a clip learn to differ. Here the encoder is linear
and measured once on the training clips: the first cosines of every feature over the clip's own length (DCT-II),
projected onto their principal components. Only the decoder learns: it adds what the latent left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mld.errors import DataError
from mld.models.gaussian import Gaussian
from mld.models.positions import SinusoidalPositions
from mld.models.tokenizers.skip_transformer import SkipTransformer

NOISE = 0.02  # standard deviation of the posterior
LEADING = 16  # components whose latents are scaled to unit size, by one factor for all: later ones stay smaller
MOST_CLIPS = 8192  # that components are measured on


class SpectralVAE(nn.Module):
    """features (B, T, nfeats) <-> one latent of `channels` numbers. frequencies: cosines per feature.

    `measure` has to be called once, on training clips. patch: frames that share a position of the decoder."""

    def __init__(
        self, nfeats: int, channels: int, frequencies: int, width: int, ff_size: int, num_layers: int, num_heads: int,
        dropout: float, activation: str, positions: int, patch: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.nfeats, self.channels, self.frequencies, self.patch = nfeats, channels, frequencies, patch
        self.longest = positions * patch
        self.register_buffer("spectrum_mean", torch.zeros(frequencies * nfeats))
        self.register_buffer("components", torch.zeros(channels, frequencies * nfeats))
        self.register_buffer("gain", torch.ones(()))
        self.embedding = nn.Linear(nfeats * patch, width)
        self.positions = SinusoidalPositions(positions, width, dropout)

        def block() -> nn.Module:
            options = {"activation": activation, "norm_first": True, "batch_first": True}
            return nn.TransformerEncoderLayer(width, num_heads, ff_size, dropout, **options)

        self.decoder = SkipTransformer(block, num_layers, width)
        self.final_layer = nn.Linear(width, nfeats * patch)
        nn.init.zeros_(self.final_layer.weight)
        nn.init.zeros_(self.final_layer.bias)

    @torch.no_grad()
    def measure(self, clips: Iterable[Tensor]) -> None:
        """Principal components of the spectra of normalised clips (T, D) and of a random stretch of each.

        `DataError` for fewer clips than channels."""
        rows, generator = [], torch.Generator().manual_seed(0)
        for clip in islice(clips, MOST_CLIPS):
            first, last = sorted(torch.randint(len(clip) + 1, (2,), generator=generator).tolist())
            for part in (clip, clip[first : last + 1]):
                if len(part):
                    rows.append(self.spectrum(part[None], torch.ones(1, len(part), dtype=torch.bool))[0])
        if len(rows) <= self.channels:
            raise DataError(f"too few clips for {self.channels} components: lower tokenizer.latent_channels")
        spectra = torch.stack(rows)
        self.spectrum_mean.copy_(spectra.mean(0))
        _, spread, components = torch.linalg.svd(spectra - self.spectrum_mean, full_matrices=False)
        self.components.copy_(components[: self.channels])
        self.gain.copy_(math.sqrt(len(rows)) / spread[:LEADING].square().mean().sqrt())

    def spectrum(self, features: Tensor, mask: Tensor) -> Tensor:
        """Cosine coefficients (B, frequencies * D) of normalised features (B, T, D) over the frames of the mask."""
        waves = self._cosines(mask)
        return (waves / mask.sum(1)[:, None, None] @ features.float()).flatten(1)

    def encode(self, features: Tensor, mask: Tensor) -> Gaussian:
        """Normalised features (B, T, D), mask (B, T) -> posterior of the latent (B, 1, C)."""
        self._check(features.shape[1])
        with torch.autocast(features.device.type, enabled=False):
            scores = (self.spectrum(features, mask) - self.spectrum_mean) @ self.components.T
        mu = (scores * self.gain)[:, None]
        return Gaussian(mu, torch.full_like(mu, 2 * math.log(NOISE)))

    def smooth(self, latents: Tensor, mask: Tensor) -> Tensor:
        """What the latent (B, 1, C) says by itself: normalised features (B, T, D)."""
        with torch.autocast(latents.device.type, enabled=False):
            spectrum = (latents[:, 0].float() / self.gain) @ self.components + self.spectrum_mean
            return self._cosines(mask).transpose(1, 2) @ spectrum.unflatten(-1, (self.frequencies, self.nfeats))

    def decode(self, latents: Tensor, mask: Tensor) -> Tensor:
        """Latents (B, 1, C), wanted frames (B, T) -> normalised features (B, T, D), exactly 0 outside the mask."""
        self._check(mask.shape[1])
        smooth = self.smooth(latents, mask).masked_fill(~mask[..., None], 0.0)
        patches = F.pad(smooth, (0, 0, 0, -mask.shape[1] % self.patch)).unflatten(1, (-1, self.patch)).flatten(2)
        known = F.pad(mask, (0, -mask.shape[1] % self.patch)).unflatten(1, (-1, self.patch)).any(-1)
        out = self.decoder(self.positions(self.embedding(patches)), src_key_padding_mask=~known)
        detail = self.final_layer(out).unflatten(-1, (self.patch, -1)).flatten(1, 2)[:, : mask.shape[1]]
        return (smooth + detail).masked_fill(~mask[..., None], 0.0)

    def _cosines(self, mask: Tensor) -> Tensor:
        """Cosines (B, frequencies, T) over the frames of each row; 0 for those that so few frames cannot hold."""
        count = mask.sum(1)[:, None, None]
        place = torch.arange(mask.shape[1], device=mask.device) + 0.5
        order = torch.arange(self.frequencies, device=mask.device)[:, None]
        waves = torch.cos(math.pi * order * place / count) * torch.where(order > 0, math.sqrt(2), 1.0)
        return waves * (mask[:, None] & (order < count))

    def _check(self, frames: int) -> None:
        if frames > self.longest:
            raise DataError(f"a motion of {frames} frames; this tokenizer reads and makes at most {self.longest}")
