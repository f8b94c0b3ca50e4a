"""Given motions of one request share a world where features tell places."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from mld.engine.given import ends, given
from mld.engine.request import Request
from mld.engine.timeline import make_timeline
from mld.engine.worlds import in_one_world, rows_in_one_world
from mld.example import Clip
from mld.models.contracts.tokens import TokenLayout
from mld.motion import stitch
from mld.motion.motion import Motion
from mld.motion.representations.registry import get_representation
from tests.walking import walker

COLUMNS = get_representation("motion276")
LAYOUT = TokenLayout(channels=276, frames_per_token=1)


@pytest.fixture(scope="module")
def walk() -> Motion:
    """Far from the origin, and turned."""
    joints = stitch.turn(walker(90, turning=0.02), torch.tensor(1.3)) + torch.tensor([3.0, 0.4, -2.0])
    return Motion(joints, 20.0)


def clips_of(*clips: Clip, frames: int | None = None) -> list[Clip]:
    line = make_timeline(Request(clips, "motion", frames), LAYOUT, COLUMNS, at_once=True)
    return in_one_world(line, COLUMNS).clips


def test_the_tail_stands_where_the_whole_motion_has_it(walk: Motion) -> None:
    whole = given(walk, COLUMNS)
    head, tail = ends(given(walk.crop(0, 30), COLUMNS), given(walk.crop(60, 90), COLUMNS), 90, 20.0)
    alone = COLUMNS.decode(tail.features).joints[0, 0]
    assert alone[[0, 2]].norm() < 1e-4, "encoded by itself it begins at the origin"
    first, last = clips_of(head, tail)
    # what is lowest in the middle is not known; nor do rotations of joints, which are guessed clip by clip, agree
    height = COLUMNS.columns("positions")
    rise = (whole.features[:30, height] - first.features[:, height]).unflatten(-1, (-1, 3))[..., 2].mean()
    for made, span in ((first, slice(0, 30)), (last, slice(60, 90))):
        got = COLUMNS.decode_joints(made.features)
        want = COLUMNS.decode_joints(whole.features)[span] - torch.tensor([0.0, 1.0, 0.0]) * rise
        torch.testing.assert_close(got, want, atol=2e-4, rtol=0)


def test_a_head_that_was_cut_from_a_motion_begins_at_its_own_first_frame(walk: Motion) -> None:
    whole = given(walk, COLUMNS)
    cut = dataclasses.replace(whole, features=whole.features[40:70], joints=whole.joints[40:70])
    (head,) = clips_of(cut, frames=50)
    torch.testing.assert_close(head.features, COLUMNS.part(whole.features, 40, 70), atol=1e-4, rtol=0)
    (again,) = clips_of(head, frames=50)
    torch.testing.assert_close(again.features, head.features, atol=1e-4, rtol=0)


def test_moved_features_are_those_of_the_moved_motion(walk: Motion) -> None:
    features, yaw, shift = given(walk, COLUMNS).features, torch.tensor(-2.1), torch.tensor([0.3, 0.1, -4.0])
    moved = COLUMNS.moved(features, yaw, shift)
    want = stitch.turn(COLUMNS.decode_joints(features), yaw) + shift
    torch.testing.assert_close(COLUMNS.decode_joints(moved), want, atol=2e-4, rtol=0)
    turns = COLUMNS.columns("rotations")
    assert torch.allclose(moved[:, turns], features[:, turns], atol=1e-5), "local rotations are where they were"
    back = COLUMNS.moved(moved, -yaw, stitch.turn(-shift, -yaw))
    torch.testing.assert_close(back, features, atol=2e-4, rtol=0)


def test_pieces_become_the_rows_of_one_motion(walk: Motion) -> None:
    whole = given(walk, COLUMNS)
    pieces = [whole.features[:20], COLUMNS.part(whole.features, 20, 60), COLUMNS.part(whole.features, 60, 90)]
    joined = rows_in_one_world(pieces, whole.joints, COLUMNS)
    flat = torch.ones(276, dtype=torch.bool)
    flat[COLUMNS.columns("positions", "root")] = False  # the frame after the last one may be the lowest: 1 cm here
    torch.testing.assert_close(joined, whole.features, atol=0.011, rtol=0)
    torch.testing.assert_close(joined[:, flat], whole.features[:, flat], atol=1e-3, rtol=0)


def test_features_without_places_stay(walk: Motion) -> None:
    columns = get_representation("humanml3d")
    clip = given(walk, columns)
    line = make_timeline(Request((clip,), "motion", 120), TokenLayout(channels=263, frames_per_token=1), columns, True)
    assert in_one_world(line, columns) is line
    assert math.isclose(columns.moved(clip.features, torch.tensor(1.0), torch.ones(3)).sum(), clip.features.sum())
