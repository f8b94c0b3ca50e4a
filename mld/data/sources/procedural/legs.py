"""One leg at a time: kicks, raised knees, lunges, standing on one leg, stomping, tapping, steps to a side."""

from __future__ import annotations

import numpy as np

from mld.data.sources.procedural.actions import Action, action, either, other, sign
from mld.data.sources.procedural.drawing import often, one_side, tempo
from mld.data.sources.procedural.moves import HIP, STRETCHED, lead_foot
from mld.data.sources.procedural.stage import Carried, Stage, Step, through, window

HEIGHTS = {"low": (0.25, 0.42), "normal": (0.5, 0.7), "high": (0.82, 1.05)}  # of the foot at the end of a kick, m


@action(weight=9.0, wide=True)
def kick(rng: np.random.Generator) -> Action:
    """To the front, the side or the back, at three heights, or at a ball on the floor; once or several times."""
    side, where = one_side(rng), either(rng, "front", "front", "front", "side", "back", "ball")
    level = either(rng, "low", "normal", "high") if where != "ball" else "low"
    (pace, factor), count = tempo(rng, 0.15, 0.2), either(rng, 1, 1, 1, 2, 3)
    high = float(rng.uniform(*HEIGHTS[level])) * (0.85 if where == "back" else 1.0)
    lead, back, blow, down = 0.4, 0.35 * factor, 0.38 * factor, 0.8 * factor
    once = back + blow + down
    duration = lead + count * once + 0.45
    reach = 0.98 * np.sqrt(max(STRETCHED**2 - (HIP - high) ** 2, 0.05))

    def perform(stage: Stage, start: float) -> None:
        t, end = stage.t, start + duration
        swing = np.zeros_like(t)
        for number in range(count):
            lift = start + lead + number * once
            land = lift + once
            hit = lift + back + blow
            if where == "side":
                _side_kick(stage, side, lift, hit, land, high, reach)
            else:
                ahead = reach if where != "back" else -reach
                wind = (lift + back, 0.28, -0.32, 0.7) if where != "back" else (lift + back, 0.28, 0.18, 0.4)
                pitch = 0.45 if where != "back" else 0.9
                keys = [
                    wind,
                    (hit, high, ahead, pitch),
                    (hit + 0.45 * down, 0.35, 0.12 if where != "back" else -0.12, 0.3),
                ]
                lead_foot(stage, side, keys, lift, land)
            swing += through(t, [lift, lift + back, hit, hit + 0.6 * down, land], [0.0, 0.1, -0.26, -0.05, 0.0])
        lean = {"front": 1.0, "ball": 0.7, "side": 0.35, "back": -1.7}[where]
        stage.blend(window(t, start, end, lead), balance=0.88)
        stage.add(tilt=lean * swing, pelvis_tilt=0.5 * lean * swing)
        if where == "side":
            stage.add(lean=1.3 * sign(side) * swing, pelvis_lean=0.5 * sign(side) * swing)
        else:
            stage.add(pelvis_twist=0.5 * sign(side) * swing)
        busy = window(t, start, end, 0.5)
        stage.blend_arm(side, busy, fwd=1.6 * swing, side=0.5, flex=0.6)
        stage.blend_arm(other(side), busy, fwd=-2.0 * swing, side=0.5, flex=0.6)

    words = {"side": side, "other": other(side), "level": level, "where": where, "times": str(count), "tempo": pace}
    return Action("kick", duration, perform, words, f"kick {side} {where}", travels=True)


def _side_kick(stage: Stage, side: str, lift: float, hit: float, land: float, high: float, reach: float) -> None:
    """The foot out to its own side, through a raised knee."""
    x, z, yaw = stage.stand(land, side)
    stage.steps[side].append(Step(lift, land, x, z, yaw, 0.02, off=0.35, off_time=0.2))
    times = [lift, 0.5 * (lift + hit), hit, 0.5 * (hit + land), land]
    across = stage.style.stance
    places = np.array(
        [
            [across, 0.075, -0.02],
            [0.18, 0.42, 0.12],
            [reach + 0.07, high, 0.03],
            [0.2, 0.36, 0.1],
            [across, 0.065, -0.03],
        ]
    )
    local = np.stack([through(stage.t, times, column) for column in places.T], axis=-1) * [sign(side), 1.0, 1.0]
    pitch = through(stage.t, times, [0.35, 0.4, 0.0, 0.3, 0.0])
    stage.carried[side].append(Carried(window(stage.t, lift, land, 0.15), local, pitch))


