"""Jumps of the wide set: counted, high and low, to all sides, turning, over something, on one foot, with a rope."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mld.data.sources.procedural.actions import Action, action, either, other, sign
from mld.data.sources.procedural.jumps import Leap, leap
from mld.data.sources.procedural.manners import place_arms
from mld.data.sources.procedural.stage import SIDES, Carried, Stage, Step, window

TURNS = {"quarter": 90, "half": 180, "full": 360}


def _leap_of(height: float, quick: float = 1.0) -> Leap:
    """A jump with both feet that rises by metres; quick: less than 1 for jumps that follow one another fast."""
    return Leap(
        height,
        dip=0.13 + 0.3 * height,
        absorb=0.11 + 0.3 * height,
        crouch=0.38 * quick,
        push=0.22,
        landing=0.22,
        rise=0.38 * quick,
    )


def _throw(stage: Stage, start: float, jump: Leap, reach: float) -> None:
    """Both arms back while crouching, up to `reach` (rad) at take-off, down after landing."""
    t, off = stage.t, start + jump.crouch + jump.push
    stage.blend_arm("both", window(t, start - 0.1, off, jump.crouch, jump.push + 0.1), fwd=-0.6, flex=0.25)
    raised = window(t, off - jump.push - 0.15, off + jump.flight + 0.42, jump.push + 0.3, jump.flight + 0.25)
    stage.blend_arm("both", raised, fwd=reach, side=0.3, flex=0.4)


def _lead_feet(stage: Stage, start: float, jump: Leap, up: float, across: float, ahead: float = 0.0) -> None:
    """In the air both feet go up by metres over the way they would take, outwards and ahead of the body."""
    off = start + jump.crouch + jump.push
    share = np.clip((stage.t - off) / jump.flight, 0.0, 1.0)
    for side in SIDES:
        local = np.stack(
            [np.full_like(share, sign(side) * across), 0.06 + up * 4 * share * (1 - share), np.full_like(share, ahead)],
            axis=-1,
        )
        weight = window(stage.t, off, off + jump.flight, 0.45 * jump.flight)
        stage.carried[side].append(Carried(weight, local, np.full_like(share, 0.5)))


def _jumps(
    name: str,
    count: int,
    jump: Leap,
    words: dict[str, str],
    label: str,
    arms: float | str = 1.2,
    air=None,
    **way: float,
) -> Action:
    """So many jumps, each of which goes the way that `leap` takes. arms: how far thrown, or where they are kept."""

    def play(stage: Stage, start: float) -> None:
        if isinstance(arms, str) and arms:
            place_arms(stage, window(stage.t, start - 0.2, start + count * jump.duration, 0.4), arms)
        for _ in range(count):
            if not isinstance(arms, str):
                _throw(stage, start, jump, arms)
            end = leap(stage, start, jump, **way)
            if air:
                air(stage, start)
            start = end

    return Action(name, count * jump.duration, play, words, label, travels=True)


def _arms(rng: np.random.Generator) -> float | str:
    return either(rng, "", "", "hips") if rng.random() < 0.25 else float(rng.uniform(0.7, 2.4))


@action(weight=7.0, wide=True)
def jump_up(rng: np.random.Generator) -> Action:
    count = either(rng, 1, 1, 1, 2, 2, 3, 3, 4, 5)
    high = either(rng, "low", "", "", "high")
    height = {"low": 0.1, "": 0.22, "high": 0.42}[high] * float(rng.uniform(0.88, 1.12))
    jump = _leap_of(height, float(rng.uniform(0.55, 0.9)) if count > 2 else float(rng.uniform(0.85, 1.15)))
    return _jumps("jump_up", count, jump, {"times": str(count), "high": high}, "jump up", _arms(rng))


@action(weight=6.0, wide=True)
def jump_forward(rng: np.random.Generator) -> Action:
    count, far = either(rng, 1, 1, 1, 2, 2, 3, 4), either(rng, "short", "", "", "far")
    distance = {"short": 0.35, "": 0.7, "far": 1.15}[far] * float(rng.uniform(0.9, 1.1))
    jump = _leap_of(float(rng.uniform(0.14, 0.24)) + (0.06 if far == "far" else 0.0), 0.75 if count > 2 else 1.0)
    words = {"times": str(count), "far": far}
    return _jumps("jump_forward", count, jump, words, "jump forward", _arms(rng), forward=distance)


@action(weight=3.5, wide=True)
def jump_backward(rng: np.random.Generator) -> Action:
    count, distance = either(rng, 1, 1, 2, 3), float(rng.uniform(0.35, 0.65))
    jump = _leap_of(float(rng.uniform(0.13, 0.2)))
    return _jumps("jump_backward", count, jump, {"times": str(count)}, "jump backward", _arms(rng), forward=-distance)


@action(weight=5.0, wide=True)
def jump_sideways(rng: np.random.Generator) -> Action:
    side, count = either(rng, *SIDES), either(rng, 1, 1, 2, 3)
    distance, jump = float(rng.uniform(0.35, 0.7)), _leap_of(float(rng.uniform(0.13, 0.2)))
    words = {"side": side, "times": str(count)}
    return _jumps("jump_sideways", count, jump, words, f"jump {side}", _arms(rng), left=sign(side) * distance)


@action(weight=2.0, wide=True)
def jump_to_and_fro(rng: np.random.Generator) -> Action:
    """Jumps from side to side."""
    first, pairs = either(rng, *SIDES), int(rng.integers(1, 4))
    jump, distance = _leap_of(float(rng.uniform(0.1, 0.15)), 0.6), sign(first) * float(rng.uniform(0.3, 0.5))

    def play(stage: Stage, start: float) -> None:
        for number in range(2 * pairs):
            start = leap(stage, start, jump, left=distance if number % 2 == 0 else -distance)

    words = {"side": first, "other": other(first)}
    return Action("jump_to_and_fro", 2 * pairs * jump.duration, play, words, "jump side to side", travels=True)


@action(weight=4.0, wide=True)
def jump_turning(rng: np.random.Generator) -> Action:
    """A jump that turns the body in the air."""
    side, amount = either(rng, *SIDES), either(rng, "quarter", "half", "half", "full")
    jump = _leap_of({"quarter": 0.2, "half": 0.26, "full": 0.38}[amount] * float(rng.uniform(0.95, 1.1)))
    turn = sign(side) * np.radians(TURNS[amount])
    words = {"side": side, "amount": amount, "clock": "counterclockwise" if side == "left" else "clockwise"}
    return _jumps("jump_turning", 1, jump, words, f"jump turn {side}", float(rng.uniform(0.6, 1.4)), turn=turn)


@action(weight=2.0, wide=True)
def jump_over(rng: np.random.Generator) -> Action:
    jump, distance = _leap_of(float(rng.uniform(0.3, 0.4))), float(rng.uniform(0.8, 1.15))
    return _jumps(
        "jump_over",
        1,
        jump,
        {},
        "jump over",
        1.4,
        lambda stage, start: _lead_feet(stage, start, jump, 0.62, 0.1, 0.08),
        forward=distance,
    )


@action(weight=2.0, wide=True)
def star_jump(rng: np.random.Generator) -> Action:
    """Arms and legs spread in the air."""
    count = either(rng, 1, 1, 2, 3)
    jump = _leap_of(float(rng.uniform(0.3, 0.4)))

    def air(stage: Stage, start: float) -> None:
        off = start + jump.crouch + jump.push
        _lead_feet(stage, start, jump, 0.85 * jump.height, 0.42)
        stage.blend_arm(
            "both", window(stage.t, off - 0.25, off + jump.flight + 0.25, 0.35), side=2.0, fwd=0.1, flex=0.1
        )

    return _jumps("star_jump", count, jump, {"times": str(count)}, "star jump", "", air)


@action(weight=2.0, wide=True)
def tuck_jump(rng: np.random.Generator) -> Action:
    """Knees to the chest in the air."""
    count = either(rng, 1, 1, 2)
    jump = _leap_of(float(rng.uniform(0.36, 0.44)))

    def air(stage: Stage, start: float) -> None:
        off = start + jump.crouch + jump.push
        _lead_feet(stage, start, jump, jump.height + 0.42, 0.1, 0.1)
        stage.blend_arm("both", window(stage.t, off - 0.2, off + jump.flight + 0.2, 0.3), fwd=0.9, side=0.15, flex=1.2)

    return _jumps("tuck_jump", count, jump, {"times": str(count)}, "tuck jump", "", air)


@action(weight=2.5, wide=True)
def jump_rope(rng: np.random.Generator) -> Action:
    """Small quick jumps, the hands turning a rope."""
    count = int(rng.integers(4, 9))
    jump = Leap(
        float(rng.uniform(0.05, 0.08)), dip=0.06, absorb=0.05, crouch=0.1, push=0.13, landing=0.12, rise=0.1, point=0.5
    )
    rope, total = either(rng, "rope", "rope", ""), count * jump.duration

    def play(stage: Stage, start: float) -> None:
        if rope:
            phase = 2 * np.pi * (stage.t - start) / jump.duration
            weight = window(stage.t, start - 0.2, start + total, 0.4)
            stage.blend_arm(
                "both",
                weight,
                side=0.45 + 0.07 * np.cos(phase),
                fwd=-0.1 + 0.07 * np.sin(phase),
                turn=-0.5,
                flex=1.05 + 0.12 * np.cos(phase),
            )
        for _ in range(count):
            start = leap(stage, start, jump)

    return Action("jump_rope" if rope else "bounce", total, play, {}, "jump rope" if rope else "bounce", travels=True)


@action(weight=6.0, wide=True)
def hop(rng: np.random.Generator) -> Action:
    """Hop on one leg with the other foot held up."""
    side, count = either(rng, *SIDES), int(rng.integers(1, 7))
    where = either(rng, "in place", "in place", "forward", "forward", "backward", "left", "right")
    jump = Leap(
        float(rng.uniform(0.06, 0.12)),
        dip=0.07,
        absorb=0.07,
        crouch=0.18,
        push=0.14,
        landing=0.14,
        rise=0.16,
        feet=(side,),
        point=0.5,
    )
    far = float(rng.uniform(0.22, 0.36))
    way = {
        "in place": {},
        "forward": {"forward": far},
        "backward": {"forward": -0.8 * far},
        "left": {"left": 0.8 * far},
        "right": {"left": -0.8 * far},
    }[where]
    lifting, ahead = 0.65, either(rng, -0.3, -0.3, 0.2)
    duration, arms = 2 * lifting + count * jump.duration, either(rng, "", "", "", "out", "hips")

    def play(stage: Stage, start: float) -> None:
        t, end, free = stage.t, start + duration, other(side)
        now = start + lifting
        for _ in range(count):
            now = leap(stage, now, jump, **way)
        x, z, yaw = stage.stand(end, free)
        stage.steps[free].append(Step(start + 0.3, end - 0.2, x, z, yaw, 0.0, off=0.3))
        weight = window(t, start + 0.3, end - 0.2, 0.45, 0.45)
        held = np.broadcast_to([sign(free) * 0.11, 0.38, ahead], (stage.num_frames, 3))
        rising = np.array([0.0, 1.0, 0.0]) * np.maximum(stage.curves["height"], 0)[:, None]
        stage.carried[free].append(Carried(weight, held + rising, np.full(stage.num_frames, 0.9 if ahead < 0 else 0.3)))
        stage.blend(window(t, start, end, 0.4), balance=0.9)
        if arms:
            place_arms(stage, window(t, start, end, 0.4), arms)
        else:
            stage.blend_arm("both", window(t, start, end, 0.4), side=0.55, flex=0.7)

    words = {"side": side, "times": str(count), "where": where}
    return Action("hop", duration, play, words, f"hop {side}", travels=True)


@action(weight=4.0, wide=True)
def jumping_jacks(rng: np.random.Generator) -> Action:
    count = int(rng.integers(1, 6))
    jump = Leap(
        float(rng.uniform(0.06, 0.1)), dip=0.08, absorb=0.07, crouch=0.12, push=0.13, landing=0.13, rise=0.08, point=0.5
    )
    wide, narrow = replace(jump, width=float(rng.uniform(0.26, 0.34))), jump

    def play(stage: Stage, start: float) -> None:
        for _ in range(count):
            half = start + jump.duration
            apart = window(stage.t, start + 0.12, half + jump.duration - 0.05, jump.duration - 0.2)
            stage.blend_arm("both", apart, side=2.75, fwd=0.15, flex=0.15, turn=-0.2)
            leap(stage, start, wide)
            start = leap(stage, half, narrow)

    words = {"number": str(count)}
    return Action("jumping_jacks", 2 * count * jump.duration, play, words, "jumping jacks", travels=True)
