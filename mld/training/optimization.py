"""Optimizer, learning rate and weight averaging, from settings."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from mld.errors import ConfigError
from mld.training.run_config import OptimizerConfig, SchedulerConfig


def make_optimizer(parameters: Iterable[nn.Parameter], config: OptimizerConfig) -> Optimizer:
    """The optimizer over the parameters that are trained; `ConfigError` if it does not take its settings."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    try:
        return getattr(torch.optim, config.name)(trained, **config.params)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"training.optimizer.params: {config.name}: {error}") from error


def make_scheduler(optimizer: Optimizer, config: SchedulerConfig, max_steps: int) -> LambdaLR:
    """The learning rate as a function of the step."""
    return LambdaLR(optimizer, lambda step: rate_factor(config, step, max_steps))


def rate_factor(config: SchedulerConfig, step: int, max_steps: int) -> float:
    """What the learning rate is multiplied with at `step` (0 = first) of `max_steps`."""
    if step < config.warmup_steps:
        return (step + 1) / (config.warmup_steps + 1)
    if config.name == "constant":
        return 1.0
    progress = min(1.0, (step - config.warmup_steps) / max(1, max_steps - config.warmup_steps))
    falling = 1.0 - progress if config.name == "linear" else 0.5 * (1.0 + math.cos(math.pi * progress))
    return config.final_ratio + (1.0 - config.final_ratio) * falling


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """A copy of `network` whose floating weights and buffers follow it with exponential `decay`.

    The decay rises to its value as (1 + n) / (10 + n) over the first updates n, so a short run is averaged as well."""

    def update(average: list[Tensor], current: list[Tensor], updates: Tensor | int) -> None:
        number = int(updates)
        weight = 1.0 - min(decay, (1 + number) / (10 + number))
        for one, other in zip(average, current):
            if one.is_floating_point():
                one.lerp_(other.to(one), weight)
            else:
                one.copy_(other)

    model = AveragedModel(network, multi_avg_fn=update, use_buffers=True)
    return model.requires_grad_(False).eval()
