"""Everything done on alternating feet: walking, running, side steps, turning, marching, circles.

One function, `travel`, plans all of it: the body's path is the integral of a speed that rises and falls smoothly, and
each foot is put down where the body will be when it passes over that foot.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mld.data.sources.procedural.actions import Action, action, either, other, sign
from mld.data.sources.procedural.stage import FPS, Stage, Step, window

LEAD_IN, SETTLE = 0.2, 0.25  # seconds before the first foot lifts and after the last one lands


@dataclass(frozen=True)
class Gait:
    """How the feet go.

    cycle: two steps (s); duty: share of it that a foot stands; reach: share of the stand after which the body is over
    the foot; apex, off, on: see `Step`; bob: pelvis up and down (m); lower: pelvis below standing (m).
    """

    cycle: float = 1.1
    duty: float = 0.62
    reach: float = 0.42
    apex: float = 0.06
    off: float = 0.75
    on: float = -0.3
    width: float | None = None
    bob: float = 0.014
    lower: float = 0.012
    tilt: float = 0.05
    swing: float = 0.42  # upper arm, rad
    elbow: float = 0.0  # more bend than at rest, rad
    sway: float = 0.3  # share of the way over the standing foot
    rise: float = 0.75  # cycles to full speed
    runs: bool = False


STEADY = Gait()
ON_THE_SPOT = Gait(cycle=1.0, duty=0.6, apex=0.11, off=0.35, on=0.1, bob=0.006, swing=0.12, tilt=0.0)


def duration_of(gait: Gait, steps: int) -> float:
    """Seconds that `steps` steps take from standing to standing."""
    return LEAD_IN + (steps - 1) * gait.cycle / 2 + (1 - gait.duty) * gait.cycle + SETTLE


def travel(
    stage: Stage,
    start: float,
    gait: Gait,
    steps: int,
    forward: float = 0.0,
    left: float = 0.0,
    turn: float = 0.0,
    first: str = "right",
    turning: tuple[float, float] = (0.0, 1.0),
    high: tuple[int, ...] = (),
) -> None:
    """Walk from standing to standing. forward, left: metres; turn: radians to the left, made between the two shares of
    the walk in `turning`; first: the foot that starts; high: numbers of the steps that clear an obstacle."""
    t, end = stage.t, start + duration_of(gait, steps)
    halt = end - 0.6 * SETTLE
    pace = _integral(window(t, start, halt, gait.rise * gait.cycle, 0.85 * gait.cycle))
    begin, finish = (start + share * (halt - start) for share in turning)
    turned = _integral(window(t, begin, finish, min(0.5, (finish - begin) / 2)))
    stage.move(start, forward * pace, left * pace, turn * turned)

    swing = (1 - gait.duty) * gait.cycle
    side = first
    for number in range(steps):
        lift = start + LEAD_IN + number * gait.cycle / 2
        over = min(lift + swing + gait.reach * gait.duty * gait.cycle, end)
        if number >= steps - 2:
            over = end
        x, z, yaw = stage.stand(over, side, gait.width)
        apex = 0.3 if number in high else gait.apex * (0.6 if number == 0 else 1.0)
        stage.steps[side].append(
            Step(
                lift, lift + swing, x, z, yaw, apex, gait.off, gait.on,
                off_time=min(0.3, 0.5 * gait.duty * gait.cycle), on_time=min(0.12, 0.3 * gait.duty * gait.cycle),
            )  # fmt: skip
        )
        side = other(side)
    landing = start + LEAD_IN + swing + (0.0 if first == "right" else gait.cycle / 2)
    _swing_body(stage, window(t, start, end, 0.6 * gait.cycle, 0.6 * gait.cycle), gait, landing)


def _swing_body(stage: Stage, weight: np.ndarray, gait: Gait, landing: float) -> None:
    """Arms against legs, trunk against pelvis, up and down; the right foot lands at `landing` and every cycle."""
    phase = 2 * np.pi * (stage.t - landing) / gait.cycle
    beat, arms = weight * np.cos(phase), gait.swing * stage.style.arm_swing
    if gait.runs:
        bounce = np.cos(2 * (phase + 0.4))  # highest between two stands
    else:
        bounce = -np.cos(2 * (phase - 0.5))  # lowest while both feet stand
    stage.add(
        height=weight * (gait.bob * stage.style.bounce * bounce - gait.lower),
        tilt=weight * gait.tilt,
        pelvis_twist=0.2 * arms * beat,
        twist=-0.4 * arms * beat,
        pelvis_lean=0.03 * weight * np.sin(phase),
    )
    for side, way in (("right", -1.0), ("left", 1.0)):
        swung = way * arms * beat
        stage.add(**{f"{side}_fwd": swung + 0.1 * weight * arms, f"{side}_flex": gait.elbow * weight + 0.35 * swung})
    stage.blend(weight, balance=gait.sway)


def _integral(curve: np.ndarray) -> np.ndarray:
    """Running integral (T,), scaled to end at 1."""
    total = np.cumsum(curve) / FPS
    return total / max(total[-1], 1e-6)


def _steps_for(gait: Gait, seconds: float) -> int:
    """The number of steps that comes nearest to a duration, at least three."""
    rest = seconds - LEAD_IN - SETTLE - (1 - gait.duty) * gait.cycle
    return max(3, 1 + round(rest / (gait.cycle / 2)))


def _going(name: str, gait: Gait, steps: int, words: dict[str, str], label: str, **path) -> Action:
    return Action(
        name,
        duration_of(gait, steps),
        lambda stage, start: travel(stage, start, gait, steps, **path),
        words,
        label,
        travels=True,
    )


def _cruise(gait: Gait, steps: int, speed: float) -> float:
    """Metres covered at a cruising speed (m/s), less for the start and the stop."""
    return speed * (duration_of(gait, steps) - 0.6 * SETTLE - 0.5 * (gait.rise + 0.85) * gait.cycle)


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
    steps = _steps_for(gait, float(rng.uniform(2.4, 5.5)))
    distance = _cruise(gait, steps, speed)
    return _going("walk", gait, steps, {"pace": pace}, f"walk {pace}", forward=distance, first=_first(rng))


@action(weight=1.5)
def walk_backward(rng: np.random.Generator) -> Action:
    pace = either(rng, "slow", "normal")
    speed = {"slow": 0.45, "normal": 0.75}[pace] * float(rng.uniform(0.9, 1.1))
    gait = replace(STEADY, cycle=1.2, off=0.3, on=0.3, reach=0.5, swing=0.2, tilt=-0.01, apex=0.1)
    steps = _steps_for(gait, float(rng.uniform(2.4, 5.0)))
    distance = -_cruise(gait, steps, speed)
    return _going("walk_backward", gait, steps, {"pace": pace}, "walk backward", forward=distance, first=_first(rng))


@action(weight=2.0)
def walk_turning(rng: np.random.Generator) -> Action:
    """Walk ahead, turn while walking, walk on."""
    side, pace = _first(rng), either(rng, "slow", "normal")
    gait, speed = _walking(rng, pace)
    angle = float(rng.uniform(0.9, 1.6))
    steps = _steps_for(gait, float(rng.uniform(3.5, 5.5)))
    path = {"forward": _cruise(gait, steps, 0.9 * speed), "turn": sign(side) * angle, "turning": (0.25, 0.75)}
    words = {"side": side, "pace": pace}
    return _going("walk_turning", gait, steps, words, f"walk turning {side}", first=side, **path)


@action(weight=2.0)
def walk_circle(rng: np.random.Generator) -> Action:
    side = _first(rng)
    gait, speed = _walking(rng, "normal")
    gait = replace(gait, cycle=gait.cycle * 0.97)
    steps = _steps_for(gait, float(rng.uniform(5.2, 6.8)))
    words = {"side": side, "clock": "counterclockwise" if side == "left" else "clockwise"}
    path = {"forward": _cruise(gait, steps, 0.95 * speed), "turn": sign(side) * 2 * np.pi}
    return _going("walk_circle", gait, steps, words, f"walk circle {side}", first=side, **path)


@action(weight=2.0)
def run(rng: np.random.Generator) -> Action:
    pace = either(rng, "slow", "normal")
    speed = {"slow": 1.9, "normal": 2.6}[pace] * float(rng.uniform(0.93, 1.07))
    gait = Gait(
        cycle=float(rng.uniform(0.7, 0.76)), duty=0.38, reach=0.4, apex=0.12 + 0.05 * speed, off=0.95, on=-0.05,
        width=0.06, bob=0.03, lower=0.045, tilt=0.06 + 0.04 * speed, swing=0.3 + 0.12 * speed, elbow=1.15, sway=0.25,
        rise=1.5, runs=True,
    )  # fmt: skip
    steps = _steps_for(gait, float(rng.uniform(2.2, 3.6)))
    return _going("run", gait, steps, {"pace": pace}, "run", forward=_cruise(gait, steps, speed), first=_first(rng))


@action(weight=1.5)
def side_step(rng: np.random.Generator) -> Action:
    side, pairs = _first(rng), int(rng.integers(2, 6))
    gait = Gait(cycle=float(rng.uniform(0.95, 1.15)), duty=0.6, reach=0.5, apex=0.1, off=0.25, on=0.1, width=0.1,
                bob=0.01, swing=0.0, tilt=0.02, sway=0.35)  # fmt: skip
    distance = sign(side) * pairs * float(rng.uniform(0.26, 0.34))
    label = f"side step {side}"
    return _going("side_step", gait, 2 * pairs, {"side": side}, label, left=distance, first=side)


@action(weight=2.0)
def turn(rng: np.random.Generator) -> Action:
    side, quarters = _first(rng), either(rng, 1, 2, 2)
    steps = 3 if quarters == 1 else 5
    gait = replace(ON_THE_SPOT, cycle=float(rng.uniform(0.9, 1.1)))
    words = {"side": side, "amount": {1: "quarter", 2: "half"}[quarters]}
    return _going("turn", gait, steps, words, f"turn {side}", turn=sign(side) * quarters * np.pi / 2, first=side)


@action()
def spin(rng: np.random.Generator) -> Action:
    side = _first(rng)
    gait = replace(ON_THE_SPOT, cycle=float(rng.uniform(0.66, 0.76)))
    path = {"turn": sign(side) * 2 * np.pi, "first": side}
    return _going("spin", gait, 7, {"side": side}, f"spin {side}", **path)


@action()
def march(rng: np.random.Generator) -> Action:
    cycle = float(rng.uniform(0.95, 1.15))
    gait = replace(ON_THE_SPOT, cycle=cycle, apex=0.3, off=0.4, swing=0.45, elbow=0.4, sway=0.4)
    return _going("march", gait, 2 * int(rng.integers(3, 6)), {}, "march", first=_first(rng))


@action()
def step_over(rng: np.random.Generator) -> Action:
    gait, speed = _walking(rng, "slow")
    gait = replace(gait, cycle=1.3)
    over = int(rng.integers(2, 4))
    path = {"forward": _cruise(gait, over + 4, speed + 0.1), "high": (over, over + 1), "first": _first(rng)}
    return _going("step_over", gait, over + 4, {}, "step over", **path)
