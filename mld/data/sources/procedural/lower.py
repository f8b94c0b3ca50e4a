"""Down and up again: squats, crouching, sitting, standing up, kneeling, lying, sit-ups."""

from __future__ import annotations

import numpy as np

from mld.data.sources.procedural.actions import Action, action, either, other
from mld.data.sources.procedural.arms import hold
from mld.data.sources.procedural.drawing import any_side, often, tempo
from mld.data.sources.procedural.moves import crouch, lead_foot
from mld.data.sources.procedural.stage import SIDES, Stage, through, window


@action(weight=7.0, wide=True)
def squat(rng: np.random.Generator) -> Action:
    count, (pace, factor), depth = often(rng, 4, 0.4), tempo(rng, 0.2, 0.2), either(rng, "low", "normal", "slight")
    deep = {"low": 0.5, "normal": 0.38, "slight": 0.2}[depth] * float(rng.uniform(0.93, 1.07))
    period, hold_it = 1.7 * factor, either(rng, 0.0, 0.0, float(rng.uniform(0.8, 2.0)))
    count = min(count, int(8.8 / period))
    if count > 1:
        hold_it = 0.0
    arms = either(rng, "front", "front", "hang", "hips")

    def perform(stage: Stage, start: float) -> None:
        once = period + hold_it
        spans = [(start + n * once, start + (n + 1) * once) for n in range(count)]
        down = sum(window(stage.t, begin, end, 0.5 * period) for begin, end in spans)
        crouch(stage, down, deep)
        out = window(stage.t, start, start + count * once, 0.45 * period)
        if arms == "front":
            stage.blend_arm("both", out, fwd=0.6 + 0.9 * down, flex=0.2)
        elif arms == "hips":
            hold(stage, "both", out, (0.0, -0.45, -0.01), (1.0, -0.1, -0.6))

    words = {"times": str(count), "tempo": pace, "depth": depth, "hold": "long" if hold_it else "short"}
    return Action("squat", count * (period + hold_it), perform, words, "squat", travels=True)


@action(weight=1.5, wide=True)
def crouch_down(rng: np.random.Generator) -> Action:
    """Deep down, stay there, come up."""
    (pace, factor), stay = tempo(rng, 0.2, 0.15), float(rng.uniform(0.6, 2.4))
    moving = 0.95 * factor
    duration = 2 * moving + stay
    deep = float(rng.uniform(0.46, 0.56))

    def perform(stage: Stage, start: float) -> None:
        down = window(stage.t, start, start + duration, moving)
        crouch(stage, down, deep)
        stage.add(head_tilt=0.2 * down, tilt=0.2 * down)
        stage.blend_arm("both", down, fwd=0.95, flex=0.9, side=0.1)

    words = {"tempo": pace, "end": "up"}
    return Action("crouch_down", duration, perform, words, "crouch down", travels=True, rising=moving)


@action(weight=8.0, wide=True)
def sit(rng: np.random.Generator) -> Action:
    """Sit down on a seat behind the body, stay, stand up."""
    (pace, factor), stay = tempo(rng, 0.2, 0.12), float(rng.uniform(0.5, 3.0))
    moving = 1.35 * factor
    duration, seat = 2 * moving + stay, float(rng.uniform(0.36, 0.46))
    hands = either(rng, "knees", "knees", "lap", "sides")

    def perform(stage: Stage, start: float) -> None:
        t, end = stage.t, start + duration
        down = window(t, start, end, moving)
        on_the_way = window(t, start, start + moving, 0.5 * moving) + window(t, end - moving, end, 0.5 * moving)
        stage.add(height=-seat * down, forward=-0.4 * down, tilt=0.05 * down + 0.5 * on_the_way,
                  pelvis_tilt=-0.1 * down + 0.35 * on_the_way)  # fmt: skip
        if hands == "knees":
            stage.blend_arm("both", down, fwd=0.6, side=0.1, flex=0.7, turn=0.2)
        elif hands == "lap":
            hold(stage, "both", down, (-0.13, -0.36, 0.24), (0.8, -0.7, -0.2))

    words = {"tempo": pace, "stay": "long" if stay > 1.5 else "short", "end": "up"}
    return Action("sit", duration, perform, words, "sit", travels=True, rising=moving)


@action(weight=4.0, wide=True)
def kneel(rng: np.random.Generator) -> Action:
    """On one knee, or on both one after the other; stay; rise."""
    side, (pace, factor), stay = any_side(rng, 0.45), tempo(rng, 0.2, 0.1), float(rng.uniform(0.5, 2.2))
    first = side if side != "both" else either(rng, *SIDES)
    moving = 1.2 * factor
    late = 0.8 * factor if side == "both" else 0.0
    stay = max(stay, 0.9 * moving) if side == "both" else stay
    duration = 2 * moving + 2 * late + stay + 0.4
    deep = 0.44

    def perform(stage: Stage, start: float) -> None:
        t, end = stage.t, start + duration
        lift, land = start + 0.2, end - 0.2
        down = window(t, start + 0.1, end - 0.1, moving + 0.1)
        knees = (
            ((first, lift, land),)
            if side != "both"
            else ((first, lift, land), (other(first), lift + late + 0.35 * moving, land - late - 0.35 * moving))
        )
        for knee, off, on in knees:
            keys = [(off + 0.55 * moving, 0.14, -0.62, 0.9), (off + moving, 0.12, -0.69, 1.15),
                    (on - moving, 0.12, -0.69, 1.15), (on - 0.5 * moving, 0.16, -0.5, 0.7)]  # fmt: skip
            lead_foot(stage, knee, keys, off, on)
        stage.add(
            height=-deep * down,
            forward=-0.28 * down,
            tilt=0.25 * window(t, start, end, moving) * (1 - down) + 0.05 * down,
        )
        stage.blend(window(t, start, end, 0.4), balance=0.3)
        if side != "both":
            hold(stage, other(first), down, (-0.02, -0.42, 0.26), (0.6, -0.9, -0.2))

    words = {"side": side, "tempo": pace, "stay": "long" if stay > 1.4 else "short", "end": "up"}
    if side == "both":
        words["first"] = first
    return Action("kneel", duration, perform, words, f"kneel {side}", travels=True, rising=moving + late + 0.2)


