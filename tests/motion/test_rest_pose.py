"""Rotations from joints: the T-pose turned by them is the motion again, wherever it faces, however straight it is."""

from __future__ import annotations

import math

import pytest
import roma
import torch

from mld.motion import kinematics
from mld.motion.motion import Motion
from mld.motion.rig.rest_pose import offsets_of, rest_pose, size_of, solve
from mld.motion.rig.rigging import joint_names, to_rig
from mld.motion.skeletons import get_skeleton
from tests.motion.moves import random_motion
from tests.walking import walker

SKELETON = get_skeleton("smpl22")
STEP = math.radians(25)  # largest turn of a joint between two frames of the walks below


def placed(motion: Motion) -> torch.Tensor:
    rotations, offsets = solve(motion)
    return kinematics.forward(motion.joints[:, 0].double(), rotations, offsets, motion.skeleton.parents)[0]


def steps(rotations: torch.Tensor) -> torch.Tensor:
    """Angles (T-1, J) between consecutive frames."""
    return roma.rotmat_to_rotvec(rotations[:-1].transpose(-1, -2) @ rotations[1:]).norm(dim=-1)


def posed(bends: dict[str, torch.Tensor]) -> tuple[Motion, torch.Tensor]:
    """The T-pose, in metres, with the joints named turned by rotation vectors (T, 3): motion and local rotations."""
    frames = len(next(iter(bends.values())))
    offsets = rest_pose("smpl22").directions * torch.tensor(SKELETON.bone_lengths, dtype=torch.float64)[:, None]
    local = torch.eye(3, dtype=torch.float64).repeat(frames, 22, 1, 1)
    for name, vectors in bends.items():
        local[:, SKELETON.index(name)] = roma.rotvec_to_rotmat(vectors)
    root = torch.tensor([0.0, 0.9, 0.0], dtype=torch.float64).expand(frames, 3)
    return Motion(kinematics.forward(root, local, offsets, SKELETON.parents)[0], 20.0), local


def about(axis: list[float], angles: torch.Tensor) -> torch.Tensor:
    return angles.double()[:, None] * torch.tensor(axis, dtype=torch.float64)


@pytest.mark.parametrize("yaw", [0.0, math.pi / 2, math.pi, -math.pi + 1e-6, 3.0])
@pytest.mark.parametrize("frames", [1, 2, 90])
def test_positions_come_back_wherever_the_figure_faces(yaw, frames):
    motion = Motion(walker(frames, yaw=yaw), 20.0)
    assert (placed(motion) - motion.joints).norm(dim=-1).max() < 1e-5


def test_turning_through_all_directions_is_smooth():
    rotations, _ = solve(Motion(walker(300, turning=0.06), 20.0))
    assert steps(rotations).max() < STEP
    determinant = torch.linalg.det(rotations)
    assert (determinant - 1).abs().max() < 1e-9


@pytest.mark.parametrize("skeleton", ["smpl22", "kit21"])
def test_limbs_of_a_body_that_is_not_rigid_aim_at_their_joints(skeleton):
    motion = random_motion(3, 40, skeleton, swing=0.8)
    found, joints = placed(motion), motion.joints.double()
    for limb in rest_pose(skeleton).limbs:
        for joint, child in ((limb.upper, limb.lower), (limb.lower, limb.end)):
            bone, wanted = found[:, child] - found[:, joint], joints[:, child] - found[:, joint]
            cosine = (bone * wanted).sum(-1) / bone.norm(dim=-1) / wanted.norm(dim=-1)
            assert cosine.min() > 1 - 1e-9


def test_feet_stay_where_they_are_when_the_waist_bends_at_the_hips():
    """Some skeletons turn the first bone of the spine against the hips: legs come before it."""
    joints = walker(40)
    lean = roma.rotvec_to_rotmat(about([1, 0, 0], 0.5 * torch.linspace(0, 6, 40).sin()))
    upper = [3, 6, 9, *range(12, 22)]
    joints[:, upper] = torch.einsum("tyx,tjx->tjy", lean.float(), joints[:, upper] - joints[:, :1]) + joints[:, :1]
    error = (placed(Motion(joints, 20.0)) - joints).norm(dim=-1).mean(0)
    assert error[[7, 8, 10, 11]].max() < 0.003
    assert error.max() < 0.03


