"""Mirroring swaps sides in words and in joints."""

import numpy as np
import pytest

from mld.data.mirroring import is_twin_name, mirror_caption, mirror_joints
from mld.motion.skeletons import get_skeleton


@pytest.mark.parametrize(
    ("text", "mirrored"),
    [
        ("a person kicks with the left foot.", "a person kicks with the right foot."),
        ("turns right, then left", "turns left, then right"),
        ("Left leg up, stepping rightwards", "Right leg up, stepping leftwards"),
        ("a left-handed throw", "a right-handed throw"),
        ("spins clockwise", "spins counterclockwise"),
        ("spins counter-clockwise", "spins clockwise"),
        ("walks anticlockwise", "walks clockwise"),
        ("walk leftfoot turn, slope_90_right1_up", "walk rightfoot turn, slope_90_left1_up"),
        ("a righthanded throw to the left-hand side", "a lefthanded throw to the right-hand side"),
        ("bends the left elbow at a right angle", "bends the right elbow at a right angle"),
        ("a righthanded throw, then the lefthand side", "a lefthanded throw, then the righthand side"),
        ("all right, turns right at a right angle right away", "all right, turns left at a right angle right away"),
        ("He left the room, turned left and left his hat", "He left the room, turned right and left his hat"),
        ("right after that turns right, right in front", "right after that turns left, right in front"),
        ("the left knee, then the right after it", "the right knee, then the left after it"),
        ("lifts his left, the right is up", "lifts his right, the left is up"),
        ("spins CCW, then cw; a counter clockwise curve", "spins CW, then ccw; a clockwise curve"),
        ("stands upright; a bright leftover", "stands upright; a bright leftover"),
    ],
)
def test_captions(text: str, mirrored: str) -> None:
    assert mirror_caption(text) == mirrored


def test_joints_change_sides_and_twice_is_the_original() -> None:
    pairs = get_skeleton("smpl22").mirror_pairs
    joints = np.random.default_rng(0).normal(size=(5, 22, 3)).astype(np.float32)
    mirrored = mirror_joints(joints, pairs)
    left, right = pairs[0]
    assert np.array_equal(mirrored[:, left], joints[:, right] * [-1, 1, 1])
    assert np.array_equal(mirror_joints(mirrored, pairs), joints)


def test_a_name_is_a_twin_only_of_a_name_that_exists() -> None:
    names = {"walk", "Mwalk", "March"}
    assert [name for name in sorted(names) if is_twin_name(name, names)] == ["Mwalk"]
