"""What arms, head and trunk do while the feet stand or walk on: wave, raise, clap, punch, throw, stretch, look."""

from __future__ import annotations

import numpy as np

from mld.data.sources.procedural.actions import Action, action, either, other, sign
from mld.data.sources.procedural.stage import SIDES, Stage, through, window

CLAP_SHUT = {"fwd": 0.6, "side": 0.15, "turn": 0.95, "flex": 1.2}  # wrists 7 cm apart before the chest
CLAP_OPEN = {"fwd": 0.6, "side": 0.35, "turn": 0.2, "flex": 1.15}
GUARD = {"fwd": 0.85, "side": 0.2, "turn": 0.25, "flex": 2.15}
PUNCH = {"fwd": 1.5, "side": -0.05, "turn": 0.5, "flex": 0.12}


def _side(rng: np.random.Generator) -> str:
    return either(rng, *SIDES, *SIDES, "both")


@action(weight=2.5)
def wave(rng: np.random.Generator) -> Action:
    side, rate = _side(rng), float(rng.uniform(1.2, 1.9))
    duration, high = float(rng.uniform(2.2, 4.0)), float(rng.uniform(1.1, 1.75))
    wide = float(rng.uniform(0.3, 0.5))

    def perform(stage: Stage, start: float) -> None:
        t, end = stage.t, start + duration
        up = window(t, start, end, 0.7)
        waving = window(t, start + 0.4, end - 0.4, 0.4) * np.sin(2 * np.pi * rate * (t - start))
        stage.blend_arm(side, up, side=high, fwd=0.35, turn=-1.45, flex=1.35 + wide * waving)
        if side != "both":
            stage.blend(up, lean=-0.04 * sign(side))

    words = {"side": side, "hands": "both hands" if side == "both" else f"the {side} hand"}
    return Action("wave", duration, perform, words, f"wave {side}", arms=True)


RAISES = {  # where the arm goes, and the way it is told
    "up": {"fwd": 2.85, "side": 0.25, "flex": 0.12, "turn": 0.1},
    "front": {"fwd": 1.55, "side": 0.05, "flex": 0.1, "turn": 0.2},
    "out": {"side": 1.5, "fwd": 0.1, "flex": 0.1, "turn": 0.0},
}


@action(weight=2.5)
def raise_arm(rng: np.random.Generator) -> Action:
    side, where = _side(rng), either(rng, *RAISES)
    moving, hold = float(rng.uniform(0.7, 1.1)), float(rng.uniform(0.5, 1.4))
    duration = 2 * moving + hold

    def perform(stage: Stage, start: float) -> None:
        stage.blend_arm(side, window(stage.t, start, start + duration, moving), **RAISES[where])
        if side != "both":
            stage.blend(window(stage.t, start, start + duration, moving), lean=-0.05 * sign(side))

    words = {"side": side, "arms": "both arms" if side == "both" else f"the {side} arm", "where": where}
    return Action("raise_arm", duration, perform, words, f"raise {side} {where}", arms=True)


@action(weight=1.5)
def clap(rng: np.random.Generator) -> Action:
    count, period = int(rng.integers(2, 7)), float(rng.uniform(0.4, 0.6))
    duration = 1.2 + count * period

    def perform(stage: Stage, start: float) -> None:
        t, up = stage.t, window(stage.t, start, start + duration, 0.6)
        beats = np.clip((t - start - 0.6) / period, 0.0, count)
        shut = 0.5 - 0.5 * np.cos(2 * np.pi * beats)
        pose = {name: CLAP_OPEN[name] + shut * (CLAP_SHUT[name] - CLAP_OPEN[name]) for name in CLAP_OPEN}
        stage.blend_arm("both", up, **pose)

    return Action("clap", duration, perform, {"times": str(count)}, "clap", arms=True)


@action(weight=2.0)
def punch(rng: np.random.Generator) -> Action:
    """Guard up, punches with one hand or with the two in turn, guard down."""
    side, count = _side(rng), int(rng.integers(1, 5))
    if side == "both":
        count = max(count, 2)
    blow = float(rng.uniform(0.55, 0.75))
    duration = 1.4 + count * blow

    def perform(stage: Stage, start: float) -> None:
        t, end = stage.t, start + duration
        guard = window(t, start, end, 0.6)
        stage.blend_arm("both", guard, **GUARD)
        stage.blend(guard, tilt=0.12, height=-0.03)
        for number in range(count):
            hand = SIDES[(number + 1) % 2] if side == "both" else side
            begin = start + 0.7 + number * blow
            out = window(t, begin, begin + blow, 0.45 * blow, 0.55 * blow)
            stage.blend_arm(hand, out, **PUNCH)
            stage.add(twist=-0.45 * sign(hand) * out, pelvis_twist=-0.12 * sign(hand) * out, forward=0.04 * out)

    words = {"side": side, "times": str(count), "hands": "both hands" if side == "both" else f"the {side} hand"}
    return Action("punch", duration, perform, words, f"punch {side}", arms=True)


