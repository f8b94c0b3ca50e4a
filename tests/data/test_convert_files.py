"""`prepare.data convert FILES`: motion files from any representation to any other, and to joints."""

from pathlib import Path

import numpy as np
import pytest
import torch

from commands.common import run
from mld.errors import DataError
from mld.motion import edit
from mld.motion.motion import Motion
from mld.motion.representations.camera import TO_Z_UP
from mld.motion.representations.motion276 import Body
from mld.motion.representations.registry import get_representation
from mld.motion.rig.rest_pose import solve
from prepare.data import main
from tests.walking import walker

NAMES = ["humanml3d", "motion272", "motion276", "joints"]


@pytest.fixture
def walks(tmp_path: Path) -> Path:
    folder = tmp_path / "walks"
    (folder / "more").mkdir(parents=True)
    Motion(walker(41, turning=0.02), 20.0).save(folder / "walk.npy")
    Motion(walker(61, turning=-0.02), 30.0).save(folder / "more" / "curve.bvh")
    return folder


def convert(*arguments) -> int:
    return main(["convert", *map(str, arguments)])


def shape(joints: torch.Tensor) -> torch.Tensor:
    """Distances (T, 22) of joints to their root: the same wherever a body stands."""
    return (joints - joints[:, :1]).norm(dim=-1)


