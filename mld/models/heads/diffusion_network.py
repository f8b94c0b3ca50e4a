"""The denoising network: a residual MLP modulated by timestep and condition (MotionGPT3 spec 4.1).

Works on each row of (N, S, C) by itself. The condition comes as K vectors: pooled by a small transformer into one per
row of the target, or laid end to end. Module names are the published ones; MotionStreamer uses the same network.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mld.errors import ConfigError
from mld.models.heads.preconditioning import LinearPrior
from mld.models.positions import LearnedPositions

WAVES = 128  # frequencies of the timestep's sinusoid
NORM_EPS = 1e-6
MAX_ROWS = 500  # of the position table of the pooling


class TimeEmbedding(nn.Module):
    """Timesteps (N,) -> (N, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(2 * WAVES, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        octaves = torch.arange(WAVES, dtype=torch.float32, device=t.device)
        angles = t[:, None].float() * torch.exp(-math.log(10000) * octaves / WAVES)
        return self.mlp(torch.cat((angles.cos(), angles.sin()), -1).to(self.mlp[0].weight.dtype))


class ConditionPooling(nn.Module):
    """Conditions (N, K, Z) -> (N, S, width): S learned queries and the conditions meet in one transformer layer."""

    def __init__(self, channels: int, conditions: int, size: int, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        if channels % heads:
            raise ConfigError(f"num_pooling_heads {heads} does not divide the {channels} condition channels")
        if size + conditions > MAX_ROWS:
            raise ConfigError(f"diffusion head: {size} + {conditions} rows to pool, at most {MAX_ROWS} fit")
        self.hidden_embedding = nn.Parameter(torch.randn(size, channels))
        self.hid_pos = LearnedPositions(MAX_ROWS, channels)
        self.hid_encoder_layer = nn.TransformerEncoderLayer(
            channels, heads, 4 * channels, dropout, activation="gelu", batch_first=True
        )
        self.cond_proj = nn.Linear(channels, width)

    def forward(self, condition: Tensor) -> Tensor:
        size = len(self.hidden_embedding)
        queries = self.hidden_embedding.expand(len(condition), -1, -1).to(condition.dtype)
        rows = self.hid_encoder_layer(self.hid_pos(torch.cat((queries, condition), 1)))
        return self.cond_proj(rows[:, :size])


class EndToEnd(nn.Linear):
    """Conditions (N, K, Z) -> (N, 1, width), laid end to end."""

    def forward(self, condition: Tensor) -> Tensor:
        return super().forward(condition.flatten(1)[:, None])


def modulation(width: int, parts: int) -> nn.Sequential:
    return nn.Sequential(nn.SiLU(), nn.Linear(width, parts * width))


class ResidualBlock(nn.Module):
    """x (N, S, W) modulated by y (N, S or 1, W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.in_ln = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.adaLN_modulation = modulation(width, 3)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        shift, scale, gate = self.adaLN_modulation(y).chunk(3, -1)
        return x + gate * self.mlp(self.in_ln(x) * (1 + scale) + shift)


class FinalLayer(nn.Module):
    """x (N, S, W) -> (N, S, channels)."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.norm_final = nn.LayerNorm(width, eps=NORM_EPS, elementwise_affine=False)
        self.linear = nn.Linear(width, channels)
        self.adaLN_modulation = modulation(width, 2)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        shift, scale = self.adaLN_modulation(y).chunk(2, -1)
        return self.linear(self.norm_final(x) * (1 + scale) + shift)


class DenoisingNetwork(nn.Module):
    """`forward(x (N, S, in_channels), t (N,), condition (N, K, Z)) -> (N, S, out_channels)`.

    prior: makes the noise of the output, with what is known without learning; none as published: the output is it."""

    def __init__(
        self, in_channels: int, out_channels: int, width: int, depth: int, cond_embed: nn.Module,
        prior: LinearPrior | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.prior = prior
        self.time_embed = TimeEmbedding(width)
        self.cond_embed = cond_embed
        self.input_proj = nn.Linear(in_channels, width)
        self.res_blocks = nn.ModuleList(ResidualBlock(width) for _ in range(depth))
        self.final_layer = FinalLayer(width, out_channels)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        y = self.time_embed(t)[:, None] + self.cond_embed(condition)
        h = self.input_proj(x.to(self.input_proj.weight.dtype))
        for block in self.res_blocks:
            h = block(h, y)
        return self.with_prior(self.final_layer(h, y), x, t)

    def with_prior(self, output: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """The noise in states x (N, S, C) at timesteps (N,), from the last layer's output."""
        return output if self.prior is None else self.prior(output, x, t)

    @torch.no_grad()
    def zero_start(self) -> None:
        """Initial weights with which every block is the identity and the output is 0 (Peebles & Xie 2023)."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for layer in (self.time_embed.mlp[0], self.time_embed.mlp[2]):
            nn.init.normal_(layer.weight, std=0.02)
        modulations = [block.adaLN_modulation[1] for block in self.res_blocks]
        for layer in (*modulations, self.final_layer.adaLN_modulation[1], self.final_layer.linear):
            nn.init.zeros_(layer.weight)
