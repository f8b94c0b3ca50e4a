"""Facts of figures whose numbers are known: turned by 90 degrees, moved by 2 m, lifted by 0.3 m; at any frame rate."""

from __future__ import annotations

import numpy as np
import pytest

from mld.motion.facts import Facts
from mld.motion.facts.body import ANKLE, HEAD, KNEE, NECK, SHOULDER, TOE, WRIST

# A standing figure of 1.7 m that faces +z, arms down; left is +x.
STANDING = np.array([
    [0, 0.92, 0], [0.1, 0.86, 0], [-0.1, 0.86, 0], [0, 1.03, 0], [0.1, 0.47, 0.02], [-0.1, 0.47, 0.02], [0, 1.16, 0],
    [0.1, 0.07, 0], [-0.1, 0.07, 0], [0, 1.23, 0], [0.1, 0.02, 0.13], [-0.1, 0.02, 0.13], [0, 1.43, 0],
    [0.08, 1.36, 0], [-0.08, 1.36, 0], [0, 1.53, 0.03], [0.18, 1.38, 0], [-0.18, 1.38, 0], [0.2, 1.12, 0],
    [-0.2, 1.12, 0], [0.2, 0.87, 0.03], [-0.2, 0.87, 0.03],
])  # fmt: skip
RATES = (12.5, 20.0, 30.0, 60.0)


def ease(fps: float, seconds: float, start: float, end: float) -> np.ndarray:
    """0 until `start`, 1 from `end` on, smooth in between: (T,)."""
    t = np.arange(round(seconds * fps) + 1) / fps
    x = np.clip((t - start) / (end - start), 0, 1)
    return x * x * x * (10 - 15 * x + 6 * x * x)


def still(frames: int) -> np.ndarray:
    return np.tile(STANDING, (frames, 1, 1))


