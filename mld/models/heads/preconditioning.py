"""The part of the predicted noise that is known without learning: that of a Gaussian with the targets' variance.

A narrow network cannot pass hundreds of noisy channels through itself. With the best linear answer added outside (the
idea of the preconditioning of Karras et al. 2022, for noise prediction), it only has to learn what is not Gaussian.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

RATE = 0.01  # of the running measurement, per training step


class LinearPrior(nn.Module):
    """signal: share of clean variance (alpha bar) by timestep. variance (S, C) of the targets is measured in training
    and saved; it starts at 1."""

    def __init__(self, signal: Tensor, shape: tuple[int, int]) -> None:
        super().__init__()
        self.register_buffer("signal", signal.float(), persistent=False)
        self.register_buffer("variance", torch.ones(shape))

    def forward(self, state: Tensor, t: Tensor) -> Tensor:
        """Expected noise (N, S, C) in states (N, S, C) at timesteps (N,)."""
        signal = self.signal[t][:, None, None]
        return (1 - signal).sqrt() / (signal * self.variance + 1 - signal) * state.float()

    @torch.no_grad()
    def measure(self, target: Tensor) -> None:
        """Let the variance follow that of clean targets (N, S, C), about 0."""
        self.variance.lerp_(target.float().square().mean(0), RATE)
