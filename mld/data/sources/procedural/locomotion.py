"""The engine of everything done on alternating feet.

One function, `travel`, plans all of it: the body's path is the integral of a speed that rises and falls smoothly, and
each foot is put down where the body will be when it passes over that foot.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mld.data.sources.procedural.actions import Action, other
from mld.data.sources.procedural.stage import FPS, Stage, Step, window

Curve = Callable[[np.ndarray], np.ndarray]  # of the share (T,) of the way
Lead = Callable[[Stage, str, float, float], None]  # leads a foot through a swing: stage, side, lift and landing (s)

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
    tiptoe: float = 0.0  # pitch of a foot that stands, rad
    uneven: float = 0.0  # the left foot swings for so many seconds longer and the right one shorter: a limp


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
    bend: Curve | None = None,
    weave: Curve | None = None,
    lead: Lead | None = None,
    apart: float = 0.0,
) -> None:
    """Walk from standing to standing. forward, left: metres; turn: radians to the left, made between the two shares of
    the walk in `turning`; first: the foot that starts; high: numbers of the steps that clear an obstacle. bend, weave:
    radians turned and metres aside, more than that, at a share of the way; lead: leads the feet between two stands.
    apart: metres by which the last foot stands ahead of the body, and the one before behind it."""
    t, end = stage.t, start + duration_of(gait, steps)
    halt = end - 0.6 * SETTLE
    pace = integral(window(t, start, halt, gait.rise * gait.cycle, 0.85 * gait.cycle))
    begin, finish = (start + share * (halt - start) for share in turning)
    turned = integral(window(t, begin, finish, min(0.5, (finish - begin) / 2)))
    turned = turn * turned if bend is None else turn * turned + bend(pace)
    stage.move(start, forward * pace, left * pace if weave is None else left * pace + weave(pace), turned)

    swing = (1 - gait.duty) * gait.cycle
    side = first
    for number in range(steps):
        lift = start + LEAD_IN + number * gait.cycle / 2
        over = min(lift + swing + gait.reach * gait.duty * gait.cycle, end)
        if number >= steps - 2:
            over = end
        x, z, yaw = stage.stand(over, side, gait.width)
        if apart and number >= steps - 2:
            ahead = (1 if number == steps - 1 else -1) * apart
            x, z = x + ahead * np.sin(stage.place(end)[2]), z + ahead * np.cos(stage.place(end)[2])
        apex = 0.3 if number in high else gait.apex * (0.6 if number == 0 else 1.0)
        longer = gait.uneven if side == "left" else -gait.uneven
        lift, land = lift - 0.5 * longer, lift + swing + 0.5 * longer
        stage.steps[side].append(
            Step(
                lift, land, x, z, yaw, apex, gait.off, gait.on,
                off_time=min(0.3, 0.5 * gait.duty * gait.cycle), on_time=min(0.12, 0.3 * gait.duty * gait.cycle),
                rest=gait.tiptoe if number < steps - 2 else 0.0,
            )  # fmt: skip
        )
        if lead is not None:
            lead(stage, side, lift, land)
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


def integral(curve: np.ndarray) -> np.ndarray:
    """Running integral (T,), scaled to end at 1."""
    total = np.cumsum(curve) / FPS
    return total / max(total[-1], 1e-6)


def steps_for(gait: Gait, seconds: float) -> int:
    """The number of steps that comes nearest to a duration, at least three."""
    rest = seconds - LEAD_IN - SETTLE - (1 - gait.duty) * gait.cycle
    return max(3, 1 + round(rest / (gait.cycle / 2)))


def going(name: str, gait: Gait, steps: int, words: dict[str, str], label: str, **path) -> Action:
    return Action(
        name,
        duration_of(gait, steps),
        lambda stage, start: travel(stage, start, gait, steps, **path),
        words,
        label,
        travels=True,
    )


def cruise(gait: Gait, steps: int, speed: float) -> float:
    """Metres covered at a cruising speed (m/s), less for the start and the stop."""
    return speed * (duration_of(gait, steps) - 0.6 * SETTLE - 0.5 * (gait.rise + 0.85) * gait.cycle)
