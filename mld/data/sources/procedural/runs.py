"""Running of the wide set, and gaits that are near it: skipping, kicking walks, running on the spot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mld.data.sources.procedural.actions import Action, action, either, sign
from mld.data.sources.procedural.locomotion import Gait, cruise, duration_of, steps_for, travel
from mld.data.sources.procedural.stage import SIDES, Carried, Stage, window
from mld.data.sources.procedural.walks import gone, walking

SPEEDS = {"jog": (1.95, 2.35), "run": (2.6, 3.1), "sprint": (3.4, 4.0)}  # m/s


def running(rng: np.random.Generator, kind: str) -> tuple[Gait, float]:
    """A gait and its speed (m/s)."""
    speed = float(rng.uniform(*SPEEDS[kind]))
    gait = Gait(
        cycle=float(rng.uniform(0.69, 0.77)) - 0.03 * max(0.0, speed - 2.6),
        duty=0.44 - 0.035 * speed,
        reach=0.4,
        apex=0.1 + 0.05 * speed,
        off=0.95,
        on=-0.05,
        width=0.06,
        bob=0.034,
        lower=0.045,
        tilt=0.03 + 0.035 * speed,
        swing=(0.3 + 0.1 * speed) * float(rng.uniform(0.8, 1.15)),
        elbow=1.15,
        sway=0.25,
        rise=1.2,
        runs=True,
    )
    return gait, speed


def _on_the_spot(rng: np.random.Generator, apex: float) -> Gait:
    return Gait(
        cycle=float(rng.uniform(0.6, 0.72)),
        duty=0.42,
        apex=apex,
        off=0.7,
        on=0.25,
        bob=0.03,
        lower=0.03,
        tilt=0.06,
        swing=0.35,
        elbow=1.2,
        runs=True,
    )


@action(weight=7.0, wide=True)
def run(rng: np.random.Generator) -> Action:
    kind = either(rng, "jog", "run", "run", "sprint")
    gait, speed = running(rng, kind)
    steps = steps_for(gait, float(rng.uniform(2.2, 4.4)))
    return gone(
        "run",
        gait,
        steps,
        {"kind": kind},
        kind,
        loose=True,
        first=either(rng, *SIDES),
        forward=cruise(gait, steps, speed),
    )


@action(weight=2.5, wide=True)
def run_turning(rng: np.random.Generator) -> Action:
    """Run along a bend, or in a circle."""
    side, way = either(rng, *SIDES), either(rng, "bend", "circle")
    gait, speed = running(rng, "jog")
    steps = steps_for(gait, float(rng.uniform(3.0, 4.5) if way == "bend" else rng.uniform(4.5, 6.5)))
    angle = float(rng.uniform(1.2, 1.8)) if way == "bend" else 2 * np.pi
    words = {"side": side, "way": way, "clock": "counterclockwise" if side == "left" else "clockwise"}
    return gone(
        "run_turning",
        gait,
        steps,
        words,
        f"run {way} {side}",
        first=side,
        forward=cruise(gait, steps, speed),
        turn=sign(side) * angle,
    )


@action(weight=1.5, wide=True)
def run_backward(rng: np.random.Generator) -> Action:
    gait = Gait(
        cycle=float(rng.uniform(0.66, 0.74)),
        duty=0.42,
        reach=0.5,
        apex=0.14,
        off=0.5,
        on=0.5,
        bob=0.03,
        lower=0.05,
        tilt=0.04,
        swing=0.35,
        elbow=1.1,
        rise=1.2,
        runs=True,
    )
    steps = steps_for(gait, float(rng.uniform(2.2, 3.8)))
    return gone(
        "run_backward",
        gait,
        steps,
        {},
        "run backward",
        first=either(rng, *SIDES),
        forward=-cruise(gait, steps, float(rng.uniform(1.4, 1.9))),
    )


@action(weight=3.0, wide=True)
def run_in_place(rng: np.random.Generator) -> Action:
    kind = either(rng, "run", "run", "knees")
    gait = _on_the_spot(rng, 0.4 if kind == "knees" else 0.2)
    steps = steps_for(gait, float(rng.uniform(2.0, 5.5)))
    return gone("run_in_place", gait, steps, {"kind": kind}, "run in place", loose=True, first=either(rng, *SIDES))


@action(weight=2.0, wide=True)
def run_stop(rng: np.random.Generator) -> Action:
    """Run, stop, stand."""
    gait, speed = running(rng, either(rng, "jog", "run"))
    steps, stay = steps_for(gait, float(rng.uniform(2.6, 3.8))), float(rng.uniform(0.8, 1.6))
    action = gone(
        "run_stop", gait, steps, {}, "run stop", first=either(rng, *SIDES), forward=cruise(gait, steps, speed)
    )
    return replace(action, duration=action.duration + stay)


@action(weight=2.0, wide=True)
def speed_up(rng: np.random.Generator) -> Action:
    """From walking to running, or from running to walking."""
    way = either(rng, "faster", "slower")
    (slow, walk_speed), (fast, run_speed) = walking(rng, "normal"), running(rng, "run")
    parts = [(slow, walk_speed, steps_for(slow, 3.0)), (fast, run_speed, steps_for(fast, 2.8))]
    if way == "slower":
        parts.reverse()

    def play(stage: Stage, start: float) -> None:
        for gait, speed, steps in parts:
            travel(stage, start, gait, steps, forward=cruise(gait, steps, speed), first="right")
            start += duration_of(gait, steps)

    total = sum(duration_of(gait, steps) for gait, _, steps in parts)
    return Action("speed_up", total, play, {"way": way}, f"walk run {way}", travels=True)


def _led(height: float, ahead: float, pitch: float):
    """Leads each swinging foot through a place (m) in front of or behind the body."""

    def lead(stage: Stage, side: str, lift: float, land: float) -> None:
        weight = window(stage.t, lift, land, 0.5 * (land - lift))
        across = sign(side) * stage.style.stance
        local = np.broadcast_to([across, height, ahead], (stage.num_frames, 3))
        stage.carried[side].append(Carried(weight, local, np.full(stage.num_frames, pitch)))

    return lead


@action(weight=2.0, wide=True)
def kick_walk(rng: np.random.Generator) -> Action:
    """The goose step: every leg swings up straight."""
    gait = Gait(
        cycle=float(rng.uniform(1.25, 1.45)), duty=0.55, apex=0.1, off=0.5, on=0.0, swing=0.5, bob=0.01, tilt=-0.04
    )
    steps = steps_for(gait, float(rng.uniform(3.2, 6.0)))
    return gone(
        "kick_walk",
        gait,
        steps,
        {},
        "kick walk",
        loose=True,
        first=either(rng, *SIDES),
        forward=cruise(gait, steps, float(rng.uniform(0.55, 0.75))),
        lead=_led(0.42, 0.62, -0.1),
    )


@action(weight=1.5, wide=True)
def butt_kicks(rng: np.random.Generator) -> Action:
    """Running with the heels to the buttocks, on the spot or ahead."""
    where = either(rng, "in place", "forward")
    gait = replace(_on_the_spot(rng, 0.15), cycle=float(rng.uniform(0.7, 0.8)))
    steps = steps_for(gait, float(rng.uniform(2.4, 4.5)))
    return gone(
        "butt_kicks",
        gait,
        steps,
        {"where": where},
        "butt kicks",
        first=either(rng, *SIDES),
        forward=cruise(gait, steps, 1.0) if where == "forward" else 0.0,
        lead=_led(0.52, -0.32, 1.3),
    )


@action(weight=2.0, wide=True)
def skip(rng: np.random.Generator) -> Action:
    """Bounding ahead from foot to foot with high knees."""
    gait = Gait(
        cycle=float(rng.uniform(0.95, 1.1)),
        duty=0.4,
        apex=0.3,
        off=0.9,
        on=0.1,
        bob=0.075,
        lower=0.05,
        tilt=0.04,
        swing=0.6,
        elbow=0.7,
        sway=0.3,
        rise=1.0,
        runs=True,
    )
    steps = steps_for(gait, float(rng.uniform(2.6, 4.6)))
    return gone(
        "skip",
        gait,
        steps,
        {},
        "skip",
        loose=True,
        first=either(rng, *SIDES),
        forward=cruise(gait, steps, float(rng.uniform(1.2, 1.6))),
    )


@action(weight=2.0, wide=True)
def step_over(rng: np.random.Generator) -> Action:
    gait, speed = walking(rng, "slow")
    gait = replace(gait, cycle=1.35, rise=0.7)
    over = int(rng.integers(2, 4))
    path = {"forward": cruise(gait, over + 4, speed + 0.12), "high": (over, over + 1)}
    return gone("step_over", gait, over + 4, {}, "step over", first=either(rng, *SIDES), **path)
