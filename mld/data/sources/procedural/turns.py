"""Steps and turns of the wide set that are counted or measured: turns on the spot, steps ahead, back and aside."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mld.data.sources.procedural.actions import Action, action, either, sign
from mld.data.sources.procedural.locomotion import ON_THE_SPOT, STEADY, Gait, duration_of, steps_for, travel
from mld.data.sources.procedural.manners import ARMS_ONLY
from mld.data.sources.procedural.stage import SIDES, Stage
from mld.data.sources.procedural.walks import gone

# Degrees and steps.
ANGLES = {
    "eighth": (45, 2),
    "quarter": (90, 3),
    "half": (180, 5),
    "three_quarters": (270, 6),
    "full": (360, 8),
    "one_and_a_half": (540, 11),
    "two": (720, 14),
}
TEMPOS = {"slow": 1.45, "": 1.0, "fast": 0.68}


def _arms(rng: np.random.Generator, often: float = 0.12) -> str:
    return either(rng, *ARMS_ONLY) if rng.random() < often else ""


@action(weight=10.0, wide=True)
def turn(rng: np.random.Generator) -> Action:
    side = either(rng, *SIDES)
    amount = either(rng, "eighth", "quarter", "quarter", "quarter", "half", "half", "half", "three_quarters", "full")
    tempo = either(rng, "slow", "", "", "", "fast")
    degrees, steps = ANGLES[amount]
    gait = replace(ON_THE_SPOT, cycle=TEMPOS[tempo] * float(rng.uniform(0.9, 1.1)), apex=float(rng.uniform(0.06, 0.12)))
    angle = sign(side) * np.radians(degrees) * float(rng.uniform(0.95, 1.05))
    words = {
        "side": side,
        "amount": amount,
        "tempo": tempo,
        "clock": "counterclockwise" if side == "left" else "clockwise",
    }
    return gone("turn", gait, max(2, steps), words, f"turn {amount} {side}", _arms(rng), first=side, turn=angle)


@action(weight=4.0, wide=True)
def spin(rng: np.random.Generator) -> Action:
    """Round once or more, quickly."""
    side, amount = either(rng, *SIDES), either(rng, "full", "full", "two", "one_and_a_half")
    degrees, steps = ANGLES[amount]
    gait = replace(ON_THE_SPOT, cycle=float(rng.uniform(0.6, 0.75)), apex=0.07)
    how = either(rng, "", "", "arms_out", "arms_up")
    words = {"side": side, "amount": amount, "clock": "counterclockwise" if side == "left" else "clockwise"}
    return gone("spin", gait, steps, words, f"spin {side}", how, first=side, turn=sign(side) * np.radians(degrees))


@action(weight=8.0, wide=True)
def steps(rng: np.random.Generator) -> Action:
    """An exact number of steps ahead or back; the last foot stays a little ahead."""
    way, count = either(rng, "forward", "forward", "backward"), int(rng.integers(1, 7))
    size = either(rng, "small", "", "", "", "big")
    length = {"small": 0.3, "": 0.52, "big": 0.78}[size] * float(rng.uniform(0.92, 1.08))
    if way == "backward":
        length *= 0.75
    side, apart = either(rng, *SIDES), 0.22 * min(length / 0.5, 1.3)
    gait = replace(STEADY, cycle=float(rng.uniform(1.1, 1.5)), duty=0.6, apex=0.1, swing=0.15 + 0.2 * length)
    if way == "backward":
        gait = replace(gait, off=0.3, on=0.3, reach=0.5, tilt=-0.01)
    towards = 1.0 if way == "forward" else -1.0
    words = {"way": way, "number": str(count), "size": size, "side": side}
    return gone(
        "steps",
        gait,
        count,
        words,
        f"{count} steps {way}",
        first=side,
        apart=towards * apart,
        forward=towards * (count * length - apart),
    )


@action(weight=6.0, wide=True)
def side_step(rng: np.random.Generator) -> Action:
    """Side steps: one foot goes, the other one joins it."""
    side, pairs = either(rng, *SIDES), int(rng.integers(1, 7))
    pace = either(rng, "slow", "normal", "normal", "fast")
    cycle = {"slow": 1.35, "normal": 0.98, "fast": 0.72}[pace] * float(rng.uniform(0.94, 1.06))
    size = either(rng, "small", "", "", "big")
    far = {"small": 0.26, "": 0.37, "big": 0.5}[size] * float(rng.uniform(0.93, 1.07))
    gait = Gait(
        cycle=cycle,
        duty=0.6,
        reach=0.5,
        apex=0.1,
        off=0.25,
        on=0.1,
        width=0.1,
        bob=0.01,
        swing=0.0,
        tilt=0.02,
        sway=0.35,
    )
    words = {"side": side, "number": str(pairs), "pace": pace, "size": size}
    return gone(
        "side_step", gait, 2 * pairs, words, f"side step {side}", _arms(rng), first=side, left=sign(side) * pairs * far
    )


@action(weight=3.0, wide=True)
def sidewalk(rng: np.random.Generator) -> Action:
    """Sideways at some speed: shuffling low, or galloping with both feet off the ground."""
    side, kind = either(rng, *SIDES), either(rng, "shuffle", "gallop", "walk")
    if kind == "gallop":
        gait = Gait(
            cycle=0.62,
            duty=0.46,
            reach=0.5,
            apex=0.1,
            off=0.6,
            on=0.3,
            width=0.12,
            bob=0.04,
            lower=0.04,
            swing=0.0,
            sway=0.25,
            runs=True,
        )
        speed = 1.5
    else:
        low = 0.12 if kind == "shuffle" else 0.01
        gait = Gait(
            cycle=0.7 if low > 0.1 else 1.0,
            duty=0.58,
            reach=0.5,
            apex=0.07,
            off=0.25,
            on=0.1,
            width=0.13,
            bob=0.01,
            lower=low,
            swing=0.0,
            tilt=2.5 * low,
            sway=0.3,
        )
        speed = 0.75 if low > 0.1 else 0.55
    count = 2 * max(2, round(steps_for(gait, float(rng.uniform(2.2, 4.6))) / 2))
    far = speed * float(rng.uniform(0.85, 1.1)) * (duration_of(gait, count) - 0.8)
    how = _arms(rng) if kind == "walk" else ""
    return gone(
        "sidewalk",
        gait,
        count,
        {"side": side, "kind": kind},
        f"sideways {side}",
        how,
        first=side,
        left=sign(side) * far,
    )


@action(weight=2.0, wide=True)
def side_and_back(rng: np.random.Generator) -> Action:
    """Steps to one side and as many back."""
    side, pairs = either(rng, *SIDES), int(rng.integers(1, 4))
    gait = Gait(
        cycle=float(rng.uniform(0.85, 1.1)),
        duty=0.6,
        reach=0.5,
        apex=0.1,
        off=0.25,
        on=0.1,
        width=0.1,
        bob=0.01,
        swing=0.0,
        tilt=0.02,
        sway=0.35,
    )
    far, once = sign(side) * pairs * 0.33, duration_of(gait, 2 * pairs)

    def play(stage: Stage, start: float) -> None:
        travel(stage, start, gait, 2 * pairs, left=far, first=side)
        travel(stage, start + once, gait, 2 * pairs, left=-far, first="right" if side == "left" else "left")

    words = {"side": side, "other": "right" if side == "left" else "left"}
    return Action("side_and_back", 2 * once, play, words, f"side and back {side}", travels=True)


@action(weight=3.0, wide=True)
def march(rng: np.random.Generator) -> Action:
    """Steps on the spot: walking, marching with high knees."""
    kind = either(rng, "walk", "march", "march", "high")
    cycle = float(rng.uniform(0.85, 1.2))
    gait = replace(
        ON_THE_SPOT,
        cycle=cycle,
        apex={"walk": 0.12, "march": 0.33, "high": 0.42}[kind],
        off=0.4,
        swing={"walk": 0.2, "march": 0.45, "high": 0.35}[kind],
        elbow=0.1 if kind == "walk" else 0.6,
        sway=0.4,
    )
    return replace(
        gone(
            "march",
            gait,
            steps_for(gait, float(rng.uniform(2.5, 6.5))),
            {"kind": kind},
            f"march {kind}",
            first=either(rng, *SIDES),
        ),
        loose=0.6,
    )
