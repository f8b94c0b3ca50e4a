"""Blows and shoves of the arms: jabs, straight punches, hooks, uppercuts, combinations, blocks, pushing and pulling."""

from __future__ import annotations

import numpy as np

from mld.data.sources.procedural.actions import Action, action, either, other, sign
from mld.data.sources.procedural.arms import hold, reach
from mld.data.sources.procedural.drawing import any_side, often, one_side, tempo
from mld.data.sources.procedural.stage import Stage, through, window

GUARD = {"fwd": 0.85, "side": 0.2, "turn": 0.25, "flex": 2.15}
LOW_GUARD = {"fwd": 0.2, "side": 0.15, "turn": 0.3, "flex": 1.7}
BLOWS = {  # wind-up and hit: arm, and the trunk's turn towards the blow (rad)
    "straight": (GUARD, {"fwd": 1.52, "side": -0.05, "turn": 0.5, "flex": 0.1}, 0.5),
    "jab": (GUARD, {"fwd": 1.5, "side": 0.0, "turn": 0.5, "flex": 0.15}, 0.25),
    "hook": (
        {"fwd": 0.9, "side": 0.9, "turn": 0.4, "flex": 1.8},
        {"fwd": 1.25, "side": 0.25, "turn": 1.25, "flex": 1.5},
        0.85,
    ),
    "uppercut": (
        {"fwd": -0.15, "side": 0.2, "turn": 0.2, "flex": 1.5},
        {"fwd": 1.5, "side": 0.0, "turn": 0.1, "flex": 1.75},
        0.5,
    ),
    "up": (GUARD, {"fwd": 2.6, "side": 0.1, "turn": 0.2, "flex": 0.12}, 0.15),
    "down": (GUARD, {"fwd": 0.75, "side": 0.0, "turn": 0.3, "flex": 0.1}, 0.35),
}


def blow(stage: Stage, hand: str, begin: float, long: float, kind: str) -> None:
    """One blow from the guard and back, `long` seconds."""
    t = stage.t
    back, hit, turned = BLOWS[kind]
    if back is not GUARD:
        stage.blend_arm(hand, window(t, begin - 0.1 * long, begin + 0.6 * long, 0.3 * long), **back)
    out = window(t, begin + 0.1 * long, begin + long, 0.35 * long, 0.5 * long)
    stage.blend_arm(hand, out, **hit)
    stage.add(twist=-turned * sign(hand) * out, pelvis_twist=-0.3 * turned * sign(hand) * out, forward=0.04 * out)
    if kind == "down":
        stage.add(tilt=0.25 * out)


@action(weight=9.0, wide=True)
def punch(rng: np.random.Generator) -> Action:
    """Guard up, blows with one hand or with the two in turn, guard down; or from hanging arms without a guard."""
    side, (pace, factor) = any_side(rng, 0.3), tempo(rng, 0.15, 0.25)
    kind = (
        either(rng, *["straight"] * 6, *["jab"] * 3, "hook", "uppercut", "up", "down")
        if side != "both"
        else either(rng, *["straight"] * 7, "hook", "uppercut")
    )
    count = often(rng, 5, 0.35)
    if side == "both":
        count = max(2, count)
    first, guarded = one_side(rng), either(rng, "yes", "yes", "no")
    long = max(float(rng.uniform(0.6, 0.75)) * factor, 0.52 if kind in ("straight", "jab") else 0.62)
    duration = 1.4 + count * long

    def perform(stage: Stage, start: float) -> None:
        guard = window(stage.t, start, start + duration, 0.55)
        stage.blend_arm("both", guard, **(GUARD if guarded == "yes" else LOW_GUARD))
        stage.blend(guard, tilt=0.1, height=-0.03)
        for number in range(count):
            hand = side if side != "both" else first if number % 2 == 0 else other(first)
            blow(stage, hand, start + 0.7 + number * long, long, kind)

    words = {"side": side, "times": str(count), "kind": kind, "tempo": pace, "first": first, "second": other(first)}
    return Action("punch", duration, perform, words, f"punch {side}", arms=True)


@action(weight=2.5, wide=True)
def box(rng: np.random.Generator) -> Action:
    """A combination: one hand, the other, or a longer series, dancing a little in the knees."""
    first, count, (pace, factor) = one_side(rng), int(rng.integers(2, 9)), tempo(rng, 0.05, 0.3)
    long = max(float(rng.uniform(0.55, 0.75)) * factor, 0.5)
    hooked = ("hook", "uppercut") if long > 0.62 else ()
    kinds = [either(rng, *["straight"] * 3, *["jab"] * 2, *(hooked if number else ())) for number in range(count)]
    duration = 1.4 + count * long

    def perform(stage: Stage, start: float) -> None:
        t = stage.t
        guard = window(t, start, start + duration, 0.55)
        stage.blend_arm("both", guard, **GUARD)
        stage.blend(guard, tilt=0.12, height=-0.05)
        stage.add(height=0.02 * guard * np.sin(2 * np.pi * 1.6 * (t - start)))
        for number, kind in enumerate(kinds):
            blow(stage, first if number % 2 == 0 else other(first), start + 0.7 + number * long, long, kind)

    words = {"side": first, "other": other(first), "tempo": pace, "blows": "two" if count == 2 else "many"}
    return Action("box", duration, perform, words, f"box {first}", arms=True)


