"""Families that the product does not know run through training, validation, model folders, demo, test and the page."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

import mld
import tasks
from commands import demo, test
from commands.common import run as run_command
from mld.checkpoint import load_model
from mld.motion.motion import Motion
from mld.serve.conversation import Conversation
from mld.serve.models import Models
from mld.serve.studio import Studio
from mld.training.run_config import load_runs
from mld.training.stages import run_stages
from tests.models.text_encoding import write_t5
from tests.walking import walker

COMMON = """
seed: 3
output: {output}
data: {{procedural_size: 12, batch_size: 4, window: 32, max_frames: 120, unit_length: {unit}, instructions: pretrain,
        tasks: {{Text-to-Motion: 1}}}}
training: {{max_steps: {steps}, accelerator: cpu, num_threads: 1, log_every_steps: 1, validate_every_steps: 2,
            checkpoint_every_steps: 2, samples: 1, max_validation_clips: 2}}
"""
STAGES = {
    "in_order": (4, ["stage: tokenizer\nname: fours\ntokenizer: {family: fours}", "model: {family: in_order}"]),
    "under_prefix": (4, [
        "stage: tokenizer\nname: codes\ntokenizer: {family: vqvae, codebook_size: 16, code_dim: 8, width: 8, depth: 1}",
        "model: {family: under_prefix}\ntext_encoder: {source: TEXT}\ntext_cache: CACHE",
    ]),
    "at_once": (1, ["tokenizer: {family: frames}\nmodel: {family: at_once}"]),
}  # fmt: skip


def write_stages(folder: Path, family: str, steps: int = 4) -> Path:
    unit, stages = STAGES[family]
    names = []
    for number, stage in enumerate(stages):
        text = stage if stage.startswith("stage") else f"stage: pretrain\nname: generator\n{stage}"
        if "TEXT" in text:
            text = text.replace("TEXT", write_t5(folder / "t5")).replace("CACHE", str(folder / "cache"))
        common = COMMON.format(output=folder / "runs", unit=unit, steps=steps)
        (folder / f"{number}.yaml").write_text(f"{common}\n{text}\n")
        names.append(f"{number}.yaml")
    (folder / "all.yaml").write_text(f"stages: [{', '.join(names)}]\n")
    return folder / "all.yaml"


@dataclass
class Trained:
    family: str
    config: Path
    model: Path


@pytest.fixture(scope="module", params=STAGES)
def trained(request, tmp_path_factory, registered) -> Trained:
    folder = tmp_path_factory.mktemp(request.param)
    config = write_stages(folder, request.param)
    *_, model = run_stages(load_runs(config))
    return Trained(request.param, config, model)


def test_training_validates_and_is_not_done_twice(trained: Trained) -> None:
    run = trained.model.parent
    rows = (run / "metrics.csv").read_text().splitlines()
    assert "val/loss" in rows[0] and "train/loss" in rows[0] and len(rows) >= 5
    assert list((run / "samples").glob("*.png")), "validation pictures a motion made from words"
    before = load_model(trained.model).state_dict()
    *_, again = run_stages(load_runs(trained.config))
    assert again == trained.model
    after = load_model(again).state_dict()
    assert after.keys() == before.keys() and all(torch.equal(value, before[name]) for name, value in after.items())


def test_a_model_folder_is_all_that_is_needed(trained: Trained) -> None:
    pipeline = mld.load(trained.model)
    assert pipeline.model.family == trained.family
    first, second = (mld.load(trained.model).generate("a person walks", seconds=2, seed=1) for _ in range(2))
    assert first.num_frames == 40 and torch.equal(first.joints, second.joints)


def test_demo(trained: Trained, tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("a person walks#40\nsomeone jumps\n")
    options = ["--model", str(trained.model), "--example", str(lines), "--format", "npy,html"]
    assert run_command(demo.main, [*options, "--out", str(tmp_path / "out")]) == 0
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    assert [entry["frames"] for entry in index["results"]][0] == 40 and len(index["results"]) == 2


def test_demo_of_a_task_that_the_family_lacks(trained: Trained, capsys) -> None:
    assert run_command(demo.main, ["--model", str(trained.model), "--task", "m2t"]) == 2
    assert "does not do 'm2t'; it does recon, t2m" in capsys.readouterr().err


def test_test(trained: Trained, tmp_path: Path) -> None:
    options = ["--model", str(trained.model), "--quick", "--limit", "4", "--evaluator", "none", "--out", str(tmp_path)]
    assert run_command(test.main, [*options, "data.procedural_size=32"]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    able = tasks.able(mld.load(trained.model))
    assert "stream" in able, "in windows, which `all` does not mean"
    assert list(results["tasks"]) == [name for name in able if name != "stream"]
    assert results["tasks"]["recon"]["MPJPE"]["value"] >= 0


def test_the_page_offers_what_the_family_answers(trained: Trained, tmp_path: Path) -> None:
    studio = Studio(Models([str(trained.model)]), tasks.forms())
    try:
        assert set(studio.forms) == {*tasks.able(mld.load(trained.model))} - {"recon", "stream"}
        session = Conversation()
        turn = studio.accept(session, "t2m", "a person walks", [], 2, 0, 2, studio.models.names[0])
        list(studio.answer(session))
        assert turn.state == "done", turn
        if "pred" in studio.forms:
            file = Motion(walker(60), 20.0).save(tmp_path / "walk.npy")
            turn = studio.accept(session, "pred", "", [[str(file)]], 4, 0, 1, studio.models.names[0])
            list(studio.answer(session))
            assert turn.state == "done", turn
    finally:
        studio.close()
