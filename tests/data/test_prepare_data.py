"""`python -m prepare.data`: quick help, exit codes, statistics, conversion to the other layout and back."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from commands.common import run
from mld.data.sources.opening import build_source
from mld.errors import DataError
from mld.motion.motion import Motion
from prepare.data import main
from tests.data.conftest import REPOSITORY, humanml3d_config, joints_config
from tests.walking import walker


def _run(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "prepare.data", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)


def test_help_is_quick_and_light() -> None:
    start = time.perf_counter()
    result = _run("doctor", "--help")
    assert result.returncode == 0 and "--root" in result.stdout
    assert time.perf_counter() - start < 1.5
    check = "import sys, prepare.data; assert not {'torch', 'numpy'} & sys.modules.keys()"
    assert subprocess.run([sys.executable, "-c", check], cwd=REPOSITORY).returncode == 0


def test_doctor_ends_with_1_on_a_sick_folder_and_2_without_one(
    joints_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (joints_folder / "splits" / "val.txt").write_text("walk0\n")
    result = _run("doctor", "--source", "joints", "--root", str(joints_folder))
    assert result.returncode == 1 and "error: 1 clips are both in train and val: walk0" in result.stdout
    assert run(main, ["doctor", "--source", "joints", "--root", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.startswith("error: no dataset folder")


def test_doctor_ends_with_0_on_a_sound_folder(joints_folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["doctor", "--source", "joints", "--root", str(joints_folder)]) == 0
    assert "nothing to complain about" in capsys.readouterr().out


def test_the_doctor_looks_at_motion_files(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for number in range(4):
        Motion(walker(60, yaw=number), 20.0).save(tmp_path / f"walk_{number}.bvh")
    doctor = ["doctor", "--source", "files", "--root", str(tmp_path)]
    assert main(doctor) == 0 and "nothing to complain about" in capsys.readouterr().out
    (tmp_path / "walk_9.bvh").write_text("HIERARCHY\n")
    main(doctor)
    assert "walk_9.bvh" in capsys.readouterr().out


def test_stats_are_block_constant_and_biased_as_asked(joints_folder: Path, tmp_path: Path) -> None:
    common = ["stats", "--source", "joints", "--root", str(joints_folder), "--out"]
    assert main([*common, str(tmp_path / "a")]) == 0
    assert main([*common, str(tmp_path / "b"), "--feature-bias", "25", "--mirror"]) == 0
    plain, biased = (np.load(tmp_path / name / "std.npy") for name in "ab")
    assert plain.shape == (263,) and len(set(plain[4:67].tolist())) == 1
    assert biased[3] < plain[3]


def test_converting_there_and_back_keeps_the_motion(joints_folder: Path, tmp_path: Path) -> None:
    folder, back = tmp_path / "h3d", tmp_path / "back"
    assert main(["convert", "--source", "joints", "--root", str(joints_folder), "--out", str(folder), "--mirror"]) == 0
    first = build_source(joints_config(joints_folder, mirror=True), "train")
    second = build_source(humanml3d_config(folder), "train")
    clips = {second[i].name: second[i] for i in range(len(second))}
    assert len(first) == len(second) == 8 and not second.problems
    for clip in (first[i] for i in range(len(first))):
        assert torch.equal(clip.features, clips[clip.name].features) and clip.captions == clips[clip.name].captions
    assert (folder / "all.txt").read_text().split() == [
        *(name for i in range(4) for name in (f"walk{i}", f"Mwalk{i}")), "hop0", "turn0", "turn1",
    ]  # fmt: skip
    assert np.load(folder / "new_joints" / "walk0.npy").shape == (59, 22, 3)

    assert main(["convert", "--source", "humanml3d", "--root", str(folder), "--out", str(back)]) == 0
    third = build_source(joints_config(back), "test")
    original = build_source(joints_config(joints_folder), "test")
    positions = slice(4, 67)
    assert torch.allclose(third[0].features[:, positions], original[0].features[:58, positions], atol=2e-2)


def test_convert_does_not_write_over_a_folder(joints_folder: Path) -> None:
    with pytest.raises(DataError, match="already there and not empty"):
        main(["convert", "--source", "joints", "--root", str(joints_folder), "--out", str(joints_folder)])
