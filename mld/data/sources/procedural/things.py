"""Things in hands: picking up, putting down, lifting, throwing, catching, reaching; work and music done with a repeated
movement of one hand or both, from a table of places."""

from __future__ import annotations

import numpy as np

from mld.data.sources.procedural.actions import Action, action, either, other, sign
from mld.data.sources.procedural.arms import DOWN_AND_OUT, OUT, hold, lead, reach
from mld.data.sources.procedural.drawing import any_side, hands_of, often, one_side, tempo
from mld.data.sources.procedural.moves import crouch
from mld.data.sources.procedural.stage import Stage, through, window


@action(weight=6.0, wide=True)
def pick_up(rng: np.random.Generator) -> Action:
    """Down to the floor before the body, or to its side, with one hand or both; or put down."""
    kind, side = either(rng, "up", "up", "up", "down"), any_side(rng, 0.35)
    place = either(rng, "front", "front", "side") if side != "both" else "front"
    (pace, factor), stay = tempo(rng, 0.2, 0.15), float(rng.uniform(0.2, 0.5))
    moving, carried = 1.05 * factor, float(rng.uniform(0.6, 1.2))
    duration = 2 * moving + stay + carried + 0.4

    def perform(stage: Stage, start: float) -> None:
        t, end = stage.t, start + duration
        first = start + (carried if kind == "down" else 0.0)
        last = first + 2 * moving + stay
        down = window(t, first, last, moving)
        crouch(stage, down, 0.45)
        aside = sign(side) if place == "side" else 0.0
        stage.add(tilt=0.34 * down, pelvis_tilt=0.22 * down, lean=0.28 * aside * down, twist=0.35 * aside * down)
        low, high = reach((-0.02 if side != "both" else -0.06, -0.2, 0.44)), reach((-0.06, -0.24, 0.27))
        times = [start, first, first + moving, last - moving, last, end]
        at = {"up": [0.0, 0.0, 0.0, 0.0, 1.0, 1.0], "down": [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]}[kind]
        raised = through(t, times, at)
        busy = (start, end) if kind == "up" else (start, last)
        weight = window(t, *busy, 0.5 * moving, 0.6)
        for hand in hands_of(side):
            stage.blend_arm(hand, weight, **{name: low[name] + raised * (high[name] - low[name]) for name in low})
        if side != "both":
            stage.blend_arm(other(side), down, fwd=0.35, side=0.3, flex=1.4)  # on the thigh

    words = {"side": side, "place": place, "tempo": pace, "kind": kind, "to": side if place == "side" else ""}
    return Action("pick_up", duration, perform, words, f"pick up {side}", travels=True)


@action(weight=1.5, wide=True)
def lift_box(rng: np.random.Generator) -> Action:
    """Something heavy from the floor to the chest or over the head with both hands, and down again."""
    where, (pace, factor) = either(rng, "chest", "head"), tempo(rng, 0.25, 0.05)
    moving, stay = 1.15 * factor, float(rng.uniform(0.2, 0.8))
    duration = min(3 * moving + stay + 0.6, 8.5)

    def perform(stage: Stage, start: float) -> None:
        t, end = stage.t, start + duration
        down = window(t, start, start + 2 * moving, moving)
        crouch(stage, down, 0.46)
        stage.add(tilt=0.28 * down, pelvis_tilt=0.15 * down)
        top = (-0.05, -0.14, 0.3) if where == "chest" else (-0.05, 0.42, 0.12)
        places = [(-0.05, -0.42, 0.28), (-0.05, -0.42, 0.28), (-0.05, -0.2, 0.3), top, top]
        times = [start, start + moving, start + 2 * moving, start + 2.7 * moving, end]
        lead(stage, "both", window(t, start, end, 0.6 * moving, 0.9 * moving), times, places)

    words = {"tempo": pace, "where": where}
    return Action("lift_box", duration, perform, words, f"lift {where}", travels=True)


