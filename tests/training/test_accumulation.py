"""`accumulate`: a step over K batches is that over one batch of all their items."""

from __future__ import annotations

import pytest
import torch

from mld.example import FeatureBatch
from mld.training.data import EndlessLoader
from mld.training.run_config import load_runs
from mld.training.stages import run_stages
from tests.training.test_two_processes import CLOSE, SETTINGS, assert_close, last_state, losses, moments


@pytest.mark.parametrize("parts", [2, 4])
def test_a_step_over_several_batches_is_that_over_one(configs, monkeypatch, parts):
    """Weights, moments, averages and losses, with gradients clipped by the norm of their sum. A sampler of smaller
    batches serves items in another order, so the same batches of four come in parts."""
    cfg, runs, served = str(configs / "tokenizer.yaml"), configs / "runs", EndlessLoader.__iter__

    def split(loader):
        for batch in served(loader):
            pieces = [part.chunk(parts) for part in (batch.features, batch.mask)]
            yield from (FeatureBatch(*piece) for piece in zip(*pieces, strict=True))

    settings = [*SETTINGS, "training.checkpoint_every_steps=6"]
    run_stages(load_runs(cfg, [*settings, "name=one"]))
    monkeypatch.setattr(EndlessLoader, "__iter__", split)
    run_stages(load_runs(cfg, [*settings, "name=parts", f"training.accumulate={parts}"]))
    one, other = (last_state(runs / name) for name in ("one", "parts"))
    assert one["global_step"] == other["global_step"] == 6 and len(moments(one)) > 10
    assert other["TrainingData"]["batches_used"] == 6 * parts
    assert_close(runs / "one", runs / "parts")
    for ours, theirs in zip(moments(one), moments(other), strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE)
    averages = other["averaged"]["averages"]
    for key, value in one["averaged"]["averages"].items():
        torch.testing.assert_close(averages[key], value, **CLOSE)
    for curve, count in (("train/loss", 6), ("val/loss", 3)):
        wanted = losses(runs / "one", curve)
        assert len(wanted) == count and losses(runs / "parts", curve) == pytest.approx(wanted, rel=1e-4), curve
