"""Poses pinned to frames of a rig's motion, without a server."""

from __future__ import annotations

import math

import pytest
import roma
import torch

from mld.motion.motion import Motion
from mld.motion.rig.onto import carry_onto
from mld.motion.rig.rig import RigMotion
from mld.serve.mmcp.keyframes import Keyframe, pinned
from tests.motion.rigs_of_others import rig_of
from tests.walking import walker

FRAMES = 60


@pytest.fixture(scope="module")
def motion() -> RigMotion:
    return carry_onto(Motion(walker(FRAMES), 20.0), rig_of("mixamo with fingers"))


def turn(*axis_angle: float) -> torch.Tensor:
    return roma.rotvec_to_rotmat(torch.tensor(axis_angle, dtype=torch.float64))


def test_nothing_pinned_changes_nothing(motion: RigMotion) -> None:
    assert pinned(motion, []) is motion


def test_a_joint_gives_way_for_half_a_second(motion: RigMotion) -> None:
    arm = motion.rig.index("mixamorig:LeftArm")
    made = pinned(motion, [Keyframe(30, {arm: turn(0.0, 0.0, 1.0)})])
    torch.testing.assert_close(made.rotations[30, arm].double(), turn(0.0, 0.0, 1.0), atol=1e-5, rtol=0)
    changed = (made.rotations - motion.rotations).abs().amax((2, 3)) > 1e-5
    assert changed[:, arm].nonzero()[:, 0].tolist() == list(range(21, 40)) and changed.sum() == 19
    torch.testing.assert_close(made.translation, motion.translation)


def test_pins_in_every_frame_hold_in_every_frame(motion: RigMotion) -> None:
    arm = motion.rig.index("mixamorig:LeftArm")
    wanted = [turn(0.0, 0.05 * frame, 0.5) for frame in range(FRAMES)]
    made = pinned(motion, [Keyframe(frame, {arm: one}) for frame, one in enumerate(wanted)])
    torch.testing.assert_close(made.rotations[:, arm].double(), torch.stack(wanted), atol=1e-5, rtol=0)


def test_of_two_pins_in_a_frame_the_later_holds(motion: RigMotion) -> None:
    arm = motion.rig.index("mixamorig:LeftArm")
    made = pinned(motion, [Keyframe(5, {arm: turn(1.0, 0.0, 0.0)}), Keyframe(5, {arm: turn(0.0, 1.0, 0.0)})])
    torch.testing.assert_close(made.rotations[5, arm].double(), turn(0.0, 1.0, 0.0), atol=1e-5, rtol=0)


def test_the_path_goes_through_its_places_and_stays_smooth(motion: RigMotion) -> None:
    """Also where it is turned round: heading and place are reached, steps grow by no more than what is asked."""
    places = {0: (0.0, 0.95, 0.0), 30: (1.0, 0.95, 1.0), 59: (0.0, 0.95, 2.0)}
    keys = [Keyframe(frame, {0: turn(0.0, heading, 0.0)}, torch.tensor(place, dtype=torch.float64))
            for (frame, place), heading in zip(places.items(), (0.0, math.pi / 2, math.pi))]  # fmt: skip
    made = pinned(motion, keys)
    for key in keys:
        torch.testing.assert_close(made.translation[key.frame].double(), key.position, atol=1e-5, rtol=0)
        torch.testing.assert_close(made.rotations[key.frame, 0].double(), key.turns[0], atol=1e-5, rtol=0)
    assert float(made.translation.diff(dim=0).norm(dim=-1).max()) < 0.2
    steps = made.rotations[:-1, 0].transpose(-1, -2) @ made.rotations[1:, 0]
    angles = roma.rotmat_to_rotvec(steps.double()).norm(dim=-1)
    assert float(angles.max()) < 0.3


def test_turning_by_one_pin_keeps_the_steps(motion: RigMotion) -> None:
    key = Keyframe(10, {0: turn(0.0, 2.0, 0.0) @ motion.rotations[10, 0].double()})
    made = pinned(motion, [key])
    lengths = [one.translation.diff(dim=0).norm(dim=-1) for one in (made, motion)]
    torch.testing.assert_close(*lengths, atol=1e-5, rtol=0)
    limbs = (made.rotations - motion.rotations)[:, 1:].abs().max()
    assert float(limbs) == 0.0