@action(weight=5.0, wide=True)
def throw(rng: np.random.Generator) -> Action:
    """Over the shoulder, from below, or from the chest with both hands."""
    kind = either(rng, "over", "over", "over", "under", "both")
    side, (pace, factor) = one_side(rng), tempo(rng, 0.1, 0.15)
    back, swing = 0.85 * factor, max(0.42, 0.45 * factor)
    duration = back + swing + 1.2

    def perform(stage: Stage, start: float) -> None:
        t, top = stage.t, start + back
        times = [start, top, top + swing, top + swing + 0.35, start + duration]
        busy = window(t, start, start + duration, 0.5, 0.7)
        if kind == "over":
            curve = {
                "side": [0.1, 1.55, 0.9, 0.2, 0.1],
                "fwd": [0.0, -0.25, 1.5, 0.9, 0.0],
                "turn": [0.2, -1.35, -0.3, 0.6, 0.2],
                "flex": [0.3, 1.7, 0.25, 0.35, 0.3],
            }
        elif kind == "under":
            curve = {
                "side": [0.1, 0.12, 0.0, 0.0, 0.1],
                "fwd": [0.0, -0.95, 1.45, 1.6, 0.0],
                "turn": [0.2] * 5,
                "flex": [0.3, 0.15, 0.1, 0.4, 0.3],
            }
        else:
            near, far = reach((-0.09, -0.1, 0.2), (0.8, -0.6, -0.2)), reach((-0.07, 0.02, 0.5))
            lead_in = through(t, times, [0.0, 0.0, 1.0, 1.0, 1.0])
            stage.blend_arm("both", busy, **{name: near[name] + lead_in * (far[name] - near[name]) for name in near})
            stage.add(tilt=through(t, times, [0.0, -0.08, 0.18, 0.12, 0.0]))
            return
        stage.blend_arm(side, busy, **{name: through(t, times, values) for name, values in curve.items()})
        stage.blend_arm(other(side), busy, fwd=through(t, times, [0.0, 0.7, -0.1, 0.0, 0.0]), flex=0.5)
        turned = through(t, times, [0.0, -0.5, 0.35, 0.3, 0.0]) * sign(side) * (1.0 if kind == "over" else 0.5)
        stage.add(twist=-turned, pelvis_twist=-0.3 * turned, tilt=through(t, times, [0.0, -0.08, 0.28, 0.22, 0.0]))

    words = {"side": side if kind != "both" else "both", "kind": kind, "tempo": pace}
    return Action("throw", duration, perform, words, f"throw {words['side']} {kind}", arms=True)


@action(weight=1.0, wide=True)
def catch(rng: np.random.Generator) -> Action:
    """Hands go out to a flying ball, take it and draw it to the body."""
    side, high = any_side(rng, 0.6), either(rng, "chest", "high")
    duration = 2.6 + float(rng.uniform(0.0, 0.5))

    def perform(stage: Stage, start: float) -> None:
        t, end = stage.t, start + duration
        out = (-0.07, 0.0, 0.46) if high == "chest" else (-0.08, 0.44, 0.18)
        lead(
            stage,
            side,
            window(t, start, end, 0.55, 0.7),
            [start, start + 0.7, start + 1.2, end],
            [out, out, (-0.1, -0.18, 0.24), (-0.1, -0.18, 0.24)],
        )
        stage.add(tilt=through(t, [start, start + 0.6, start + 1.2, end], [0.0, 0.1, -0.04, 0.0]))

    return Action("catch", duration, perform, {"side": side, "where": high}, f"catch {side}", arms=True)


REACHES = {
    "up": ((-0.02, 0.5, 0.12), "head_tilt", -0.4),
    "down": ((-0.02, -0.5, 0.15), "tilt", 0.75),
    "forward": ((-0.05, -0.02, 0.5), "tilt", 0.18),
    "out": ((0.5, 0.0, 0.05), "", 0.0),
    "across": ((-0.42, -0.02, 0.3), "", 0.0),
}


@action(weight=2.0, wide=True)
def reach_out(rng: np.random.Generator) -> Action:
    """One hand, or both, as far as it goes: up, down, ahead, out to its side, across to the other."""
    side = any_side(rng, 0.25)
    where = either(rng, *(("up", "down", "forward") if side == "both" else REACHES))
    (pace, factor), stay = tempo(rng, 0.2, 0.15), float(rng.uniform(0.2, 1.0))
    moving = 0.8 * factor
    duration = 2 * moving + stay

    def perform(stage: Stage, start: float) -> None:
        weight = window(stage.t, start, start + duration, moving)
        place, curve, amount = REACHES[where]
        hold(stage, side, weight, place)
        if curve:
            stage.add(**{curve: amount * weight})
        if where == "down":
            stage.add(pelvis_tilt=0.55 * weight, forward=-0.12 * weight, height=-0.1 * weight)
        if where in ("out", "across"):
            way = sign(side) * (1.0 if where == "out" else -1.0)
            stage.add(lean=0.16 * way * weight, twist=(0.1 if where == "out" else 0.35) * way * weight)

    to = {"out": side, "across": other(side)}.get(where, "")
    words = {"side": side, "where": where, "to": to, "tempo": pace}
    return Action("reach_out", duration, perform, words, f"reach {side} {where}", arms=True)


