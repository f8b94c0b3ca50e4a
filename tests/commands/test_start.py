"""What is not imported on the way to the first motion: in a new process, by the command that a user types.

Imports were half of the time to the first motion. No clock here: a list of modules that stay out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMPILER = ("torch._dynamo", "torch._inductor", "sympy", "torch.distributed.fsdp")
OTHERS = (
    "torchmetrics", "lightning", "pytorch_lightning", "gradio", "fastapi", "pandas", "matplotlib", "sklearn", "roma",
    "tensorboard", "scipy.signal", "scipy.stats", "scipy.optimize", "omegaconf",
)  # fmt: skip
TOLD = """
import json, sys
from commands.common import run
from commands.demo import main
code = run(main, {arguments!r})
print("MODULES " + json.dumps(sorted(sys.modules)))
sys.exit(code)
"""


def _modules(arguments: list[str]) -> set[str]:
    """The modules of a process that has run `demo`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", TOLD.format(arguments=arguments)], cwd=ROOT, env=environment,
                          capture_output=True, text=True, timeout=600)  # fmt: skip
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("MODULES ")]
    return set(json.loads(line.removeprefix("MODULES ")))


def _inside(modules: set[str], names: tuple[str, ...]) -> list[str]:
    return [name for name in names if name in modules]


@pytest.mark.parametrize("model", ["motiongpt3", "motionstreamer"])
def test_a_motion_needs_neither_compiler_nor_training_nor_metrics(model: str, tmp_path) -> None:
    asked = ["--text", "a person walks#40", "--model", model, "--out", str(tmp_path), "--steps", "3"]
    modules = _modules([*asked, "--device", "cpu"])
    assert (tmp_path / "overview.html").is_file() and "torch" in modules
    assert not _inside(modules, (*COMPILER, *OTHERS, "transformers"))


def test_a_model_over_a_library_backbone_brings_no_metrics(tmp_path) -> None:
    """`motiongpt` has its T5 from transformers, which brings what it brings."""
    asked = ["--text", "a person walks#40", "--model", "motiongpt", "--out", str(tmp_path), "--device", "cpu"]
    modules = _modules(asked)
    known = ("torchmetrics", "lightning", "gradio", "fastapi", "matplotlib", "roma", "tensorboard", "omegaconf")
    assert not _inside(modules, known)
