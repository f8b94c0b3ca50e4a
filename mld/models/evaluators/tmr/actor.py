"""ACTOR-style transformers of TMR (evaluation spec 2.1 and 3): a sequence to a Gaussian, a latent back to motion.

Key names inside are the published ones of TMR. Positions are sinusoidal and not stored.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mld.models.gaussian import Gaussian
from mld.models.positions import SinusoidalPositions

MAX_POSITIONS = 5000


class ActorEncoder(nn.Module):
    """Sequence (B, T, nfeats), mask (B, T) -> Gaussian (B, latent); two learned tokens in front become mu and logvar.

    relu: a ReLU before the projection, as the 272-d evaluator has for its text."""

    def __init__(self, nfeats: int, latent: int, ff: int, layers: int, heads: int, dropout: float, relu: bool = False):
        super().__init__()
        linear = nn.Linear(nfeats, latent)
        self.projection = nn.Sequential(nn.ReLU(), linear) if relu else linear
        self.tokens = nn.Parameter(torch.randn(2, latent))
        self.sequence_pos_encoding = SinusoidalPositions(MAX_POSITIONS, latent, dropout)
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
        self.sequence_pos_encoding = SinusoidalPositions(MAX_POSITIONS, latent, dropout)
        layer = nn.TransformerDecoderLayer(latent, heads, ff, dropout, "gelu", batch_first=True)
        self.seqTransDecoder = nn.TransformerDecoder(layer, layers)
        self.final_layer = nn.Linear(latent, nfeats)

    def forward(self, latent: Tensor, mask: Tensor) -> Tensor:
        queries = self.sequence_pos_encoding(latent.new_zeros(*mask.shape, latent.shape[-1]))
        out = self.seqTransDecoder(queries, latent[:, None], tgt_key_padding_mask=~mask)
        return self.final_layer(out).masked_fill(~mask[..., None], 0.0)
