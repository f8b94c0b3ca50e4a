"""The basic actions on alternating feet: walking, running, side steps, turning, marching, circles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mld.data.sources.procedural.actions import Action, action, either, sign
from mld.data.sources.procedural.locomotion import ON_THE_SPOT, STEADY, Gait, cruise, going, steps_for

PACES = {"slow": (0.55, 0.75, 1.35), "normal": (0.95, 1.2, 1.12), "fast": (1.4, 1.65, 0.96)}  # m/s from, to; cycle


def _walking(rng: np.random.Generator, pace: str) -> tuple[Gait, float]:
    """A gait and its speed (m/s)."""
    low, high, cycle = PACES[pace]
    speed = float(rng.uniform(low, high))
    gait = replace(
        STEADY,
        cycle=cycle * float(rng.uniform(0.95, 1.05)),
        duty=0.65 - 0.04 * speed,
        off=0.45 + 0.25 * speed,
        swing=0.18 + 0.17 * speed,
        tilt=0.02 + 0.04 * speed,
        lower=0.006 + 0.008 * speed,
    )
    return gait, speed


def _first(rng: np.random.Generator) -> str:
    return either(rng, "left", "right")


@action(weight=3.0)
def walk(rng: np.random.Generator) -> Action:
    pace = either(rng, "slow", "normal", "normal", "fast")
    gait, speed = _walking(rng, pace)
    steps = steps_for(gait, float(rng.uniform(2.4, 5.5)))
    distance = cruise(gait, steps, speed)
    return going("walk", gait, steps, {"pace": pace}, f"walk {pace}", forward=distance, first=_first(rng))


@action(weight=1.5)
def walk_backward(rng: np.random.Generator) -> Action:
    pace = either(rng, "slow", "normal")
    speed = {"slow": 0.45, "normal": 0.75}[pace] * float(rng.uniform(0.9, 1.1))
    gait = replace(STEADY, cycle=1.2, off=0.3, on=0.3, reach=0.5, swing=0.2, tilt=-0.01, apex=0.1)
    steps = steps_for(gait, float(rng.uniform(2.4, 5.0)))
    distance = -cruise(gait, steps, speed)
    return going("walk_backward", gait, steps, {"pace": pace}, "walk backward", forward=distance, first=_first(rng))


@action(weight=2.0)
def walk_turning(rng: np.random.Generator) -> Action:
    """Walk ahead, turn while walking, walk on."""
    side, pace = _first(rng), either(rng, "slow", "normal")
    gait, speed = _walking(rng, pace)
    angle = float(rng.uniform(0.9, 1.6))
    steps = steps_for(gait, float(rng.uniform(3.5, 5.5)))
    path = {"forward": cruise(gait, steps, 0.9 * speed), "turn": sign(side) * angle, "turning": (0.25, 0.75)}
    words = {"side": side, "pace": pace}
    return going("walk_turning", gait, steps, words, f"walk turning {side}", first=side, **path)


@action(weight=2.0)
def walk_circle(rng: np.random.Generator) -> Action:
    side = _first(rng)
    gait, speed = _walking(rng, "normal")
    gait = replace(gait, cycle=gait.cycle * 0.97)
    steps = steps_for(gait, float(rng.uniform(5.2, 6.8)))
    words = {"side": side, "clock": "counterclockwise" if side == "left" else "clockwise"}
    path = {"forward": cruise(gait, steps, 0.95 * speed), "turn": sign(side) * 2 * np.pi}
    return going("walk_circle", gait, steps, words, f"walk circle {side}", first=side, **path)


@action(weight=2.0)
def run(rng: np.random.Generator) -> Action:
    pace = either(rng, "slow", "normal")
    speed = {"slow": 1.9, "normal": 2.6}[pace] * float(rng.uniform(0.93, 1.07))
    gait = Gait(
        cycle=float(rng.uniform(0.7, 0.76)), duty=0.38, reach=0.4, apex=0.12 + 0.05 * speed, off=0.95, on=-0.05,
        width=0.06, bob=0.03, lower=0.045, tilt=0.06 + 0.04 * speed, swing=0.3 + 0.12 * speed, elbow=1.15, sway=0.25,
        rise=1.5, runs=True,
    )  # fmt: skip
    steps = steps_for(gait, float(rng.uniform(2.2, 3.6)))
    return going("run", gait, steps, {"pace": pace}, "run", forward=cruise(gait, steps, speed), first=_first(rng))


@action(weight=1.5)
def side_step(rng: np.random.Generator) -> Action:
    side, pairs = _first(rng), int(rng.integers(2, 6))
    gait = Gait(cycle=float(rng.uniform(0.95, 1.15)), duty=0.6, reach=0.5, apex=0.1, off=0.25, on=0.1, width=0.1,
                bob=0.01, swing=0.0, tilt=0.02, sway=0.35)  # fmt: skip
    distance = sign(side) * pairs * float(rng.uniform(0.26, 0.34))
    label = f"side step {side}"
    return going("side_step", gait, 2 * pairs, {"side": side}, label, left=distance, first=side)


@action(weight=2.0)
def turn(rng: np.random.Generator) -> Action:
    side, quarters = _first(rng), either(rng, 1, 2, 2)
    steps = 3 if quarters == 1 else 5
    gait = replace(ON_THE_SPOT, cycle=float(rng.uniform(0.9, 1.1)))
    words = {"side": side, "amount": {1: "quarter", 2: "half"}[quarters]}
    return going("turn", gait, steps, words, f"turn {side}", turn=sign(side) * quarters * np.pi / 2, first=side)


@action()
def spin(rng: np.random.Generator) -> Action:
    side = _first(rng)
    gait = replace(ON_THE_SPOT, cycle=float(rng.uniform(0.66, 0.76)))
    path = {"turn": sign(side) * 2 * np.pi, "first": side}
    return going("spin", gait, 7, {"side": side}, f"spin {side}", **path)


@action()
def march(rng: np.random.Generator) -> Action:
    cycle = float(rng.uniform(0.95, 1.15))
    gait = replace(ON_THE_SPOT, cycle=cycle, apex=0.3, off=0.4, swing=0.45, elbow=0.4, sway=0.4)
    return going("march", gait, 2 * int(rng.integers(3, 6)), {}, "march", first=_first(rng))


@action()
def step_over(rng: np.random.Generator) -> Action:
    gait, speed = _walking(rng, "slow")
    gait = replace(gait, cycle=1.3)
    over = int(rng.integers(2, 4))
    path = {"forward": cruise(gait, over + 4, speed + 0.1), "high": (over, over + 1), "first": _first(rng)}
    return going("step_over", gait, over + 4, {}, "step over", **path)
