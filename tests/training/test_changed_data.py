"""A run goes on with the clips that it began with: wherever they lie now, but no others without being told to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from commands.common import run
from commands.train import main
from mld.training.clips_seen import difference, level, read_table
from mld.training.run_config import load_runs
from mld.training.run_folder import RunFolder
from mld.training.stages import run_stages
from tests.training import killing
from tests.training.test_resume import stop_after

QUIET = ["training.samples=0", "training.ema=0.9"]


@pytest.fixture
def moved(dataset, tmp_path) -> Path:
    """The data set in another folder, where it may be changed."""
    return Path(shutil.copytree(dataset, tmp_path / "elsewhere"))


@pytest.fixture(params=["tokenizer", "tmr", "pretrain"])
def stopped(request, configs, tmp_path, monkeypatch):
    """The arguments of a run of each kind that was stopped after step 3, and its folder."""
    return stop(request.param, configs, tmp_path, monkeypatch)


@pytest.fixture
def tokenizer(configs, tmp_path, monkeypatch):
    return stop("tokenizer", configs, tmp_path, monkeypatch)


def stop(stage, configs, tmp_path, monkeypatch):
    from tests.models.evaluating import write_text_encoder
    from tests.training.conftest import write_tmr

    settings = list(QUIET)
    if stage == "tmr":
        write_tmr(configs, write_text_encoder(tmp_path / "words"), tmp_path / "texts")
    if stage == "pretrain":
        parent = run_stages(load_runs(configs / "tokenizer.yaml", ["training.max_steps=1", *QUIET]))[0]
        settings.append(f"init_from={parent}")
    arguments = ["--cfg", str(configs / f"{stage}.yaml"), *settings]
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        assert run(main, arguments) == 130
    return arguments, RunFolder(configs / "runs" / stage)


def add(root: Path) -> None:
    rows = (root / "clips.jsonl").read_text().splitlines()
    with open(root / "clips.jsonl", "a") as file:
        file.write("\n" + json.dumps({**json.loads(rows[0]), "id": "new"}))
    with open(root / "splits" / "train.txt", "a") as file:
        file.write("\nnew")


def remove(root: Path) -> None:
    split = root / "splits" / "train.txt"
    split.write_text("\n".join(split.read_text().splitlines()[1:]))


def move_a_foot(root: Path, by: float = 0.01) -> None:
    trials = dict(np.load(root / "trials.npz"))
    trials["t4"][20, 10] += by
    np.savez(root / "trials.npz", **trials)


def caption(root: Path) -> None:
    text = (root / "clips.jsonl").read_text()
    (root / "clips.jsonl").write_text(text.replace("walks straight", "strolls straight", 1))


def of_validation(root: Path) -> None:
    split = root / "splits" / "val.txt"
    split.write_text("\n".join(split.read_text().splitlines()[:1]))


def reorder(root: Path) -> None:
    split = root / "splits" / "train.txt"
    split.write_text("\n".join(reversed(split.read_text().splitlines())))


CHANGES = {
    add: r"clips 1 added (new)", remove: "clips 1 removed (c0)", move_a_foot: "clips 1 changed (c4)",
    caption: "clips 1 changed (c0)", of_validation: "removed (c", reorder: "its clips stand in another order",
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_changed_clips_are_refused_until_that_is_wanted(tokenizer, moved, capsys, change):
    arguments, folder = tokenizer
    change(moved)
    before = killing.state_of(folder.path)
    for command in (arguments, ["--resume", str(folder.path)]):
        capsys.readouterr()
        assert run(main, [*command, f"data.root={moved}"]) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1 and CHANGES[change] in told and "--changed-data" in told
        assert len(told) <= 308 and killing.difference(before, killing.state_of(folder.path)) == []
    assert run(main, [*arguments, f"data.root={moved}", "--changed-data"]) == 0
    assert CHANGES[change] in capsys.readouterr().err and folder.progress.step == 6
    # what it went on with is what it has now
    assert run(main, ["--resume", str(folder.path), "training.max_steps=7"]) == 0


def test_every_kind_of_run_looks(stopped, moved, capsys):
    arguments, folder = stopped
    move_a_foot(moved)
    assert run(main, [*arguments, f"data.root={moved}"]) == 2
    assert "clips 1 changed (c4)" in capsys.readouterr().err and folder.progress.step == 3


def test_the_same_clips_elsewhere_are_the_same(tokenizer, moved, dataset, capsys):
    arguments, folder = tokenizer
    assert run(main, [*arguments, f"data.root={moved}"]) == 0
    assert folder.progress.step == 6 and str(folder.path) not in capsys.readouterr().err
    assert run(main, [*arguments, f"data.root={dataset}"]) == 0
    assert f"finished before (6 steps) on the data in {moved}; model" in capsys.readouterr().out


def test_another_machine_rounds_otherwise(tokenizer, moved, capsys):
    """All clips then differ a little, and not one of them a little."""
    arguments, folder = tokenizer
    trials = {name: joints * np.float32(1 + 3e-7) for name, joints in np.load(moved / "trials.npz").items()}
    np.savez(moved / "trials.npz", **trials)
    assert run(main, [*arguments, f"data.root={moved}"]) == 0
    assert "the clips are the same but for rounding" in capsys.readouterr().err and folder.progress.step == 6
    rows = read_table(folder.clips)
    one = [*rows[:-1], (*rows[-1][:3], f"{float(rows[-1][3]) * (1 + 3e-7):.12g}", rows[-1][4])]
    assert difference(rows, one) == f"clips 1 changed ({rows[-1][1]})"


def test_a_damaged_table_is_told_and_an_older_run_gets_one(tokenizer, capsys):
    arguments, folder = tokenizer
    whole = folder.clips.read_text()
    folder.clips.write_text(whole[: len(whole) // 2])
    assert run(main, arguments) == 0
    assert "clips.csv: damaged" in capsys.readouterr().err and folder.clips.read_text() == whole
    folder.clips.unlink()
    assert run(main, ["--resume", str(folder.path), "training.max_steps=7"]) == 0
    assert folder.clips.read_text() == whole


def test_the_level_follows_from_every_number_and_its_place():
    features = torch.randn(30, 12, generator=torch.Generator().manual_seed(0))
    levels = [level(features), level(features.flip(0)), level(features.flip(1)), level(-features)]
    for number in range(8):
        other = features.clone()
        other[3 * number, number] += 0.5
        levels.append(level(other))
    assert len({f"{value:.5g}" for value in levels}) == len(levels) and all(value > 0 for value in levels)


def test_tables(tmp_path):
    rows = [("train", "a,\nb", "30", "1.5", "00"), ("train", "c", "40", "2", "01")]
    assert difference(rows, rows) == ""
    assert difference(rows, rows[:1]) == "clips 1 removed (c)"
    assert read_table(tmp_path / "none.csv") is None


@pytest.mark.parametrize("stage", ["tokenizer", "pretrain"])
def test_another_number_of_workers_gives_the_same_run(configs, tmp_path, monkeypatch, stage):
    arguments, folder = stop(stage, configs, tmp_path, monkeypatch)
    for workers in (0, 2):
        copy = Path(shutil.copytree(folder.path, tmp_path / "copies" / str(workers) / stage))
        output = f"output={copy.parent}"
        assert run(main, [*arguments, output, f"data.num_workers={workers}"]) == 0
    states = [killing.state_of(tmp_path / "copies" / str(workers)) for workers in (0, 2)]
    different = [name for name in killing.difference(*states) if not name.endswith(f"{stage}/config.yaml")]
    assert different == []
