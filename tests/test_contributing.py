"""The examples of CONTRIBUTING.md work: each diff is applied to a copy of the tree, and its commands are run there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("mld", "tasks", "commands", "prepare", "configs", "demos")
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (Add .*?)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
BLOCK = re.compile(r"^```(diff|python|bash)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _run(folder: Path, *command: str, text: str | None = None) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, input=text, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in COPIED:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file in (*ROOT.glob("*.py"), ROOT / "pyproject.toml"):
        shutil.copy(file, tmp_path)
    return tmp_path


@pytest.mark.parametrize("section", SECTIONS)
def test_the_example_works(section: str, tree: Path) -> None:
    blocks = BLOCK.findall(SECTIONS[section])
    assert blocks[0][0] == "diff" and len(blocks) > 1
    for kind, text in blocks:
        if kind == "diff":
            _run(tree, "git", "apply", "-", text=text)
        elif kind == "python":
            _run(tree, sys.executable, "-c", text)
        else:
            _run(tree, "bash", "-euc", re.sub(r"^python ", f"{sys.executable} ", text, flags=re.MULTILINE))
    _run(tree, sys.executable, "-m", "ruff", "check", "--no-cache", "mld", "tasks")


def test_no_line_is_longer_than_a_screen() -> None:
    assert SECTIONS
    assert max(map(len, TEXT.splitlines())) <= 200
