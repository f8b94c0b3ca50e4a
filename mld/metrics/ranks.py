"""Several processes that share one evaluation: who does what, and how what was found comes together.

Without `torch.distributed` there is one process and every function here is trivial.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch.distributed as dist
from torch import Tensor

Row = TypeVar("Row")


def rank() -> int:
    return dist.get_rank() if _many() else 0


def world() -> int:
    return dist.get_world_size() if _many() else 1


def is_first() -> bool:
    """Whether this process writes files and speaks to the user."""
    return rank() == 0


def say(text: str) -> None:
    """Print a line, from one process."""
    if is_first():
        print(text)


def barrier() -> None:
    if _many():
        dist.barrier()


def share(places: Sequence[int], unit: int = 1) -> list[int]:
    """This process's part of `places`, in order: units of consecutive places are dealt out in turn."""
    mine = range(rank() * unit, len(places), world() * unit)
    return [place for start in mine for place in places[start : start + unit]]


def merged(rows: Mapping[int, Row]) -> dict[int, Row]:
    """The rows of all processes, each of which has found some, by place."""
    if not _many():
        return dict(rows)
    # A row that is a view of a batch would travel with the whole batch.
    own = {place: row.clone() if isinstance(row, Tensor) else row for place, row in rows.items()}
    parts: list[Any] = [None] * world()
    dist.all_gather_object(parts, own)
    return {place: row for part in parts for place, row in part.items()}


def _many() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