def test_bent_limbs_tell_their_twist():
    wave = torch.linspace(0, 6, 80)
    bends = {
        "l_hip": about([0, 1, 0], 0.5 * wave.sin()),  # rolls the thigh about itself: only the bent knee shows it
        "l_knee": about([1, 0, 0], 1.2 + 0.2 * wave.cos()),
        "r_shoulder": about([1, 0, 0], 0.6 * wave.sin()),
        "r_elbow": about([0, 1, 0], 1.4 + 0.2 * wave.cos()),
    }
    motion, local = posed(bends)
    solved, _ = solve(motion)
    error = roma.rotmat_to_rotvec(solved.transpose(-1, -2) @ local).norm(dim=-1)
    assert error[:, SKELETON.index("l_hip")].max() < 0.12
    assert error[:, SKELETON.index("r_shoulder")].max() < 0.12


def test_limbs_that_pass_through_straight_do_not_flip():
    wave = torch.linspace(0, 12, 120)
    bends = {
        "l_knee": about([1, 0, 0], 0.6 * wave.sin().abs()),  # straight again and again
        "r_elbow": about([0, 1, 0], (0.5 * wave.sin()).clamp_min(-0.03)),  # a little overstretched
        "l_shoulder": about([0, 0, 1], -1.4 + 0.1 * wave.sin()),
    }
    solved, _ = solve(posed(bends)[0])
    assert steps(solved).max() < STEP


def test_a_figure_in_the_t_pose_is_not_turned():
    motion, _ = posed({"l_hip": torch.zeros(3, 3, dtype=torch.float64)})
    assert roma.rotmat_to_rotvec(solve(motion)[0]).norm(dim=-1).max() < 1e-3


def test_twist_of_the_trunk_is_shared_by_the_spine():
    angles = torch.linspace(-0.9, 0.9, 30)
    solved, _ = solve(posed({"spine3": about([0, 1, 0], angles)})[0])
    turns = roma.rotmat_to_rotvec(solved).norm(dim=-1)
    for name in ("spine1", "spine2"):
        assert (turns[:, SKELETON.index(name)] - angles.abs() / 3).abs().max() < 0.05


@pytest.mark.parametrize("collapsed", [slice(None), slice(4, 5)])
def test_joints_in_one_spot_give_rotations(collapsed):
    joints = walker(5)
    joints[:, collapsed] = 0.5
    rotations, offsets = solve(Motion(joints, 20.0))
    assert rotations.isfinite().all() and offsets.isfinite().all()
    assert (torch.linalg.det(rotations) - 1).abs().max() < 1e-6


def test_a_motion_with_rotations_keeps_them_and_its_rest_pose():
    local = roma.random_rotmat(30 * 22).reshape(30, 22, 3, 3)
    offsets = torch.randn(22, 3) * 0.2
    offsets[0] = 0
    root = torch.randn(30, 3)
    joints = kinematics.forward(root, local, offsets, SKELETON.parents)[0]
    motion = Motion(joints, 30.0, rotations=local, translation=root)
    assert (offsets_of(motion) - offsets).abs().max() < 1e-5
    rig_motion = to_rig(motion)
    assert torch.equal(rig_motion.rotations, local)
    assert (rig_motion.positions() - joints).norm(dim=-1).max() < 1e-4


def test_the_rest_pose_of_a_rig_stands_on_the_floor():
    motion = Motion(walker(20, scale=1.3), 20.0)
    rig = to_rig(motion, names="unreal").rig
    ends = [rig.rest_positions()[joint] + end for joint, end in rig.end_offsets.items()]
    assert float(torch.stack(ends)[:, 1].min()) == pytest.approx(0.0, abs=1e-6)
    assert size_of(motion) == pytest.approx(1.3 * size_of(Motion(walker(20), 20.0)), rel=1e-4)
    assert rig.joint_names[1] == "thigh_l"


@pytest.mark.parametrize("names", ["own", "mixamo", "unreal"])
@pytest.mark.parametrize("skeleton", ["smpl22", "kit21"])
def test_joint_names_are_one_per_joint_and_sided(names, skeleton):
    skeleton = get_skeleton(skeleton)
    found = joint_names(skeleton, names)
    assert len(set(found)) == skeleton.num_joints
    left, right = {"own": ("l_", "r_"), "mixamo": ("Left", "Right"), "unreal": ("_l", "_r")}[names]
    for pair in skeleton.mirror_pairs:
        one, other = sorted((found[joint] for joint in pair), key=lambda name: left not in name)
        assert one.replace(left, right) == other != one
