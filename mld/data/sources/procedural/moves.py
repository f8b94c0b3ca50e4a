"""What the whole body does on the spot: squat, sit down, bow, pick up, kick, raise a knee, lunge."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator

from mld.data.sources.procedural.actions import Action, action, either, other, sign
from mld.data.sources.procedural.stage import SIDES, Carried, Stage, Step, through, window

HIP, STRETCHED = 0.86, 0.8  # height of the hip joint and length of a leg, m


@action(weight=2.0)
def squat(rng: np.random.Generator) -> Action:
    count, deep = int(rng.integers(1, 4)), float(rng.uniform(0.3, 0.45))
    period = float(rng.uniform(1.5, 2.1))
    arms = float(rng.uniform(1.1, 1.5))

    def perform(stage: Stage, start: float) -> None:
        down = sum(window(stage.t, start + n * period, start + (n + 1) * period, 0.5 * period) for n in range(count))
        crouch(stage, down, deep)
        out = window(stage.t, start, start + count * period, 0.45 * period)
        stage.blend_arm("both", out, fwd=arms * (0.5 + 0.5 * down) + 0.5 * down, flex=0.2)

    return Action("squat", count * period, perform, {"times": str(count)}, "squat", travels=True)


def crouch(stage: Stage, down: np.ndarray, deep: float) -> None:
    """Knees and hips bend until the pelvis is `deep` metres lower where `down` (T,) is 1."""
    stage.add(height=-deep * down, forward=-0.28 * deep * down, pelvis_tilt=0.9 * deep * down, tilt=1.0 * deep * down)


@action(weight=2.0)
def sit(rng: np.random.Generator) -> Action:
    """Sit down on a seat behind the body, stay, stand up."""
    moving, stay = float(rng.uniform(1.3, 1.7)), float(rng.uniform(0.6, 2.0))
    duration = 2 * moving + stay
    seat = float(rng.uniform(0.34, 0.42))

    def perform(stage: Stage, start: float) -> None:
        t, end = stage.t, start + duration
        down = window(t, start, end, moving)
        on_the_way = window(t, start, start + moving, 0.5 * moving) + window(t, end - moving, end, 0.5 * moving)
        stage.add(height=-seat * down, forward=-0.38 * down, tilt=0.05 * down + 0.5 * on_the_way,
                  pelvis_tilt=-0.1 * down + 0.35 * on_the_way)  # fmt: skip
        stage.blend_arm("both", down, fwd=0.55, side=0.12, flex=0.75, turn=0.25)

    return Action("sit", duration, perform, {}, "sit", travels=True)


@action(weight=1.5)
def bow(rng: np.random.Generator) -> Action:
    deep = either(rng, "slightly", "deeply")
    angle = {"slightly": 0.55, "deeply": 1.05}[deep] * float(rng.uniform(0.9, 1.1))
    moving, hold = float(rng.uniform(1.0, 1.5)), float(rng.uniform(0.3, 0.8))

    def perform(stage: Stage, start: float) -> None:
        down = window(stage.t, start, start + 2 * moving + hold, moving)
        stage.add(pelvis_tilt=0.55 * angle * down, tilt=0.55 * angle * down, head_tilt=0.3 * angle * down,
                  forward=-0.11 * angle * down)  # fmt: skip
        stage.blend_arm("both", down, fwd=0.45 * angle, flex=0.15, side=0.03)

    return Action("bow", 2 * moving + hold, perform, {"deep": deep}, f"bow {deep}", travels=True)


@action(weight=1.5)
def pick_up(rng: np.random.Generator) -> Action:
    """Bend down, reach for the floor with one hand, come up with the hand before the body."""
    side = either(rng, *SIDES)
    moving, hold, after = float(rng.uniform(1.0, 1.3)), float(rng.uniform(0.2, 0.5)), float(rng.uniform(0.8, 1.2))
    duration = 2 * moving + hold + after

    def perform(stage: Stage, start: float) -> None:
        t, end = stage.t, start + duration
        up = start + 2 * moving + hold
        down = window(t, start, up, moving)
        crouch(stage, down, 0.42)
        stage.add(tilt=0.3 * down, pelvis_tilt=0.2 * down, lean=0.1 * sign(side) * down)
        times = [start, start + moving, up - moving, up, end - 0.2, end]
        flex = through(t, times, [0.2, 0.1, 0.1, 1.45, 1.45, 0.25])
        fwd = through(t, times, [0.0, 1.05, 1.05, 0.35, 0.35, 0.0])
        stage.blend_arm(side, window(t, start, end, 0.5 * moving, 0.7), fwd=fwd, flex=flex, turn=0.2, side=0.05)
        stage.blend_arm(other(side), down, fwd=0.5, flex=0.7)

    return Action("pick_up", duration, perform, {"side": side}, f"pick up {side}", travels=True)


def lead_foot(stage: Stage, side: str, keys: list[tuple[float, ...]], lift: float, land: float) -> None:
    """Lift one foot and put it back, through keys of (time, height, forward, pitch) in between."""
    x, z, yaw = stage.stand(land, side)
    stage.steps[side].append(Step(lift, land, x, z, yaw, 0.02, off=0.35, off_time=0.2))
    across = sign(side) * stage.style.stance
    times = [lift, *[key[0] for key in keys], land]
    points = np.array([[0.075, -0.02, 0.35], *[key[1:] for key in keys], [0.065, -0.03, 0.0]])
    up, ahead, pitch = PchipInterpolator(times, points)(np.clip(stage.t, lift, land)).T
    local = np.stack([np.full_like(up, across), up, ahead], axis=-1)
    stage.carried[side].append(Carried(window(stage.t, lift, land, 0.15), local, pitch))


@action(weight=2.0)
def kick(rng: np.random.Generator) -> Action:
    side, high = either(rng, *SIDES), float(rng.uniform(0.35, 0.85))
    lead, blow = 0.5, float(rng.uniform(0.4, 0.5))
    duration = lead + 2.1 + blow

    def perform(stage: Stage, start: float) -> None:
        t, end = stage.t, start + duration
        lift, land = start + lead, end - 0.45
        back = lift + 0.4
        hit = back + blow
        reach = 0.98 * np.sqrt(STRETCHED**2 - (HIP - high) ** 2)
        keys = [(back, 0.3, -0.32, 0.7), (hit, high, reach, 0.45), (hit + 0.4, 0.4, 0.15, 0.3)]
        lead_foot(stage, side, keys, lift, land)
        stage.blend(window(t, start, end, lead), balance=0.85)
        swing = through(t, [start, back, hit, hit + 0.6, end], [0.0, 0.12, -0.28, -0.05, 0.0])
        stage.add(tilt=swing, pelvis_tilt=0.5 * swing, pelvis_twist=0.5 * sign(side) * swing)
        busy = window(t, start, end, 0.6)
        stage.blend_arm(side, busy, fwd=2.0 * swing - 0.1, side=0.45, flex=0.5)
        stage.blend_arm(other(side), busy, fwd=-2.5 * swing, side=0.45, flex=0.6)

    words = {"side": side, "level": "high" if high > 0.62 else "low"}
    return Action("kick", duration, perform, words, f"kick {side}", travels=True)


@action()
def raise_knee(rng: np.random.Generator) -> Action:
    """Stand on one leg with the other knee raised."""
    side, hold = either(rng, *SIDES), float(rng.uniform(0.5, 1.8))
    duration = 2.9 + hold

    def perform(stage: Stage, start: float) -> None:
        t, end = stage.t, start + duration
        lift, land = start + 0.5, end - 0.4
        keys = [(lift + 0.9, 0.5, 0.22, 0.5), (land - 0.9, 0.5, 0.22, 0.5)]
        lead_foot(stage, side, keys, lift, land)
        stage.blend(window(t, start, end, 0.5), balance=0.9)
        stage.blend_arm("both", window(t, start, end, 0.8), side=0.7, flex=0.4)

    words = {"side": side, "other": other(side)}
    return Action("raise_knee", duration, perform, words, f"raise knee {side}", travels=True)


@action()
def lunge(rng: np.random.Generator) -> Action:
    """A long step forward with one leg, sink, come up and step back."""
    side, hold = either(rng, *SIDES), float(rng.uniform(0.2, 0.7))
    moving, far = float(rng.uniform(0.9, 1.1)), float(rng.uniform(0.55, 0.7))
    duration = 2 * moving + hold + 0.9

    def perform(stage: Stage, start: float) -> None:
        t, end = stage.t, start + duration
        home, (_, _, heading) = stage.stand(start, side), stage.place(start)
        lift, land = start + 0.3, start + 0.3 + 0.65 * moving
        there = (home[0] + far * np.sin(heading), home[1] + far * np.cos(heading), home[2])
        stage.steps[side] += [
            Step(lift, land, *there, apex=0.06, off=0.4, on=-0.2),
            Step(end - 0.3 - 0.65 * moving, end - 0.3, *home, apex=0.06, off=0.3, on=0.1),
        ]
        down = window(t, start + 0.25, end - 0.25, moving + 0.2)
        stage.add(height=-0.26 * down, forward=0.48 * far * down, tilt=0.1 * down)
        stage.blend(window(t, start, end, 0.3), balance=0.25)
        stage.blend_arm("both", down, side=0.5, flex=1.3, turn=0.6, fwd=-0.15)

    return Action("lunge", duration, perform, {"side": side}, f"lunge {side}", travels=True)
