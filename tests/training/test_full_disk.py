"""A disk that is full, an output that cannot be written: one line, nothing lost, and the same command goes on."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from commands.common import run
from commands.train import main
from mld import files
from mld.files import write_tensors
from mld.training.state_file import write_state
from tests.training.test_kill import PLACES, ROOT

CODE = """
import resource, sys
from commands.common import run
from commands.train import main
resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))
sys.exit(run(main, sys.argv[1:]))
"""


@pytest.mark.skipif(os.name == "nt", reason="fork")
def test_a_disk_full_from_anywhere_on_changes_nothing(tmp_path):
    """Room for no new file or folder from the n-th on; a sample of the places."""
    arguments = [sys.executable, "-m", "tests.training.killing", str(tmp_path), "--places", PLACES, "--full"]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["failures"] == {} and report["tried"] >= 12


@pytest.mark.skipif(os.name == "nt", reason="limits of a process")
@pytest.mark.parametrize("size", [3_000, 60_000, 250_000])
def test_a_file_that_finds_no_room_in_the_middle(configs, size):
    """Whoever writes it: torch, safetensors, TensorBoard's thread, Pillow."""
    arguments = ["--cfg", str(configs / "tokenizer.yaml"), "training.max_steps=2"]
    code = CODE.format(size=size)
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    told = [line for line in done.stderr.splitlines() if "step/s" not in line or "error" in line]
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert len([line for line in told if "error: " in line]) == 1 and "give the same command again" in told[-1]
    assert str(configs / "runs" / "tokenizer") in told[-1] and "File too large" in told[-1]
    assert not list(configs.glob("runs/**/best.ckpt.partial"))
    assert run(main, arguments) == 0


@pytest.mark.parametrize("place", ["runs", "runs/tokenizer", "runs/tokenizer/checkpoints", "runs/tokenizer/samples"])
def test_an_output_that_is_a_file(configs, capsys, place):
    file = configs / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("mine")
    assert run(main, ["--cfg", str(configs / "tokenizer.yaml"), "training.max_steps=2"]) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    assert len(told) == 1 and str(file) in told[0] and file.read_text() == "mine"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_torch_and_safetensors_name_the_file_and_the_reason(tmp_path, monkeypatch):
    tensors = {"a": torch.ones(50_000)}
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        monkeypatch.setattr(Path, "unlink", lambda *args, **kwargs: None)
        write_state({"global_step": 1, "state_dict": tensors}, "/dev/full")
    with pytest.raises(OSError, match="Is a directory|Permission"):
        write_tensors(tmp_path, tensors)


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
@pytest.mark.parametrize(("mask", "mode"), [(0o002, 0o664), (0o022, 0o644), (0o077, 0o600)])
def test_weights_are_readable_by_whom_the_process_lets_read(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write_tensors(tmp_path / "a.safetensors", {"a": torch.ones(3)})
        with files.atomically(tmp_path / "b.safetensors") as new:
            write_tensors(new, {"a": torch.ones(3)})
    finally:
        os.umask(before)
    for name in "ab":
        assert stat.S_IMODE((tmp_path / f"{name}.safetensors").stat().st_mode) == mode
