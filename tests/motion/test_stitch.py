"""Joining clips: given frames are kept exactly, joins are smooth in position, heading and bone lengths."""

from __future__ import annotations

import math

import pytest
import torch

from mld.errors import RequestError
from mld.motion.kinematics import heading
from mld.motion.skeletons import get_skeleton
from mld.motion.stitch import bridge, extend, place_after, turn, yaw_between
from tests.walking import walker

SKELETON = get_skeleton("smpl22")


def largest_step(joints: torch.Tensor) -> float:
    return joints.diff(dim=0).norm(dim=-1).max().item()


def heading_steps(joints: torch.Tensor) -> torch.Tensor:
    step = heading(joints, SKELETON).diff()
    return torch.atan2(torch.sin(step), torch.cos(step)).abs()


def bones(joints: torch.Tensor) -> torch.Tensor:
    return (joints[:, 1:] - joints[:, SKELETON.parents[1:]]).norm(dim=-1)


@pytest.mark.parametrize("yaw", [-3.0, -1.2, 0.0, 0.4, math.pi])
def test_heading_is_the_yaw_of_the_walk(yaw: float) -> None:
    found = heading(walker(5, yaw), SKELETON)
    assert torch.allclose(torch.cos(found - yaw), torch.ones(5), atol=1e-4)


def test_yaw_between_undoes_a_turn() -> None:
    pose = walker(1)[0]
    assert yaw_between(pose, turn(pose, torch.tensor(2.5))).item() == pytest.approx(2.5, abs=1e-4)


@pytest.mark.parametrize("yaw", [0.0, 1.9, math.pi, -2.4])
def test_extend_by_the_true_rest_gives_the_true_motion(yaw: float) -> None:
    """A continuation that fits is only moved back to where it belongs, also when the head faces backwards."""
    whole = walker(60, yaw, turning=0.02, start=(3.0, -2.0))
    rest = turn(whole[29:], torch.tensor(-1.3)) - torch.tensor([5.0, 0.0, 1.0])
    joined = extend(whole[:30], rest[1:], SKELETON, reference=rest[0])
    assert torch.equal(joined[:30], whole[:30])
    assert torch.allclose(joined, whole, atol=5e-3)


@pytest.mark.parametrize("yaw", [0.0, math.pi])
@pytest.mark.parametrize("with_reference", [True, False])
def test_extend_joins_smoothly(yaw: float, with_reference: bool) -> None:
    """A continuation in another phase, place and heading: no jump, no sudden turn, bones as in the head."""
    head = walker(30, yaw, start=(1.0, 4.0))
    rest = walker(41, yaw=0.7, turning=0.01, start=(-6.0, 2.0), phase=2.0)
    joined = extend(head, rest[1:], SKELETON, reference=rest[0] if with_reference else None)
    assert torch.equal(joined[:30], head)
    assert len(joined) == 70
    assert largest_step(joined[28:42]) < 1.5 * max(largest_step(head), largest_step(rest))
    assert heading_steps(joined).max() < 0.08
    assert torch.allclose(bones(joined), bones(head)[:1], atol=1e-4)
    acceleration = joined[26:44].diff(dim=0).diff(dim=0).norm(dim=-1).max()
    assert acceleration < 0.06


def test_an_arm_swings_over_to_the_opposite_side() -> None:
    """A raised arm that has to hang: half a turn, spread over enough frames, never through the shoulder."""
    head, rest = walker(20), walker(60)
    head[:, 18] = head[:, 16] + torch.tensor([0.0, 0.27, 0.03])
    head[:, 20] = head[:, 18] + torch.tensor([0.0, 0.25, 0.0])
    joined = extend(head, rest[21:], SKELETON, reference=rest[20])
    assert joined.diff(dim=0).norm(dim=-1).max() < 0.25
    assert torch.allclose(bones(joined), bones(rest)[:1], atol=0.01)
    assert torch.allclose(joined[-1] - joined[-1, :1], rest[-1] - rest[-1, :1], atol=1e-4)


def test_jitter_of_the_reference_does_not_grow() -> None:
    """Decoded motion trembles by millimetres; the change at a join is not much larger than that."""
    whole = walker(60)
    trembling = whole + 0.002 * torch.randn(whole.shape, generator=torch.Generator().manual_seed(1))
    joined = extend(whole[:30], trembling[30:], SKELETON, reference=trembling[29])
    assert (joined - whole).norm(dim=-1)[30:].max() < 0.03


