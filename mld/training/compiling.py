"""torch.compile of a network in training. Modules are compiled in their place, so names of weights stay the same."""

from __future__ import annotations

import torch

from mld.models.contracts.network import Network
from mld.training.parallel import units


def compile_units(network: Network, mode: bool | str, backend: str = "inductor") -> None:
    """Compile the units of a network, or its loss where it has none.

    mode: one of torch.compile; true for the default."""
    mode = "default" if mode is True else mode
    found = units(network)
    for unit in found:
        unit.compile(mode=mode, backend=backend)
    if not found:
        network.loss = torch.compile(network.loss, mode=mode, backend=backend)
