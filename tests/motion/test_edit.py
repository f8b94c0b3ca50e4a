import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mld.errors import DataError
from mld.motion import edit, kinematics
from mld.motion.motion import Motion
from tests.motion.moves import random_motion

few = settings(max_examples=10, deadline=None)


def _same(a: Motion, b: Motion, atol=1e-5):
    for name in ("joints", "rotations", "translation"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name), atol=atol, rtol=0)
    assert a.fps == b.fps


@few
@given(st.integers(0, 1000), st.sampled_from(["smpl22", "kit21"]))
def test_mirroring_twice_changes_nothing(seed, skeleton):
    motion = random_motion(seed, 20, skeleton)
    _same(edit.mirror(edit.mirror(motion)), motion, atol=0)


def test_mirroring_swaps_sides():
    motion = random_motion(1)
    left, right = motion.skeleton.index("l_wrist"), motion.skeleton.index("r_wrist")
    mirrored = edit.mirror(motion)
    torch.testing.assert_close(mirrored.joints[:, left], motion.joints[:, right] * torch.tensor([-1.0, 1.0, 1.0]))
    torch.testing.assert_close(torch.linalg.det(mirrored.rotations), torch.ones(50, 22))


def test_mirrored_rotations_pose_the_mirrored_body():
    """Forward kinematics and mirroring commute on a symmetric rest pose."""
    motion = random_motion(4)
    skeleton = motion.skeleton
    offsets = skeleton.offsets.float()
    offsets = (offsets + offsets[list(skeleton.mirror_index)] * torch.tensor([-1.0, 1.0, 1.0])) / 2
    joints, _ = kinematics.forward(motion.translation, motion.rotations, offsets, skeleton.parents)
    mirrored = edit.mirror(Motion(joints, 20.0, skeleton, motion.rotations, motion.translation))
    posed, _ = kinematics.forward(mirrored.translation, mirrored.rotations, offsets, skeleton.parents)
    torch.testing.assert_close(posed, mirrored.joints, atol=1e-5, rtol=0)


@few
@given(st.integers(0, 1000), st.floats(-6, 6), st.floats(-3, 3), st.floats(-3, 3))
def test_the_canonical_place_does_not_depend_on_where_the_motion_was(seed, yaw, x, z):
    motion = random_motion(seed, 20)
    placed = edit.canonical(motion)
    _same(edit.canonical(edit.transform(motion, yaw, x=x, y=0.5, z=z)), placed, atol=1e-4)
    assert float(placed.joints[..., 1].min()) == pytest.approx(0, abs=1e-6)
    assert placed.joints[0, 0, [0, 2]].tolist() == pytest.approx([0, 0], abs=1e-6)
    assert float(kinematics.heading(placed.joints[0], placed.skeleton)) == pytest.approx(0, abs=1e-5)


def test_face_forward_turns_on_the_spot():
    motion = edit.transform(random_motion(2), x=3, z=-1)
    turned = edit.face_forward(motion)
    torch.testing.assert_close(turned.joints[0, 0], motion.joints[0, 0], atol=1e-5, rtol=0)


def test_transform_carries_rotations_along():
    """Posing by rotations and translation, then moving, is moving, then posing."""
    motion = random_motion(5)
    offsets, parents = motion.skeleton.offsets.float(), motion.skeleton.parents
    posed, _ = kinematics.forward(motion.translation, motion.rotations, offsets, parents)
    moved = edit.transform(Motion(posed, 20.0, motion.skeleton, motion.rotations, motion.translation), 0.8, x=1, z=2)
    again, _ = kinematics.forward(moved.translation, moved.rotations, offsets, parents)
    torch.testing.assert_close(again, moved.joints, atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", ["linear", "cubic"])
def test_resampling_up_and_down_comes_back(method):
    motion = random_motion(6, 41)
    fast = edit.resample(motion, 60, method)
    assert (fast.num_frames, fast.fps) == (121, 60.0)
    _same(edit.resample(fast, 20, method), motion, atol=1e-4)
    torch.testing.assert_close(torch.linalg.det(fast.rotations), torch.ones(121, 22))


def test_cubic_is_closer_to_a_smooth_path_than_linear():
    motion = random_motion(7, 81)
    slow = edit.resample(motion, 5, "linear")
    errors = [(edit.resample(slow, 20, m).joints - motion.joints).norm(dim=-1).mean() for m in ("linear", "cubic")]
    assert errors[1] < errors[0] / 2


@few
@given(st.integers(1, 60), st.floats(1, 120))
def test_resampling_keeps_the_time_span(frames, fps):
    motion = random_motion(0, frames)
    again = edit.resample(motion, fps)
    span, wanted = (again.num_frames - 1) / fps, (frames - 1) / 20
    assert wanted - 1 / fps - 1e-6 <= span <= wanted + 1e-6
    assert again.joints.isfinite().all()
    torch.testing.assert_close(again.joints[0], motion.joints[0])


def test_resampled_rotations_turn_evenly():
    motion = random_motion(8, 11)
    fast = edit.resample(motion, 40)
    wanted = motion.rotations[0, 0].mT @ motion.rotations[1, 0]
    half = fast.rotations[0, 0].mT @ fast.rotations[1, 0]
    torch.testing.assert_close(half @ half, wanted, atol=1e-5, rtol=0)


def test_bad_requests_are_refused():
    motion = random_motion()
    with pytest.raises(DataError, match="0 frames per second"):
        edit.resample(motion, 0)
    with pytest.raises(DataError, match="'quintic'"):
        edit.resample(motion, 30, "quintic")
    joints = motion.joints.clone()
    joints[7, 3, 1] = math.nan
    with pytest.raises(DataError, match="frame 7"):
        edit.check_finite(Motion(joints, 20.0))
    assert edit.check_finite(motion) is motion
