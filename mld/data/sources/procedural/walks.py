"""Walking of the wide set: at any speed, in many manners, on straight and bent ways."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mld.data.sources.procedural.actions import Action, action, either, sign
from mld.data.sources.procedural.locomotion import STEADY, Gait, cruise, duration_of, steps_for, travel
from mld.data.sources.procedural.manners import ARMS_ONLY, MANNERS, changed, keep, straying
from mld.data.sources.procedural.stage import SIDES, Stage

PACES = {"slow": (0.4, 0.68), "normal": (0.95, 1.3), "fast": (1.7, 2.1)}  # m/s


def walking(rng: np.random.Generator, pace: str) -> tuple[Gait, float]:
    """A gait and its speed (m/s), with the swing, the bounce and the lift of feet of people at that speed."""
    speed = float(rng.uniform(*PACES[pace]))
    cycle = 1.62 - 0.52 * speed if speed < 1.0 else 1.1 - 0.17 * (speed - 1.0)
    gait = replace(
        STEADY,
        cycle=cycle * float(rng.uniform(0.95, 1.05)),
        duty=0.66 - 0.04 * speed,
        off=0.5 + 0.22 * speed,
        swing=(0.18 + 0.15 * speed) * float(rng.uniform(0.6, 1.25)),
        tilt=0.01 + 0.03 * speed,
        lower=0.008 + 0.012 * speed,
        bob=0.01 + 0.012 * speed,
        apex=0.06 + 0.03 * speed,
        rise=0.6,
        elbow=0.1 * max(0.0, speed - 0.8),
        sway=float(rng.uniform(0.25, 0.4)),
    )
    return gait, speed


def strolling(rng: np.random.Generator, often: float = 0.3) -> tuple[Gait, float, str, str]:
    """Gait, speed (m/s), pace and manner, which is "" where there is nothing to say."""
    if rng.random() < often:
        how = either(rng, *ARMS_ONLY, "tiptoe", "sneak", "old", "drunk", "crouched", "high_knees", "proud", "happy")
        gait, speed = walking(rng, "normal")
        return changed(gait, MANNERS[how]), float(rng.uniform(*MANNERS[how].speed)), "", how
    pace = either(rng, "slow", "normal", "normal", "fast")
    return *walking(rng, pace), pace, ""


def gone(
    name: str,
    gait: Gait,
    steps: int,
    words: dict[str, str],
    label: str,
    how: str = "",
    loose: bool = False,
    first: str = "right",
    **path,
) -> Action:
    """An action that walks so many steps along a path, as `travel` takes it, in a manner."""
    manner = MANNERS.get(how)

    def play(stage: Stage, start: float) -> None:
        weave = path.get("weave") or (straying(manner, path.get("forward", 0.0)) if manner else None)
        travel(stage, start, gait, steps, first=first, **{**path, "weave": weave})
        if manner:
            keep(stage, manner, gait, start, start + duration_of(gait, steps), first)

    loosely = 0.25 * duration_of(gait, steps) if loose and steps > 5 else 0.0
    return Action(name, duration_of(gait, steps), play, {**words, "how": how}, label, travels=True, loose=loosely)


def free(rng: np.random.Generator, gait: Gait, low: float, high: float) -> int:
    """Steps that take between so many seconds."""
    return steps_for(gait, float(rng.uniform(low, high)))


@action(weight=9.0, wide=True)
def walk(rng: np.random.Generator) -> Action:
    gait, speed, pace, how = strolling(rng, 0.2)
    steps = free(rng, gait, 2.2, 7.5)
    words = {"pace": pace or "normal"}
    return gone(
        "walk",
        gait,
        steps,
        words,
        f"walk {how or pace}",
        how,
        True,
        either(rng, *SIDES),
        forward=cruise(gait, steps, speed),
    )


@action(weight=8.0, wide=True)
def walk_manner(rng: np.random.Generator) -> Action:
    """Walk ahead in a way that has a verb of its own."""
    how = either(
        rng,
        "tiptoe",
        "sneak",
        "crouched",
        "limp_left",
        "limp_right",
        "drunk",
        "old",
        "sad",
        "proud",
        "happy",
        "stomp",
        "high_knees",
    )
    manner = MANNERS[how]
    gait = changed(walking(rng, "normal")[0], manner)
    steps = free(rng, gait, 3.0, 7.5)
    action = gone(
        f"walk_{how.partition('_')[0]}",
        gait,
        steps,
        {"side": manner.limp},
        f"walk {how}",
        how,
        True,
        either(rng, *SIDES),
        forward=cruise(gait, steps, float(rng.uniform(*manner.speed))),
    )
    return replace(action, words={"side": manner.limp} if manner.limp else {})


@action(weight=6.0, wide=True)
def walk_arms(rng: np.random.Generator) -> Action:
    """Walk ahead with the arms kept somewhere."""
    how = either(rng, *ARMS_ONLY)
    gait, speed = walking(rng, "normal")
    gait = changed(gait, MANNERS[how])
    steps = free(rng, gait, 2.6, 7.0)
    path = {"forward": cruise(gait, steps, speed), "first": either(rng, *SIDES)}
    return gone("walk", gait, steps, {"pace": "normal"}, f"walk {how}", how, True, **path)


@action(weight=6.0, wide=True)
def walk_backward(rng: np.random.Generator) -> Action:
    pace = either(rng, "slow", "normal", "normal", "fast")
    speed = {"slow": 0.42, "normal": 0.8, "fast": 1.25}[pace] * float(rng.uniform(0.9, 1.1))
    gait = replace(
        STEADY,
        cycle=1.35 - 0.3 * speed,
        off=0.3,
        on=0.3,
        reach=0.5,
        swing=0.1 + 0.15 * speed,
        tilt=-0.01,
        apex=0.1,
        bob=0.012,
    )
    how = either(rng, *ARMS_ONLY) if rng.random() < 0.15 else ""
    steps = free(rng, changed(gait, MANNERS[how]) if how else gait, 2.2, 6.5)
    return gone(
        "walk_backward",
        gait,
        steps,
        {"pace": pace},
        "walk backward",
        how,
        True,
        either(rng, *SIDES),
        forward=-cruise(gait, steps, speed),
    )


@action(weight=6.0, wide=True)
def walk_turning(rng: np.random.Generator) -> Action:
    """Walk ahead and turn by about a right angle while walking, at a corner or along a bend."""
    side, (gait, speed, pace, how) = either(rng, *SIDES), strolling(rng, 0.12)
    steps = free(rng, gait, 3.8, 6.8)
    turning = either(rng, (0.05, 0.95), (0.25, 0.75), (0.42, 0.68))
    sharp = "corner" if turning[0] == 0.42 else "bend"
    path = {
        "forward": cruise(gait, steps, speed),
        "turn": sign(side) * float(rng.uniform(1.2, 1.75)),
        "turning": turning,
    }
    words = {"side": side, "pace": pace or "normal", "sharp": sharp}
    return gone("walk_turning", gait, steps, words, f"walk turning {side}", how, False, side, **path)


@action(weight=3.0, wide=True)
def walk_veer(rng: np.random.Generator) -> Action:
    """Walk ahead, a little to one side, by turning so far."""
    side, (gait, speed, pace, how) = either(rng, *SIDES), strolling(rng, 0.1)
    steps = free(rng, gait, 3.0, 6.0)
    path = {"forward": cruise(gait, steps, speed), "turn": sign(side) * float(rng.uniform(0.5, 0.9))}
    return gone("walk_veer", gait, steps, {"side": side, "pace": pace or "normal"}, f"walk veer {side}", how, **path)


@action(weight=3.0, wide=True)
def walk_diagonal(rng: np.random.Generator) -> Action:
    """Go at a slant without turning."""
    side, way = either(rng, *SIDES), either(rng, "forward", "forward", "backward")
    gait = replace(walking(rng, "normal")[0], cycle=1.15, width=0.11, swing=0.2)
    steps, speed = free(rng, gait, 2.6, 5.0), float(rng.uniform(0.6, 0.9))
    far = 0.71 * cruise(gait, steps, speed)
    path = {"forward": far if way == "forward" else -far, "left": sign(side) * far}
    return gone(
        "walk_diagonal", gait, steps, {"side": side, "way": way}, f"walk diagonal {way} {side}", first=side, **path
    )


@action(weight=6.0, wide=True)
def walk_circle(rng: np.random.Generator) -> Action:
    side, (gait, speed, pace, how) = either(rng, *SIDES), strolling(rng, 0.15)
    steps = free(rng, gait, 5.5, 8.6)
    share = either(rng, "full", "full", "full", "half")
    if share == "half":
        steps = max(6, round(0.7 * steps))
    turn = sign(side) * (np.pi if share == "half" else 2 * np.pi)
    words = {
        "side": side,
        "clock": "counterclockwise" if side == "left" else "clockwise",
        "pace": pace or "normal",
        "share": share,
    }
    path = {"forward": cruise(gait, steps, min(speed, 1.35)), "turn": turn * float(rng.uniform(0.97, 1.06))}
    return gone("walk_circle", gait, steps, words, f"walk {share} circle {side}", how, False, side, **path)


@action(weight=2.5, wide=True)
def walk_winding(rng: np.random.Generator) -> Action:
    """An S, a zigzag or an eight."""
    first, shape = either(rng, *SIDES), either(rng, "s", "zigzag", "eight")
    gait, speed = walking(rng, "normal")
    steps = free(rng, gait, 8.0 if shape == "eight" else 5.5, 8.8 if shape == "eight" else 8.0)
    sharp = sign(first)
    if shape == "eight":

        def bend(share: np.ndarray) -> np.ndarray:  # one loop, then the other one the other way round
            return sharp * 2 * np.pi * (1 - np.abs(1 - 2 * share)) * 1.0
    elif shape == "s":

        def bend(share: np.ndarray) -> np.ndarray:
            return sharp * 1.0 * np.sin(2 * np.pi * share)
    else:

        def bend(share: np.ndarray) -> np.ndarray:  # to and fro, straight in between
            return sharp * 0.75 * np.tanh(3 * np.sin(4 * np.pi * share)) * np.tanh(8 * np.minimum(share, 1 - share))

    return gone(
        "walk_winding",
        gait,
        steps,
        {"shape": shape, "side": first},
        f"walk {shape}",
        first=first,
        forward=cruise(gait, steps, speed),
        bend=bend,
    )


@action(weight=5.0, wide=True)
def walk_back(rng: np.random.Generator) -> Action:
    """Walk ahead, turn round, walk back."""
    side, (gait, speed, pace, how) = either(rng, *SIDES), strolling(rng, 0.1)
    steps = free(rng, gait, 5.5, 8.8)
    half = 0.9 / duration_of(gait, steps)
    path = {
        "forward": cruise(gait, steps, 0.9 * speed),
        "turn": sign(side) * np.pi,
        "turning": (0.5 - half, 0.5 + half),
    }
    return gone(
        "walk_back",
        gait,
        steps,
        {"side": side, "pace": pace or "normal"},
        f"walk and back {side}",
        how,
        first=side,
        **path,
    )


@action(weight=2.0, wide=True)
def walk_stop_walk(rng: np.random.Generator) -> Action:
    """Walk, stand for a moment, walk on."""
    gait, speed = walking(rng, either(rng, "slow", "normal", "normal"))
    parts = [free(rng, gait, 2.0, 3.4) for _ in range(2)]
    stay, first = float(rng.uniform(0.6, 1.4)), either(rng, *SIDES)
    again = duration_of(gait, parts[0]) + stay

    def play(stage: Stage, start: float) -> None:
        travel(stage, start, gait, parts[0], forward=cruise(gait, parts[0], speed), first=first)
        travel(stage, start + again, gait, parts[1], forward=cruise(gait, parts[1], speed), first=first)

    return Action("walk_stop_walk", again + duration_of(gait, parts[1]), play, {}, "walk stop walk", travels=True)
