"""Work that two processes do together, over gloo."""

from __future__ import annotations

import gc
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

COUNT = 2


def together(work: Callable[[int, Path], None], folder: Path) -> None:
    """`work(rank, folder)` in each of two processes, a function of a module. Raises what one of them raised."""
    mp.spawn(_one, (work, folder), nprocs=COUNT)


def _one(rank: int, work: Callable[[int, Path], None], folder: Path) -> None:
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meet"
    dist.init_process_group("gloo", meeting, rank=rank, world_size=COUNT, timeout=timedelta(seconds=120))
    work(rank, folder)
    gc.collect()  # a network in shards is a circle that holds the group: threads that outlive Python end with a signal
    dist.destroy_process_group()