# A repeated movement: centre, the two half axes of an ellipse that the hand runs over, seconds a round, how often it is
# drawn, what the other hand does ("same", "against" it by half a round, a place where it stays, or "" for nothing).
WORK = {
    "wipe_window": ((0.0, 0.12, 0.42), (0.24, 0, 0), (0, 0.14, 0), 1.3, 1.4, ""),
    "stir": ((-0.14, -0.28, 0.32), (0.08, 0, 0), (0, 0, 0.08), 1.0, 1.2, (-0.05, -0.3, 0.28)),
    "paint": ((-0.02, 0.05, 0.42), (0.03, 0, 0), (0, 0.26, 0), 1.4, 0.8, ""),
    "dribble": ((0.08, -0.3, 0.3), (0, 0, 0.02), (0, 0.12, 0), 0.62, 1.4, ""),
    "hammer": ((-0.08, -0.08, 0.34), (0, 0, 0.05), (0, 0.16, 0), 0.75, 0.7, ""),
    "guitar": ((-0.16, -0.3, 0.2), (0.02, 0, 0), (0, 0.09, 0), 0.5, 1.4, (0.24, -0.08, 0.22)),
    "violin": ((-0.1, -0.02, 0.28), (0.14, 0, 0), (0, 0.06, 0), 1.1, 1.0, (0.06, 0.05, 0.36)),
    "piano": ((0.0, -0.25, 0.36), (0.07, 0, 0), (0, 0.035, 0), 0.7, 1.0, "against"),
    "drum": ((-0.06, -0.24, 0.34), (0, 0, 0.02), (0, 0.12, 0), 0.55, 1.2, "against"),
    "conduct": ((0.04, 0.05, 0.38), (0.16, 0, 0), (0, 0.17, 0), 1.1, 0.9, "same"),
    "swim": ((0.02, 0.0, 0.06), (0, 0, 0.38), (0, 0.36, 0), 1.5, 1.2, "against"),
    "breaststroke": ((0.12, -0.06, 0.3), (0.22, 0, 0), (0, 0, 0.16), 1.6, 0.9, "same"),
    "row": ((0.0, -0.16, 0.31), (0, 0, 0.16), (0, 0.06, 0), 1.4, 0.9, "same"),
    "climb": ((-0.05, 0.24, 0.26), (0, 0, 0.03), (0, 0.2, 0), 1.4, 1.0, "against"),
    "juggle": ((-0.02, -0.16, 0.32), (0.06, 0, 0), (0, 0.12, 0), 0.75, 0.6, "against"),
    "knead": ((-0.1, -0.3, 0.34), (0, 0, 0.1), (0, 0.04, 0), 0.9, 0.4, "against"),
    "steer": ((0.02, -0.1, 0.36), (0, 0, 0), (0, 0.13, 0), 1.8, 0.8, "against"),
}


@action(weight=8.0, wide=True)
def work(rng: np.random.Generator) -> Action:
    """Hands go round on ellipses; the phrases are those of the kind."""
    kinds = list(WORK)
    chances = np.array([WORK[kind][4] for kind in kinds])
    kind = kinds[int(rng.choice(len(kinds), p=chances / chances.sum()))]
    centre, cos, sin, period, _, free = WORK[kind]
    side, (pace, factor) = one_side(rng), tempo(rng, 0.15, 0.15)
    if kind in ("guitar", "violin"):
        side = "right" if rng.random() < 0.85 else "left"
    period *= max(factor, 0.75)
    count = float(rng.integers(2, max(3, int(5.5 / period) + 1)))
    duration = 1.5 + count * period

    def perform(stage: Stage, start: float) -> None:
        t = stage.t
        weight = window(t, start, start + duration, 0.75)
        phase = 2 * np.pi * np.clip((t - start - 0.75) / period, 0.0, count)
        spin = -1.0 if kind == "swim" else 1.0
        for hand in ("left", "right"):
            elbow = OUT if kind == "swim" else DOWN_AND_OUT
            if hand != side and free == "":
                continue
            if hand != side and not isinstance(free, str):
                hold(stage, hand, weight, free)
                continue
            lag = np.pi if hand != side and free == "against" else 0.0
            places = (
                np.asarray(centre)
                + np.outer(np.cos(spin * phase + lag), cos)
                + np.outer(np.sin(spin * phase + lag), sin)
            )
            hold(stage, hand, weight, places, elbow)
        if kind in ("swim", "row"):
            stage.add(tilt=weight * (0.45 if kind == "swim" else 0.12 + 0.14 * np.cos(phase)), pelvis_tilt=0.1 * weight)
        elif kind in ("wipe_window", "conduct"):
            stage.add(twist=0.06 * sign(side) * weight * np.cos(phase))
        elif kind in ("violin",):
            stage.add(head_lean=-0.2 * sign(side) * weight, head_twist=-0.3 * sign(side) * weight)

    words = {"side": side, "other": other(side), "tempo": pace}
    return Action(kind, duration, perform, words, f"{kind} {side}" if free == "" else kind, arms=True)


