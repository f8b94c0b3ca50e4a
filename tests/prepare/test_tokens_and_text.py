"""What training would make of clips and captions, made beforehand: the same to the bit with any number of processes,
after a kill as well, and then found."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from commands.common import run
from commands.train import main as train
from mld.checkpoint import save_model
from prepare import text, tokens
from tests.models.evaluating import write_text_encoder
from tests.models.tiny_million import tiny_codes

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
data: {{source: procedural, procedural_size: {clips}, unit_length: 2, batch_size: 4, pairs: 0.2}}
model: {{layers: 1, heads: 2, width: 16, positions: 160, longest_text: 16, motion_generation: {{max_length: 20}}}}
training: {{max_steps: 2, accelerator: cpu, validate_every_steps: 2, checkpoint_every_steps: 2, max_validation_clips: 1,
           samples: 0, loggers: [csv]}}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    save_model(tiny_codes(), tmp_path / "tokenizer")
    write_text_encoder(tmp_path / "words")
    return write_config(tmp_path)


def write_config(folder: Path, clips: int = 24) -> Path:
    file = folder / "t2m.yaml"
    file.write_text(CONFIG.format(base=ROOT / "configs" / "base", folder=folder, clips=clips))
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


@pytest.mark.parametrize("engine", ["processes", pytest.param("ray", marks=with_ray)])
def test_the_number_of_processes_makes_no_difference(config: Path, monkeypatch, engine: str) -> None:
    from mld.training import token_writing

    monkeypatch.setattr(token_writing, "GROUP", 8)
    out = config.parent / "one", config.parent / "two"
    assert run(tokens.main, ["--cfg", str(config), "--workers", "1", "--out", str(out[0])]) == 0
    spread = ["--workers", "2", "--engine", engine]
    assert run(tokens.main, ["--cfg", str(config), *spread, "--out", str(out[1])]) == 0
    assert content(out[0]) == content(out[1])
    assert run(text.main, ["--cfg", str(config), *spread]) == 0


KILLED = """
import os, signal, sys
from mld.training import token_writing
from commands.common import run
from prepare import tokens

token_writing.GROUP = 4
original, done = token_writing._Partial.put, []

def put(*arguments):
    original(*arguments)
    done.append(1)
    if len(done) == 3:
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    token_writing._Partial.put = put
    run(tokens.main, sys.argv[1:])
"""


def test_a_killed_command_goes_on_where_it_was(config: Path, monkeypatch, tmp_path: Path) -> None:
    from mld.training import token_writing

    monkeypatch.setattr(token_writing, "GROUP", 4)
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    arguments = ["--cfg", str(config), "--workers", "1", "--out"]
    assert run(tokens.main, [*arguments, str(straight)]) == 0
    (tmp_path / "killed.py").write_text(KILLED)
    done = subprocess.run([sys.executable, tmp_path / "killed.py", *arguments[:2], "--workers", "2", "--out", killed],
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True)  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    (log,) = killed.glob("*.partial/groups_done")
    assert len(log.read_bytes().splitlines()) == 3
    put, numbers = token_writing._Partial.put, []
    monkeypatch.setattr(token_writing._Partial, "put", lambda self, *rest: numbers.append(rest[0]) or put(self, *rest))
    assert run(tokens.main, [*arguments, str(killed)]) == 0
    assert len(numbers) == 8 - 3 and content(killed) == content(straight)


def test_texts_that_were_made_before_a_kill_are_not_made_again(config: Path, capsys, monkeypatch) -> None:
    from mld.training import text_making

    monkeypatch.setattr(text_making, "PER_FILE", 4)
    write_config(config.parent, clips=200)
    arguments = ["-m", "prepare.text", "--cfg", str(config), "--workers", "1"]
    slow = "import mld.training.text_making as t, runpy, sys, time\nt.PER_FILE = 4\n"
    slow += "call = t.TextWork.__call__\nt.TextWork.__call__ = lambda s, x: (time.sleep(0.2), call(s, x))[1]\n"
    slow += "sys.argv = sys.argv[1:]; runpy.run_module('prepare.text', run_name='__main__')"
    process = subprocess.Popen([sys.executable, "-c", slow, *arguments[1:]], cwd=ROOT, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while len(list((config.parent / "texts").rglob("*.safetensors"))) < 2:
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    there = len(list((config.parent / "texts").rglob("[0-9a-f]*.safetensors")))
    assert run(text.main, arguments[2:]) == 0
    total, made = (int(word.replace(",", "")) for word in capsys.readouterr().out.split("\n")[1].split()[0:5:4])
    assert total - made == 4 * there and made > 0
