"""A released model folder: half the size, same answers, terms and credit written down."""

from __future__ import annotations

import json

import torch

from commands.common import run
from mld.checkpoint import load_model, save_model
from mld.engine.pipeline import Pipeline
from prepare.release import main
from tests.models.tiny import tiny_motiongpt


def test_release_keeps_the_model_and_states_its_terms(tmp_path) -> None:
    save_model(tiny_motiongpt(), tmp_path / "model", {"run": "tiny", "data": "3 clips"})
    terms = ["--licence", "CC0", "--credit", "Thanks to them.", "--about", "It walks."]
    assert run(main, [str(tmp_path / "model"), str(tmp_path / "out"), *terms]) == 0
    origin = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert origin["licence"] == "CC0" and origin["run"] == "tiny" and origin["weights_dtype"] == "float16"
    readme = (tmp_path / "out" / "README.md").read_text()
    assert all(words in readme for words in ("CC0", "Thanks to them.", "It walks.", "3 clips"))
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("model", "out")]
    assert sizes[1] < 0.6 * sizes[0]
    released = Pipeline(load_model(tmp_path / "out"))
    assert torch.isfinite(released.generate("a person walks", seconds=1).joints).all()


def test_release_of_nothing_is_one_line(tmp_path, capsys) -> None:
    assert run(main, [str(tmp_path / "none"), str(tmp_path / "out"), "--licence", "MIT"]) == 2
    assert "no such model folder" in capsys.readouterr().err
