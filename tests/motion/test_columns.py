"""Features of 272 and 276 columns: against published recoveries, by properties, and through `Motion.load`."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mld.errors import DataError, MotionFormatError
from mld.motion.formats.columns import COLUMNS, decode_272, decode_276
from mld.motion.motion import Motion
from tests.motion.moves import random_motion

PARITY = Path(__file__).resolve().parents[3] / "shared" / "parity"
RECOVERIES = {"rep272": "recovered_joints", "rep272_mirror": "recovered_joints_mirror",
              "window_rep272": "window_recovered_joints", "noisy_rep272": "noisy_recovered_joints"}


def cases(system, kind):
    file = PARITY / system / "cases.json"
    if not file.is_file():
        pytest.skip("the published arrays are not next to the repository (../shared/parity)")
    stored = json.loads(file.read_text())
    stored = stored if isinstance(stored, list) else stored["cases"]
    found = [case for case in stored if case["kind"] == kind]
    assert found
    return [(case, np.load(file.parent / case["data"])) for case in found]


def tolerance(case, name):
    return next(output["atol"] for output in case["outputs"] if output["name"] == name)


@pytest.mark.parametrize("features", RECOVERIES)
def test_272_columns_give_the_published_joints(features):
    for case, arrays in cases("motionstreamer", "motionstreamer.rep272"):
        name = RECOVERIES[features]
        joints = decode_272(torch.from_numpy(arrays[features]))
        assert joints.shape == (len(arrays[features]), case["config"]["joints"], 3)
        assert COLUMNS[arrays[features].shape[1]].fps == case["config"]["fps"]
        np.testing.assert_allclose(joints, arrays[name], rtol=0, atol=tolerance(case, name))


def test_276_columns_give_the_published_joints():
    for case, arrays in cases("vimogen", "vimogen.rep276.recover"):
        joints = decode_276(torch.from_numpy(arrays["motion"]))
        x, y, z = np.moveaxis(arrays["vel_joints"], -1, 0)
        assert joints.shape == (len(arrays["motion"]), case["config"]["joints"], 3)
        assert COLUMNS[arrays["motion"].shape[1]].fps == case["config"]["fps"]
        np.testing.assert_allclose(joints, np.stack([-x, z, y], -1), rtol=0, atol=tolerance(case, "vel_joints"))
        if "organized_joints_yup" in arrays:
            np.testing.assert_allclose(joints, arrays["organized_joints_yup"], rtol=0, atol=1e-5)


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
def test_one_frame_and_other_widths(width):
    rows = rows_272 if width == 272 else lambda joints, headings: rows_276(joints)
    joints = random_motion(6, 3).joints.double().numpy()[:1]
    decode = COLUMNS[width].decode
    np.testing.assert_allclose(decode(torch.from_numpy(rows(joints, np.zeros(1)))), joints, atol=1e-9)
    with pytest.raises(DataError, match=rf"\(T, {width}\)"):
        decode(torch.zeros(4, width + 1))
