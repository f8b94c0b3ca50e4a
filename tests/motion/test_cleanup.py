"""Clean-up: sliding feet come to rest, nothing else suffers, given frames stay, and the report says what happened."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from mld.errors import DataError, RequestError
from mld.metrics.physical import jerk
from mld.motion import kinematics
from mld.motion.cleanup.cleanup import clean, smooth
from mld.motion.cleanup.contacts import foot_contacts
from mld.motion.cleanup.foot_lock import lock_feet
from mld.motion.edit import transform
from mld.motion.motion import Motion
from mld.motion.rig.rest_pose import offsets_of, solve
from mld.motion.skeletons import get_skeleton
from tests.motion.sliding import figure, injected, toe_speed


def mean_jerk(motion: Motion) -> float:
    return float(jerk(motion.joints.double()).mean())


def with_rotations(motion: Motion) -> Motion:
    """The motion as FK of its own rotations, so that joints and rotations agree exactly."""
    rotations, offsets = solve(motion)
    root = motion.joints[:, 0].double()
    joints, _ = kinematics.forward(root, rotations, offsets, motion.skeleton.parents)
    return Motion(joints, motion.fps, rotations=rotations, translation=root)


@pytest.mark.parametrize("kind", ["travel", "drift", "sway", "noise"])
@pytest.mark.parametrize("action", ["walk", "walk_circle"])
def test_sliding_falls_by_four_fifths_and_jerk_does_not_rise(action: str, kind: str) -> None:
    for seed in (0, 1):
        motion, planted = figure(action, seed)
        sliding = injected(motion, kind)
        cleaned, report = clean(sliding)
        assert toe_speed(cleaned, planted) < 0.2 * toe_speed(sliding, planted)
        assert mean_jerk(cleaned) <= mean_jerk(sliding)
        assert report.after.sliding < 0.4 * report.before.sliding
        assert report.after.jerk <= report.before.jerk


@pytest.mark.parametrize("action", ["walk", "run", "kick"])
def test_good_feet_are_left_alone(action: str) -> None:
    motion, planted = figure(action, 1)
    locked = lock_feet(motion, foot_contacts(motion))
    assert (locked.joints - motion.joints).norm(dim=-1).max() < 0.06
    assert (locked.joints - motion.joints).norm(dim=-1).mean() < 0.006
    assert toe_speed(locked, planted) < 0.005
    assert mean_jerk(locked) < 1.06 * mean_jerk(motion)


def test_bone_lengths_stay() -> None:
    sliding = injected(figure("walk_circle", 0)[0], "travel")
    cleaned, _ = clean(sliding)
    before, after = (kinematics.bone_lengths(motion.joints, motion.skeleton) for motion in (sliding, cleaned))
    torch.testing.assert_close(after, before, atol=1e-5, rtol=0)


def test_feet_come_out_of_the_floor() -> None:
    motion, _ = figure("walk", 0)
    joints = motion.joints.clone()
    joints[30:45] -= torch.tensor([0.0, 0.04, 0.0])
    _, report = clean(Motion(joints, motion.fps), ("feet",))
    assert report.before.penetration > 0.035
    assert report.after.penetration < 0.01


def test_floor_goes_to_zero_and_is_reported() -> None:
    motion = transform(figure("walk", 0)[0], y=0.7)
    cleaned, report = clean(motion, ("floor",))
    assert abs(report.floor_moved + 0.7) < 0.02
    torch.testing.assert_close(cleaned.joints, motion.joints + torch.tensor([0.0, report.floor_moved, 0.0]))
    assert "moved by -0.7" in report.lines()[-1]


@pytest.mark.parametrize("turn", [0.0, 3.1])
def test_rotations_follow_the_joints(turn: float) -> None:
    sliding = with_rotations(transform(injected(figure("walk", 0)[0], "travel"), yaw=turn))
    cleaned, _ = clean(sliding)
    offsets = offsets_of(sliding)
    joints, _ = kinematics.forward(cleaned.joints[:, 0], cleaned.rotations, offsets.float(), cleaned.skeleton.parents)
    torch.testing.assert_close(joints, cleaned.joints, atol=2e-4, rtol=0)
    torch.testing.assert_close(cleaned.translation, cleaned.joints[:, 0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("rotated", [False, True])
def test_kept_frames_stay_and_the_join_is_smooth(rotated: bool) -> None:
    sliding = injected(figure("walk", 0)[0], "drift")
    sliding = with_rotations(sliding) if rotated else sliding
    keep = torch.zeros(sliding.num_frames, dtype=torch.bool)
    keep[:20] = keep[-12:] = True
    cleaned, report = clean(sliding, keep=keep)
    assert report.steps == ("smooth", "feet")
    assert torch.equal(cleaned.joints[keep], sliding.joints[keep])
    assert report.after.sliding < 0.7 * report.before.sliding
    for join in (20, sliding.num_frames - 12):
        steps = cleaned.joints[join - 3 : join + 3].diff(dim=0).norm(dim=-1)
        before = sliding.joints[join - 3 : join + 3].diff(dim=0).norm(dim=-1)
        assert (steps - before).abs().max() < 0.05  # metres per frame


def test_turning_and_moving_the_motion_changes_nothing() -> None:
    sliding = injected(figure("walk", 0)[0], "travel")
    there = {"yaw": 2.9, "x": 3.0, "z": -2.0}
    first, second = clean(transform(sliding, **there))[0], transform(clean(sliding)[0], **there)
    torch.testing.assert_close(first.joints, second.joints, atol=1e-4, rtol=0)


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5])
def test_short_motions(frames: int) -> None:
    motion, _ = figure("walk", 0)
    cleaned, report = clean(motion.crop(30, 30 + frames))
    assert cleaned.num_frames == frames
    assert cleaned.joints.isfinite().all()
    assert len(report.lines()) == 4


def test_other_frame_rates_and_the_kit_skeleton() -> None:
    motion, _ = figure("walk", 0)
    fast = dataclasses.replace(injected(motion, "travel"), fps=60.0)
    assert clean(fast)[0].joints.isfinite().all()
    kit = get_skeleton("kit21")
    pose = torch.zeros(21, 3)
    for joint, parent in enumerate(kit.parents[1:], start=1):
        pose[joint] = pose[parent] + torch.tensor(kit.raw_offsets[joint]) * kit.bone_lengths[joint] * 0.001
    standing = pose.repeat(40, 1, 1) + torch.linspace(0, 0.4, 40)[:, None, None] * torch.tensor([0.0, 0.0, 1.0])
    standing = Motion(standing + torch.tensor([0.0, 0.82, 0.0]), 12.5, kit)
    cleaned, report = clean(standing)
    assert report.before.sliding > 0.1
    assert report.after.sliding < 0.02
    lengths = (kinematics.bone_lengths(motion.joints, kit) for motion in (cleaned, standing))
    torch.testing.assert_close(*lengths)


def test_nothing_touches_the_floor() -> None:
    motion, _ = figure("walk", 0)
    flying = motion.joints + torch.linspace(0, 40, motion.num_frames)[:, None, None]
    cleaned, report = clean(Motion(flying, motion.fps), ("feet",))
    torch.testing.assert_close(cleaned.joints, flying, atol=1e-5, rtol=0)
    assert report.before.sliding is None
    assert "no foot" in report.lines()[0]


def test_smoothing_keeps_the_ends_and_slow_movement() -> None:
    motion = injected(figure("walk", 0)[0], "noise")
    calm = smooth(motion, 3.0)
    torch.testing.assert_close(calm.joints[[0, -1]], motion.joints[[0, -1]], atol=1e-5, rtol=0)
    assert mean_jerk(calm) < 0.4 * mean_jerk(motion)
    assert (calm.joints - motion.joints).norm(dim=-1).mean() < 0.02


def test_mistakes_are_named() -> None:
    motion, _ = figure("walk", 0)
    with pytest.raises(RequestError, match="the step 'feat'.*smooth, floor, feet"):
        clean(motion, ("feat",))
    with pytest.raises(RequestError, match="cutoff of 0"):
        clean(motion, ("smooth",), cutoff=0)
    broken = motion.joints.clone()
    broken[7, 3] = float("nan")
    with pytest.raises(DataError, match="frame 7"):
        clean(Motion(broken, motion.fps))


ROOT = Path(__file__).parents[2] / "demos/motions"
CAPTURED = sorted(ROOT.glob("*.npy"))


@pytest.mark.parametrize("path", CAPTURED, ids=lambda path: path.stem)
def test_a_clean_motion_comes_back_as_it_is(path: Path, tmp_path: Path) -> None:
    """Motion that was cleaned before, with the plain call and the command: every measure of it stays, not only ours."""
    from prepare.clean import main

    motion = Motion.load(path)
    cleaned, report = clean(motion)
    assert torch.equal(cleaned.joints, motion.joints)
    assert report.before == report.after and report.floor_moved == pytest.approx(0, abs=1e-3)
    assert torch.equal(clean(motion, ("feet",))[0].joints, motion.joints)
    assert main([str(path), "-o", str(tmp_path)]) == 0
    assert torch.equal(Motion.load(tmp_path / path.name).joints, motion.joints)


def test_a_clean_motion_above_the_floor_is_only_lowered() -> None:
    motion = Motion.load(CAPTURED[0])
    raised = Motion(motion.joints + torch.tensor([0.0, 0.3, 0.0]), motion.fps)
    cleaned, report = clean(raised)
    torch.testing.assert_close(cleaned.joints, motion.joints, atol=2e-3, rtol=0)
    assert report.steps == ("floor",) and report.floor_moved == pytest.approx(-0.3, abs=2e-3)


def test_what_is_rough_is_smoothed_though_its_feet_stand() -> None:
    motion = Motion.load(ROOT / "wave.npy")
    noise = 0.004 * torch.randn(motion.joints.shape, generator=torch.Generator().manual_seed(0))
    noise[:, [7, 8, 10, 11]] = 0
    cleaned, report = clean(Motion(motion.joints + noise, motion.fps))
    assert "smooth" in report.steps and report.after.jerk < 0.6 * report.before.jerk


@pytest.mark.parametrize("name", ["walk", "walk_start", "squat"])
def test_feet_that_stand_do_not_slide_because_of_a_cut(name: str) -> None:
    """Smoothing would draw the jump out over frames in which the feet stand."""
    motion = Motion.load(ROOT / f"{name}.npy")
    joints = motion.joints.clone()
    joints[motion.num_frames // 2 :] += torch.tensor([5.0, 0.0, 5.0])
    _, report = clean(Motion(joints, motion.fps))
    assert report.after.sliding <= 0.02 and report.after.penetration <= 0.02
