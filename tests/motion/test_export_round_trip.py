"""What is saved comes back: rotations within 1e-3 rad, positions within 1 mm, whatever the motion and the options."""

from __future__ import annotations

import math

import numpy as np
import pytest
import roma
import torch

from mld.errors import DataError, MldError, RequestError
from mld.motion.formats import suffixes
from mld.motion.motion import Motion
from mld.motion.rig.rigging import to_rig
from tests.motion.moves import random_motion
from tests.walking import walker

MILLIMETRE, MILLIRADIAN = 1e-3, 1e-3
LOSSLESS = {
    "bvh": (".bvh", {}),
    "bvh mixamo metres": (".bvh", {"names": "mixamo", "unit": "m", "order": "XYZ"}),
    "bvh unreal": (".bvh", {"names": "unreal", "order": "YXZ"}),
    "glb": (".glb", {}),
    "gltf mixamo": (".gltf", {"names": "mixamo"}),
    "smplh": (".npz", {}),
    "smplx y up": (".npz", {"model": "smplx", "up": "y"}),
    "csv": (".csv", {}),
    "json": (".json", {}),
}


def check(motion: Motion, path, **options) -> None:
    """Save, load, compare."""
    back = Motion.load(motion.save(path, **options))
    assert back.fps == pytest.approx(motion.fps, rel=1e-6)
    assert back.num_frames == motion.num_frames
    assert (back.joints - motion.joints).norm(dim=-1).max() < MILLIMETRE
    wanted = motion.rotations if path.suffix == ".json" else to_rig(motion).rotations
    if wanted is not None:
        step = back.rotations.double().transpose(-1, -2) @ wanted.double()
        assert roma.rotmat_to_rotvec(step).norm(dim=-1).max() < MILLIRADIAN


def with_rotations(motion: Motion) -> Motion:
    found = to_rig(motion)
    return Motion(found.positions(), motion.fps, motion.skeleton, found.rotations, found.translation)


@pytest.mark.parametrize("kind", LOSSLESS)
@pytest.mark.parametrize("yaw", [0.0, math.pi])
def test_walks_come_back(kind, yaw, tmp_path):
    suffix, options = LOSSLESS[kind]
    check(Motion(walker(60, yaw=yaw, turning=0.05), 20.0), tmp_path / f"walk{suffix}", **options)
    check(with_rotations(Motion(walker(60, yaw=yaw), 30.0)), tmp_path / f"turned{suffix}", **options)


@pytest.mark.parametrize("suffix", [".bvh", ".glb", ".npz", ".csv", ".json"])
@pytest.mark.parametrize(("frames", "fps"), [(1, 20.0), (2, 12.5), (31, 30.0), (40, 60.0), (50, 120.0), (20, 29.97)])
def test_short_motions_and_all_rates_come_back(suffix, frames, fps, tmp_path):
    check(Motion(walker(frames), fps), tmp_path / f"walk{suffix}")


@pytest.mark.parametrize("suffix", [".bvh", ".npz", ".csv"])
def test_long_motions_far_from_the_origin_come_back(suffix, tmp_path):
    check(Motion(walker(6000, start=(80.0, -50.0), turning=0.002), 60.0), tmp_path / f"walk{suffix}")


def test_kit_motions_keep_their_joints_in_own_tables(tmp_path):
    motion = random_motion(1, 12, "kit21")
    for suffix in (".csv", ".json"):
        back = Motion.load(motion.save(tmp_path / f"kit{suffix}"))
        assert back.skeleton.name == "kit21"
    assert (back.joints - motion.joints).norm(dim=-1).max() < MILLIMETRE
    for suffix in (".bvh", ".glb"):
        assert motion.save(tmp_path / f"kit{suffix}").stat().st_size > 1000
    carried = Motion.load(motion.save(tmp_path / "kit.npz"))
    assert carried.skeleton.name == "smpl22" and carried.num_frames == motion.num_frames


def test_smpl_files_are_amass_like_and_correct_for_the_rest_pelvis(tmp_path):
    motion = with_rotations(Motion(walker(10, yaw=2.0), 20.0))
    with np.load(motion.save(tmp_path / "a.npz"), allow_pickle=False) as found:
        data = dict(found)
    assert data["poses"].shape == (10, 156)
    assert data["betas"].shape == (16,)
    assert (str(data["gender"]), float(data["mocap_framerate"])) == ("neutral", 20.0)
    pelvis = data["trans"] + [-0.0018, -0.2233, 0.0282]  # z up: height is the third number
    np.testing.assert_allclose(pelvis[:, 2], motion.joints[:, 0, 1], atol=1e-4)
    np.testing.assert_allclose(pelvis[:, 0], motion.joints[:, 0, 0], atol=1e-4)
    body = roma.rotvec_to_rotmat(torch.from_numpy(data["poses"][:, 3:66].reshape(10, 21, 3)))
    assert (body - motion.rotations[:, 1:]).abs().max() < 1e-5