@action(weight=1.2, wide=True)
def block(rng: np.random.Generator) -> Action:
    """A forearm, or both, comes up before the face or over the head, against a blow."""
    side, high = any_side(rng, 0.35), either(rng, "face", "face", "head")
    (pace, factor), count = tempo(rng, 0.05, 0.25), either(rng, 1, 1, 2)
    moving, stay = max(0.45 * factor, 0.36), float(rng.uniform(0.3, 0.9))
    once = 2 * moving + stay
    duration = count * once + 0.2
    place = (-0.12, 0.08, 0.3) if high == "face" else (-0.15, 0.36, 0.16)

    def perform(stage: Stage, start: float) -> None:
        for number in range(count):
            begin = start + 0.1 + number * once
            up = window(stage.t, begin, begin + once, moving)
            hold(stage, side, up, place, (0.9, -0.6, 0.4))
            stage.add(height=-0.06 * up, tilt=0.05 * up, head_tilt=0.15 * up)

    words = {"side": side, "where": high, "times": str(count), "tempo": pace}
    return Action("block", duration, perform, words, f"block {side}", arms=True)


@action(weight=3.5, wide=True)
def push(rng: np.random.Generator) -> Action:
    """Hands from the chest straight ahead against something, with the weight behind them; or up over the head."""
    side, where = any_side(rng, 0.6), either(rng, "forward", "forward", "forward", "up")
    (pace, factor), count = tempo(rng, 0.25, 0.15), often(rng, 3, 0.7)
    moving = 0.6 * factor
    once, duration = 2.2 * moving + 0.2, 1.2 + count * (2.2 * moving + 0.2)
    near = (
        reach((-0.04, -0.13, 0.2), (0.7, -0.8, -0.3))
        if where == "forward"
        else reach((0.0, 0.02, 0.12), (0.6, -1, 0.1))
    )
    far = reach((-0.05, -0.05, 0.5)) if where == "forward" else {"fwd": 2.85, "side": 0.1, "turn": 0.2, "flex": 0.1}

    def perform(stage: Stage, start: float) -> None:
        t = stage.t
        ready = window(t, start, start + duration, 0.6)
        out = sum(
            window(t, start + 0.6 + n * once, start + 0.6 + (n + 1) * once, moving, 1.2 * moving) for n in range(count)
        )
        stage.blend_arm(side, ready, **{name: near[name] + out * (far[name] - near[name]) for name in near})
        if where == "forward":
            stage.add(tilt=0.16 * out, forward=0.05 * out, height=-0.02 * out)
            if side != "both":
                stage.add(twist=-0.3 * sign(side) * out)

    words = {"side": side, "where": where, "times": str(count), "tempo": pace}
    return Action("push", duration, perform, words, f"push {side} {where}", arms=True)


@action(weight=2.0, wide=True)
def pull(rng: np.random.Generator) -> Action:
    """Hands reach out, grasp and come back to the body; from the front, or down from above."""
    side, where = any_side(rng, 0.55), either(rng, "front", "front", "above")
    (pace, factor), count = tempo(rng, 0.2, 0.15), often(rng, 3, 0.6)
    moving = 0.65 * factor
    once = 2 * moving + 0.15
    duration = count * once + moving
    far = reach((-0.02, -0.08, 0.49)) if where == "front" else {"fwd": 2.7, "side": 0.15, "turn": 0.2, "flex": 0.12}
    near = reach((0.0, -0.24, 0.12), (0.3, -0.5, -1)) if where == "front" else reach((0.02, -0.05, 0.2), (0.5, -1, 0))

    def perform(stage: Stage, start: float) -> None:
        t, end = stage.t, start + duration
        times = [start + moving]
        values = [0.0]
        for _ in range(count):
            times += [times[-1] + moving, times[-1] + 2 * moving + 0.15]
            values += [1.0, 0.0]
        drawn = through(t, times[:-1], values[:-1]) if count > 0 else 0.0
        weight = window(t, start, end, moving, 0.8 * moving)
        stage.blend_arm(side, weight, **{name: far[name] + drawn * (near[name] - far[name]) for name in far})
        if where == "front":
            stage.add(tilt=weight * (0.15 - 0.25 * drawn), forward=-0.05 * weight * drawn, height=-0.02 * weight)
            if side != "both":
                stage.add(twist=0.3 * sign(side) * weight * (2 * drawn - 1) * 0.6)
        else:
            stage.add(height=-0.06 * weight * drawn, tilt=0.1 * weight * drawn)

    words = {"side": side, "where": where, "times": str(count), "tempo": pace}
    return Action("pull", duration, perform, words, f"pull {side} {where}", arms=True)


@action(weight=0.8, wide=True)
def chop(rng: np.random.Generator) -> Action:
    """The edge of a hand, or an axe in both, comes down from over the head."""
    side, count = any_side(rng, 0.5), often(rng, 3, 0.5)
    pace, factor = tempo(rng, 0.15, 0.2)
    up, down, rest = 0.7 * factor, max(0.5 * factor, 0.42), 0.25
    once = up + down + rest
    duration = count * once + 0.9

    def perform(stage: Stage, start: float) -> None:
        t = stage.t
        times, high = [start], [0.0]
        for number in range(count):
            begin = start + number * once
            times += [begin + up, begin + up + down, begin + once]
            high += [1.0, 0.0, 0.0]
        raised = through(t, times, high)
        weight = window(t, start, start + duration, 0.5 * up, 0.8)
        low, top = reach((-0.15, -0.35, 0.33)), reach((-0.14, 0.42, 0.1), OUT_BACK)
        stage.blend_arm(side, weight, **{name: low[name] + raised * (top[name] - low[name]) for name in low})
        stage.add(
            tilt=weight * (0.4 - 0.5 * raised),
            pelvis_tilt=0.15 * weight * (1 - raised),
            height=-0.06 * weight * (1 - raised),
        )

    words = {"side": side, "times": str(count), "tempo": pace}
    return Action("chop", duration, perform, words, f"chop {side}", arms=True)


OUT_BACK = (1.0, 0.0, 0.3)
