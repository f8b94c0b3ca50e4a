"""What training would make of clips and captions, made beforehand: the same to the bit with any number of processes,
after a kill as well, and then found."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from commands.common import run
from commands.train import main as train
from mld.checkpoint import save_model
from mld.data.shards import raw
from mld.motion.motion import Motion
from mld.training import text_making, token_writing
from prepare import data, text, tokens
from tests.models.evaluating import write_text_encoder
from tests.models.tiny_million import tiny_codes
from tests.walking import walker

ROOT = Path(__file__).parents[2]
with_ray = pytest.mark.skipif(
    not (importlib.util.find_spec("ray") and os.environ.get("MLD_TEST_RAY")),
    reason="needs the extra 'ray' and MLD_TEST_RAY=1 (CONTRIBUTING.md)",
)
CONFIG = """
extends: {base}/motionmillion.yaml
name: t2m
stage: pretrain
output: {folder}/runs
init_from: {folder}/tokenizer
text_encoder: {{source: {folder}/words, cached_tokens: float16}}
text_cache: {folder}/texts
data: {{source: shards, root: {folder}/shards, min_frames: 40, unit_length: 2, batch_size: 4, pairs: 0.2}}
model: {{layers: 1, heads: 2, width: 16, positions: 160, longest_text: 16, motion_generation: {{max_length: 20}}}}
training: {{max_steps: 2, accelerator: cpu, validate_every_steps: 2, checkpoint_every_steps: 2, max_validation_clips: 1,
           samples: 0, loggers: [csv]}}
"""


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    """24 made-up clips, written by the command."""
    pytest.importorskip("pyarrow")
    out = tmp_path_factory.mktemp("made") / "shards"
    made_up = ["--source", "procedural", "--representation", "motion272", "--procedural-size", "24"]
    assert run(data.main, ["shards", *made_up, "--max-frames", "300", "--out", str(out)]) == 0
    return out


@pytest.fixture
def config(tmp_path: Path, shards: Path) -> Path:
    save_model(tiny_codes(), tmp_path / "tokenizer")
    write_text_encoder(tmp_path / "words")
    (tmp_path / "shards").symlink_to(shards)
    file = tmp_path / "t2m.yaml"
    file.write_text(CONFIG.format(base=ROOT / "configs" / "base", folder=tmp_path))
    return file


def content(folder: Path) -> dict[str, str]:
    """Hashes of files, the log of no interest."""
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file()}  # fmt: skip


def test_training_finds_what_was_made_beforehand(config: Path, monkeypatch, capsys) -> None:
    assert run(tokens.main, ["--cfg", str(config), "--workers", "1"]) == 0
    told = capsys.readouterr().out
    assert "30 stretches of 30 clips" in told and "runs finds it" in told
    assert run(text.main, ["--cfg", str(config), "--workers", "1", "--splits", "train", "val"]) == 0
    told = capsys.readouterr().out
    assert "texts, each once:" in told and "ms a text" in told
    assert f"train with text_cache={config.parent}/texts text_encoder.cached_tokens=float16" in told
    made = content(config.parent / "runs" / "cache"), content(config.parent / "texts")

    from mld.models.text_encoders.encoder import PretrainedTextEncoder
    from mld.training import token_store

    monkeypatch.setattr(PretrainedTextEncoder, "compute", None)  # would fail if they were called
    monkeypatch.setattr(token_store, "write_store", None)
    assert run(train, ["--cfg", str(config)]) == 0
    assert "30 stretches of 30 clips" in capsys.readouterr().out
    assert (content(config.parent / "runs" / "cache"), content(config.parent / "texts")) == made
    assert run(text.main, ["--cfg", str(config), "--workers", "1"]) == 0
    assert "all there already" in capsys.readouterr().out


KILLED = """
import multiprocessing, os, signal, sys
from commands.common import run
from prepare import text, tokens

def patched():
    from mld.training import text_making, token_writing
    token_writing.GROUP = text_making.PER_FILE = 4
    for cls, name in ((token_writing._Partial, "put"), (text_making.TextWork, "__call__")):
        original, done = getattr(cls, name), []

        def killing(*arguments, original=original, done=done):
            found = original(*arguments)
            done.append(1)
            if len(done) == 3:  # texts are made in a process that was started: the command is what is killed
                command = multiprocessing.parent_process()
                os.kill(command.pid if command else os.getpid(), signal.SIGKILL)
            return found

        setattr(cls, name, killing)

patched()  # in processes that are started, too
if __name__ == "__main__":
    run({"tokens": tokens.main, "text": text.main}[sys.argv[1]], sys.argv[2:])