def turned(joints: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Joints turned about the vertical, radians (T,), to the left above 0."""
    x, z = joints[..., 0], joints[..., 2]
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    return np.stack([cos * x + sin * z, joints[..., 1], cos * z - sin * x], axis=-1)


def walker(fps: float, metres: float, seconds: float, way: float = 1.0) -> np.ndarray:
    """Walks `metres` along +z (way 1) or backward (-1): a foot swings while the other one stands, 0.6 s a step."""
    share = ease(fps, seconds + 1.0, 0.5, seconds + 0.5)
    joints = still(len(share))
    t = np.arange(len(share)) / fps
    gone = way * metres * share
    joints[:, :, 2] += gone[:, None]
    for side, phase in (("left", 0.0), ("right", np.pi)):
        swing = np.sin(2 * np.pi * (t - 0.5) / 1.2 + phase) * np.minimum(1, 4 * np.gradient(share, 1 / fps))
        for joint in (ANKLE, TOE):
            joints[:, joint[side], 1] += 0.12 * np.maximum(swing, 0)
        joints[:, KNEE[side], 1] += 0.06 * np.maximum(swing, 0)
    return joints


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("degrees", [90, -90, 180, -360])
def test_a_turn_is_measured_with_its_sign(fps: float, degrees: float) -> None:
    angle = np.radians(degrees) * ease(fps, 4.0, 0.8, 3.2)
    facts = Facts(turned(still(len(angle)), angle), fps)
    assert facts.turned == pytest.approx(degrees, abs=2)
    (event,) = facts.find("turn")
    assert event.side == ("left" if degrees > 0 else "right") and event.amount == pytest.approx(degrees, abs=8)
    assert event.middle == pytest.approx(2.0, abs=0.15) and facts.displacement < 0.02


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("way", [1.0, -1.0])
def test_two_metres_are_two_metres(fps: float, way: float) -> None:
    facts = Facts(walker(fps, 2.0, 3.0, way), fps)
    assert facts.forward == pytest.approx(2.0 * way, abs=0.06)
    assert facts.displacement == pytest.approx(2.0, abs=0.03) and facts.distance == pytest.approx(2.0, abs=0.03)
    assert abs(facts.leftward) < 0.02 and abs(facts.turned) < 1
    (event,) = [e for e in facts.events if e.name in ("walk", "walk_backward", "run", "side_step")]
    assert event.name == ("walk" if way > 0 else "walk_backward") and event.amount == pytest.approx(2.0, abs=0.15)


def test_the_way_is_that_of_the_body_wherever_it_faces() -> None:
    joints = walker(20.0, 2.0, 3.0)
    for angle in (0.5, 2.0, -2.6):
        facts = Facts(turned(joints, np.full(len(joints), angle)) + [5.0, 0.3, -2.0])
        assert facts.forward == pytest.approx(2.0, abs=0.06) and abs(facts.leftward) < 0.03
    sideways = still(len(joints))
    sideways[:, :, 0] += 1.5 * ease(20.0, 4.0, 0.5, 3.5)[:, None]
    facts = Facts(sideways)
    assert facts.leftward == pytest.approx(1.5, abs=0.05) and abs(facts.forward) < 0.02
    assert [e.side for e in facts.find("side_step")] == ["left"]


@pytest.mark.parametrize("fps", RATES[1:])
def test_a_jump_is_as_high_as_it_is(fps: float) -> None:
    """Down by 0.2 m, off the ground for 0.5 s (0.31 m), down again, up."""
    t = np.arange(round(3 * fps) + 1) / fps
    air = np.where((t > 1.2) & (t < 1.7), 9.81 / 2 * (t - 1.2) * (1.7 - t), 0.0)
    joints = still(len(t))
    joints[:, :, 1] += air[:, None]
    dip = 0.2 * (np.exp(-(((t - 0.9) / 0.15) ** 2)) + np.exp(-(((t - 2.0) / 0.15) ** 2)))
    legs = [*ANKLE.values(), *TOE.values()]
    upper = [j for j in range(22) if j not in legs]
    joints[:, upper, 1] -= dip[:, None]
    facts = Facts(joints, fps)
    (jump,) = facts.find("jump")
    assert jump.way == "up" and jump.middle == pytest.approx(1.45, abs=0.08)
    assert jump.amount == pytest.approx(0.31, abs=0.07)
    assert facts.pelvis_rise == pytest.approx(0.31, abs=0.05) and facts.pelvis_drop == pytest.approx(0.2, abs=0.05)
    assert not facts.find("hop") and not facts.find("squat")


def test_hands_and_heights() -> None:
    joints = still(61)
    up = ease(20.0, 3.0, 0.5, 1.2) - ease(20.0, 3.0, 2.0, 2.7)
    target = STANDING[SHOULDER["left"]] + [0.0, 0.5, 0.05]
    for joint, share in ((WRIST["left"], 1.0), (18, 0.5)):
        goal = STANDING[SHOULDER["left"]] + share * (target - STANDING[SHOULDER["left"]])
        joints[:, joint] += up[:, None] * (goal - STANDING[joint])
    facts = Facts(joints)
    (raised,) = facts.find("raise_hand")
    assert raised.side == "left" and raised.amount == pytest.approx(0.5, abs=0.02)
    assert [e.side for e in facts.find("overhead")] == ["left"]
    assert facts.hand("left").over_floor[30] == pytest.approx(1.86, abs=0.03)
    assert facts.hand("right").over_shoulder[30] == pytest.approx(-0.51, abs=0.02)
    assert facts.activity("left_arm") > 10 * facts.activity("right_arm")
    assert facts.foot("left").clearance.max() < 0.01


def test_standing_still_has_no_other_event() -> None:
    facts = Facts(still(60))
    assert [e.name for e in facts.events] == ["stand"]
    assert facts.cruise == 0 and facts.turned_all == 0 and facts.end_drop == pytest.approx(0, abs=0.03)


def test_a_bow_and_a_lean_in_degrees() -> None:
    for axis, name in ((2, "bow"), (0, "lean")):
        angle = np.radians(40) * (ease(20.0, 4.0, 0.5, 1.5) - ease(20.0, 4.0, 2.5, 3.5))
        joints = still(len(angle))
        upper = [3, 6, 9, *range(NECK, 22)]
        away = joints[:, upper] - STANDING[0]
        joints[:, upper, 1] = STANDING[0, 1] + np.cos(angle)[:, None] * away[..., 1]
        joints[:, upper, axis] += np.sin(angle)[:, None] * away[..., 1]
        (event,) = Facts(joints).find(name)
        assert event.amount == pytest.approx(40, abs=2) and event.side == ("" if name == "bow" else "left")


@pytest.mark.parametrize("scale", [0.7, 1.2])
def test_children_do_what_adults_do(scale: float) -> None:
    names = [e.name for e in Facts(walker(20.0, 2.0, 3.0)).events]
    assert [e.name for e in Facts(scale * walker(20.0, 2.0, 3.0)).events] == names


def test_other_shapes_are_refused() -> None:
    for wrong in (np.zeros((0, 22, 3)), np.zeros((5, 21, 3)), np.full((5, 22, 3), np.nan)):
        with pytest.raises(ValueError):
            Facts(wrong)
    assert Facts(still(1)).events == () and HEAD == 15
