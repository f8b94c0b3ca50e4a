"""Files of other generators and estimators: Kimodo, HY-Motion, GVHMR, SMPL parameters in columns."""

from __future__ import annotations

import numpy as np
import pytest
import roma
import torch

from mld.errors import MotionFormatError
from mld.motion.formats.generated import soma_joints
from mld.motion.importing import clip_names, import_report
from mld.motion.motion import Motion
from mld.motion.rig.rig import Rig, RigMotion
from mld.motion.rig.rigging import to_rig
from mld.motion.skeletons import get_skeleton
from tests.walking import walker

FRAMES = 40
INDEX = get_skeleton("smpl22").index
LIMBS = [INDEX(f"{side}_{part}") for side in "lr" for part in ("hip", "knee", "ankle", "foot", "shoulder", "elbow",
                                                               "wrist")]  # fmt: skip
SOMA = {"Hips": "pelvis", "Spine1": "spine1", "Spine2": "spine2", "Chest": "spine3", "Neck1": "neck",
        "Head": "head"} | {
    f"{word}{name}": f"{side}_{joint}" for word, side in (("Left", "l"), ("Right", "r")) for name, joint in (
        ("Shoulder", "collar"), ("Arm", "shoulder"), ("ForeArm", "elbow"), ("Hand", "wrist"), ("Leg", "hip"),
        ("Shin", "knee"), ("Foot", "ankle"), ("ToeBase", "foot"))
}  # fmt: skip


def body() -> RigMotion:
    """A walker as a rig of smpl22, turning."""
    return to_rig(Motion(walker(FRAMES, yaw=0.4, turning=0.02), 30.0))


def kimodo(count: int) -> tuple[dict[str, np.ndarray], torch.Tensor]:
    """What a file of Kimodo holds of the walker, with `count` joints, and joints (T, 22, 3)."""
    made = body()
    if count == 22:
        joints, world = made.forward()
        return {"posed_joints": joints, "local_rot_mats": made.rotations, "global_rot_mats": world}, joints
    names, parents = zip(*soma_joints()[count])
    own = {name: INDEX(SOMA[name]) for name in names if name in SOMA}
    offsets = torch.full((count, 3), 0.02, dtype=torch.float64)
    rotations = torch.eye(3).repeat(FRAMES, count, 1, 1)
    for place, name in enumerate(names):
        if name in own:
            offsets[place], rotations[:, place] = made.rig.offsets[own[name]], made.rotations[:, own[name]]
    offsets[names.index("Neck2")] = 0
    offsets[0] = 0
    soma = RigMotion(Rig(names, parents, offsets), rotations, made.translation, 30.0)
    joints, world = soma.forward()
    return {"posed_joints": joints, "local_rot_mats": rotations, "global_rot_mats": world}, made.positions()


def saved(path, arrays):
    np.savez(path, **{name: np.asarray(array) for name, array in arrays.items()})
    return path


@pytest.mark.parametrize("count", [22, 30, 77])
def test_kimodo(tmp_path, count):
    arrays, joints = kimodo(count)
    others = {"foot_contacts": np.zeros((FRAMES, 4)), "root_positions": joints[:, 0],
              "global_root_heading": np.zeros((FRAMES, 2))}  # fmt: skip
    motion, report = import_report(saved(tmp_path / "motion_00.npz", arrays | others))
    assert motion.fps == 30 and "says no frame rate" in report.notes[0]
    torch.testing.assert_close(motion.joints[:, LIMBS], joints[:, LIMBS], atol=1e-4, rtol=0)
    assert float((motion.joints - joints).norm(dim=-1).max()) < (1e-4 if count == 22 else 0.15)
    torch.testing.assert_close(import_report(tmp_path / "motion_00.npz", unit=0.5)[0].joints[:, LIMBS],
                               0.5 * joints[:, LIMBS], atol=1e-4, rtol=0)  # fmt: skip


