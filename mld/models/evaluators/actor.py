"""ACTOR-style transformers of TMR (evaluation spec 2.1 and 3): a sequence to a Gaussian, a latent back to motion.

Key names inside are the published ones of TMR. Positions are sinusoidal and not stored.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

MAX_POSITIONS = 5000


class Gaussian(NamedTuple):
    """Diagonal normal distributions: mu and logvar (B, E)."""

    mu: Tensor
    logvar: Tensor

    @property
    def std(self) -> Tensor:
        return (self.logvar / 2).exp()

    def sample(self, noise: Tensor) -> Tensor:
        """mu + noise * std, all (B, E)."""
        return self.mu + noise * self.std


class Positions(nn.Module):
    """Adds sinusoidal positions to (B, T, E)."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("pe", sinusoids(MAX_POSITIONS, width), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(x + self.pe[: x.shape[1]])


class ActorEncoder(nn.Module):
    """Sequence (B, T, nfeats), mask (B, T) -> Gaussian (B, latent); two learned tokens in front become mu and logvar.

    relu: a ReLU before the projection, as the 272-d evaluator has for its text."""

    def __init__(self, nfeats: int, latent: int, ff: int, layers: int, heads: int, dropout: float, relu: bool = False):
        super().__init__()
        linear = nn.Linear(nfeats, latent)
        self.projection = nn.Sequential(nn.ReLU(), linear) if relu else linear
        self.tokens = nn.Parameter(torch.randn(2, latent))
        self.sequence_pos_encoding = Positions(latent, dropout)
        layer = nn.TransformerEncoderLayer(latent, heads, ff, dropout, "gelu", batch_first=True)
        self.seqTransEncoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(self, sequence: Tensor, mask: Tensor) -> Gaussian:
        tokens = self.tokens.expand(len(sequence), -1, -1)
        known = torch.cat([mask.new_ones(len(mask), 2), mask], dim=1)
        x = self.sequence_pos_encoding(torch.cat([tokens, self.projection(sequence)], dim=1))
        out = self.seqTransEncoder(x, src_key_padding_mask=~known)
        return Gaussian(out[:, 0], out[:, 1])


class ActorDecoder(nn.Module):
    """Latent (B, E), mask (B, T) -> motion (B, T, nfeats), 0 outside the mask."""

    def __init__(self, nfeats: int, latent: int, ff: int, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.sequence_pos_encoding = Positions(latent, dropout)
        layer = nn.TransformerDecoderLayer(latent, heads, ff, dropout, "gelu", batch_first=True)
        self.seqTransDecoder = nn.TransformerDecoder(layer, layers)
        self.final_layer = nn.Linear(latent, nfeats)

    def forward(self, latent: Tensor, mask: Tensor) -> Tensor:
        queries = self.sequence_pos_encoding(latent.new_zeros(*mask.shape, latent.shape[-1]))
        out = self.seqTransDecoder(queries, latent[:, None], tgt_key_padding_mask=~mask)
        return self.final_layer(out).masked_fill(~mask[..., None], 0.0)


def sinusoids(length: int, width: int) -> Tensor:
    """Positions (length, width): sines in even columns, cosines in odd ones (Vaswani et al. 2017)."""
    position = torch.arange(length)[:, None]
    frequency = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    table = torch.zeros(length, width)
    table[:, 0::2] = torch.sin(position * frequency)
    table[:, 1::2] = torch.cos(position * frequency)
    return table
