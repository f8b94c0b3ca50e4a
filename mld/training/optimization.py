"""Optimizer and learning rate, from settings."""

from __future__ import annotations

import inspect
import math
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from mld.errors import ConfigError, nearest
from mld.models.contracts.network import Network
from mld.training.muon import Muon
from mld.training.run_config import OptimizerConfig, SchedulerConfig


def make_optimizer(network: Network, config: OptimizerConfig, precision: str = "32-true") -> Optimizer:
    """The optimizer over the parameter groups of a network, which stands on its device; `ConfigError` if it does not
    take its settings."""
    groups = parameter_groups(network, config)
    for group in groups:
        for key in group.keys() - {"params", "name"}:
            _refuse_unknown(config, key)
    return make_optimizer_of(_apart(groups, network, config), config, precision)


def make_optimizer_of(groups: list[dict[str, Any]], config: OptimizerConfig, precision: str = "32-true") -> Optimizer:
    """The same over given groups, by the fastest kernel of their device."""
    try:
        optimizer = kind_of(config)(groups, **fused(groups, config, precision), **config.params)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"training.optimizer.params: {config.name}: {error}") from error
    if precision != "16-mixed":
        # a fused kernel could also take back the scaling of gradients, and the trainer refuses to clip what is scaled;
        # but only 16-mixed has a scaler
        optimizer._step_supports_amp_scaling = False
    return optimizer


def kind_of(config: OptimizerConfig) -> type[Optimizer]:
    """The class of an optimizer: ours of Muon, as that of torch takes nothing but matrices."""
    return Muon if config.name == Muon.__name__ else getattr(torch.optim, config.name)


def _apart(groups: list[dict[str, Any]], network: Network, config: OptimizerConfig) -> list[dict[str, Any]]:
    """For Muon: what is looked up in tables, whose rows have nothing to do with each other, in groups of its own."""
    if kind_of(config) is not Muon:
        return groups
    tables = {id(module.weight) for module in network.modules() if isinstance(module, nn.Embedding)}
    found, usual = [], config.params.get("matrices", True)
    for group in groups:
        kept, looked_up = [], []
        for parameter in group["params"]:
            (looked_up if id(parameter) in tables else kept).append(parameter)
        names = (group["name"], f"{group['name']}, tables")
        for name, part, matrices in zip(names, (kept, looked_up), (group.get("matrices", usual), False), strict=True):
            if part:
                found.append({**group, "params": part, "name": name, "matrices": matrices})
    return found


def fused(groups: list[dict[str, Any]], config: OptimizerConfig, precision: str = "32-true") -> dict[str, bool]:
    """`fused: true` where the optimizer has one kernel for a whole step, on GPUs and on CPUs (there ten times faster
    than its loop), unless the config chooses. Elsewhere torch chooses: `foreach` on GPUs. Not under a scaler of
    gradients (16-mixed), with which a fused optimizer would do what clips gradients, too."""
    known = inspect.signature(kind_of(config)).parameters
    chosen = {"fused", "foreach", "capturable", "differentiable"} & config.params.keys()
    if "fused" not in known or chosen or precision == "16-mixed":
        return {}
    with_kernel = ("cuda", "cpu")
    able = all(p.device.type in with_kernel and p.is_floating_point() for group in groups for p in group["params"])
    return {"fused": True} if able else {}


def parameter_groups(network: Network, config: OptimizerConfig) -> list[dict[str, Any]]:
    """The trained parameters as torch wants them: a mapping per group, with the group's settings of its own.

    `ConfigError` for settings of a group that the network has not, or of which nothing is trained."""
    groups = network.parameter_groups()
    trained = {name: parameters for name, parameters in groups.items() if parameters}
    for name in config.groups:
        if name not in trained:
            why = "is frozen" if name in groups else f"does not exist; {nearest(name, list(trained))}"
            raise ConfigError(f"training.optimizer.groups: group '{name}' of {type(network).__name__} {why}")
    kept = sum(map(len, trained.values()))
    wanted = sum(parameter.requires_grad for parameter in network.parameters())
    if kept != wanted:
        raise TypeError(f"{type(network).__name__}.parameter_groups() holds {kept} of {wanted} trained parameters")
    return [{"params": parameters, "name": name, **config.groups.get(name, {})} for name, parameters in trained.items()]


def _refuse_unknown(config: OptimizerConfig, key: str) -> None:
    """torch takes any key of a group and ignores what it does not know."""
    known = list(inspect.signature(kind_of(config)).parameters)[1:]
    if key not in known:
        raise ConfigError(f"training.optimizer.groups: {config.name} has no setting '{key}'; {nearest(key, known)}")


def make_scheduler(optimizer: Optimizer, config: SchedulerConfig, max_steps: int) -> LambdaLR:
    """The learning rate as a function of the step."""
    return LambdaLR(optimizer, lambda step: rate_factor(config, step, max_steps))


def rate_factor(config: SchedulerConfig, step: int, max_steps: int) -> float:
    """What the learning rate is multiplied with at `step` (0 = first) of `max_steps`."""
    if step < config.warmup_steps:
        return _warming(config, step)
    if config.name in ("constant", "steps"):
        reached = sum(step - config.warmup_steps >= milestone for milestone in config.milestones)
        kept = _warming(config, config.warmup_steps - 1) if config.warmup == "kept" and config.warmup_steps else 1.0
        return kept * config.gamma**reached
    whole = config.fall_steps or max(1, max_steps - config.warmup_steps)
    progress = (step - config.warmup_steps) / whole
    progress = progress if config.rises_again else min(1.0, progress)
    falling = 1.0 - progress if config.name == "linear" else 0.5 * (1.0 + math.cos(math.pi * progress))
    return config.final_ratio + (1.0 - config.final_ratio) * falling


def _warming(config: SchedulerConfig, step: int) -> float:
    if config.warmup == "from_zero":
        return step / config.warmup_steps
    added = 2 if config.warmup == "kept" else 1
    return (step + added) / (config.warmup_steps + added)
