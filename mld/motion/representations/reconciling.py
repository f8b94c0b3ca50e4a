"""Places that agree with places and with steps, both from a network: least squares over a whole motion.

The places that a network foretells for single frames tremble, as each has an error of its own. Steps have small errors,
but summed up they drift, each joint another way. Together they give places that neither tremble nor drift.
"""

from __future__ import annotations

import torch
from torch import Tensor

STEADY = 10.0  # how much more a step weighs than a place: the ratio of their squared errors
FIXED = 1e6  # weight of a place that is known


def reconciled(places: Tensor, steps: Tensor, known: Tensor) -> Tensor:
    """The places q (T, C) with the least (q - places)^2 + STEADY (q[t+1] - q[t] - steps[t])^2, of places and steps
    (T, C); the last step leads behind the end. Places that are known (T,) stay, but for rounding."""
    if len(places) < 2:
        return places
    first, count = places.double(), len(places)
    weight = torch.where(known, FIXED, 1.0).to(first)
    between = torch.eye(count, dtype=first.dtype, device=first.device).diff(dim=0)  # (T-1, T): from places to steps
    matrix = torch.diag(weight) + STEADY * between.T @ between
    wanted = weight[:, None] * first + STEADY * between.T @ steps[:-1].double()
    return torch.linalg.solve(matrix, wanted).to(places)
