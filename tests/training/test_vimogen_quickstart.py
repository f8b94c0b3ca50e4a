"""The ViMoGen quickstart in small, as a user types it: motions by text, by a reference and around given frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from commands import demo, train
from commands.common import run as run_command
from mld.checkpoint import load_model
from mld.data.instructions import InstructionSet
from mld.training.run_config import load_runs
from tests.walking import walker

ROOT = Path(__file__).parents[2]
ALL = ROOT / "configs" / "quickstart" / "vimogen_all.yaml"
SMALL = [
    "data.procedural_size=16", "data.batch_size=4", "data.max_frames=80", "model.width=32", "model.ffn=48",
    "model.layers=2", "model.reference_layers=1", "model.num_inference_steps='2'", "training.max_steps=4",
    "training.validate_every_steps=2", "training.checkpoint_every_steps=4", "training.max_validation_clips=2",
    "training.samples=1",
]  # fmt: skip


def test_it_is_a_small_network_that_foretells_clean_frames_for_texts_and_references() -> None:
    (run,) = load_runs(ALL)
    config, data = run.model.config, run.data
    assert config.prediction == "clean" and config.reconcile and config.references
    assert config.transformer(276, 138, 384).width < 256 and config.positions >= data.max_frames
    assert data.representation == "motion276" and data.source == "procedural"
    wanted = InstructionSet.load(data.instructions)
    assert {name.split("/")[0] for name in wanted.subtasks} == set(data.tasks)
    assert wanted.referring and min(data.tasks.values()) > 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vimogen")
    assert run_command(train.main, ["--cfg", str(ALL), f"output={folder / 'runs'}", *SMALL]) == 0
    return folder / "runs" / "quickstart" / "vimogen_t2m"


def test_a_run_ends_in_a_model_that_has_seen_texts_and_references(trained: Path) -> None:
    model = load_model(trained / "model")
    assert model.config.prediction == "clean" and model.transformer.config.width == 32
    written = yaml.safe_load((trained / "model" / "config.yaml").read_text())
    assert written["family"] == "vimogen" and written["config"]["reconcile"] is True
    assert (trained / "samples" / "step_00000004.png").is_file()


def test_the_demo_makes_motions_of_all_kinds(trained: Path, tmp_path: Path) -> None:
    given = tmp_path / "walk.npy"
    np.save(given, walker(50).numpy())
    model = ["--model", str(trained / "model"), "--format", "npy"]
    asked = {
        "t2m": ([f"ref:{given}", "a person jumps#45", "a person waves#2s"], [50, 45, 40]),
        "pred": ([f"a person jumps#{given}#4"], [80]),
        "inbetween": ([f"{given}"], [50]),
    }
    for task, (lines, frames) in asked.items():
        out = tmp_path / task
        texts = [part for line in lines for part in ("--text", line)]
        assert run_command(demo.main, [*model, "--task", task, "--out", str(out), *texts, "--steps", "3"]) == 0
        found = [np.load(file) for file in sorted(out.glob("*.npy"))]
        assert [len(one) for one in found] == frames
        assert all(one.shape[1:] == (22, 3) and np.isfinite(one).all() for one in found)