def test_kimodo_in_a_batch_and_of_a_robot(tmp_path):
    arrays, joints = kimodo(77)
    both = {name: torch.stack([array, array.flip(0)]) for name, array in arrays.items()}
    path = saved(tmp_path / "two.npz", both)
    assert clip_names(path) == ("1", "2")
    torch.testing.assert_close(Motion.load(path, clip=2).joints[:, LIMBS], joints.flip(0)[:, LIMBS], atol=1e-4, rtol=0)
    robot = {name: array[:, :34] for name, array in arrays.items()}
    with pytest.raises(MotionFormatError, match="34 joints .a robot, not a person"):
        Motion.load(saved(tmp_path / "g1.npz", robot))
    with pytest.raises(MotionFormatError, match="needs the arrays local_rot_mats and global_rot_mats"):
        Motion.load(saved(tmp_path / "alone.npz", {"posed_joints": arrays["posed_joints"]}))


def axis_angles(made: RigMotion) -> np.ndarray:
    return roma.rotmat_to_rotvec(made.rotations.double()).flatten(1).numpy()


def standard(made: RigMotion, kind: str) -> RigMotion:
    """The same turns on the standard body that files without bones are read with, at the same places."""
    from mld.motion.rig.smpl_body import standard_rest

    rest = standard_rest(kind)
    offsets = rest.clone()
    offsets[1:] -= rest[list(made.rig.parents[1:])]
    return RigMotion(Rig(made.rig.joint_names, made.rig.parents, offsets), made.rotations,
                     made.translation + rest[0].float(), made.fps)  # fmt: skip


