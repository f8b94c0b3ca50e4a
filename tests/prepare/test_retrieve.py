"""`python -m prepare.retrieve`: search by text and by motion, the picture, the cache, and mistakes in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from commands.common import run
from mld.checkpoint import save_model
from mld.motion.motion import Motion
from prepare.retrieve import main
from tests.models.evaluating import tiny_guo, tiny_tmr, write_text_encoder
from tests.walking import walker

ROOT = Path(__file__).parents[2]


def door(*arguments) -> int:
    return run(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def evaluators(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("evaluators")
    save_model(tiny_tmr(write_text_encoder(folder / "words")), folder / "tmr")
    save_model(tiny_guo(), folder / "guo")
    save_model(tiny_guo(stage="movement"), folder / "half")
    return folder


@pytest.fixture
def motions(tmp_path) -> Path:
    for i in range(3):
        Motion(walker(40 + 10 * i, turning=0.02 * i), 20.0).save(tmp_path / "motions" / "deep" / f"walk{i}.npy")
    return tmp_path / "motions"


def test_search_by_text_prints_a_table_and_draws(evaluators, motions, tmp_path, capsys):
    picture = tmp_path / "new" / "hits.png"
    options = ("--motions", motions, "--evaluator", evaluators / "tmr", "--cache", tmp_path / "cache", "--k", 2)
    assert door("a person walks", *options, "--out", picture) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == '"a person walks" among 3 motions' and lines[1].split() == ["rank", "score", "seconds", "motion"]
    rows = [line.split() for line in lines[2:4]]
    assert [row[0] for row in rows] == ["1", "2"] and float(rows[0][1]) >= float(rows[1][1]) >= 0
    assert rows[0][-1].startswith("deep/walk") and picture.read_bytes()[:4] == b"\x89PNG"
    assert list((tmp_path / "cache").rglob("*.safetensors"))
    assert door("a person walks", *options) == 0
    assert capsys.readouterr().out.splitlines() == lines[:4], "the same from the cache"


def test_search_by_motion_finds_that_motion(evaluators, motions, capsys):
    query = motions / "deep" / "walk1.npy"
    options = ("--motions", motions, "--evaluator", evaluators / "guo", "--no-cache")
    assert door("--motion", query, *options) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "distance" in lines[1] and lines[2].endswith("walk1.npy") and float(lines[2].split()[1]) < 1e-3


def test_a_damaged_file_is_left_out_and_told(evaluators, motions, capsys):
    np.save(motions / "bad.npy", np.full((10, 22, 3), np.nan))
    assert door("x", "--motions", motions, "--evaluator", evaluators / "guo", "--no-cache") == 1
    out, err = capsys.readouterr()
    assert "among 3 motions" in out and err.startswith("left out: ") and "bad.npy" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["walk", "--motions", "nowhere", "--evaluator", "tmr"], "nowhere: no such folder of motions"),
        (["walk", "--motions", "empty", "--evaluator", "tmr"], "empty: no motion in it"),
        ([" ", "--motions", "motions", "--evaluator", "tmr"], "caption 0 is empty"),
        (["walk", "--motions", "motions", "--evaluator", "half"], "has only its movement encoder trained"),
        (["walk", "--motions", "motions", "--evaluator", "./none"], "no such model folder"),
        (["--motion", "none.npy", "--motions", "motions", "--evaluator", "tmr"], "there is no such file"),
    ],
)
def test_mistakes_are_one_line(evaluators, motions, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(motions.parent)
    (motions.parent / "empty").mkdir()
    place = arguments.index("--evaluator") + 1
    if "/" not in arguments[place]:
        arguments = [*arguments[:place], str(evaluators / arguments[place]), *arguments[place + 1 :]]
    assert door(*arguments, "--no-cache") == 2
    errors = capsys.readouterr().err
    assert message in errors and errors.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["walk", "--motion", "x.npy"], ["walk", "--k", "0"]])
def test_usage(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        door(*arguments, "--motions", ".")
    assert "prepare.retrieve: error: " in capsys.readouterr().err


def test_help_is_light():
    done = subprocess.run([sys.executable, "-X", "importtime", "-m", "prepare.retrieve", "--help"], cwd=ROOT,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0 and "--motions FOLDER" in done.stdout and "| torch" not in done.stderr
