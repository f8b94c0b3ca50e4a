"""The published sliding removal on motions of the model skeleton (its numbers: parity cases)."""

from __future__ import annotations

import pytest
import torch

from mld.errors import DataError
from mld.motion import kinematics
from mld.motion.cleanup.damped_ik import reach
from mld.motion.cleanup.remove_sliding import FEET, PublishedSettings, contacts, index_of, pinned, remove_sliding
from mld.motion.motion import Motion
from mld.motion.rig.rest_pose import solve
from tests.motion.sliding import figure, injected


def test_a_motion_keeps_its_length_and_bones_and_toes_slide_less() -> None:
    motion, _ = figure("walk", 0)
    sliding = injected(motion.crop(0, 40), "drift")
    settings = PublishedSettings(iterations=10)
    result = remove_sliding(sliding, settings)
    assert (result.num_frames, result.fps) == (sliding.num_frames, sliding.fps)
    lengths = (kinematics.bone_lengths(joints, motion.skeleton) for joints in (result.joints, sliding.joints))
    torch.testing.assert_close(*lengths, atol=2e-3, rtol=0)
    held = contacts(sliding.joints.double(), index_of(motion.skeleton.joint_names, FEET), settings)[:, 1]
    toes = [m.joints[:, 10].diff(dim=0).norm(dim=-1)[held[1:] & held[:-1]].mean() for m in (sliding, result)]
    assert toes[1] < 0.7 * toes[0]


def test_rotations_and_translation_come_along() -> None:
    motion, _ = figure("walk", 0)
    short = motion.crop(20, 34)
    rotations, offsets = solve(short)
    joints, _ = kinematics.forward(short.joints[:, 0].double(), rotations, offsets, motion.skeleton.parents)
    turned = Motion(joints, 20, rotations=rotations, translation=joints[:, 0])
    result = remove_sliding(turned, PublishedSettings(iterations=3))
    again, _ = kinematics.forward(result.translation, result.rotations, offsets.float(), motion.skeleton.parents)
    torch.testing.assert_close(again, result.joints, atol=1e-4, rtol=0)


def test_a_contact_is_pinned_to_its_mean_and_free_frames_come_smoothly() -> None:
    path = torch.zeros(60, 1, 3, dtype=torch.float64)
    path[:, 0, 0] = torch.linspace(0, 1, 60)
    path[:, 0, 1] = torch.where((torch.arange(60) >= 25) & (torch.arange(60) < 35), 0.2, 0.0)
    targets = pinned(path.repeat(1, 2, 1), (0, 1), PublishedSettings())[:, 0]
    for run in (slice(0, 25), slice(35, 60)):
        torch.testing.assert_close(targets[run], path[run, 0].mean(0).expand(25, 3))
    assert targets[25:35, 0].diff().min() > 0


def test_damped_least_squares_reaches_a_pose_that_can_be_reached() -> None:
    motion, _ = figure("wave", 0)
    rotations, offsets = solve(motion.crop(0, 30))
    positions = offsets.repeat(1, 1, 1)
    goal, _ = kinematics.forward(positions[:, 0], rotations[-1:], positions, motion.skeleton.parents)
    found = reach(rotations[:1], positions, motion.skeleton.parents, goal, 60, 0.1)
    joints, _ = kinematics.forward(positions[:, 0], found, positions, motion.skeleton.parents)
    assert (joints - goal).norm(dim=-1).max() < 0.005


def test_both_wrists_have_the_limits_of_wrists() -> None:
    motion, _ = figure("wave", 0)
    joints = motion.joints.double().clone()
    joints[:, 20:22, 1] = 0.05  # below the limit of a wrist, above that of a palm
    for joint in (20, 21):
        assert contacts(joints, [joint], PublishedSettings()).all()
    assert contacts(joints, [20, 21], PublishedSettings()).all(0).tolist() == [True, False]


@pytest.mark.parametrize(("frames", "window"), [(4, 5), (20, 4), (20, 3)])
def test_a_window_that_does_not_fit_is_named(frames: int, window: int) -> None:
    motion, _ = figure("walk", 0)
    with pytest.raises(DataError, match=f"window of {window} frames"):
        remove_sliding(motion.crop(0, frames), PublishedSettings(window=window))
