"""Two processes learn what one learns: copies of the network (DDP), and a network cut into shards (FSDP2)."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mld.training.run_config import load_runs
from mld.training.stages import run_stages

ROOT = Path(__file__).parents[2]
# A codebook learned by gradient: one that is seated starts from the rows of process 0. Windows of one length: the mean
# over a batch is then the mean over its halves.
SETTINGS = [
    "tokenizer.quantizer=orig", "training.samples=0", "training.ema=0.9", "training.gradient_clip=0.05",
    "training.scheduler.name=constant", "training.optimizer.name=AdamW",
]  # fmt: skip
TWO = ["training.parallel.devices=2", "data.batch_size=2"]
CLOSE = {"rtol": 2e-4, "atol": 2e-5}  # sums of halves are rounded otherwise


def in_two(tmp_path, *runs: dict) -> None:
    file = tmp_path / "runs.json"
    file.write_text(json.dumps(runs))
    command = [sys.executable, "-m", "tests.training.two_processes", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def losses(folder: Path, name: str) -> list[float]:
    with open(folder / "metrics.csv", newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def assert_close(one: Path, other: Path) -> None:
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        torch.testing.assert_close(theirs[key], value, **CLOSE, msg=key)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_processes_equal_one_and_go_on_exactly(configs, tmp_path, strategy):
    cfg, runs = configs / "tokenizer.yaml", configs / "runs"
    two = [*SETTINGS, *TWO, f"training.parallel.strategy={strategy}"]
    run_stages(load_runs(cfg, [*SETTINGS, "name=one"]))
    run_stages(load_runs(cfg, [*SETTINGS, "name=begun", "training.max_steps=3"]))
    in_two(
        tmp_path,
        {"cfg": str(cfg), "overrides": [*two, "name=two"]},
        {"cfg": str(cfg), "overrides": [*two, "name=half", "training.max_steps=3"]},
        {"resume": str(runs / "half"), "overrides": ["training.max_steps=6"]},
        {"cfg": str(cfg), "overrides": [*two, "name=back", "training.max_steps=3"]},
    )
    # one process and two: the loss of process 0 is that of its half of the batch
    assert_close(runs / "one", runs / "two")
    for name in ("val/loss", "val/mpjpe_mm"):
        torch.testing.assert_close(losses(runs / "one", name)[-1], losses(runs / "two", name)[-1], rtol=0.1, atol=0)
    # two and two
    straight, halved = weights(runs / "two"), weights(runs / "half")
    assert all(torch.equal(value, halved[key]) for key, value in straight.items())
    states = [torch.load(runs / name / "checkpoints/last.ckpt", weights_only=True) for name in ("two", "half")]
    moments = [[v for s in state["optimizer_states"][0]["state"].values() for v in s.values()] for state in states]
    assert len(moments[0]) > 10 and all(torch.equal(a, b) for a, b in zip(*moments, strict=True))