def test_csv_says_its_convention_and_stands_in_mujoco_axes(tmp_path):
    motion = Motion(walker(3), 20.0)
    lines = motion.save(tmp_path / "a.csv").read_text().splitlines()
    assert "quaternions w x y z" in lines[1]
    heads = next(line for line in lines if not line.startswith("#")).split(",")
    assert heads[:9] == ["time", "root_x", "root_y", "root_z", "pelvis_qw", "pelvis_qx", "pelvis_qy", "pelvis_qz",
                         "l_hip_qw"]
    rows = np.loadtxt(tmp_path / "a.csv", delimiter=",", skiprows=6)
    assert rows.shape == (3, 4 + 4 * 22) and len(heads) == rows.shape[1]
    np.testing.assert_allclose(rows[:, 1:4], motion.joints[:, 0, [2, 0, 1]], atol=1e-5)  # x is forward, z up
    np.testing.assert_allclose(np.linalg.norm(rows[:, 4:].reshape(3, 22, 4), axis=-1), 1, atol=1e-5)
    assert (rows[:, 4::4].reshape(3, 22) >= 0).all()  # w first, and near no turn positive


@pytest.mark.parametrize("suffix", [".bvh", ".glb", ".npz", ".csv", ".json", ".npy"])
def test_bad_motions_are_not_written(suffix, tmp_path):
    joints = walker(5)
    joints[3, 2] = math.nan
    with pytest.raises(DataError, match="frame 3"):
        Motion(joints, 20.0).save(tmp_path / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_options_that_a_format_lacks_are_named(tmp_path):
    motion = Motion(walker(2), 20.0)
    for suffix, options, words in (
        (".bvh", {"name": "mixamo"}, "no option 'name'; known: names, unit, order"),
        (".bvh", {"names": "maya"}, "known: own, mixamo, unreal"),
        (".bvh", {"unit": "ft"}, "known: cm, m"),
        (".bvh", {"order": "XXY"}, "known: XYZ"),
        (".npz", {"model": "flame"}, "known: smpl, smplh, smplx"),
        (".npz", {"up": "x"}, "y or z up"),
        (".json", {"names": "own"}, "known: none"),
    ):
        with pytest.raises(RequestError, match=words):
            motion.save(tmp_path / f"a{suffix}", **options)


def test_pictures_are_formats_once_the_view_is_imported(tmp_path):
    import mld.view.files

    motion = Motion(walker(4), 20.0)
    assert set(mld.view.files.WRITERS) <= set(suffixes())
    for suffix in (".png", ".gif"):
        assert motion.save(tmp_path / f"a{suffix}", title="a person walks").stat().st_size > 1000


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"time,x\n1,2\n", "not a motion table"),
        ("a.json", b"{", "line 1"),
        ("a.json", b"[" * 100_000, "not JSON"),
        ("a.json", b'{"format": "mld-motion", "version": 2}', "version 2"),
        ("a.json", b'{"format": "mld-motion", "version": 1, "skeleton": "smpl22", "fps": 9, "joints": [[0]]}', "shape"),
        ("a.json", b'{"format": "mld-motion", "version": 1, "skeleton": "smpl22", "fps": 20}', "joints"),
        ("a.json", b'{"format": "mld-motion", "version": 1, "skeleton": "dog", "fps": 20, "joints": []}', "dog"),
    ],
)
def test_damaged_tables_are_refused(name, content, words, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MldError, match=words):
        Motion.load(tmp_path / name)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"fps: 20.0", b"fps: 1e999", "frame rate|fps"),
        (b"fps: 20.0", b"fps: NaN", "frame rate|fps"),
        (b"skeleton", b"skelett", "skeleton"),
        (b"\n0.1", b"\nx.1", "line 9"),
        (b"\n0.1", b"\n7,0.1", "line 9: not 92"),
        (b"[[0.0", b"[[[0.0", "line 5"),
    ],
)
def test_damaged_csv_names_the_line(old, new, words, tmp_path):
    path = Motion(walker(3), 20.0).save(tmp_path / "a.csv")
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    with pytest.raises(DataError, match=words):
        Motion.load(path)