@pytest.mark.parametrize("lying", [False, True])
def test_hy_motion(tmp_path, lying):
    """SMPL-H parameters, y up also where the person lies."""
    made = body()
    if lying:
        down = roma.rotvec_to_rotmat(torch.tensor([-np.pi / 2, 0, 0])).float()
        turned = made.rotations.clone()
        turned[:, 0] = down @ turned[:, 0]
        made = RigMotion(made.rig, turned, made.translation, made.fps)
    poses = np.concatenate([axis_angles(made), np.zeros((FRAMES, 90))], axis=1)
    path = saved(tmp_path / "hy.npz", {
        "poses": poses, "trans": made.translation, "betas": np.zeros((1, 16)), "gender": "neutral",
        "mocap_framerate": 30, "num_frames": FRAMES, "Rh": poses[:, :3],
    })  # fmt: skip
    torch.testing.assert_close(Motion.load(path).joints, standard(made, "smplh").positions(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("batch", [False, True])
def test_hy_motion_key_points(tmp_path, moved, batch):
    joints = walker(FRAMES)
    way = joints[:, :1].clone()
    way[..., 1] = 0
    points = torch.cat([joints if moved else joints - way, joints.new_zeros(FRAMES, 30, 3)], dim=1)
    arrays = {"keypoints3d": points, "transl": way[:, 0], "rot6d": torch.zeros(FRAMES, 22, 6)}
    path = saved(tmp_path / "hy.npz", {name: array[None] if batch else array for name, array in arrays.items()})
    motion = Motion.load(path)
    torch.testing.assert_close(motion.joints, joints)
    assert motion.fps == 30


@pytest.mark.parametrize("batch", [False, True])
def test_gvhmr(tmp_path, batch):
    made = body()
    angles = torch.from_numpy(axis_angles(made)).float()
    parts = {"body_pose": angles[:, 3:], "global_orient": angles[:, :3], "transl": made.translation,
             "betas": torch.zeros(FRAMES, 10)}  # fmt: skip
    parts = {name: part[None] if batch else part for name, part in parts.items()}
    torch.save({"smpl_params_global": parts, "smpl_params_incam": parts, "K_fullimg": torch.eye(3)},
               tmp_path / "hmr4d_results.pt")  # fmt: skip
    motion, report = import_report(tmp_path / "hmr4d_results.pt")
    assert motion.fps == 30 and clip_names(tmp_path / "hmr4d_results.pt") == ()
    torch.testing.assert_close(motion.joints, standard(made, "smplx").positions(), atol=1e-4, rtol=0)


HALF = roma.rotvec_to_rotmat(torch.tensor([np.pi, 0, 0])).float()


@pytest.mark.parametrize("order", ["place pose shape", "pose place shape", "pose shape place"])
def test_smpl_columns(tmp_path, order):
    made = body()
    place = made.translation.numpy()
    pose = np.concatenate([axis_angles(made), np.zeros((FRAMES, 6))], axis=1)
    parts = {"pose": pose, "place": place, "shape": np.zeros((FRAMES, 10))}
    np.save(tmp_path / "walk.npy", np.concatenate([parts[part] for part in order.split()], axis=1))
    motion, report = import_report(tmp_path / "walk.npy")
    torch.testing.assert_close(motion.joints, standard(made, "smpl").positions(), atol=1e-4, rtol=0)
    assert motion.fps == 30 and any(note.startswith("85 columns") for note in report.notes)


@pytest.mark.parametrize("camera", [False, True])
def test_smpl_columns_of_an_estimator_hang_head_down(tmp_path, camera):
    """y points down; scale and shifts of a picture are no place, a place in front of a camera is one."""
    made = body()
    turned = made.rotations.clone()
    turned[:, 0] = HALF @ turned[:, 0]
    before = np.array([0.0, 0.0, 4.0], dtype=np.float32)
    place = made.translation @ HALF.T + torch.from_numpy(before)
    seen = RigMotion(made.rig, turned, place, made.fps)
    cameras = np.stack([np.full(FRAMES, 0.9), np.linspace(-0.2, 0.3, FRAMES), np.full(FRAMES, 0.1)], axis=1)
    pose = np.concatenate([axis_angles(seen), np.full((FRAMES, 6), 0.1)], axis=1)
    np.save(tmp_path / "vibe.npy", np.concatenate([cameras if camera else place, pose, np.zeros((FRAMES, 10))], axis=1))
    motion, report = import_report(tmp_path / "vibe.npy")
    wanted = standard(seen, "smpl").positions() @ HALF.T
    if camera:
        wanted = wanted - (standard(seen, "smpl").translation @ HALF.T)[:, None]
        motion_joints = motion.joints - motion.joints[:, :1]
        assert any("stays in place" in note for note in report.notes)
    else:
        motion_joints = motion.joints
    torch.testing.assert_close(motion_joints, wanted, atol=1e-4, rtol=0)


def test_motion_x_columns(tmp_path):
    made = body()
    columns = np.zeros((FRAMES, 322), dtype=np.float32)
    columns[:, :66], columns[:, 309:312] = axis_angles(made), made.translation
    columns[:, 66:309] = 0.3
    torch.save(torch.from_numpy(columns), tmp_path / "x.pt")
    torch.testing.assert_close(Motion.load(tmp_path / "x.pt").joints, standard(made, "smplx").positions(), atol=1e-4,
                               rtol=0)  # fmt: skip
    columns[5, 3] = np.nan
    np.save(tmp_path / "x.npy", columns)
    with pytest.raises(MotionFormatError, match="NaN or infinity, first at frame 5"):
        Motion.load(tmp_path / "x.npy")


@pytest.mark.parametrize("keys", [("poses", "trans"), ("global_orient body_pose", "transl")])
@pytest.mark.parametrize("batch", [False, True])
def test_rotation_matrices_and_what_cannot_be_read_beside_them(tmp_path, keys, batch):
    made = body()
    turns = made.rotations.numpy()
    poses = dict(zip(keys[0].split(), (turns[:, :1], turns[:, 1:]) if " " in keys[0] else (turns,)))
    arrays = poses | {keys[1]: made.translation.numpy()}
    arrays = {name: array[None] if batch else array for name, array in arrays.items()}
    path = tmp_path / "turns.npz"
    np.savez(path, fps=30.0, gender=np.array(None, dtype=object), betas=np.array(["?"]), **arrays)
    motion, report = import_report(path, up="y")
    torch.testing.assert_close(motion.joints, standard(made, "smpl").positions(), atol=1e-4, rtol=0)
    assert any("left aside" in note and "betas" in note and "gender" in note for note in report.notes)
