"""The command `train` as users type it: three stages to a usable model, errors in one line, dry run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from commands.common import run
from commands.train import main

ROOT = Path(__file__).parents[2]


def command(*arguments) -> list[str]:
    return [sys.executable, "-m", "train", *map(str, arguments)]


def train(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=300)


def train_with(*arguments) -> int:
    """The same in this process."""
    return run(main, [str(argument) for argument in arguments])


def test_all_stages_end_in_a_model_that_generates(configs, capsys):
    done = train("--cfg", configs / "all.yaml", "training.max_steps=2")
    assert done.returncode == 0, done.stderr
    assert "18 clips" in done.stdout and "M parameters" in done.stdout
    runs = configs / "runs"
    for stage in ("tokenizer", "pretrain", "instruct"):
        assert (runs / stage / "model" / "model.safetensors").is_file()
        assert (runs / stage / "best_model" / "provenance.json").is_file()
        assert (runs / stage / "samples" / "step_00000002.png").is_file()
        assert list((runs / stage / "tensorboard").iterdir())
    assert "->" in (runs / "instruct" / "samples" / "step_00000002.txt").read_text()

    import mld

    motion = mld.load(runs / "instruct" / "model").generate("a person walks", seed=0)
    assert motion.joints.isfinite().all()

    assert train_with("--cfg", configs / "all.yaml", "training.max_steps=2") == 0
    assert capsys.readouterr().out.count("finished before") == 3


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_saves_and_the_same_command_goes_on(configs, capsys):
    endless = command("--cfg", configs / "tokenizer.yaml", "training.max_steps=99999", "training.samples=0")
    process = subprocess.Popen(endless, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(configs / "runs" / "tokenizer" / "progress.json", process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "everything is saved" in errors and "--resume" in errors and "Traceback" not in errors
    progress = json.loads((configs / "runs" / "tokenizer" / "progress.json").read_text())
    longer = progress["step"] + 2
    assert train_with("--resume", configs / "runs" / "tokenizer", f"training.max_steps={longer}") == 0
    out = capsys.readouterr().out
    assert f"from step {progress['step']:,}" in out and f"{longer:,} steps done" in out


def wait_for(path: Path, process: subprocess.Popen) -> None:
    for _ in range(600):
        if path.is_file() or process.poll() is not None:
            return
        time.sleep(0.1)


def test_dry_run_prints_config_and_size_and_writes_nothing(configs, capsys):
    assert train_with("--cfg", configs / "all.yaml", "--dry-run") == 0
    out = capsys.readouterr().out
    assert "codebook_size: 16" in out and "init_from: " in out
    assert out.count("M parameters") == 3
    assert re.fullmatch(r"# (does not fit|fits) .+", out.splitlines()[-1]), "`| tail` of the docs ends with that"
    assert not (configs / "runs").exists()


def test_a_debug_run_is_short_and_has_a_folder_of_its_own(configs, capsys):
    assert train_with("--cfg", configs / "tokenizer.yaml", "--debug", "training.max_steps=1000", "--dry-run") == 0
    out = capsys.readouterr().out
    assert "max_steps: 20" in out and "name: debug/tokenizer" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cfg", "tokenizer.yaml", "data.bacth_size=2"], "unknown key 'data.bacth_size'; did you mean 'batch_size'?"),
        (["--cfg", "tokenizer.yaml", "tokenizer.family=vqvea"], "tokenizer: no tokenizer family 'vqvea'; did you mean"),
        (["--cfg", "tokenizer.yaml", "training.optimizer.name=Adamm"], "did you mean 'Adam'?"),
        (["--cfg", "tokenizer.yaml", "data.root=/nowhere"], "no dataset folder '/nowhere'"),
        (["--cfg", "tokeniser.yaml"], "did you mean"),
        (["--cfg", "pretrain.yaml"], "needs 'init_from'"),
        (["--cfg", "all.yaml", "name=x"], "the same for every stage"),
        (["--resume", "runs/none"], "not a run folder"),
        ([], "say what to train"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(configs, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(configs)
    assert train_with(*arguments) == 2
    errors = capsys.readouterr().err
    assert message in errors and errors.count("\n") == 1


def test_help_is_complete():
    done = train("--help")
    for word in ("--cfg", "--resume", "--dry-run", "--debug", "--nodebug", "--traceback", "--fresh", "key=value"):
        assert word in done.stdout
