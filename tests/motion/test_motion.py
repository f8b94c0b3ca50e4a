import io
import pickle

import numpy as np
import pytest
import torch

import mld
from mld.errors import DataError, MotionFormatError
from mld.motion.motion import Motion
from mld.motion.representations.registry import get_representation
from mld.motion.skeletons import get_skeleton
from tests.motion.moves import random_motion


def test_a_motion_knows_its_length():
    motion = random_motion(0, 50)
    assert mld.Motion is Motion
    assert (motion.num_frames, motion.duration) == (50, 2.5)
    part = motion.crop(10, 20)
    assert torch.equal(part.joints, motion.joints[10:20]) and torch.equal(part.rotations, motion.rotations[10:20])
    assert part.crop(-3).num_frames == 3
    with pytest.raises(DataError, match="leaves nothing"):
        motion.crop(50)


def test_arrays_are_taken_and_wrong_shapes_refused():
    assert Motion(np.zeros((4, 22, 3)), 20).joints.dtype == torch.float32
    with pytest.raises(DataError, match=r"joints have the shape \(4, 21, 3\)"):
        Motion(np.zeros((4, 21, 3)), 20)
    with pytest.raises(DataError, match="translation"):
        Motion(np.zeros((4, 22, 3)), 20, translation=np.zeros((5, 3)))
    with pytest.raises(DataError, match="no frames"):
        Motion(np.zeros((0, 22, 3)), 20)
    with pytest.raises(DataError, match="frame rate"):
        Motion(np.zeros((4, 22, 3)), 0)


@pytest.mark.parametrize("skeleton", ["smpl22", "kit21"])
def test_npy_round_trip(tmp_path, skeleton):
    motion = random_motion(1, 30, skeleton)
    path = motion.save(tmp_path / "new" / "walk.npy")
    again = Motion.load(path)
    assert torch.equal(again.joints, motion.joints)
    assert (again.fps, again.skeleton) == (motion.fps, motion.skeleton)
    assert Motion.load(path, fps=30).fps == 30
    assert [file.name for file in path.parent.iterdir()] == ["walk.npy"]


@pytest.mark.parametrize("name", ["humanml3d", "kit"])
def test_features_are_known_by_their_width(tmp_path, name):
    representation = get_representation(name)
    features = representation.encode(random_motion(2, 30, representation.skeleton.name))
    np.save(tmp_path / "features.npy", features.numpy())
    motion = Motion.load(tmp_path / "features.npy")
    torch.testing.assert_close(motion.joints, representation.decode(features).joints)
    assert motion.fps == representation.fps


def test_published_kit_joints_in_millimetres_become_metres(tmp_path):
    motion = random_motion(3, 30, "kit21")
    np.save(tmp_path / "kit.npy", motion.joints.numpy() * 1000)
    torch.testing.assert_close(Motion.load(tmp_path / "kit.npy").joints, motion.joints)


def _faults():
    joints = np.zeros((5, 22, 3), np.float32)
    nan = joints.copy()
    nan[3, 2, 1] = np.nan
    huge = joints.copy()
    huge[2, 5] = 4000
    overflow = np.zeros((5, 263), np.float32)
    overflow[:, 1] = 3e38
    return {
        "NaN or infinity in 1 frames, first at frame 3": nan,
        r"shape \(5, 23, 3\)": np.zeros((5, 23, 3)),
        r"shape \(5, 264\)": np.zeros((5, 264)),
        r"shape \(3,\)": np.zeros(3),
        "empty": np.zeros((0, 22, 3)),
        "one array of numbers": np.full((5, 22, 3), "a"),
        "4000 m across at frame 2": huge,
        "NaN or infinity": overflow,
    }


@pytest.mark.parametrize("message, array", _faults().items())
def test_bad_arrays_are_refused_by_name(tmp_path, message, array):
    np.save(tmp_path / "bad.npy", array)
    with pytest.raises(MotionFormatError, match=message) as caught:
        Motion.load(tmp_path / "bad.npy")
    assert "bad.npy" in str(caught.value) and "\n" not in str(caught.value)


def _npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _damaged():
    good = _npy(np.zeros((5, 22, 3)))
    lying = good.replace(b"(5, 22, 3), }" + b" " * 9, b"(9999999999, 22, 3), }")
    assert len(lying) == len(good) and lying != good
    return b"", b"hello", pickle.dumps({"joints": 1}), b"\x93NUMPY\x01\x00", good[:-100], lying


@pytest.mark.parametrize("content", _damaged())
def test_damaged_files_are_refused(tmp_path, content):
    (tmp_path / "bad.npy").write_bytes(content)
    with pytest.raises(MotionFormatError, match="bad.npy: not a readable"):
        Motion.load(tmp_path / "bad.npy")


def test_pickled_objects_are_never_opened(tmp_path):
    np.save(tmp_path / "bad.npy", np.array([{"joints": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(MotionFormatError, match="pickled objects"):
        Motion.load(tmp_path / "bad.npy")
    np.savez(tmp_path / "zip.npz", joints=np.zeros((5, 22, 3)))
    (tmp_path / "zip.npz").rename(tmp_path / "zip.npy")
    with pytest.raises(MotionFormatError, match="one array"):
        Motion.load(tmp_path / "zip.npy")


def test_missing_files_and_unknown_formats(tmp_path):
    with pytest.raises(MotionFormatError, match="no such file"):
        Motion.load(tmp_path / "none.npy")
    (tmp_path / "walk.c3d").touch()
    with pytest.raises(MotionFormatError, match=r"'\.c3d' is not a motion format"):
        Motion.load(tmp_path / "walk.c3d")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = random_motion(0, 5).save(tmp_path / "walk.npy")
    before = path.read_bytes()
    broken = Motion(torch.full((3, 22, 3), float("nan")), 20.0, get_skeleton("smpl22"))
    with pytest.raises(DataError, match="NaN"):
        broken.save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["walk.npy"]
