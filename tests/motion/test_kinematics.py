import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter1d

from mld.motion import kinematics, rotations
from mld.motion.skeletons import get_skeleton
from tests.motion.moves import random_joints

SMPL = get_skeleton("smpl22")


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["smpl22", "kit21"]), st.floats(0.3, 3.0))
def test_retargeting_gives_the_target_bones_and_keeps_directions(seed, name, size):
    skeleton = get_skeleton(name)
    source = random_joints(seed, 20, skeleton)[None] * size
    source[..., 4, :] += 0.05 / skeleton.metres_per_unit  # another proportion
    moved = kinematics.retarget(source, skeleton)
    lengths = torch.tensor(skeleton.bone_lengths[1:], dtype=torch.float64)
    torch.testing.assert_close(kinematics.bone_lengths(moved, skeleton), lengths.expand(1, 20, -1))
    before, after = (kinematics.bone_directions(joints, skeleton) for joints in (source, moved))
    torch.testing.assert_close(before, after)


def test_retargeting_scales_the_path_by_leg_length():
    joints = random_joints(0, 30, SMPL)[None]
    torch.testing.assert_close(kinematics.retarget(joints * 2, SMPL), joints, atol=1e-6, rtol=0)


@pytest.mark.parametrize("frames", [1, 2, 40, 300])
def test_smoothing_is_scipys_gaussian_filter(frames):
    signal = torch.randn(2, frames, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    wanted = torch.tensor(gaussian_filter1d(signal.numpy(), 20, axis=1, mode="nearest"))
    torch.testing.assert_close(kinematics.smooth_over_time(signal), wanted)


def test_chain_rotations_are_undone_by_chain_forward():
    joints = random_joints(3, 15, SMPL)
    turn = rotations.turn_to_front(kinematics.facing(joints, SMPL))
    local = kinematics.chain_rotations(joints, turn, SMPL)
    matrices = rotations.matrix_from_6d(rotations.quaternion_to_6d(local))
    back = kinematics.chain_forward(joints[:, 0], rotations.turn_to_matrix(turn), matrices, SMPL)
    torch.testing.assert_close(back, joints, atol=1e-7, rtol=0)


def test_forward_kinematics_bends_only_below_the_joint():
    rest, world = kinematics.forward(torch.zeros(3), torch.eye(3).expand(22, 3, 3), SMPL.offsets.float(), SMPL.parents)
    bent = torch.eye(3).repeat(22, 1, 1)
    knee = SMPL.index("l_knee")
    bent[knee] = rotations.turn_to_matrix(kinematics.yaw_turn(math.pi / 2)).float()
    joints, turned = kinematics.forward(torch.zeros(3), bent, SMPL.offsets.float(), SMPL.parents)
    foot = SMPL.index("l_foot")
    moved = (joints - rest).norm(dim=-1) > 1e-6
    assert moved.nonzero().flatten().tolist() == [foot]  # knee turns about the straight shin: only the toes move
    torch.testing.assert_close(joints[foot, 0] - rest[foot, 0], torch.tensor(SMPL.bone_lengths[foot]))
    torch.testing.assert_close(turned[foot], bent[knee])
    assert torch.equal(world, torch.eye(3).expand(22, 3, 3))


@pytest.mark.parametrize("name", ["smpl22", "kit21"])
def test_heading_follows_a_turn(name):
    skeleton = get_skeleton(name)
    pose = random_joints(1, 2, skeleton)
    angle = kinematics.heading(pose, skeleton)
    turned = kinematics.heading(rotations.apply_turn(kinematics.yaw_turn(0.7), pose), skeleton)
    torch.testing.assert_close(torch.remainder(turned - angle, 2 * math.pi), torch.full((2,), 0.7).double())


def test_a_rest_pose_with_left_on_plus_x_faces_plus_z():
    rest = kinematics.place(torch.zeros(3).double(), SMPL.offsets[1:], SMPL)
    assert abs(float(kinematics.heading(rest, SMPL))) < 1e-9
