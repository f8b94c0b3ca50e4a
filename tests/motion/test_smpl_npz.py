"""SMPL poses from npz files: axes, key names, rest joints, body models, and files that must not be trusted."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
import roma
import torch

from mld.errors import MotionFormatError
from mld.motion import kinematics
from mld.motion.importing import import_report
from mld.motion.motion import Motion
from mld.motion.rig.smpl_body import MODELS_VARIABLE, REST_PELVIS, standard_rest
from mld.motion.skeletons import get_skeleton

FRAMES = 6
TO_Z_UP = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64)


def pose(up: str = "z", columns: int = 156) -> tuple[dict, torch.Tensor]:
    """Arrays of a standing, moving person facing away, and the y-up joints (T, 22, 3) on the standard body."""
    generator = torch.Generator().manual_seed(0)
    turns = 0.3 * torch.randn(FRAMES, 22, 3, generator=generator, dtype=torch.float64)
    turns[:, 0] = torch.tensor([0.0, 3.1, 0.0])
    rest = standard_rest("smplh")
    place = 0.1 * torch.randn(FRAMES, 3, generator=generator, dtype=torch.float64) + torch.tensor([0.0, 0.95, 0.0])
    skeleton = get_skeleton("smpl22")
    offsets = rest - rest[[0, *skeleton.parents[1:]]]
    joints, _ = kinematics.forward(place, roma.rotvec_to_rotmat(turns), offsets, skeleton.parents)
    axes = TO_Z_UP if up == "z" else torch.eye(3, dtype=torch.float64)
    poses = np.zeros((FRAMES, columns))
    turns[:, 0] = roma.rotmat_to_rotvec(axes @ roma.rotvec_to_rotmat(turns[:, 0]))
    poses[:, :66] = turns.reshape(FRAMES, 66).numpy()
    trans = (place @ axes.T).numpy() - np.array(REST_PELVIS["smplh"])
    return {"poses": poses, "trans": trans, "mocap_framerate": 120.0, "betas": np.zeros(16), "gender": "female"}, joints


def save(tmp_path, arrays: dict):
    np.savez(tmp_path / "walk.npz", **arrays)
    return tmp_path / "walk.npz"


@pytest.mark.parametrize("up", ["z", "y"])
@pytest.mark.parametrize("columns", [156, 66])
def test_poses_give_the_joints_of_the_standard_body(tmp_path, up, columns):
    arrays, joints = pose(up, columns)
    motion, report = import_report(save(tmp_path, arrays))
    assert motion.fps == 120 and report.table == "smpl" and not report.derived
    assert (motion.joints - joints).abs().max() < 1e-5
    turned, _ = kinematics.forward(
        motion.translation, motion.rotations, standard_rest("smplh").float()
        - standard_rest("smplh").float()[[0, *motion.skeleton.parents[1:]]], motion.skeleton.parents)  # fmt: skip
    assert (turned - joints).abs().max() < 1e-5


def test_the_translation_is_that_of_the_body_not_of_the_pelvis(tmp_path):
    """The -0.22 m trap: trans 0 puts the pelvis where it rests."""
    arrays, _ = pose("y")
    arrays["poses"][:], arrays["trans"][:] = 0, 0
    motion, _ = import_report(save(tmp_path, arrays), up="y")
    assert motion.joints[0, 0].tolist() == pytest.approx(REST_PELVIS["smplh"])


def test_other_key_names(tmp_path):
    arrays, joints = pose()
    poses, trans = arrays["poses"], arrays["trans"]
    pelvis = np.array(REST_PELVIS["smplx"]) - REST_PELVIS["smplh"]
    for names in (
        {"root_orient": poses[:, :3], "pose_body": poses[:, 3:66], "trans": trans - pelvis, "mocap_frame_rate": 30},
        {"global_orient": poses[:, :3], "body_pose": poses[:, 3:66].reshape(-1, 21, 3), "transl": trans, "fps": [30]},
    ):
        motion, _ = import_report(save(tmp_path, names))
        assert motion.fps == 30 and (motion.joints - joints).abs().max() < 1e-5
    with pytest.raises(MotionFormatError, match="frame rate"):
        import_report(save(tmp_path, {"poses": poses, "trans": trans}))
    assert import_report(save(tmp_path, {"poses": poses, "trans": trans}), fps=50)[0].fps == 50


def test_rest_joints_and_body_models_set_the_bones(tmp_path, monkeypatch):
    arrays, joints = pose()
    rest = standard_rest("smplh").numpy()
    shifted = rest[:1] + 2 * (rest - rest[:1])
    motion, report = import_report(save(tmp_path, arrays | {"rest_joints": shifted}))
    assert np.allclose(np.diff(motion.joints[:, :2], axis=1), 2 * np.diff(joints[:, :2], axis=1), atol=1e-5)
    folder = tmp_path / "models" / "smplh" / "female"
    folder.mkdir(parents=True)
    shapes = np.zeros((22, 3, 4))
    shapes[..., 0] = shifted - rest
    np.savez(folder / "model.npz", J_regressor=np.eye(22), v_template=rest, shapedirs=shapes)
    monkeypatch.setenv(MODELS_VARIABLE, str(tmp_path / "models"))
    arrays["betas"] = np.array([1.0, 0, 0, 0, 0])
    modelled, report = import_report(save(tmp_path, arrays))
    assert (modelled.joints - motion.joints).abs().max() < 1e-5
    assert any("body model model.npz" in note for note in report.notes)


def test_a_lying_person_keeps_the_usual_axis(tmp_path):
    arrays, _ = pose("y")
    arrays["poses"][:, :3] = [0.0, 0.0, 1.5]
    motion, report = import_report(save(tmp_path, arrays))
    assert any("z points up" in note or "taken to be up" in note for note in report.notes)


def test_shape_and_gender_that_cannot_be_read_are_left_aside(tmp_path):
    arrays, joints = pose()
    for strange in ({"gender": np.array("male", dtype=object)}, {"gender": np.array("m")},
                    {"betas": np.array([None])}, {"betas": np.array([np.nan])}):  # fmt: skip
        motion, report = import_report(save(tmp_path, arrays | strange))
        assert (motion.joints - joints).abs().max() < 1e-5
        assert any(f"{next(iter(strange))} left aside" in note for note in report.notes)


def test_rotation_matrices(tmp_path):
    arrays, joints = pose()
    turns = roma.rotvec_to_rotmat(torch.from_numpy(arrays["poses"][:, :66]).reshape(FRAMES, 22, 3)).numpy()
    for names in ({"global_orient": turns[:, :1], "body_pose": turns[:, 1:], "transl": arrays["trans"], "fps": 30},
                  {"global_orient": turns[:, 0], "body_pose": turns[:, 1:], "transl": arrays["trans"], "fps": 30},
                  {"poses": turns, "trans": arrays["trans"], "fps": 30}):  # fmt: skip
        assert (import_report(save(tmp_path, names))[0].joints - joints).abs().max() < 1e-5


def test_parameters_of_a_person_in_a_video(tmp_path):
    arrays, joints = pose("y")
    poses = torch.from_numpy(arrays["poses"]).float()
    shift = np.array(REST_PELVIS["smplx"]) - REST_PELVIS["smplh"]
    found = {"global_orient": poses[:, :3], "body_pose": poses[:, 3:66], "betas": torch.zeros(FRAMES, 10),
             "transl": torch.from_numpy(arrays["trans"] - shift).float()}  # fmt: skip
    torch.save({"smpl_params_global": found, "K_fullimg": torch.eye(3).expand(FRAMES, 3, 3).clone()},
               tmp_path / "hmr4d_results.pt")  # fmt: skip
    motion, report = import_report(tmp_path / "hmr4d_results.pt")
    assert motion.fps == 30 and "no frame rate" in report.notes[0]
    assert (motion.joints - joints).abs().max() < 1e-4
    assert import_report(tmp_path / "hmr4d_results.pt", fps=25)[0].fps == 25


def _with(**changes) -> dict:
    arrays = pose()[0] | changes
    return {key: value for key, value in arrays.items() if value is not None}


NAN = np.full((FRAMES, 156), np.nan)
BAD = [
    (_with(poses=None), "no SMPL motion"), (_with(poses=np.zeros((0, 156))), "at least one frame"),
    (_with(poses=np.zeros((FRAMES, 60))), "need 66"), (_with(poses=NAN), "'poses': NaN"),
    (_with(trans=np.zeros((FRAMES - 1, 3))), "'trans'"), (_with(trans=np.full((FRAMES, 3), 1e30)), "'trans'"),
    (_with(mocap_framerate=0.0), "frame rate"), (_with(mocap_framerate=np.nan), "mocap_framerate"),
    (_with(poses=np.array(["a"] * 66)), "not numbers"), (_with(rest_joints=np.zeros((3, 3))), "rest_joints"),
    (_with(poses=np.array([{}], dtype=object)), "pickled"),
    (_with(poses=np.ones((FRAMES, 22, 3, 3))), "not rotation matrices"),
]  # fmt: skip


@pytest.mark.parametrize(("arrays", "message"), BAD, ids=range(len(BAD)))
def test_bad_arrays_are_named(tmp_path, arrays, message):
    with pytest.raises(MotionFormatError, match=r"walk\.npz") as caught:
        import_report(save(tmp_path, arrays))
    assert message in str(caught.value)


def test_archives_that_would_fill_the_memory_are_refused(tmp_path):
    path = tmp_path / "bomb.npz"
    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(member, {"descr": "<f8", "fortran_order": False, "shape": (1 << 18, 156)})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("poses.npy", member.getvalue() + bytes(1 << 25))
    with pytest.raises(MotionFormatError, match="unpacks to 32 MB"):
        import_report(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("poses.npy", member.getvalue())
    with pytest.raises(MotionFormatError, match="promises"):
        import_report(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"hello" * 100])
def test_files_that_are_no_archive(tmp_path, content):
    (tmp_path / "walk.npz").write_bytes(content)
    with pytest.raises(MotionFormatError, match="not a readable npz"):
        import_report(tmp_path / "walk.npz")


def test_saved_tensors_open_without_running_code(tmp_path):
    joints = torch.randn(5, 22, 3) * 0.3
    for saved in (joints, {"motion": joints}):
        torch.save(saved, tmp_path / "walk.pt")
        assert torch.equal(Motion.load(tmp_path / "walk.pt").joints, joints)

    class Evil:
        def __reduce__(self):
            return (print, ("code was run",))

    huge = torch.zeros(1).expand(1 << 24, 22, 3)
    for saved, message in ((Evil(), "objects and code"), ([1, 2], "one tensor"), (torch.zeros(5, 270), r"\(5, 270\)"),
                           (torch.zeros(0, 22, 3), "empty"), (huge, "larger than its file")):  # fmt: skip
        torch.save(saved, tmp_path / "bad.pt")
        with pytest.raises(MotionFormatError, match=message):
            Motion.load(tmp_path / "bad.pt")
    (tmp_path / "bad.pt").write_bytes(b"not a tensor")
    with pytest.raises(MotionFormatError, match=r"torch\.save"):
        Motion.load(tmp_path / "bad.pt")
