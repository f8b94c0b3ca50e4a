"""Two processes hold one codebook: the same as one process that sees both batches."""

from __future__ import annotations

from pathlib import Path

import torch

from mld.models.tokenizers.quantizers import make_quantizer
from tests.processes import together

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


def worker(rank: int, folder: Path) -> None:
    torch.manual_seed(rank)
    torch.save({name: train(name, batches(rank)) for name in NAMES}, folder / f"{rank}.pt")


def test_two_processes_equal_one(tmp_path) -> None:
    together(worker, tmp_path)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    joined = [torch.cat(pair) for pair in zip(batches(0), batches(1))]  # rows of process 0 come first
    for name in NAMES:
        for key, value in train(name, joined).items():
            assert torch.equal(first[name][key], second[name][key]), (name, key)
            torch.testing.assert_close(first[name][key], value)