@action(weight=6.0, wide=True)
def raise_knee(rng: np.random.Generator) -> Action:
    """A knee comes up and stays a while, or up and down several times."""
    side, (pace, factor) = one_side(rng), tempo(rng, 0.2, 0.15)
    count, stay = often(rng, 4, 0.6), float(rng.uniform(0.1, 2.2))
    if count > 1:
        stay = 0.12
    high = either(rng, "normal", "high")
    foot = {"normal": 0.46, "high": 0.62}[high]
    moving = 0.7 * factor
    once = 2 * moving + stay
    duration = 0.8 + count * once
    arms = either(rng, "out", "hang", "hips")

    def perform(stage: Stage, start: float) -> None:
        t, end = stage.t, start + duration
        for number in range(count):
            lift = start + 0.45 + number * once
            land = lift + once - 0.05
            lead_foot(
                stage, side, [(lift + moving, foot, 0.2, 0.5), (land - moving + 0.03, foot, 0.2, 0.5)], lift, land
            )
        stage.blend(window(t, start, end, 0.45), balance=0.92)
        if arms == "out":
            stage.blend_arm("both", window(t, start, end, 0.6), side=0.7, flex=0.4)

    words = {
        "side": side,
        "other": other(side),
        "times": str(count),
        "tempo": pace,
        "hold": "long" if stay > 0.9 else "short",
    }
    return Action("raise_knee", duration, perform, words, f"raise knee {side}", travels=True)


@action(weight=1.5, wide=True)
def knees_in_turn(rng: np.random.Generator) -> Action:
    """One knee and then the other, two times or more."""
    first, (pace, factor), count = one_side(rng), tempo(rng, 0.2, 0.15), either(rng, 2, 2, 4, 6)
    moving = 0.5 * factor
    once = 2 * moving + 0.25
    duration = 0.7 + count * once
    foot = float(rng.uniform(0.44, 0.58))

    def perform(stage: Stage, start: float) -> None:
        for number in range(count):
            side = first if number % 2 == 0 else other(first)
            lift = start + 0.4 + number * once
            land = lift + 2 * moving
            lead_foot(
                stage,
                side,
                [(lift + 0.95 * moving, foot, 0.2, 0.5), (lift + 1.05 * moving, foot, 0.2, 0.5)],
                lift,
                land,
            )
        stage.blend(window(stage.t, start, start + duration, 0.4), balance=0.8)

    words = {"side": first, "other": other(first), "tempo": pace, "many": "two" if count == 2 else "more"}
    return Action("knees_in_turn", duration, perform, words, f"knees {first} then {other(first)}", travels=True)


@action(weight=2.0, wide=True)
def balance(rng: np.random.Generator) -> Action:
    """Standing on one leg, the other foot lifted, behind or stretched ahead, aside or back."""
    side, stay = one_side(rng), float(rng.uniform(1.2, 3.5))  # the leg that stands is the other one
    where = either(rng, "bent", "behind", "front", "side", "back")
    up, ahead, pitch = {
        "bent": (0.42, 0.1, 0.5),
        "behind": (0.4, -0.32, 0.95),
        "front": (0.5, 0.66, 0.2),
        "side": (0.4, 0.02, 0.1),
        "back": (0.5, -0.62, 0.95),
    }[where]
    duration = 2.6 + stay

    def perform(stage: Stage, start: float) -> None:
        t, end = stage.t, start + duration
        lift, land = start + 0.45, end - 0.35
        lead_foot(stage, side, [(lift + 0.9, up, ahead, pitch), (land - 0.9, up, ahead, pitch)], lift, land)
        if where == "side":
            out = 0.5 * sign(side) * window(t, lift, land, 0.9)
            stage.carried[side][-1].local[:, 0] += out
        weight = window(t, start, end, 0.7)
        stage.blend(window(t, start, end, 0.45), balance=0.93)
        stage.blend_arm("both", weight, side=1.2 if where != "bent" else 0.7, flex=0.25)
        stage.add(
            tilt={"back": 0.45, "front": -0.1}.get(where, 0.0) * weight, pelvis_tilt=0.25 * (where == "back") * weight
        )

    words = {"side": side, "other": other(side), "where": where}
    return Action("balance", duration, perform, words, f"balance lifting {side}", travels=True)


@action(weight=4.0, wide=True)
def lunge(rng: np.random.Generator) -> Action:
    """A long step with one leg, sink, come up and step back; to the front, a side or the back; legs take turns."""
    side, where = one_side(rng), either(rng, "forward", "forward", "side", "back")
    (pace, factor), count = tempo(rng, 0.2, 0.1), either(rng, 1, 1, 2, 3)
    moving, far, stay = 0.85 * factor, float(rng.uniform(0.55, 0.72)), float(rng.uniform(0.1, 0.7))
    once = 2 * moving + stay + 0.7
    count = min(count, int(8.8 / once))
    turns = "yes" if count == 2 and rng.random() < 0.5 else "no"

    def perform(stage: Stage, start: float) -> None:
        for number in range(count):
            foot = other(side) if turns == "yes" and number % 2 else side
            _lunge(stage, start + number * once, once, foot, where, far, moving)

    words = {"side": side, "other": other(side), "where": where, "times": str(count), "tempo": pace, "turns": turns}
    if turns == "yes":
        del words["times"]
    return Action("lunge", count * once, perform, words, f"lunge {side} {where}", travels=True)


