"""Files of 272 and 276 columns through `Motion.load`: against rows written from the spec, and with rotations."""

import numpy as np
import pytest
import torch

from mld.errors import MotionFormatError
from mld.motion.motion import Motion
from mld.motion.representations.registry import get_representation
from tests.motion.moves import random_motion
from tests.walking import walker


def rows_272(joints, headings):
    """Features of joints (T, 22, 3) seen from `headings` (T,), angles about y; spec motion_272, section 3."""
    cos, sin, zero = np.cos(headings), np.sin(headings), np.zeros_like(headings)
    to_heading = np.stack([cos, zero, -sin, zero, zero + 1, zero, sin, zero, cos], -1).reshape(-1, 3, 3)
    turns = np.concatenate([to_heading[:1], to_heading[1:] @ to_heading[:-1].transpose(0, 2, 1)])
    path = joints[:, 0] * [1, 0, 1]
    before = np.concatenate([np.eye(3)[None], to_heading[:-1]])
    steps = np.einsum("tij,tj->ti", before, np.diff(path, axis=0, prepend=np.zeros((1, 3))))
    local = np.einsum("tij,tkj->tki", to_heading, joints - path[:, None])
    frames = len(joints)
    return np.concatenate([steps[:, [0, 2]], turns[:, :2].reshape(frames, 6), local.reshape(frames, 66),
                           np.zeros((frames, 66 + 132))], axis=1)  # fmt: skip


def rows_276(joints):
    """Features of joints (T, 22, 3), y up; spec vimogen, 1.1."""
    x, y, z = np.moveaxis(joints, -1, 0)
    flat = np.stack([-x, z, y], -1).reshape(len(joints), 66)
    steps = np.diff(flat, axis=0, append=flat[-1:])
    return np.concatenate([np.zeros((len(joints), 126)), flat, steps, np.zeros((len(joints), 18))], axis=1)


def save(path, array):
    array = array.astype(np.float32)
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        torch.save({"motion": torch.from_numpy(array), "extrinsic": torch.zeros(len(array), 9)}, path)
    return path


@pytest.mark.parametrize("suffix", [".npy", ".pt"])
@pytest.mark.parametrize("width", [272, 276])
def test_files_open_as_the_joints_they_were_made_of(tmp_path, width, suffix):
    wanted = random_motion(3, 40).joints.double().numpy()
    headings = np.linspace(0.4, 5, len(wanted))
    rows = rows_272(wanted, headings) if width == 272 else rows_276(wanted)
    assert rows.shape == (40, width)
    path = save(tmp_path / f"walk{suffix}", rows)
    motion = Motion.load(path)
    np.testing.assert_allclose(motion.joints, wanted, atol=2e-5)
    assert (motion.fps, motion.skeleton.name) == ({272: 30, 276: 20}[width], "smpl22")
    assert Motion.load(path, fps=60).fps == 60


@pytest.mark.parametrize("suffix", [".npy", ".pt"])
@pytest.mark.parametrize("width", [272, 276])
def test_bad_values_are_named(tmp_path, width, suffix):
    joints = random_motion(4, 12).joints.double().numpy()
    rows = rows_272(joints, np.zeros(12)) if width == 272 else rows_276(joints)
    rows[7, 100] = np.nan
    with pytest.raises(MotionFormatError, match="NaN or infinity in 1 frames, first at frame 7"):
        Motion.load(save(tmp_path / f"bad{suffix}", rows))


def test_padding_is_not_taken_for_motion(tmp_path):
    rows = rows_272(random_motion(5, 12).joints.double().numpy(), np.zeros(12))
    rows[9:] = 0
    with pytest.raises(MotionFormatError, match="no rotation at frame 9"):
        Motion.load(save(tmp_path / "padded.npy", rows))


@pytest.mark.parametrize("width", [272, 276])
def test_columns_without_rotations_open_without(tmp_path, width):
    joints = random_motion(3, 40).joints.double().numpy()
    rows = rows_272(joints, np.linspace(0.4, 5, 40)) if width == 272 else rows_276(joints)
    assert Motion.load(save(tmp_path / "walk.npy", rows)).rotations is None


@pytest.mark.parametrize("name", ["motion272", "motion276"])
def test_an_opened_motion_carries_the_rotations_of_its_columns(tmp_path, name):
    representation = get_representation(name)
    features = representation.encode(Motion(walker(40, turning=0.03), representation.fps))
    motion = Motion.load(save(tmp_path / "walk.npy", features.numpy()))
    torch.testing.assert_close(motion.rotations, representation.decode_rotations(features)[0])
    assert motion.translation.shape == (len(features), 3) and motion.fps == representation.fps
