"""A Gaussian diffusion chain: noising, the reverse step, and the variational bound (Ho 2020, Nichol & Dhariwal 2021).

Tables are float64 and become float32 when they are indexed; states and epsilon are (N, S, C) float32 whatever the
network computes in. A shortened chain knows the original number of each of its steps, which is what the network sees.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mld.models.heads.diffusion_schedule import kept_timesteps

BIN = 1 / 255  # half the width of a bin of the discretised likelihood, for data in [-1, 1]
EDGE = 0.999  # beyond it a bin is open-ended


class Chain:
    """Tables of a chain, each (T,) float64, row 0 the least noisy step.

    betas: noise added per step. timesteps: original number of each step. variance: of the reverse step, "small" (that
    of the posterior), "large" (beta) or "learned" (interpolated between the logs of both by the network).
    """

    def __init__(self, betas: Tensor, variance: str, timesteps: Tensor | None = None) -> None:
        self.betas, self.variance = betas, variance
        self.timesteps = torch.arange(len(betas)) if timesteps is None else timesteps
        signal = torch.cumprod(1 - betas, 0)
        before = torch.cat((signal.new_ones(1), signal[:-1]))
        self.alphas_cumprod = signal
        self.signal_scale, self.noise_scale = signal.sqrt(), (1 - signal).sqrt()
        self.clean_from_state, self.clean_from_noise = (1 / signal).sqrt(), (1 / signal - 1).sqrt()
        self.mean_from_clean = betas * before.sqrt() / (1 - signal)
        self.mean_from_state = (1 - before) * (1 - betas).sqrt() / (1 - signal)
        self.posterior_variance = betas * (1 - before) / (1 - signal)
        # The first posterior variance is 0; its logarithm is taken from the step after it.
        first = self.posterior_variance[min(1, len(betas) - 1)].clamp(min=1e-20).reshape(1)
        self.log_small = torch.cat((first, self.posterior_variance[1:])).log()
        self.log_beta = betas.log()
        large = torch.cat((first, betas[1:])).log()
        self.fixed_log_variance = large if variance == "large" else self.log_small
        self._on_device: dict[tuple[str, torch.device], Tensor] = {}
        self._numbers: dict[str, list[float]] = {}

    def __len__(self) -> int:
        return len(self.betas)

    def respaced(self, request: str) -> Chain:
        """The chain over the timesteps that `request` keeps (see `kept_timesteps`), with the same signal at each."""
        kept = torch.tensor(kept_timesteps(request, len(self)))
        signal = self.alphas_cumprod[kept]
        before = torch.cat((signal.new_ones(1), signal[:-1]))
        return Chain(1 - signal / before, self.variance, self.timesteps[kept])

    def at(self, table: str, t: Tensor) -> Tensor:
        """Rows `t` (N,) of a table as (N, 1, 1) float32 on the device of `t`."""
        key = (table, t.device)
        if key not in self._on_device:
            self._on_device[key] = getattr(self, table).float().to(t.device)
        return self._on_device[key][t][:, None, None]

    def numbers(self, table: str) -> list[float]:
        """A table as plain numbers, for steps that all rows take together."""
        if table not in self._numbers:
            self._numbers[table] = getattr(self, table).tolist()
        return self._numbers[table]

    def noised(self, clean: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """The state at step t of clean data (N, S, C)."""
        return self.at("signal_scale", t) * clean.float() + self.at("noise_scale", t) * noise.float()

    def clean(self, state: Tensor, t: Tensor, epsilon: Tensor) -> Tensor:
        """The clean data that a predicted epsilon implies; not clipped."""
        return self.at("clean_from_state", t) * state - self.at("clean_from_noise", t) * epsilon

    def mean(self, clean: Tensor, state: Tensor, t: Tensor) -> Tensor:
        """Mean of the state one step earlier, given the clean data."""
        return self.at("mean_from_clean", t) * clean + self.at("mean_from_state", t) * state

    def log_variance(self, t: Tensor, values: Tensor | None) -> Tensor:
        """Log variance of the reverse step; `values` (N, S, C) is what the network says where it is learned."""
        if values is None:
            return self.at("fixed_log_variance", t)
        share = (values + 1) / 2
        return share * self.at("log_beta", t) + (1 - share) * self.at("log_small", t)

    def bound(self, clean: Tensor, state: Tensor, t: Tensor, epsilon: Tensor, values: Tensor) -> Tensor:
        """Term t of the variational bound in bits per value (N,); epsilon gets no gradient from it."""
        predicted = self.mean(self.clean(state, t, epsilon.detach()), state, t)
        log_variance = self.log_variance(t, values)
        divergence = gaussian_divergence(self.mean(clean, state, t), self.at("log_small", t), predicted, log_variance)
        likelihood = discretised_log_likelihood(clean, predicted, log_variance / 2)
        nats = torch.where((t == 0)[:, None, None], -likelihood, divergence)
        return nats.flatten(1).mean(1) / math.log(2)


def gaussian_divergence(mean: Tensor, log_variance: Tensor, other_mean: Tensor, other_log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of each entry's normal distribution from the other one, in nats."""
    ratio = log_variance - other_log_variance
    distance = (mean - other_mean) ** 2 * torch.exp(-other_log_variance)
    return (ratio.exp() - ratio + distance - 1) / 2


def discretised_log_likelihood(values: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Log probability of the bin around each value, in nats; the normal distribution function in its tanh form."""
    precision = torch.exp(-log_scale)
    upper, lower = (_normal_cdf(precision * (values - mean + side)) for side in (BIN, -BIN))
    probability = torch.where(values < -EDGE, upper, torch.where(values > EDGE, 1 - lower, upper - lower))
    return probability.clamp(min=1e-12).log()


def _normal_cdf(x: Tensor) -> Tensor:
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
