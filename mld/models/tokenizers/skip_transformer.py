"""Transformers with long skip connections, and the variational auto-encoder of MLD made of them (Chen et al. 2023;
MotionGPT3 spec 1.2 to 1.4).

`SkipVAE` works on normalised features; module names inside are the published ones. The first half of the blocks puts
its outputs on a stack, the second half takes them off again, last in first out.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mld.errors import ConfigError, DataError
from mld.models.gaussian import Gaussian
from mld.models.positions import LearnedPositions, SinusoidalPositions

POSITIONS = {"learned": lambda count, width, dropout: LearnedPositions(count, width), "sinusoidal": SinusoidalPositions}


class SkipTransformer(nn.Module):
    """An odd number of blocks made by `block()`: input blocks, a middle one, output blocks; then a LayerNorm."""

    def __init__(self, block, layers: int, width: int) -> None:
        super().__init__()
        if layers % 2 == 0:
            raise ConfigError(f"vae: num_layers is {layers}; skip connections need an odd number")
        half = layers // 2
        self.input_blocks = nn.ModuleList(block() for _ in range(half))
        self.middle_block = block()
        self.output_blocks = nn.ModuleList(block() for _ in range(half))
        self.linear_blocks = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(half))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, *context: Tensor, **masks: Tensor) -> Tensor:
        """x (B, T, C); context and masks are handed to every block."""
        stack = []
        for block in self.input_blocks:
            x = block(x, *context, **masks)
            stack.append(x)
        x = self.middle_block(x, *context, **masks)
        for block, linear in zip(self.output_blocks, self.linear_blocks):
            x = block(linear(torch.cat((x, stack.pop()), dim=-1)), *context, **masks)
        return self.norm(x)


class SkipVAE(nn.Module):
    """features (B, T, nfeats) of any length <-> `latents` latents of `width` channels.

    separate_logvar: mean and log variance have distribution tokens of their own, as published; otherwise one token
    gives both through a linear layer (MLD's MLP_DIST). patch: frames that share one position of the transformers; 1 as
    published, 4 trains about four times faster."""

    def __init__(
        self, nfeats: int, latents: int, width: int, ff_size: int, num_layers: int, num_heads: int, dropout: float,
        activation: str, norm_first: bool, position_encoding: str, positions: int, separate_logvar: bool,
        patch: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        self.latents, self.width, self.positions, self.patch = latents, width, positions, patch
        options = {"activation": activation, "norm_first": norm_first, "batch_first": True}
        sizes = (width, num_heads, ff_size, dropout)
        self.query_pos_encoder = POSITIONS[position_encoding](positions, width, dropout)
        self.query_pos_decoder = POSITIONS[position_encoding](positions, width, dropout)
        self.encoder = SkipTransformer(lambda: nn.TransformerEncoderLayer(*sizes, **options), num_layers, width)
        self.decoder = SkipTransformer(lambda: nn.TransformerDecoderLayer(*sizes, **options), num_layers, width)
        self.global_motion_token = nn.Parameter(torch.randn(2 * latents if separate_logvar else latents, width))
        self.dist_layer = None if separate_logvar else nn.Linear(width, 2 * width)
        self.skel_embedding = nn.Linear(nfeats * patch, width)
        self.final_layer = nn.Linear(width, nfeats * patch)

    @property
    def longest(self) -> int:
        """Frames of the longest clip that has positions."""
        return (self.positions - len(self.global_motion_token)) * self.patch

    def distribution_tokens(self, features: Tensor, mask: Tensor) -> Tensor:
        """Encoder output (B, 2 S or S, C) at the distribution tokens."""
        frames, mask = self.skel_embedding(self._patches(features)), self._patch_mask(mask)
        tokens = self.global_motion_token.expand(len(frames), -1, -1)
        x = self.query_pos_encoder(torch.cat((tokens, frames), dim=1))
        known = torch.cat((mask.new_ones(tokens.shape[:2]), mask), dim=1)
        return self.encoder(x, src_key_padding_mask=~known)[:, : tokens.shape[1]]

    def encode(self, features: Tensor, mask: Tensor) -> Gaussian:
        """Normalised features (B, T, D), mask (B, T) -> posterior of the latents (B, S, C)."""
        found = self.distribution_tokens(features, mask)
        if self.dist_layer is not None:
            return Gaussian(*self.dist_layer(found).chunk(2, dim=-1))
        return Gaussian(found[:, : self.latents], found[:, self.latents :])

    def decode(self, latents: Tensor, mask: Tensor) -> Tensor:
        """Latents (B, S, C), wanted frames (B, T) -> normalised features (B, T, D), exactly 0 outside the mask."""
        known = self._patch_mask(mask)
        queries = self.query_pos_decoder(latents.new_zeros(*known.shape, self.width))
        out = self.final_layer(self.decoder(queries, latents, tgt_key_padding_mask=~known))
        out = out.unflatten(-1, (self.patch, -1)).flatten(1, 2)[:, : mask.shape[1]]
        return out.masked_fill(~mask[..., None], 0.0)

    def _patches(self, features: Tensor) -> Tensor:
        """(B, T, D) -> (B, ceil(T / patch), patch * D), filled up with zeros."""
        if features.shape[1] > self.longest:
            frames = features.shape[1]
            raise DataError(f"a motion of {frames} frames; this tokenizer reads and makes at most {self.longest}")
        filled = F.pad(features, (0, 0, 0, -features.shape[1] % self.patch))
        return filled.unflatten(1, (-1, self.patch)).flatten(2)

    def _patch_mask(self, mask: Tensor) -> Tensor:
        """(B, T) -> (B, ceil(T / patch)): patches with a real frame."""
        return self._patches(mask[..., None].float()).any(-1)
