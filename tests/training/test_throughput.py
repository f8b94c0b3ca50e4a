"""Items per second and the share of a device that is used, in the bar and in `metrics.csv`."""

from __future__ import annotations

import csv

import pytest
import torch

from mld.training.module import TrainingModule
from mld.training.run_config import TrainingConfig, load_runs
from mld.training.stages import run_stages
from mld.training.throughput import SPEED, USED, count_flops, peak_tflops
from tests.models.tiny_million import CODES, tiny_million
from tests.training.test_memory import BATCH, COUNT, LENGTH, SIZES, batch


def test_peaks_are_known_by_the_names_that_drivers_give() -> None:
    assert peak_tflops("NVIDIA H100 80GB HBM3", "bf16-mixed") == 989
    assert peak_tflops("NVIDIA H100 PCIe", "bf16-true") == 756
    assert peak_tflops("NVIDIA A100-SXM4-80GB", "32-true") == 19.5
    assert peak_tflops("NVIDIA GeForce RTX 4090", "16-mixed") == 165
    assert peak_tflops("AMD Instinct MI300X", "bf16-mixed") == 1307
    assert peak_tflops("Tesla V100-SXM2-32GB", "bf16-mixed") is None, "it has no matrix units for it"
    assert peak_tflops("a new card", "bf16-mixed") is None


def test_operations_are_those_of_the_matrix_products() -> None:
    """Twice the weights of a product for each position, and of attention twice two products."""
    model = tiny_million(**SIZES).train()
    modes = [part.training for part in model.modules()]
    found = count_flops(TrainingModule(model, TrainingConfig(), {}), batch())
    width, length = SIZES["width"], LENGTH + COUNT + 1
    blocks = SIZES["layers"] * (4 * width * width + 3 * width * 256)
    rest = LENGTH * 20 * width + (COUNT + 1) * width * (CODES + 1)
    attention = SIZES["layers"] * 2 * length * length * width
    assert found == 2 * BATCH * (length * blocks + rest + attention)
    assert [part.training for part in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("stage", ["tokenizer", "movement"])
def test_speed_is_logged_and_watching_it_changes_nothing(configs, stage: str) -> None:
    found = []
    for name, more in {"plain": [], "watched": ["training.peak_tflops=0.001"]}.items():
        short = [f"name={name}", "training.samples=0", "training.max_steps=3"]
        run = load_runs(configs / f"{stage}.yaml", [*short, *more])
        run_stages(run)
        found.append(torch.load(run[0].folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"])
        with open(run[0].folder / "metrics.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [float(row[SPEED]) > 0 for row in rows] == [True] * 3
        assert (USED in rows[0]) == bool(more) and all(float(row[USED]) > 0 for row in rows if USED in row)
    assert all(torch.equal(value, found[1][key]) for key, value in found[0].items())