@action()
def throw(rng: np.random.Generator) -> Action:
    """An overhand throw: reach back, swing over, follow through."""
    side = either(rng, *SIDES)
    wind_up = float(rng.uniform(0.8, 1.1))
    duration = wind_up + 1.7

    def perform(stage: Stage, start: float) -> None:
        t, top = stage.t, start + wind_up
        times = [start, top, top + 0.4, top + 0.7, start + duration]
        busy = window(t, start, start + duration, 0.5, 0.7)
        curve = {
            "side": through(t, times, [0.1, 1.55, 0.9, 0.2, 0.1]),
            "fwd": through(t, times, [0.0, -0.25, 1.5, 0.9, 0.0]),
            "turn": through(t, times, [0.2, -1.35, -0.3, 0.6, 0.2]),
            "flex": through(t, times, [0.3, 1.7, 0.25, 0.35, 0.3]),
        }
        stage.blend_arm(side, busy, **curve)
        stage.blend_arm(other(side), busy, fwd=through(t, times, [0.0, 0.7, -0.1, 0.0, 0.0]), flex=0.5)
        twisted = through(t, times, [0.0, -0.5, 0.35, 0.3, 0.0]) * sign(side)
        stage.add(twist=-twisted, pelvis_twist=-0.3 * twisted, tilt=through(t, times, [0.0, -0.1, 0.3, 0.25, 0.0]),
                  forward=through(t, times, [0.0, -0.05, 0.05, 0.04, 0.0]))  # fmt: skip

    return Action("throw", duration, perform, {"side": side}, f"throw {side}", arms=True)


@action()
def arm_circles(rng: np.random.Generator) -> Action:
    count, period = int(rng.integers(2, 5)), float(rng.uniform(0.9, 1.3))
    duration = 1.4 + count * period
    way = either(rng, "forward", "backward")

    def perform(stage: Stage, start: float) -> None:
        t, up = stage.t, window(stage.t, start, start + duration, 0.7)
        angle = 2 * np.pi * np.clip((t - start - 0.7) / period, 0.0, count) * (1.0 if way == "forward" else -1.0)
        stage.blend_arm("both", up, side=1.5 + 0.45 * np.cos(angle), fwd=0.1 + 0.5 * np.sin(angle), flex=0.1, turn=0.0)

    return Action("arm_circles", duration, perform, {"way": way, "times": str(count)}, "arm circles", arms=True)


@action()
def look_around(rng: np.random.Generator) -> Action:
    first = either(rng, *SIDES)
    turned, hold = float(rng.uniform(0.6, 0.9)), float(rng.uniform(0.3, 0.7))
    duration = 3 * turned + 2 * hold

    def perform(stage: Stage, start: float) -> None:
        times = np.cumsum([start, turned, hold, turned, hold, turned])
        seen = through(stage.t, times, [0.0, 1.0, 1.0, -1.0, -1.0, 0.0]) * sign(first)
        stage.add(head_twist=1.0 * seen, twist=0.4 * seen, pelvis_twist=0.1 * seen)

    words = {"side": first, "other": other(first)}
    return Action("look_around", duration, perform, words, f"look {first}", arms=True)


@action()
def stretch(rng: np.random.Generator) -> Action:
    """Both arms over the head, bend to one side and to the other."""
    first = either(rng, *SIDES)
    moving, hold = float(rng.uniform(0.8, 1.1)), float(rng.uniform(0.2, 0.6))
    duration = 5 * moving + 2 * hold

    def perform(stage: Stage, start: float) -> None:
        t, end = stage.t, start + duration
        stage.blend_arm("both", window(t, start, end, moving), fwd=2.9, side=0.2, flex=0.25, turn=0.3)
        times = np.cumsum([start + moving, moving, hold, moving, hold, moving])
        bent = through(t, times, [0.0, 1.0, 1.0, -1.0, -1.0, 0.0]) * sign(first)
        stage.add(lean=0.5 * bent, pelvis_lean=0.06 * bent, left=-0.05 * bent)

    return Action("stretch", duration, perform, {"side": first, "other": other(first)}, f"stretch {first}", arms=True)
