"""Whether stored weights are numbers that a network can compute with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from mld.errors import CheckpointError


def fault(value: Tensor, own: Tensor | None = None) -> str:
    """What is wrong with a weight, "" if nothing is. own: the tensor of the network that it is for, of any device."""
    if value.layout is not torch.strided:
        return f"is {str(value.layout).removeprefix('torch.')}, a network has dense weights"
    if value.is_complex():
        return f"is {_name(value)}, a network has real weights"
    if value.is_floating_point():
        if value.itemsize < 2:
            return f"is {_name(value)}, quantised weights cannot be read"
        if own is not None and not own.is_floating_point():
            return f"is {_name(value)} instead of {_name(own)}"
        # aminmax carries NaN on and needs no copy.
        if value.numel() and not value.is_meta and not all(bool(end.isfinite()) for end in torch.aminmax(value)):
            return "holds NaN or infinite numbers"
    elif own is not None and own.is_floating_point():
        return f"is {_name(value)} instead of {_name(own)}"
    return ""


def faults(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    """A line for each weight of `own` that cannot be used."""
    found = {key: fault(value, own[key]) for key, value in weights.items() if key in own}
    return [f"{key} {what}" for key, what in found.items() if what]


def require_numbers(weights: Iterable[tuple[str, Tensor]], where: str) -> None:
    """`CheckpointError` that names the first weight which is not real and finite."""
    for key, value in weights:
        if what := fault(value):
            raise CheckpointError(f"{where}: {key} {what}; nothing can be computed with these weights")


def _name(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")
