"""The shipped configs of ViMoGen say what was published (vimogen spec 3.1, 4, 5.4, 5.5, 6)."""

from __future__ import annotations

from pathlib import Path

import pytest

from mld.models.families.vimogen.config import ViMoGenConfig
from mld.training.optimization import rate_factor
from mld.training.run_config import load_runs

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize(("name", "steps", "references"), [("tm2m", 40_000, True), ("t2m", 20_000, False)])
def test_published_numbers(name: str, steps: int, references: bool) -> None:
    (run,) = load_runs(CONFIGS / "vimogen" / f"{name}.yaml", ["data.root=anywhere"])
    training = run.training
    assert training.optimizer.params == {"lr": 2e-4, "betas": [0.9, 0.95], "weight_decay": 1e-4}
    assert (training.max_steps, training.gradient_clip, training.ema) == (steps, 0.1, 0.9999)
    assert training.parallel.strategy == "fsdp2" and training.parallel.precision == "bf16-mixed"
    assert training.activation_checkpointing
    assert [rate_factor(training.scheduler, step, steps) for step in (0, 50, 100, steps)] == [0, 0.5, 1, 1]
    data, model = run.data, run.model.config
    assert (data.min_frames, data.max_frames, data.batch_size, data.path_rules) == (40, 200, 128, True)
    assert model.references is references and (data.tasks.get("Motion-to-Motion", 0) > 0) is references
    dit = model.transformer(276, 138, 4096)
    assert (dit.layers, dit.heads, dit.width, dit.ffn) == (30, 12, 1536, 8960)
    assert (dit.reference_layers, dit.reference_channels) == ((15, 138) if references else (0, 0))


def test_usual_settings_are_published_ones() -> None:
    usual = ViMoGenConfig()
    assert (usual.text_rows, usual.text_dropout, usual.column_weight) == (226, 0.5, 3.0)
    assert (usual.corrupt_rate, usual.corrupt_scale, usual.blend_rate) == ([0, 0.4], [0.05, 0.15], [0.03, 0.08])
    assert (usual.steps, usual.sampler, usual.shift, usual.strength) == (50, "euler", 5.0, 0.7)
    assert (usual.guidance_scale, usual.default_frames, usual.drop_rate) == (5.0, 100, 0.02)


def test_all_stages() -> None:
    assert [run.name for run in load_runs(CONFIGS / "vimogen" / "all.yaml", ["data.root=anywhere"])] == ["vimogen/tm2m"]
