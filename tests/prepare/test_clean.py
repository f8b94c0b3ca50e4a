"""`python -m prepare.clean`: files and folders, steps, formats, the picture, and mistakes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from commands.common import run
from mld.motion.motion import Motion
from prepare.clean import main
from tests.motion.sliding import figure, injected


@pytest.fixture(scope="module")
def motions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("motions")
    for name, seed in (("first", 0), ("second", 1)):
        injected(figure("walk", seed)[0].crop(0, 50), "travel").save(folder / f"{name}.npy")
    (folder / "index.json").write_text("{}")  # as in a folder of the demo
    return folder


def clean(*arguments: object) -> int:
    return run(main, [str(argument) for argument in arguments])


def numbers(text: str, name: str) -> list[tuple[float, float]]:
    return [(float(a), float(b)) for a, b in re.findall(rf"{name}: ([\d.]+) -> ([\d.]+)", text)]


def test_a_folder_with_all_steps_and_a_picture(motions: Path, tmp_path: Path, capsys) -> None:
    assert clean(motions, "-o", tmp_path, "--format", "npy,bvh", "--sheet", tmp_path / "sheet.png") == 0
    said = capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "first.bvh", "first.npy", "second.bvh", "second.npy", "sheet.png"]  # fmt: skip
    assert "2 of 2 files cleaned" in said
    assert len(numbers(said, "sliding")) == 2
    assert all(after < 0.4 * before for before, after in numbers(said, "sliding"))
    assert all(after < before for before, after in numbers(said, "jerk"))
    assert "floor: moved by" in said


def test_single_steps(motions: Path, tmp_path: Path, capsys) -> None:
    source = np.load(motions / "first.npy")
    for options in (("--floor",), ("--smooth",), ("--smooth", "3"), ("--lock-feet",), ("--published",)):
        out = tmp_path / "_".join(options)
        assert clean(motions / "first.npy", "-o", out, *options) == 0
        changed = np.load(out / "first.npy")
        assert changed.shape == source.shape
        assert np.isfinite(changed).all()
        assert ("floor: moved" in capsys.readouterr().out) == (options == ("--floor",))
    smooth, smoother = (np.load(tmp_path / name / "first.npy") for name in ("--smooth", "--smooth_3"))
    assert np.abs(np.diff(smoother, 3, axis=0)).mean() < np.abs(np.diff(smooth, 3, axis=0)).mean()


def test_a_bad_file_is_left_out(motions: Path, tmp_path: Path, capsys) -> None:
    bad = tmp_path / "bad.npy"
    bad.write_bytes(b"not an array")
    broken = figure("walk", 0)[0].joints.clone()
    broken[3] = float("nan")
    np.save(tmp_path / "nan.npy", broken.numpy())
    assert clean(bad, tmp_path / "nan.npy", motions / "first.npy", "-o", tmp_path / "out", "--floor") == 1
    said = capsys.readouterr()
    assert said.err.count("left out") == 2
    assert "bad.npy" in said.err
    assert "1 of 3 files cleaned" in said.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--format", "fbx"), "fbx cannot be written"),
        (("--smooth", "0"), "cutoff of 0"),
        (("--published", "4"), "window of 4 frames has to be odd"),
    ],
)
def test_mistakes_are_named(motions: Path, tmp_path: Path, capsys, options, message: str) -> None:
    assert clean(motions / "first.npy", "-o", tmp_path, *options) != 0
    assert message in capsys.readouterr().err


def test_no_file_is_replaced_or_written_twice(motions: Path, tmp_path: Path, capsys) -> None:
    assert clean(motions, "-o", motions) == 2
    assert "would be replaced" in capsys.readouterr().err
    Motion.load(motions / "first.npy").save(tmp_path / "first.bvh")
    assert clean(motions / "first.npy", tmp_path / "first.bvh", "-o", tmp_path / "out") == 2
    assert "both be written" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        clean(motions, "-o", tmp_path, "--published", "--floor")