@action(weight=2.0, wide=True)
def swing_at(rng: np.random.Generator) -> Action:
    """A swing across the body: a bat or a golf club in both hands, a racket in one; a bowling ball."""
    kind, side = either(rng, "bat", "golf", "forehand", "backhand", "bowl"), one_side(rng)
    pace, factor = tempo(rng, 0.1, 0.1)
    back, swing, count = 0.9 * factor, max(0.45, 0.5 * factor), often(rng, 2, 0.75)
    once = back + swing + 1.0
    high, low, through_it = {
        "bat": ((-0.02, 0.06, 0.16), (-0.2, -0.12, 0.42), (-0.38, 0.06, 0.2)),
        "golf": ((0.12, 0.12, 0.18), (-0.18, -0.42, 0.26), (-0.36, 0.1, 0.18)),
        "forehand": ((0.36, -0.05, -0.1), (-0.02, -0.14, 0.44), (-0.3, 0.14, 0.28)),
        "backhand": ((-0.36, -0.1, 0.16), (-0.02, -0.1, 0.46), (0.4, 0.06, 0.16)),
        "bowl": ((0.02, -0.38, -0.3), (-0.04, -0.46, 0.2), (-0.08, 0.08, 0.44)),
    }[kind]
    way = -1.0 if kind == "backhand" else 1.0

    def perform(stage: Stage, start: float) -> None:
        t = stage.t
        for number in range(count):
            begin = start + number * once
            top, end = begin + back, begin + once
            times = [begin, top, top + 0.55 * swing, top + swing, end]
            busy = window(t, begin, end, 0.6 * back, 0.7)
            lead(stage, side, busy, times, [high, high, low, through_it, through_it])
            if kind in ("bat", "golf"):  # the other hand holds on: the same places seen from its shoulder
                beside = [(-0.36 - out, up - 0.05, ahead) for out, up, ahead in (high, low, through_it)]
                lead(stage, other(side), busy, times, [beside[0], *beside, beside[2]])
            turned = (
                through(t, times, [0.0, -0.65, 0.0, 0.6, 0.0]) * sign(side) * way * (0.4 if kind == "bowl" else 1.0)
            )
            stage.add(twist=-turned, pelvis_twist=-0.35 * turned)
            bent = window(t, begin, end, 0.7)
            stage.add(
                tilt={"golf": 0.32, "bowl": 0.5}.get(kind, 0.1) * bent,
                height=(-0.16 if kind == "bowl" else -0.03) * bent,
            )

    words = {"side": side, "other": other(side), "kind": kind, "times": str(count), "tempo": pace}
    return Action("swing_at", count * once, perform, words, f"swing {kind} {side}", arms=True)


@action(weight=1.2, wide=True)
def shoot_ball(rng: np.random.Generator) -> Action:
    """A basketball from the chest up over the head, out of the knees."""
    pace, factor = tempo(rng, 0.15, 0.1)
    ready, shot = 0.9 * factor, 0.55 * factor
    duration = ready + shot + 1.3

    def perform(stage: Stage, start: float) -> None:
        t, end = stage.t, start + duration
        times = [start, start + 0.6 * ready, start + ready, start + ready + shot, start + ready + shot + 0.3, end]
        lead(
            stage,
            "both",
            window(t, start, end, 0.5 * ready, 0.7),
            times,
            [
                (-0.1, -0.2, 0.26),
                (-0.1, -0.2, 0.26),
                (-0.1, 0.1, 0.22),
                (-0.08, 0.44, 0.26),
                (-0.08, 0.42, 0.28),
                (-0.08, 0.42, 0.28),
            ],
        )
        bent = through(t, times, [0.0, 1.0, 0.8, 0.0, 0.0, 0.0])
        crouch(stage, bent, 0.17)
        stage.add(head_tilt=-0.2 * window(t, start, end, 0.8))

    return Action("shoot_ball", duration, perform, {"tempo": pace}, "shoot ball", travels=True)