def test_extend_takes_over_the_velocity() -> None:
    """A walk followed by a standing pose goes on for a moment and then slows down."""
    head = walker(20)
    standing = walker(1)[0].repeat(21, 1, 1)
    root = extend(head, standing[1:], SKELETON, reference=standing[0])[:, 0]
    speed = root.diff(dim=0).norm(dim=-1)
    assert speed[19] > 0.5 * speed[18]
    assert speed.diff().abs().max() < 0.03
    assert speed[-10:].max() < 1e-4


def test_extend_with_other_proportions_changes_bones_gradually() -> None:
    joined = extend(walker(20), walker(31, scale=1.1)[1:], SKELETON, reference=walker(1, scale=1.1)[0])
    assert bones(joined).diff(dim=0).abs().max() < 0.012
    assert torch.allclose(bones(joined)[-1], bones(walker(1, scale=1.1))[0], atol=1e-4)


@pytest.mark.parametrize("yaw", [0.0, math.pi])
def test_bridge_keeps_both_ends_and_joins_smoothly(yaw: float) -> None:
    """The middle misses the tail by half a radian and some decimetres; the error is spread over it."""
    whole = walker(80, yaw, turning=0.02, start=(2.0, 1.0))
    head, tail = whole[:20], whole[60:]
    wrong = walker(42, yaw=-1.0, turning=0.008, phase=0.6)
    joined = bridge(head, wrong[1:-1], tail, SKELETON, head_reference=wrong[0], tail_reference=wrong[-1])
    assert torch.equal(joined[:20], head)
    assert torch.equal(joined[60:], tail)
    assert largest_step(joined) < 1.6 * largest_step(whole)
    assert heading_steps(joined).max() < 0.1
    assert torch.allclose(bones(joined), bones(head)[:1], atol=1e-4)


def test_bridge_by_the_true_middle_gives_the_true_motion() -> None:
    whole = walker(80, 2.0, turning=0.02)
    moved = turn(whole, torch.tensor(0.9)) + torch.tensor([1.0, 0.0, -3.0])
    joined = bridge(whole[:20], moved[20:60], whole[60:], SKELETON, moved[19], moved[60])
    assert torch.allclose(joined, whole, atol=5e-3)


def test_bridge_walks_where_it_faces() -> None:
    """When the goal lies to the side, the path turns with the body instead of sliding."""
    head, tail = walker(20), walker(20, yaw=1.4, start=(2.2, 3.4))
    straight = walker(42, start=(0.0, 0.0))
    joined = bridge(head, straight[1:-1], tail, SKELETON, straight[0], straight[-1])
    steps = joined[20:60, 0].diff(dim=0)
    way = torch.atan2(steps[:, 0], steps[:, 2])
    off = way - heading(joined[20:59], SKELETON)
    assert torch.atan2(torch.sin(off), torch.cos(off)).abs().max() < 0.7


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_short_middles(frames: int) -> None:
    whole = walker(40 + frames)
    joined = bridge(whole[:20], whole[20:20 + frames], whole[20 + frames:], SKELETON)
    assert torch.isfinite(joined).all()
    assert torch.equal(joined[20 + frames:], whole[20 + frames:])
    single = extend(whole[:1], whole[1:1 + frames], SKELETON)
    assert torch.isfinite(single).all()


def test_place_after_goes_on_in_the_same_direction() -> None:
    head, tail = walker(20, yaw=2.5, start=(1.0, 1.0)), walker(20)
    placed = place_after(head, tail, gap=40)
    expected = walker(80, yaw=2.5, start=(1.0, 1.0))[60, 0]
    assert torch.allclose(placed[0, 0], expected, atol=0.05)
    assert torch.allclose(placed.diff(dim=0).norm(dim=-1), tail.diff(dim=0).norm(dim=-1), atol=1e-4)


@pytest.mark.parametrize("shape", [(0, 22, 3), (10, 21, 3), (10, 66)])
def test_wrong_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(RequestError, match="continuation"):
        extend(walker(5), torch.zeros(shape), SKELETON)
