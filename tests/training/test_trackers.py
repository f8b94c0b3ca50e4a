"""Loggers by name: which there are, one line for a missing package, one record however often a run goes on."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from lightning.pytorch.loggers import TensorBoardLogger

from commands.common import run as command
from commands.train import main
from mld.errors import ConfigError, MldError
from mld.training import trackers
from mld.training.callbacks import Stopped
from mld.training.run_config import load_runs
from mld.training.stages import run_stages
from tests.training.test_resume import stop_after

WANDB = ["training.loggers=[csv,tensorboard,wandb]", "training.wandb.offline=true"]


class Recording:
    """Stands for the logger of Weights & Biases: remembers what it was made with and given."""

    made: list[Recording] = []

    def __init__(self, **options) -> None:
        self.options, self.numbers, self.pictures, self.finished = options, [], 0, False
        self.experiment, self.save_dir, self.name, self.version = self, None, "wandb", ""
        Recording.made.append(self)

    def log_metrics(self, metrics, step=None) -> None:
        self.numbers.append((step, dict(metrics)))

    def log_image(self, key, images) -> None:
        self.pictures += len(images)

    def finish(self) -> None:
        self.finished = True

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: None


@pytest.fixture
def recording(monkeypatch):
    Recording.made = []
    monkeypatch.setattr(trackers, "WandbLogger", Recording)
    monkeypatch.setattr(trackers, "find_spec", lambda name: object())
    return Recording.made


def test_a_run_that_goes_on_keeps_its_record(configs, recording, monkeypatch) -> None:
    runs = load_runs(configs / "tokenizer.yaml", WANDB)
    with monkeypatch.context() as patch:
        stop_after(patch, step=3)
        with pytest.raises(Stopped):
            run_stages(runs)
    (folder,) = run_stages(runs)
    first, second = recording
    assert first.options["id"] == second.options["id"] == (folder.parent / "wandb_id").read_text().strip()
    assert first.options["resume"] == "allow" and first.options["offline"] and first.options["project"] == "mld"
    assert first.options["config"]["training"]["max_steps"] == 6
    assert first.finished and second.finished, "the next stage begins a record of its own"
    assert any("train/loss" in numbers for _, numbers in second.numbers) and second.pictures
    assert (folder.parent / "metrics.csv").is_file() and (folder.parent / "tensorboard").is_dir()


def test_stages_have_records_of_their_own(configs, recording) -> None:
    short = [*WANDB, "training.max_steps=1", "training.samples=0"]
    run_stages(load_runs(configs / "tokenizer.yaml", short))
    run_stages(load_runs(configs / "vae.yaml", short))
    assert len({made.options["id"] for made in recording}) == 2
    assert [made.options["name"] for made in recording] == ["tokenizer", "vae"]


def test_loggers_can_be_left_out(configs) -> None:
    settings = ["training.loggers=[csv]", "training.max_steps=2"]
    (folder,) = run_stages(load_runs(configs / "tokenizer.yaml", settings))
    assert not (folder.parent / "tensorboard").exists() and not (folder.parent / "wandb_id").exists()
    assert list((folder.parent / "samples").iterdir()), "samples are written whatever the loggers"
    with pytest.raises(ConfigError, match="did you mean 'wandb'"):
        load_runs(configs / "tokenizer.yaml", ["training.loggers=[wandbb]"])


def test_a_missing_package_is_one_line_before_anything_is_made(configs, monkeypatch, capsys) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    assert command(main, ["--cfg", str(configs / "tokenizer.yaml"), *WANDB]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: this needs the package 'wandb'") and error.count("\n") == 1
    assert not list((configs / "runs").rglob("*.ckpt"))
    with pytest.raises(MldError, match=r"\[wandb\]"):
        trackers.check_loggers(load_runs(configs / "tokenizer.yaml", WANDB)[0])


@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="the extra wandb is not installed")
def test_the_package_itself_offline(configs, monkeypatch) -> None:
    """Two starts of one run are two offline records under one id."""
    runs = load_runs(configs / "tokenizer.yaml", WANDB)
    with monkeypatch.context() as patch:
        stop_after(patch, step=3)
        with pytest.raises(Stopped):
            run_stages(runs)
    (folder,) = run_stages(runs)
    name = (folder.parent / "wandb_id").read_text().strip()
    records = sorted((folder.parent / "wandb").glob("offline-run-*"))
    assert len(records) == 2 and all(record.name.endswith(name) for record in records)
    summary = [file for record in records for file in record.rglob(f"run-{name}.wandb")]
    assert len(summary) == 2 and all(b"train/loss" in file.read_bytes() for file in summary)


def test_tensorboard_goes_on_behind_the_last_saved_step(configs) -> None:
    config = load_runs(configs / "tokenizer.yaml", ["training.max_steps=2", "training.samples=0"])[0]
    run_stages([config])
    run = trackers.RunFolder(Path(config.folder))
    board = next(made for made in trackers.make_loggers(config, run) if isinstance(made, TensorBoardLogger))
    assert board._kwargs["purge_step"] == json.loads((run.path / "progress.json").read_text())["step"] == 2
