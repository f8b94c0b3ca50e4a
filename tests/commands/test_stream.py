"""The task `stream` as users run it, with a tiny streaming model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from commands import demo, test
from mld.checkpoint import save_model
from mld.models import registry
from tests.models.tiny_streamer import tiny_streamer

DATA = ("data.source=procedural", "data.procedural_size=64", "data.representation=motion272", "data.max_frames=300")


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(registry.FAMILIES["text_encoder"], "hashed", "tests.models.tiny_streamer:HashedText")
    return save_model(tiny_streamer(), tmp_path / "model", {})


def test_demo(call, model: Path, tmp_path: Path) -> None:
    """Words change at the token that is nearest, the end is where it is wanted; a bad line is told and left out."""
    line = "0s a person walks | 1s they sit down | 2.5s"
    options = ("--model", model, "--task", "stream", "--format", "npy", "--out", tmp_path / "out")
    done = call(demo.main, *options, "--text", line, "--text", "1s too late")
    assert done.returncode == 1 and "the first text begins at 0s" in done.stderr
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    made, bad = index["results"]
    assert made["prompt"] == "a person walks | they sit down" and made["frames"] == 75 and "error" in bad
    (file,) = (tmp_path / "out").glob("*.npy")
    assert np.isfinite(np.load(file)).all() and len(np.load(file)) == 75


def test_test_says_which_evaluator_is_missing(call, model: Path, tmp_path: Path) -> None:
    options = ("--model", model, "--task", "stream", "--quick", "--limit", 3, "--out", tmp_path / "out", *DATA)
    done = call(test.main, *options)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "Not computed" in line]
    assert "needs an evaluator of 'motion272' at 30 fps, none is bundled; train one" in line
    found = json.loads((tmp_path / "out" / "results.json").read_text())["tasks"]["stream"]
    assert all(found[name]["value"] is not None for name in ("peak_jerk", "area_under_jerk", "skating", "jerk_real"))
    assert found["transition/FID"]["value"] is None
