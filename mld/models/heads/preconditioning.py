"""The part of the predicted noise that is known without learning: that of a Gaussian with the targets' variance.

A narrow network cannot pass hundreds of noisy channels through itself. With the best linear answer added outside (the
idea of the preconditioning of Karras et al. 2022, for noise prediction), it only has to learn what is not Gaussian.
Where its output is also scaled by what is unknown, an error of it is never blown up, however little signal there is
left: for a variance of 1 that is the prediction of v (Salimans & Ho 2022, appendix D).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

RATE = 0.01  # of the running measurement, per training step


class LinearPrior(nn.Module):
    """signal: share of clean variance (alpha bar) by timestep. measured: the variance (S, C) of the targets is taken in
    training, and saved; it starts at 1, where it stays otherwise. scaled: the network's output is v."""

    def __init__(self, signal: Tensor, shape: tuple[int, int], measured: bool = True, scaled: bool = False) -> None:
        super().__init__()
        self.measured, self.scaled = measured, scaled
        self.register_buffer("signal", signal.float(), persistent=False)
        self.register_buffer("variance", torch.ones(shape))

    def forward(self, output: Tensor, state: Tensor, t: Tensor) -> Tensor:
        """The noise (N, S, C) in states (N, S, C) at timesteps (N,), from the network's output."""
        signal = self.signal[t][:, None, None]
        known = (1 - signal).sqrt() / (signal * self.variance + 1 - signal) * state.float()
        return output.float() * self.scale(t) + known if self.scaled else output.float() + known

    def scale(self, t: Tensor) -> Tensor:
        """Standard deviation (N, S, C) of the noise in Gaussian states at timesteps (N,), given the state."""
        signal = self.signal[t][:, None, None]
        return (signal * self.variance / (signal * self.variance + 1 - signal)).sqrt()

    @torch.no_grad()
    def measure(self, target: Tensor) -> None:
        """Let the variance follow that of clean targets (N, S, C), about 0."""
        if self.measured:
            self.variance.lerp_(target.float().square().mean(0), RATE)
