"""torch.compile of a network in training. Modules are compiled in their place, so names of weights stay the same."""

from __future__ import annotations

import torch

from mld.models.contracts.network import Network
from mld.training.parallel import shard_units


def compile_units(network: Network, mode: bool | str, backend: str = "inductor") -> None:
    """Compile the units of a network (those that are cut into shards), or its loss where it has none.

    mode: one of torch.compile; true for the default."""
    mode = "default" if mode is True else mode
    units = shard_units(network)
    for unit in units:
        unit.compile(mode=mode, backend=backend)
    if not units:
        network.loss = torch.compile(network.loss, mode=mode, backend=backend)
