"""Clips as latents of a frozen VAE, all clips of a batch at once (MotionGPT3 spec 3.3).

A posterior that is kept ready-made gives a fresh latent each time it is used, as the published code does by encoding
every clip anew.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mld.example import Clip
from mld.models.contracts.tokenizer import MotionTokenizer
from mld.padding import padded


class MotionUndHead(nn.Module):
    """Latents (N, S, C) -> embeddings (N * holders, Z), chunk h of clip n in row n * holders + h."""

    def __init__(self, latent_shape: tuple[int, int], holders: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.layers = nn.Linear(latent_shape[0] * latent_shape[1], holders * width)

    def forward(self, latents: Tensor) -> Tensor:
        return self.layers(latents.flatten(1)).reshape(-1, self.width)


@torch.no_grad()
def encoded(tokenizer: MotionTokenizer, clips: Sequence[Clip], sampled: bool, device: torch.device) -> list[Tensor]:
    """Scaled latents (S, C) of clips. tokens (S, C) are taken as they are, tokens (2, S, C) are a posterior (mean and
    log variance, unscaled); the features of all others are encoded in one batch. sampled: drawn from the posterior,
    else its mean."""
    tokens = {i: clip.tokens for i, clip in enumerate(clips) if clip.tokens is not None}
    found = {i: latent.to(device) for i, latent in tokens.items() if latent.ndim == 2}
    ready = {i: posterior for i, posterior in tokens.items() if posterior.ndim == 3}
    todo = [i for i, clip in enumerate(clips) if clip.tokens is None]
    rows: list[Tensor] = []
    if ready:
        rows.append(torch.stack(list(ready.values())).to(device, torch.float32))
    if todo:
        rows.append(tokenizer.stored(*padded([clips[i].features for i in todo], device))[0])
    if rows:
        mu, logvar = torch.cat(rows).unbind(1)
        latents = mu + (logvar / 2).exp() * torch.randn_like(mu) if sampled else mu
        found.update(zip((*ready, *todo), tokenizer.scaled(latents)))
    return [found[i] for i in range(len(clips))]
