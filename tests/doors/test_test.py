"""The command `test`, run as users run it, on a tiny model and the procedural set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from doors.test import main
from tests.doors.conftest import command

SMALL = ("data.procedural_size=64", "--limit", "4")


def test_all_tasks(model_folder: Path, tmp_path: Path) -> None:
    done = command("-m", "test", "--model", model_folder, *SMALL, "--out", tmp_path, "--reps", 2)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    assert list(results["tasks"]) == ["recon", "t2m", "m2t", "pred", "inbetween"]
    mpjpe = results["tasks"]["recon"]["MPJPE"]
    assert mpjpe["value"] > 0
    assert (mpjpe["unit"], mpjpe["n"], mpjpe["ci95"]) == ("mm", 4, 0.0)
    assert results["tasks"]["t2m"]["FID"]["value"] is None
    assert "evaluator" in results["tasks"]["t2m"]["FID"]["reason"]
    assert results["tasks"]["pred"]["ADE"]["protocol"].startswith("pred/")
    assert len(results["model"]["weights_hash"]) == 16
    assert results["data"]["clips"] == 4
    assert "MPJPE" in done.stdout
    assert "| task" in (tmp_path / "results.md").read_text()


def test_a_tokenizer_alone_is_tested_by_reconstruction(call, tokenizer_folder: Path, tmp_path: Path) -> None:
    done = call(main, "--model", tokenizer_folder, *SMALL, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(json.loads((tmp_path / "results.json").read_text())["tasks"]) == ["recon"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("data.sorce=joints",), "did you mean 'source'"),
        (("training.max_steps=3",), "data.root"),
        (("data.source=joints", "data.root=/no/such/folder"), "no dataset folder"),
        (("--task", "t2m", "--reps", "0"), "at least 1"),
    ],
)
def test_wrong_usage(call, arguments: tuple[str, ...], message: str, model_folder: Path, tmp_path: Path) -> None:
    done = call(main, "--model", model_folder, "--out", tmp_path, *arguments)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_tokenizer_cannot_do_text(call, tokenizer_folder: Path, tmp_path: Path) -> None:
    done = call(main, "--model", tokenizer_folder, "--task", "t2m", "--out", tmp_path)
    assert done.returncode == 2
    assert "it does recon" in done.stderr