@pytest.mark.parametrize("to", NAMES)
def test_any_file_becomes_any_representation(walks: Path, tmp_path: Path, to: str, capsys) -> None:
    assert convert(walks, "--to", to, "--out", tmp_path / "out") == 0
    assert f"2 of 2 files converted to {to}" in capsys.readouterr().out
    for name, seconds in (("walk.npy", 2.0), ("more/curve.npy", 2.0)):
        array = np.load(tmp_path / "out" / name)
        assert array.dtype == np.float32
        fps = 20.0 if to == "joints" else get_representation(to).fps
        rows = round(seconds * fps) + 1
        assert len(array) == (rows if to == "joints" else get_representation(to).rows(rows))
    motion = Motion.load(tmp_path / "out" / "walk.npy")
    wanted = edit.resample(Motion.load(walks / "walk.npy"), motion.fps)
    if to != "humanml3d":  # which has bones of its own
        torch.testing.assert_close(shape(motion.joints), shape(wanted.joints[: motion.num_frames]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("source", ["humanml3d", "motion272", "motion276"])
@pytest.mark.parametrize("to", NAMES)
def test_from_every_representation_to_every_other(walks: Path, tmp_path: Path, source: str, to: str) -> None:
    assert convert(walks / "walk.npy", "--to", source, "--out", tmp_path / "a") == 0
    assert convert(tmp_path / "a", "--from", source, "--to", to, "--out", tmp_path / "b") == 0
    first, second = (Motion.load(tmp_path / folder / "walk.npy") for folder in "ab")
    wanted = edit.resample(first, second.fps)
    frames = min(wanted.num_frames, second.num_frames)
    assert frames >= 0.9 * wanted.num_frames
    near = shape(wanted.joints[:frames]) - shape(second.joints[:frames])
    assert near.abs().max() < (0.06 if to == "humanml3d" else 1e-3)


def test_mirrored_twins_are_asked_for(walks: Path, tmp_path: Path) -> None:
    assert convert(walks / "walk.npy", "--to", "motion272", "--out", tmp_path / "out", "--mirror") == 0
    one, twin = (torch.from_numpy(np.load(tmp_path / "out" / f"{name}.npy")) for name in ("walk", "Mwalk"))
    positions = get_representation("motion272").columns("positions")
    torch.testing.assert_close(get_representation("motion272").mirror(one)[:, positions], twin[:, positions],
                               atol=1e-4, rtol=0)  # fmt: skip


def test_motion_seen_by_a_camera_is_put_on_the_ground(tmp_path: Path) -> None:
    """As `spec vimogen` 1.6 has it: x right, y down, z forward; the camera is written beside."""
    motion276 = get_representation("motion276")
    motion = Motion(walker(40), 20.0)
    local, joints = solve(motion)[0], motion.joints.double()
    upright = motion276.body_of(motion276.encode(motion))
    to_camera = torch.tensor(TO_Z_UP).double().T
    seen = upright.turned(to_camera)
    seen = Body(seen.rotations, seen.pelvis + 1.5, seen.joints + 1.5)
    assert local.shape[0] == len(joints)
    np.save(tmp_path / "seen.npy", motion276.columns_of(seen).float().numpy())
    assert convert(tmp_path / "seen.npy", "--from", "camera276", "--to", "joints", "--out", tmp_path / "out") == 0
    found = Motion.load(tmp_path / "out" / "seen.npy")
    torch.testing.assert_close(found.joints, motion276.decode(motion276.encode(motion)).joints[: found.num_frames],
                               atol=1e-4, rtol=0)  # fmt: skip
    assert np.load(tmp_path / "out" / "cameras" / "seen.npy").shape == (found.num_frames, 9)


def test_what_cannot_be_used_is_left_out_and_named(walks: Path, tmp_path: Path, capsys) -> None:
    (walks / "broken.npy").write_bytes(b"no array")
    np.save(walks / "other.npy", np.zeros((5, 7), dtype=np.float32))
    assert convert(walks, "--to", "motion272", "--out", tmp_path / "out") == 1
    said = capsys.readouterr()
    assert said.err.count("left out:") == 2 and "other.npy: the array has the shape (5, 7)" in said.err
    assert "2 of 4 files" in said.out


@pytest.mark.parametrize("source", ["motion276", "joints"])
def test_columns_that_are_not_what_was_said_are_left_out(walks: Path, tmp_path: Path, source: str, capsys) -> None:
    assert convert(walks / "walk.npy", "--to", "motion272", "--out", tmp_path / "a") == 0
    assert convert(tmp_path / "a", "--from", source, "--to", "joints", "--out", tmp_path / "b") == 1
    assert "walk.npy: " in capsys.readouterr().err


def test_files_of_one_name_are_refused(walks: Path, tmp_path: Path) -> None:
    Motion(walker(30), 20.0).save(walks / "walk.bvh")
    with pytest.raises(DataError, match="would both become"):
        convert(walks, "--to", "joints", "--out", tmp_path / "out")


@pytest.mark.parametrize("arguments, message", [
    (["--to", "motion727"], "did you mean 'motion27"),
    ([], "--to (missing): known: humanml3d, kit, motion272"),
    (["--to", "joints", "--from", "camera"], "did you mean 'camera276'"),
    (["--to", "joints", "--source", "joints"], "--source is for data set folders"),
])  # fmt: skip
def test_wrong_options_say_how_to_mend(walks: Path, tmp_path: Path, arguments, message: str, capsys) -> None:
    assert run(main, ["convert", str(walks), "--out", str(tmp_path / "out"), *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("arguments, message", [
    ([], "name motion files and --to, or a data set folder"), (["--to", "joints"], "need motion files"),
])  # fmt: skip
def test_nothing_to_convert_is_said(tmp_path: Path, arguments, message: str, capsys) -> None:
    assert run(main, ["convert", "--out", str(tmp_path / "out"), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_every_file_that_is_left_out_is_named(walks: Path, tmp_path: Path, capsys) -> None:
    Motion(walker(41)[:1], 20.0).save(walks / "still.npy")
    assert convert(walks, "--to", "humanml3d", "--out", tmp_path / "out") == 1
    assert f"left out: {walks / 'still.npy'}: features need at least 2 frames" in capsys.readouterr().err
    assert convert(walks, "--to", "kit", "--out", tmp_path / "kit") == 1
    assert len(capsys.readouterr().err.splitlines()) == 1 and len(list((tmp_path / "kit").iterdir())) == 2


def test_276_columns_become_joints_by_each_recovery(tmp_path: Path) -> None:
    rows = get_representation("motion276").encode(Motion(walker(41), 20.0))
    rows[20:, 126:192] += 1.0  # places that the steps know nothing of
    torch.save(rows, tmp_path / "walk276.pt")
    found = {}
    for recovery in ("velocity", "absolute", "equal_length"):
        out = tmp_path / recovery
        command = ["convert", str(tmp_path / "walk276.pt"), "--to", "joints", "--out", str(out), "--recovery", recovery]
        assert main(command) == 0
        found[recovery] = np.load(out / "walk276.npy")
    assert [len(joints) for joints in found.values()] == [40, 40, 41]
    np.testing.assert_allclose(found["equal_length"][:40], found["velocity"], atol=1e-5)
    np.testing.assert_allclose(found["absolute"][:20], found["velocity"][:20], atol=1e-5)
    off = np.abs(found["absolute"][20:] - found["velocity"][20:])
    np.testing.assert_allclose(off, 1.0, atol=1e-4)


def test_a_recovery_is_of_276_columns(tmp_path: Path, capsys) -> None:
    torch.save(torch.zeros(9, 263), tmp_path / "other.pt")
    command = ["convert", str(tmp_path / "other.pt"), "--to", "joints", "--out", str(tmp_path / "out")]
    assert main([*command, "--recovery", "absolute"]) == 1
    assert "263 columns, 'motion276' has 276, they are 'humanml3d'" in capsys.readouterr().err