"""


def killed(script: Path, *arguments: str) -> None:
    script.write_text(KILLED)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script, *arguments], env=environment, capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_tokens_are_the_same_after_a_kill_and_with_two_processes(config: Path, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(token_writing, "GROUP", 4)
    straight, other = tmp_path / "straight", tmp_path / "killed"
    arguments = ["--cfg", str(config), "--out"]
    assert run(tokens.main, [*arguments, str(straight), "--workers", "1"]) == 0
    killed(tmp_path / "killed.py", "tokens", *arguments, str(other), "--workers", "2")
    (log,) = other.glob("*.partial/groups_done")
    assert len(log.read_bytes().splitlines()) == 3
    put, numbers = token_writing._Partial.put, []
    monkeypatch.setattr(token_writing._Partial, "put", lambda self, *rest: numbers.append(rest[0]) or put(self, *rest))
    assert run(tokens.main, [*arguments, str(other), "--workers", "1"]) == 0
    assert len(numbers) == 8 - 3 and content(other) == content(straight)


def test_texts_made_before_a_kill_are_not_made_again(config: Path, monkeypatch, tmp_path: Path, capsys) -> None:
    monkeypatch.setattr(text_making, "PER_FILE", 4)
    arguments = ["--cfg", str(config), "--splits", "train", "val", "test"]
    killed(tmp_path / "killed.py", "text", *arguments, "--workers", "2")
    there = len(list((tmp_path / "texts").rglob("[0-9a-f]*.safetensors")))
    assert there >= 3
    assert run(text.main, [*arguments, "--workers", "1"]) == 0
    told = next(line for line in capsys.readouterr().out.splitlines() if "texts, each once" in line)
    total, made = (int(word.replace(",", "")) for word in told.split()[0:5:4])
    assert total - made == 4 * there and made > 0


def test_what_does_not_fit_is_one_line(config: Path, tmp_path: Path, capsys) -> None:
    folder = tmp_path / "tokens"
    assert run(tokens.main, ["--cfg", str(config), "--workers", "1", "--out", str(folder)]) == 0
    save_model(tiny_codes(seed=1), tmp_path / "other")
    capsys.readouterr()
    assert run(train, ["--cfg", str(config), f"init_from={tmp_path}/other", f"training.tokens={folder}"]) == 2
    told = capsys.readouterr().err.strip().split("\n")[-1]
    assert re.match(rf"error: training.tokens: {folder}/tokens-\w+ holds tokens of another tokenizer \(vqvae ", told)
    assert "prepare.tokens" in told and len(told) < 308
    wrong = {
        "did you mean 'processes'": ["--engine", "proces"], "workers are -2": ["--workers", "-2"],
        "no stage of it trains a generator": ["--cfg", "quickstart/tokenizer"],
        "data.unit_length is 4": ["data.unit_length=4"],
    }  # fmt: skip
    for said, given in wrong.items():
        assert run(tokens.main, ["--cfg", str(config), *given]) == 2
        assert said in capsys.readouterr().err
    assert run(tokens.main, []) == 2 and "--tokenizer FOLDER" in capsys.readouterr().err
    assert run(text.main, ["data.root=x"]) == 2 and "--encoder FOLDER_OR_ID" in capsys.readouterr().err


def test_beyond_a_size_batches_are_encoded_as_they_come(config: Path, tmp_path: Path, capsys) -> None:
    assert run(train, ["--cfg", str(config), "text_encoder.most_gb=1e-6"]) == 0
    told = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("  texts"))
    assert "more than 1e-06 GB; 0 of" in told and "python -m prepare.text" in told
    assert not list((tmp_path / "texts").rglob("*.safetensors")), "nothing is kept of them"


@with_ray
def test_ray_makes_the_same(config: Path, tmp_path: Path, monkeypatch) -> None:
    """Shards out of motion files, tokens and texts."""
    motions = tmp_path / "motions"
    motions.mkdir()
    for number in range(5):
        Motion(walker(50 + 9 * number, phase=0.3 * number), 20.0).save(motions / f"walk_{number}.bvh")
    monkeypatch.setattr(raw, "TOGETHER", 2)
    monkeypatch.setattr(token_writing, "GROUP", 8)
    for engine in ("processes", "ray"):
        where = ["--engine", engine, "--workers", "1" if engine == "processes" else "2"]
        made = ["shards", "--source", "files", "--root", str(motions), "--representation", "motion272"]
        assert run(data.main, [*made, "--out", str(tmp_path / engine / "shards"), *where]) == 0
        assert run(tokens.main, ["--cfg", str(config), "--out", str(tmp_path / engine / "tokens"), *where]) == 0
        assert run(text.main, ["--cfg", str(config), "--out", str(tmp_path / engine / "texts"), *where]) == 0
    for name in ("shards", "tokens"):
        assert len(content(tmp_path / "ray" / name)) > 3
        assert content(tmp_path / "ray" / name) == content(tmp_path / "processes" / name)
    assert len(content(tmp_path / "ray" / "texts")) == len(content(tmp_path / "processes" / "texts"))