def _lunge(stage: Stage, start: float, long: float, side: str, where: str, far: float, moving: float) -> None:
    t, end = stage.t, start + long
    home, (_, _, heading) = stage.stand(start, side), stage.place(start)
    ahead, left = {"forward": (far, 0.0), "back": (-far, 0.0), "side": (0.0, sign(side) * far)}[where]
    there = (
        home[0] + ahead * np.sin(heading) + left * np.cos(heading),
        home[1] + ahead * np.cos(heading) - left * np.sin(heading),
        home[2],
    )
    lift, step = start + 0.2, 0.7 * moving
    roll = {"forward": (0.4, -0.2), "back": (0.3, 0.4), "side": (0.3, 0.1)}[where]
    stage.steps[side] += [
        Step(lift, lift + step, *there, apex=0.06, off=roll[0], on=roll[1]),
        Step(end - 0.2 - step, end - 0.2, *home, apex=0.06, off=0.3, on=0.1),
    ]
    down = window(t, start + 0.15, end - 0.15, moving + 0.1)
    stage.add(
        height=-0.26 * down,
        tilt=0.12 * down,
        forward=0.48 * ahead * down,
        left=(0.62 if where == "side" else 0.48) * left * down,
    )
    stage.blend(window(t, start, end, 0.3), balance=0.25)
    stage.blend_arm("both", down, side=0.5, flex=1.3, turn=0.6, fwd=-0.15)


@action(weight=1.5, wide=True)
def stomp(rng: np.random.Generator) -> Action:
    """A foot lifted and set down with force; tapping: only the toes, quick and low."""
    side, kind, count = one_side(rng), either(rng, "stomp", "tap"), int(rng.integers(1, 6))
    if kind == "tap":
        count = max(count, 2)
    once = 0.85 if kind == "stomp" else 0.5
    duration = 0.7 + count * once

    def perform(stage: Stage, start: float) -> None:
        t = stage.t
        for number in range(count):
            lift = start + 0.35 + number * once
            if kind == "stomp":
                keys = [(lift + 0.42, 0.34, 0.12, 0.35), (lift + 0.5, 0.33, 0.12, 0.3)]
                lead_foot(stage, side, keys, lift, lift + once - 0.15)
            else:
                x, z, yaw = stage.stand(lift, side)
                stage.steps[side].append(Step(lift, lift + 0.36, x, z, yaw, 0.1, off=0.1, on=-0.1))
        stage.blend(window(t, start, start + duration, 0.35), balance=0.8)

    words = {"side": side, "times": str(count), "kind": kind}
    return Action("stomp", duration, perform, words, f"{kind} {side}", travels=True)


@action(weight=1.5, wide=True)
def step_touch(rng: np.random.Generator) -> Action:
    """To one side and back to the other, a foot drawn up to the other, as in a dance; arms may swing along."""
    first, count, arms = one_side(rng), int(rng.integers(2, 5)), either(rng, "none", "swing", "clap")
    beat, far = float(rng.uniform(0.55, 0.75)), float(rng.uniform(0.22, 0.34))
    duration = 0.5 + 2 * count * beat

    def perform(stage: Stage, start: float) -> None:
        t = stage.t
        times, aside = [start], [0.0]
        for number in range(count):
            way = first if number % 2 == 0 else other(first)
            begin = start + 0.25 + 2 * number * beat
            home = stage.place(start)
            at, to = aside[-1], far * sign(first) if number % 2 == 0 else 0.0
            for foot, lift in ((way, begin), (other(way), begin + beat)):
                x, z, yaw = stage.stand(start, foot)
                stage.steps[foot].append(
                    Step(lift, lift + 0.7 * beat, x + to * np.cos(home[2]), z - to * np.sin(home[2]), yaw, 0.07)
                )
            times += [begin, begin + 1.5 * beat]
            aside += [at, to]
        moved = through(t, times, aside)
        stage.move(start, np.zeros_like(t), moved - moved[0], np.zeros_like(t))
        stage.add(height=-0.02 * np.abs(np.sin(np.pi * (t - start) / beat)) * window(t, start, start + duration, 0.3))
        weight = window(t, start, start + duration, 0.4)
        if arms == "swing":
            beat_now = np.sin(np.pi * (t - start - 0.25) / beat)
            stage.blend_arm("both", weight, fwd=0.5 + 0.5 * beat_now, flex=0.9, side=0.25)
        elif arms == "clap":
            shut = 0.5 - 0.5 * np.cos(np.pi * np.clip((t - start - 0.25) / beat, 0.0, 2.0 * count))
            stage.blend_arm("both", weight, fwd=0.6, side=0.35 - 0.2 * shut, turn=0.2 + 0.75 * shut, flex=1.2)

    words = {"side": first, "other": other(first), "arms": arms}
    return Action("step_touch", duration, perform, words, f"step touch {first}", travels=True)