FLOOR = {  # curves of sitting and of lying on the floor
    "sit": {"height": -0.8, "forward": -0.48, "pelvis_tilt": -0.2, "tilt": 0.3},
    "lie": {"height": -0.82, "forward": -0.52, "pelvis_tilt": -1.5, "tilt": 0.1},
}


def _floor(stage: Stage, times, sitting, lying) -> None:
    """Shares (at times) of sitting on the floor and, of that, of lying on the back."""
    down, flat = through(stage.t, times, sitting), through(stage.t, times, lying)
    on_the_way = 4 * down * (1 - down)
    for name, seated in FLOOR["sit"].items():
        stage.add(**{name: down * (seated + flat * (FLOOR["lie"][name] - seated))})
    stage.add(tilt=0.45 * on_the_way, pelvis_tilt=0.25 * on_the_way)
    half = np.clip(down, 0, 1) * (1 - flat)
    stage.blend_arm("both", half, fwd=0.75, flex=0.35, side=0.15)
    stage.blend_arm("both", np.clip(flat, 0, 1), fwd=0.05, flex=0.1, side=0.22)


@action(weight=1.2, wide=True)
def sit_on_floor(rng: np.random.Generator) -> Action:
    (pace, factor), stay = tempo(rng, 0.15, 0.1), float(rng.uniform(0.6, 2.4))
    moving = 1.7 * factor
    duration = 2 * moving + stay

    def perform(stage: Stage, start: float) -> None:
        _floor(stage, [start, start + moving, start + moving + stay, start + duration], [0.0, 1.0, 1.0, 0.0], [0.0] * 4)

    words = {"tempo": pace, "end": "up"}
    return Action("sit_on_floor", duration, perform, words, "sit on floor", travels=True, rising=moving)


@action(weight=2.5, wide=True)
def lie_down(rng: np.random.Generator) -> Action:
    """Sit down on the floor, lie on the back, stay, get up."""
    (pace, factor), stay = tempo(rng, 0.1, 0.15), float(rng.uniform(0.5, 1.6))
    sitting, lying = 1.5 * min(factor, 1.4), 1.1 * min(factor, 1.4)
    duration = 2 * sitting + 2 * lying + stay

    def perform(stage: Stage, start: float) -> None:
        times = np.cumsum([start, sitting, lying, stay, lying, sitting])
        _floor(stage, times, [0.0, 1.0, 1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 1.0, 1.0, 0.0, 0.0])

    words = {"tempo": pace, "end": "up"}
    return Action("lie_down", duration, perform, words, "lie down", travels=True, rising=lying + sitting)


@action(weight=0.8, wide=True)
def sit_ups(rng: np.random.Generator) -> Action:
    count, sitting, rep = int(rng.integers(1, 4)), 1.4, float(rng.uniform(1.3, 1.7))
    duration = 2 * sitting + 1.0 + (count - 0.0) * rep

    def perform(stage: Stage, start: float) -> None:
        times, flat = [start, start + sitting, start + sitting + 1.0], [0.0, 0.0, 1.0]
        for _ in range(count):
            times += [times[-1] + 0.5 * rep, times[-1] + rep]
            flat += [0.0, 1.0]
        times[-1] -= 0.5 * rep  # the last one ends sitting
        times, flat = times[:-1] + [start + duration - sitting, start + duration], flat[:-1] + [0.0, 0.0]
        sitting_down = [0.0] + [1.0] * (len(times) - 2) + [0.0]
        _floor(stage, times, sitting_down, flat)

    return Action("sit_ups", duration, perform, {"times": str(count)}, "sit-ups", travels=True)


@action(weight=0.8, wide=True)
def fall(rng: np.random.Generator) -> Action:
    """Down onto the back in no time, a rest, up again."""
    stay, rising = float(rng.uniform(0.5, 1.6)), float(rng.uniform(1.2, 1.5))
    duration = 0.9 + 0.45 + stay + 2 * rising

    def perform(stage: Stage, start: float) -> None:
        times = np.cumsum([start, 0.9, 0.45, stay, rising, rising])
        _floor(stage, times, [0.0, 1.0, 1.0, 1.0, 1.0, 0.0], [0.0, 0.25, 1.0, 1.0, 0.0, 0.0])
        thrown = window(stage.t, start, start + 1.4, 0.45, 0.7)
        stage.blend_arm("both", thrown, side=1.2, fwd=0.6, flex=0.4)

    return Action("fall", duration, perform, {}, "fall", travels=True)
