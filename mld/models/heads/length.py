"""Tells how long a motion is from the hidden states that condition it. Published MotionGPT3 draws a random length.

Its input is detached: learning lengths does not change the backbone.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

USUAL_SECONDS = 5.0
BETA = 0.1  # errors below this share of the length count squared


class LengthHead(nn.Module):
    """Conditions (N, K, channels) -> seconds (N,), positive."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, channels // 2), nn.GELU(), nn.Linear(channels // 2, 1)
        )
        nn.init.constant_(self.layers[-1].bias, math.log(USUAL_SECONDS))

    def _log_seconds(self, condition: Tensor) -> Tensor:
        return self.layers(condition.detach().mean(1)).float()[:, 0]

    def forward(self, condition: Tensor) -> Tensor:
        return self._log_seconds(condition).exp()

    def loss(self, condition: Tensor, seconds: Tensor) -> Tensor:
        """Mean smooth L1 of the logarithms, of the rows whose length is known (seconds (N,) > 0). Where it is of none,
        0, with gradients of zero: processes that share a network agree on which weights have some."""
        known = seconds > 0
        if not known.any():
            return self._log_seconds(condition).sum() * 0.0
        return F.smooth_l1_loss(self._log_seconds(condition[known]), seconds[known].log(), beta=BETA)
