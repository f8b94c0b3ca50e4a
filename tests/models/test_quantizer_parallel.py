"""Two processes hold one codebook: the same as one process that sees both batches."""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from mld.models.tokenizers.quantizers import make_quantizer

NAMES = ("ema_reset", "ema", "reset")
STEPS, CODES, DIM = 3, 6, 4


def batches(rank: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(rank)
    return [torch.randn(2, DIM, 5, generator=generator) for _ in range(STEPS)]


def train(name: str, steps: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    model = make_quantizer(name, CODES, DIM, 0.9, 1.0)
    for x in steps:
        model(x, torch.ones(x.shape[0], x.shape[2], dtype=torch.bool))
    return {**model.state_dict(), "code_count": model.code_count}


def worker(rank: int, folder: str) -> None:
    torch.manual_seed(rank)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.save({name: train(name, batches(rank)) for name in NAMES}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_equal_one(tmp_path) -> None:
    mp.spawn(worker, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    joined = [torch.cat(pair) for pair in zip(batches(0), batches(1))]  # rows of process 0 come first
    for name in NAMES:
        for key, value in train(name, joined).items():
            assert torch.equal(first[name][key], second[name][key]), (name, key)
            torch.testing.assert_close(first[name][key], value)
