"""Leaving the ground: jumps, hops and jumping jacks. In the air the pelvis follows the parabola of gravity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicHermiteSpline

from mld.data.sources.procedural.actions import Action, action, either, other, sign
from mld.data.sources.procedural.feet import GRAVITY
from mld.data.sources.procedural.stage import SIDES, Carried, Stage, Step, ramp, window

NUMBERS = ("no", "one", "two", "three", "four", "five", "six")
TOE_OFF_RISE = 0.06  # pelvis above standing when the toes leave or meet the ground, m


@dataclass(frozen=True)
class Leap:
    """One jump. height: rise of the pelvis in the air (m); dip, absorb: how deep the knees bend before and after (m);
    crouch, push, landing, rise: seconds of its phases on the ground; feet: those that jump; width: of the stance after.
    """

    height: float = 0.25
    dip: float = 0.22
    absorb: float = 0.2
    crouch: float = 0.4
    push: float = 0.22
    landing: float = 0.22
    rise: float = 0.4
    feet: tuple[str, ...] = SIDES
    width: float | None = None
    point: float = 0.75  # foot pitch at take-off, rad

    @property
    def flight(self) -> float:
        """Seconds in the air."""
        return float(np.sqrt(8 * self.height / GRAVITY))

    @property
    def duration(self) -> float:
        return self.crouch + self.push + self.flight + self.landing + self.rise


def leap(stage: Stage, start: float, jump: Leap, forward: float = 0.0, left: float = 0.0, turn: float = 0.0) -> float:
    """Play one jump that carries the body by metres and radians; returns when it is over (s)."""
    low = start + jump.crouch
    off = low + jump.push
    on = off + jump.flight
    soft = on + jump.landing
    end = soft + jump.rise
    speed, rise = GRAVITY * jump.flight / 2, min(TOE_OFF_RISE, 0.08 * jump.point)
    keys = [start, low, off, on, soft, end]
    height = CubicHermiteSpline(keys, [0, -jump.dip, rise, rise, -jump.absorb, 0], [0, 0, speed, -speed, 0, 0])
    inside = (stage.t >= start) & (stage.t <= end)
    stage.add(height=np.where(inside, height(np.clip(stage.t, start, end)), 0.0))

    rate = 0.7 / jump.flight
    gone = CubicHermiteSpline([low, off, on, soft], [0, 0.15, 0.85, 1], [0, rate, rate, 0])(np.clip(stage.t, low, soft))
    stage.move(start, forward * gone, left * gone, turn * ramp(stage.t, off - 0.05, on + 0.05))
    for side in jump.feet:
        x, z, yaw = stage.stand(end, side, jump.width)
        apex = 0.75 * jump.height
        stage.steps[side].append(
            Step(off, on, x, z, yaw, apex, jump.point, 0.5 * jump.point, off_time=0.2, on_time=0.14, flight=True)
        )
    bent = window(stage.t, start, off, jump.crouch, jump.push) * jump.dip
    soaked = window(stage.t, on, end, jump.landing, jump.rise) * jump.absorb
    stage.add(tilt=1.6 * (bent + soaked), pelvis_tilt=1.2 * (bent + soaked), forward=-0.3 * (bent + soaked))
    return end


def _throw_arms(stage: Stage, start: float, jump: Leap, reach: float) -> None:
    """Both arms back while crouching, up to `reach` (rad) at take-off, down after landing."""
    t, off = stage.t, start + jump.crouch + jump.push
    stage.blend_arm("both", window(t, start - 0.1, off, jump.crouch, jump.push + 0.1), fwd=-0.6, flex=0.25)
    raised = window(t, off - jump.push - 0.15, off + jump.flight + 0.42, jump.push + 0.3, jump.flight + 0.25)
    stage.blend_arm("both", raised, fwd=reach, side=0.3, flex=0.4)


def _both_feet(rng: np.random.Generator, name: str, count: int, height: float, forward: float, label: str) -> Action:
    jump = Leap(height=height, dip=0.16 + 0.3 * height, absorb=0.14 + 0.3 * height)
    reach = float(rng.uniform(0.8, 1.7))

    def perform(stage: Stage, start: float) -> None:
        for _ in range(count):
            _throw_arms(stage, start, jump, reach)
            start = leap(stage, start, jump, forward=forward)

    return Action(name, count * jump.duration, perform, {"times": str(count)}, label, travels=True)


@action(weight=2.0)
def jump_up(rng: np.random.Generator) -> Action:
    return _both_feet(rng, "jump_up", int(rng.integers(1, 4)), float(rng.uniform(0.15, 0.35)), 0.0, "jump up")


@action(weight=2.0)
def jump_forward(rng: np.random.Generator) -> Action:
    count, distance = int(rng.integers(1, 4)), float(rng.uniform(0.5, 0.95))
    return _both_feet(rng, "jump_forward", count, float(rng.uniform(0.16, 0.26)), distance, "jump forward")


@action()
def hop(rng: np.random.Generator) -> Action:
    """Hop on one leg with the other foot held up behind."""
    side, count = either(rng, *SIDES), int(rng.integers(2, 6))
    jump = Leap(float(rng.uniform(0.06, 0.11)), dip=0.07, absorb=0.07, crouch=0.18, push=0.14, landing=0.14, rise=0.16,
                feet=(side,), point=0.5)  # fmt: skip
    forward = either(rng, 0.0, float(rng.uniform(0.2, 0.35)))
    lifting = 0.7
    duration = 2 * lifting + count * jump.duration

    def perform(stage: Stage, start: float) -> None:
        t, end, free = stage.t, start + duration, other(side)
        now = start + lifting
        for _ in range(count):
            now = leap(stage, now, jump, forward=forward)
        x, z, yaw = stage.stand(end, free)
        stage.steps[free].append(Step(start + 0.3, end - 0.2, x, z, yaw, 0.0, off=0.3))
        weight = window(t, start + 0.3, end - 0.2, 0.45, 0.45)
        behind = np.broadcast_to([sign(free) * 0.11, 0.36, -0.3], (stage.num_frames, 3))
        rising = np.array([0.0, 1.0, 0.0]) * np.maximum(stage.curves["height"], 0)[:, None]
        stage.carried[free].append(Carried(weight, behind + rising, np.full(stage.num_frames, 0.9)))
        stage.blend(window(t, start, end, 0.4), balance=0.9)
        stage.blend_arm("both", window(t, start, end, 0.4), side=0.55, flex=0.7)

    words = {"side": side, "times": str(count), "where": "forward" if forward else "in place"}
    return Action("hop", duration, perform, words, f"hop {side}", travels=True)


@action(weight=1.5)
def jumping_jacks(rng: np.random.Generator) -> Action:
    count = int(rng.integers(2, 5))
    jump = Leap(float(rng.uniform(0.07, 0.1)), dip=0.08, absorb=0.07, crouch=0.16, push=0.14, landing=0.13, rise=0.1,
                point=0.5)  # fmt: skip
    wide, narrow = (Leap(**{**vars(jump), "width": width}) for width in (float(rng.uniform(0.26, 0.32)), None))

    def perform(stage: Stage, start: float) -> None:
        for _ in range(count):
            half = start + jump.duration
            apart = window(stage.t, start + 0.2, half + jump.duration - 0.1, jump.duration - 0.25)
            stage.blend_arm("both", apart, side=2.75, fwd=0.15, flex=0.15, turn=-0.2)
            leap(stage, start, wide)
            start = leap(stage, half, narrow)

    words = {"count": NUMBERS[count]}
    return Action("jumping_jacks", 2 * count * jump.duration, perform, words, "jumping jacks", travels=True)
