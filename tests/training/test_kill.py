"""A run that is killed, at whatever file operation, ends by the same command as if it had not been."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mld import files
from mld.checkpoint import load_model, save_model
from mld.files import replacing
from mld.training import callbacks, state_file
from mld.training.callbacks import Stopped
from mld.training.module import TrainingModule
from mld.training.run_config import load_runs
from mld.training.run_folder import RunFolder
from mld.training.stages import run_stages
from tests.models.tiny import tiny_vqvae
from tests.training import killing
from tests.training.test_resume import stop_after

ROOT = Path(__file__).parents[2]
WANTED = os.environ.get("MLD_KILL_STAGES", "tokenizer")
KILLED_STAGES = list(killing.STAGES) if WANTED == "all" else WANTED.split(",")
PLACES = "0" if os.environ.get("MLD_KILL_ALL") else "12"


@pytest.mark.skipif(os.name == "nt", reason="fork")
@pytest.mark.parametrize("way", [[], ["--no-exchange"]], ids=["exchange", "two renames"])
@pytest.mark.parametrize("stage", KILLED_STAGES)
def test_a_kill_anywhere_changes_nothing(tmp_path, stage, way):
    """A sample of the places of one stage. MLD_KILL_ALL=1 tries all places; MLD_KILL_STAGES=all all stages and files of
    several stages, or those that it names with commas."""
    command = ["-m", "tests.training.killing", str(tmp_path), "--stage", stage, "--places", PLACES, *way]
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=7200)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["failures"] == {} and report["places"] > 80 and report["tried"] >= 12


def test_the_comparison_sees_differences(configs, tmp_path):
    """What the test above compares does change where a run is another one."""
    states = []
    for rate in ("0.001", "0.002"):
        output = tmp_path / rate
        settings = [*killing.SETTINGS, f"output={output}", f"training.optimizer.params.lr={rate}"]
        run_stages(load_runs(configs / "tokenizer.yaml", settings))
        states.append(killing.state_of(output))
    wrong = {name.removeprefix("tokenizer/") for name in killing.difference(*states)}
    for name in ("checkpoints/last.ckpt", "model/model.safetensors", "best_model/provenance.json", "metrics.csv"):
        assert name in wrong
    assert "checkpoints" not in wrong and killing.difference(states[0], states[0]) == []


def test_a_finished_run_makes_its_model_again(configs, capsys):
    """Such as one that an earlier version left without a model, or that somebody removed."""
    runs = load_runs(configs / "tokenizer.yaml", ["training.ema=0.9", "training.samples=0"])
    model = run_stages(runs)[0]
    before, origin = load_file(model / "model.safetensors"), (model / "provenance.json").read_text()
    shutil.rmtree(model)
    assert run_stages(runs) == [model] and "made again" in capsys.readouterr().out
    after = load_file(model / "model.safetensors")
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert (model / "provenance.json").read_text() == origin
    (model / "provenance.json").write_text(json.dumps({**json.loads(origin), "step": 4}))
    run_stages(runs)
    assert (model / "provenance.json").read_text() == origin


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM])
def test_signals_save(configs, monkeypatch, number):
    runs = load_runs(configs / "tokenizer.yaml", ["training.samples=0"])
    with monkeypatch.context() as patch:
        stop_after(patch, 3, number)
        with pytest.raises(Stopped, match="after step 3 of 6"):
            run_stages(runs)
    assert RunFolder(runs[0].folder).progress.step == 3


def test_signals_do_what_they_did_when_a_stage_is_over(configs, monkeypatch):
    """Between two stages, while tokens are made, a process that is told to end ends."""
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    run_stages(load_runs(configs / "tokenizer.yaml", ["training.samples=0", "training.max_steps=1"]))
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_signal_before_the_first_step_is_not_lost(configs, monkeypatch):
    runs = load_runs(configs / "tokenizer.yaml", ["training.samples=0"])
    with monkeypatch.context() as patch:
        setup = TrainingModule.configure_optimizers
        patch.setattr(
            TrainingModule, "configure_optimizers", lambda self: (signal.raise_signal(signal.SIGTERM), setup(self))[1]
        )
        with pytest.raises(Stopped, match="after step 1 of 6"):
            run_stages(runs)
    assert RunFolder(runs[0].folder).progress.step == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("moment", ["in the middle of the state", "before the model takes its place"])
def test_a_signal_during_a_save_waits_for_its_end(configs, tmp_path, monkeypatch, number, moment):
    """The save is finished, a step follows, and the run goes on as if nothing had happened."""
    straight = load_runs(configs / "tokenizer.yaml", ["training.samples=0", f"output={tmp_path / 'straight'}"])
    run_stages(straight)
    runs = load_runs(configs / "tokenizer.yaml", ["training.samples=0", f"output={tmp_path / 'stopped'}"])
    sent = []

    def send() -> None:
        if not sent:
            sent.append(number)
            signal.raise_signal(number)

    with monkeypatch.context() as patch:
        if moment.startswith("in"):
            write = state_file._Stream.write
            patch.setattr(state_file._Stream, "write", lambda self, data: (write(self, data), send())[0])
        else:
            replace = os.replace
            patch.setattr(files.os, "replace", lambda *to: (Path(to[1]).name == "model" and send(), replace(*to))[1])
        with pytest.raises(Stopped):
            run_stages(runs)
    folder = RunFolder(runs[0].folder)
    assert sent and folder.has_model() and state_file.is_whole(folder.last) and 2 <= folder.progress.step <= 4
    run_stages(runs)
    states = [killing.state_of(tmp_path / name) for name in ("straight", "stopped")]
    assert [name for name in killing.difference(*states) if not name.endswith(".ckpt")] == []


def test_a_stop_at_a_validated_step_waits_for_the_validation(configs, tmp_path, monkeypatch):
    """Otherwise the run that goes on would know nothing of it, and its best model might be another."""
    for name in ("straight", "stopped"):
        runs = load_runs(configs / "tokenizer.yaml", ["training.samples=0", f"output={tmp_path / name}"])
        if name == "stopped":
            with monkeypatch.context() as patch:
                stop_after(patch, 4)
                with pytest.raises(Stopped):
                    run_stages(runs)
        run_stages(runs)
    states = [killing.state_of(tmp_path / name) for name in ("straight", "stopped")]
    ran = [name for name in killing.difference(*states) if not name.endswith(".ckpt")]
    assert ran == []


def dead() -> int:
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_kill_between_two_renames_is_mended_by_a_reader(tmp_path):
    folder = save_model(tiny_vqvae(), tmp_path / "m", {"note": "old"})
    stem = f".m.{dead()}-{files.HOST}-0123abcd"
    new = save_model(tiny_vqvae(), tmp_path / "n", {"note": "new"})
    folder.rename(tmp_path / f"{stem}.old")
    new.rename(tmp_path / f"{stem}.new")
    load_model(folder)
    assert json.loads((folder / "provenance.json").read_text())["note"] == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_files_that_killed_processes_left_go_and_those_of_others_stay(tmp_path, monkeypatch):
    """Whatever file it was; they are looked for when a process first writes in a folder."""
    monkeypatch.setattr(files, "_swept", set())
    names = [
        f".{name}.{pid}-{host}-0123abcd.new{suffix}"
        for name, suffix in (("results", ".json"), ("00ff", ".safetensors"), ("plain", ""))
        for pid, host in ((dead(), files.HOST), (os.getppid(), files.HOST), (1, "another"))
    ]
    for name in [*names, ".mine.new.json", "a.new.json"]:
        (tmp_path / name).write_text("half")
    files.write_text(tmp_path / "b.txt", "whole")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*names[1::3], *names[2::3], ".mine.new.json", "a.new.json", "b.txt"}


def test_leftovers_go_and_what_is_being_written_stays(tmp_path):
    with replacing(tmp_path / "m") as new:
        (new / "a").write_text("1")
        for pid in (dead(), os.getpid()):
            (tmp_path / f".m.{pid}-{files.HOST}-0123abcd.new").mkdir()
        (tmp_path / f".m.{os.getppid()}-{files.HOST}-0123abcd.new").mkdir()
        (tmp_path / ".m.1-another-0123abcd.new").mkdir()
        with replacing(tmp_path / "m") as inner:
            (inner / "a").write_text("2")
        assert new.is_dir() and (tmp_path / "m" / "a").read_text() == "2"
    assert (tmp_path / "m" / "a").read_text() == "1"
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == sorted([f".m.{os.getppid()}-{files.HOST}-0123abcd.new", ".m.1-another-0123abcd.new", "m"])


def test_a_folder_is_there_at_every_moment(tmp_path, monkeypatch):
    """Where names can be exchanged, nothing is ever moved out of the way first."""
    (tmp_path / "m").mkdir()
    moved = []
    monkeypatch.setattr(files.os, "replace", lambda *names: moved.append(names))
    with replacing(tmp_path / "m") as new:
        (new / "a").write_text("1")
    if sys.platform.startswith(("linux", "darwin")):
        assert (tmp_path / "m" / "a").is_file() and not moved


def test_a_run_that_ended_in_pieces_is_swept(configs):
    runs = load_runs(configs / "tokenizer.yaml", ["training.max_steps=2", "training.samples=0"])
    run_stages(runs)
    folder = runs[0].folder
    names = sorted(path.name for path in folder.rglob("*"))
    (folder / "checkpoints" / "best.ckpt.partial").write_text("half")
    (folder / ".progress-0123abcd.new.json").write_text("half")
    (folder / f".model.{dead()}-{files.HOST}-0123abcd.new").mkdir()
    (folder / "checkpoints" / "step_00000009.ckpt").write_text("of a later step")
    (folder / "progress.json").unlink()
    run_stages(runs)
    assert sorted(path.name for path in folder.rglob("*")) == names


def test_callbacks_stand_in_the_order_that_the_promise_needs(configs):
    """Pictures see the network as it is judged, states are saved of it as it is trained."""
    from mld.training.data import Sources, TrainingData
    from mld.training.stages import make_trainer

    config = load_runs(configs / "tokenizer.yaml")[0]
    data = TrainingData(config.data, "features", 0, max_validation_clips=2, sources=Sources())
    names = [type(callback).__name__ for callback in make_trainer(config, RunFolder(config.folder), data).callbacks]
    assert names.index("ShowSamples") < names.index(callbacks.Evaluating.__name__) < names.index("Checkpoints")
