"""Two processes do not train in one folder."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from commands.common import run
from commands.train import main
from mld.training.run_config import load_runs
from mld.training.run_folder import RunFolder
from tests.training.test_kill import ROOT

HOLD = """
import sys
from pathlib import Path
from mld.training.run_folder import RunFolder
with RunFolder(Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(os.name == "nt", reason="an open lock file cannot be removed there")
def test_a_folder_that_another_process_trains_in_is_refused_until_it_ends_or_is_killed(configs, capsys):
    settings = ["training.max_steps=1", "training.samples=0"]
    folder = load_runs(configs / "tokenizer.yaml", settings)[0].folder
    command = [sys.executable, "-c", HOLD, str(folder)]
    other = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        for more in ([], ["--fresh"]):
            assert run(main, ["--cfg", str(configs / "tokenizer.yaml"), *settings, *more]) == 2
            told = capsys.readouterr().err
            assert told.count("\n") == 1 and "another process trains in this folder; wait for it" in told
        assert not folder.exists()
    finally:
        other.kill()
        other.communicate()
    assert run(main, ["--cfg", str(configs / "tokenizer.yaml"), *settings]) == 0
    assert RunFolder(folder).progress.step == 1 and not list(folder.parent.glob(".*.lock"))
