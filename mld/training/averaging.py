"""Averaged weights: an exponential moving average of what training changes, and of nothing else.

Averages are float32 (float64 of float64) whatever the weights are, and no second network: a validation or an export
exchanges them with the weights, in place, and gives them back. Of a network cut into shards every process averages its
own shard.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

OLD_PREFIX = "averaged."  # of checkpoints that held a second network


class AveragedWeights:
    """Follows the trained parameters of `network`, and the floating buffers outside its frozen parts.

    The decay rises to its value as (1 + n) / (10 + n) over the first updates n, so a short run is averaged as well."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network, self.decay = network, decay
        self.updates = 0
        self.averages: dict[str, Tensor] = {}
        self._followed: dict[str, Tensor] = {}
        self._applied = False

    @property
    def followed(self) -> dict[str, Tensor]:
        """The tensors of the network that are averaged, by name. Looked up once, when the network is in its place."""
        if not self._followed:
            self._followed = changing(self.network)
        return self._followed

    @torch.no_grad()
    def update(self) -> None:
        """After a step of the optimizer: the first time a copy, then closer to the weights."""
        weight = 1.0 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        if not self.updates:
            self.averages = {name: _precise(_local(tensor)) for name, tensor in self.followed.items()}
        else:
            for name, average in self.averages.items():
                average.lerp_(_local(self.followed[name]).to(average), weight)
        self.updates += 1

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the network has the averaged weights."""
        if self._applied or not self.updates:
            yield
            return
        aside = self._exchange({})
        self._applied = True
        try:
            yield
        finally:
            self._applied = False
            self._exchange(aside)

    @torch.no_grad()
    def _exchange(self, aside: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights and averages change places. Weights of lower precision are put aside instead (and come from there),
        as the averages would lose digits in their place."""
        kept = {}
        for name, average in self.averages.items():
            weight = _local(self.followed[name])
            before = weight.clone()
            if weight.dtype == average.dtype:
                weight.copy_(average)
                average.copy_(before)
            else:
                weight.copy_(aside.get(name, average))
                kept[name] = before
        return kept

    def state_dict(self, sharded: bool = False) -> dict[str, Any]:
        """Whole averages on the CPU, which takes all processes at once; or sharded as the network is."""
        if sharded:
            found = {name: _as_sharded(average, self.followed[name]) for name, average in self.averages.items()}
        else:
            found = {name: _whole(average, self.followed[name]).cpu() for name, average in self.averages.items()}
        return {"updates": self.updates, "averages": found}

    def blank(self) -> dict[str, Tensor]:
        """Averages to be filled, sharded as the network is."""
        return {name: _as_sharded(_precise(_local(like)), like) for name, like in self.followed.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state; it may hold more than what is followed."""
        followed = self.followed
        self.updates = int(state["updates"])
        found = {name: state["averages"][name] for name in followed} if self.updates else {}
        self.averages = {name: _shard(value, followed[name]) for name, value in found.items()}


def changing(network: nn.Module) -> dict[str, Tensor]:
    """Trained parameters, and saved floating buffers of modules that are not frozen: those that have parameters and
    train none of them, with all that is inside."""
    found = {name: tensor for name, tensor in network.named_parameters() if tensor.requires_grad}
    saved = network.state_dict(keep_vars=True)
    frozen = tuple(f"{name}." for name, module in network.named_modules() if name and _frozen(module))
    for name, buffer in network.named_buffers():
        if name in saved and buffer.is_floating_point() and not name.startswith(frozen):
            found[name] = buffer
    return found


def taken_from_old(checkpoint: dict[str, Any]) -> dict[str, Any] | None:
    """The averages of a checkpoint that held a second network, taken out of it; none of another checkpoint."""
    weights = checkpoint.get("state_dict", {})  # some strategies have taken theirs already
    old = {key.removeprefix(OLD_PREFIX): weights.pop(key) for key in list(weights) if key.startswith(OLD_PREFIX)}
    if not old:
        return None
    updates = int(old.pop("n_averaged"))
    return {"updates": updates, "averages": {key.removeprefix("module."): value for key, value in old.items()}}


def _frozen(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)


def _is_sharded(tensor: Tensor) -> bool:
    return hasattr(tensor, "device_mesh")


def _local(tensor: Tensor) -> Tensor:
    """What of a tensor is in this process, in the same memory."""
    return tensor.detach().to_local() if _is_sharded(tensor) else tensor.detach()


def _precise(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32), copy=True)


def _whole(average: Tensor, like: Tensor) -> Tensor:
    return _as_sharded(average, like).full_tensor() if _is_sharded(like) else average


def _as_sharded(average: Tensor, like: Tensor) -> Tensor:
    """A shard of an average as a part of the whole; a whole one as it is."""
    if not _is_sharded(like):
        return average
    from torch.distributed.tensor import DTensor

    shape = {"shape": like.shape, "stride": like.stride()}
    return DTensor.from_local(average, like.device_mesh, like.placements, run_check=False, **shape)


def _shard(value: Tensor, like: Tensor) -> Tensor:
    if _is_sharded(value):
        return _precise(value.to_local())
    if not _is_sharded(like):
        return _precise(value.to(like.device))
    from torch.distributed.tensor import distribute_tensor

    value = value.to(like.device)
    return _precise(distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None).to_local())
