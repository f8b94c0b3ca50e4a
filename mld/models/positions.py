"""Positions added to a sequence (B, T, C): a learned table, or sines and cosines that need no storage."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class LearnedPositions(nn.Module):
    """A table (positions, 1, C) as published; row t is added to row t of (B, T, C)."""

    def __init__(self, positions: int, width: int) -> None:
        super().__init__()
        self.pe = nn.Parameter(torch.rand(positions, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pe[: x.shape[1], 0]


class SinusoidalPositions(nn.Module):
    """`sinusoids` added to (B, T, C), with dropout as ACTOR has it. Not stored."""

    def __init__(self, positions: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("pe", sinusoids(positions, width), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(x + self.pe[: x.shape[1]])


def sinusoids(length: int, width: int) -> Tensor:
    """Positions (length, width): sines in even columns, cosines in odd ones (Vaswani et al. 2017)."""
    position = torch.arange(length)[:, None]
    frequency = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    table = torch.zeros(length, width)
    table[:, 0::2] = torch.sin(position * frequency)
    table[:, 1::2] = torch.cos(position * frequency)
    return table
