"""Head and trunk: bending, twisting, bowing, nodding, shaking the head, looking, swaying, touching the toes."""

from __future__ import annotations

import numpy as np

from mld.data.sources.procedural.actions import Action, action, either, other, sign
from mld.data.sources.procedural.arms import hold
from mld.data.sources.procedural.drawing import often, one_side, tempo
from mld.data.sources.procedural.stage import Stage, through, window


@action(weight=5.0, wide=True)
def bow(rng: np.random.Generator) -> Action:
    deep, (pace, factor) = either(rng, "slightly", "normal", "deeply"), tempo(rng, 0.2, 0.12)
    angle = {"slightly": 0.52, "normal": 0.8, "deeply": 1.15}[deep] * float(rng.uniform(0.92, 1.08))
    moving, hold_it, count = 1.05 * factor, float(rng.uniform(0.2, 0.9)), either(rng, 1, 1, 1, 2)
    arms = either(rng, "sides", "front", "belly")
    once = 2 * moving + hold_it

    def perform(stage: Stage, start: float) -> None:
        for number in range(count):
            begin = start + number * once
            down = window(stage.t, begin, begin + once, moving)
            stage.add(
                pelvis_tilt=0.55 * angle * down,
                tilt=0.55 * angle * down,
                head_tilt=0.3 * angle * down,
                forward=-0.11 * angle * down,
            )
            if arms == "belly":
                hold(stage, "right", down, (-0.18, -0.33, 0.18), (0.6, -0.8, -0.2))
            else:
                stage.blend_arm("both", down, fwd=(0.3 if arms == "sides" else 0.55) * angle, flex=0.15, side=0.03)

    words = {"deep": deep, "times": str(count), "tempo": pace}
    return Action("bow", count * once, perform, words, f"bow {deep}", travels=True)


@action(weight=4.0, wide=True)
def bend(rng: np.random.Generator) -> Action:
    """The trunk forward, back or to a side, legs straight."""
    where = either(rng, "forward", "forward", "left", "right", "left", "right", "back")
    (pace, factor), count, stay = tempo(rng, 0.2, 0.12), often(rng, 3, 0.75), float(rng.uniform(0.2, 1.2))
    moving = 0.85 * factor
    once = 2 * moving + stay
    amount = float(rng.uniform(0.9, 1.1))
    arms = either(rng, "hang", "hips")

    def perform(stage: Stage, start: float) -> None:
        for number in range(count):
            begin = start + number * once
            down = amount * window(stage.t, begin, begin + once, moving)
            if where == "forward":
                stage.add(pelvis_tilt=0.5 * down, tilt=0.6 * down, head_tilt=0.2 * down, forward=-0.12 * down)
            elif where == "back":
                stage.add(
                    pelvis_tilt=-0.14 * down,
                    tilt=-0.55 * down,
                    head_tilt=-0.35 * down,
                    forward=0.09 * down,
                    height=-0.03 * down,
                )
            else:
                stage.add(
                    lean=0.62 * sign(where) * down,
                    pelvis_lean=0.1 * sign(where) * down,
                    left=-0.06 * sign(where) * down,
                    head_lean=0.12 * sign(where) * down,
                )
        weight = window(stage.t, start, start + count * once, 0.6 * moving)
        if arms == "hips":
            hold(stage, "both", weight, (0.0, -0.45, -0.01), (1.0, -0.1, -0.6))
        elif where == "forward":
            stage.blend_arm("both", weight, fwd=0.75, flex=0.15)

    words = {"side": where if where in ("left", "right") else "", "where": where, "times": str(count), "tempo": pace}
    return Action("bend", count * once, perform, words, f"bend {where}", travels=True)


@action(weight=1.5, wide=True)
def touch_toes(rng: np.random.Generator) -> Action:
    """Both hands down to the feet with straight legs, or one hand to the foot of the other side."""
    kind, side = either(rng, "both", "both", "across"), one_side(rng)
    (pace, factor), count, stay = tempo(rng, 0.2, 0.1), often(rng, 3, 0.6), float(rng.uniform(0.2, 0.8))
    moving = 0.95 * factor
    once = 2 * moving + stay

    def perform(stage: Stage, start: float) -> None:
        for number in range(count):
            begin = start + number * once
            down = window(stage.t, begin, begin + once, moving)
            stage.add(
                pelvis_tilt=0.95 * down, tilt=1.15 * down, head_tilt=0.3 * down, forward=-0.2 * down, height=-0.1 * down
            )
            if kind == "both":
                stage.blend_arm("both", down, fwd=1.75, flex=0.06, side=-0.02)
            else:
                stage.blend_arm(side, down, fwd=1.85, flex=0.06, side=-0.35)
                stage.blend_arm(other(side), down, fwd=-0.4, side=0.75, flex=0.1)
                stage.add(twist=-0.45 * sign(side) * down)

    words = {"kind": kind, "side": side, "other": other(side), "times": str(count), "tempo": pace}
    return Action("touch_toes", count * once, perform, words, f"touch toes {kind}", travels=True)


@action(weight=2.0, wide=True)
def twist(rng: np.random.Generator) -> Action:
    """The trunk turns to one side and back, or to and fro, feet where they are."""
    side, kind = one_side(rng), either(rng, "one", "one", "both")
    (pace, factor), count, stay = tempo(rng, 0.2, 0.15), often(rng, 3, 0.6), float(rng.uniform(0.1, 0.8))
    moving = 0.75 * factor
    once = 2 * moving + stay if kind == "one" else 4 * moving
    arms = either(rng, "hips", "hang", "guard")

    def perform(stage: Stage, start: float) -> None:
        t = stage.t
        for number in range(count):
            begin = start + number * once
            if kind == "one":
                turned = window(t, begin, begin + once, moving)
            else:
                turned = through(t, begin + moving * np.array([0, 1, 3, 4]), [0.0, 1.0, -1.0, 0.0])
            turned = turned * sign(side)
            stage.add(twist=0.75 * turned, pelvis_twist=0.28 * turned, head_twist=0.2 * turned)
        weight = window(t, start, start + count * once, 0.5 * moving)
        if arms == "hips":
            hold(stage, "both", weight, (0.0, -0.45, -0.01), (1.0, -0.1, -0.6))
        elif arms == "guard":
            stage.blend_arm("both", weight, side=1.25, fwd=0.5, flex=1.9, turn=0.9)

    words = {"side": side, "other": other(side), "kind": kind, "times": str(count), "tempo": pace}
    return Action("twist", count * once, perform, words, f"twist {side}", travels=True)


@action(weight=3.0, wide=True)
def nod(rng: np.random.Generator) -> Action:
    count, (pace, factor) = int(rng.integers(1, 5)), tempo(rng, 0.15, 0.15)
    period = 0.75 * factor
    duration = count * period + 0.3

    def perform(stage: Stage, start: float) -> None:
        beat = np.clip((stage.t - start - 0.15) / period, 0.0, count)
        down = 0.5 - 0.5 * np.cos(2 * np.pi * beat)
        stage.add(head_tilt=0.55 * down, tilt=0.07 * down)

    return Action("nod", duration, perform, {"times": str(count), "tempo": pace}, "nod", arms=True)


@action(weight=3.0, wide=True)
def shake_head(rng: np.random.Generator) -> Action:
    count, (pace, factor), first = int(rng.integers(2, 6)), tempo(rng, 0.15, 0.15), one_side(rng)
    period = 0.8 * factor
    duration = count * period + 0.4

    def perform(stage: Stage, start: float) -> None:
        t = stage.t
        beat = np.sin(2 * np.pi * np.clip((t - start - 0.2) / period, 0.0, count)) * window(
            t, start, start + duration, 0.3
        )
        stage.add(head_twist=0.85 * sign(first) * beat, twist=0.12 * sign(first) * beat)

    return Action("shake_head", duration, perform, {"tempo": pace}, "shake head", arms=True)


ASIDE = 0.2  # rad that a head which turns aside nods: so the head joint, which is on the axis, goes aside as well
LOOKS = {"left": (0, 1), "right": (0, -1), "up": (-1, 0), "down": (1, 0), "behind": (0, 0)}


@action(weight=4.0, wide=True)
def look(rng: np.random.Generator) -> Action:
    """The head goes one way and stays for a while; behind: the trunk turns along."""
    where = either(rng, "left", "right", "left", "right", "up", "down", "behind")
    side = where if where in ("left", "right") else one_side(rng)
    (pace, factor), stay = tempo(rng, 0.15, 0.15), float(rng.uniform(0.5, 1.8))
    moving = 0.6 * factor
    duration = 2 * moving + stay

    def perform(stage: Stage, start: float) -> None:
        weight = window(stage.t, start, start + duration, moving)
        down, left = LOOKS[where]
        stage.add(
            head_tilt=(0.55 * down + ASIDE * abs(left)) * weight,
            tilt=0.12 * down * weight,
            head_twist=1.05 * left * weight,
            twist=0.3 * left * weight,
        )
        if where == "behind":
            stage.add(
                head_twist=1.15 * sign(side) * weight,
                head_tilt=ASIDE * weight,
                twist=0.8 * sign(side) * weight,
                pelvis_twist=0.3 * sign(side) * weight,
            )

    words = {"where": where, "side": side, "tempo": pace}
    return Action("look", duration, perform, words, f"look {where}", arms=True)


@action(weight=1.5, wide=True)
def look_around(rng: np.random.Generator) -> Action:
    """To one side and then to the other."""
    first, (pace, factor), stay = one_side(rng), tempo(rng, 0.2, 0.15), float(rng.uniform(0.2, 0.8))
    moving = 0.65 * factor
    duration = 4 * moving + 2 * stay

    def perform(stage: Stage, start: float) -> None:
        times = np.cumsum([start, moving, stay, 2 * moving, stay, moving])
        seen = through(stage.t, times, [0.0, 1.0, 1.0, -1.0, -1.0, 0.0]) * sign(first)
        stage.add(head_twist=1.0 * seen, twist=0.4 * seen, pelvis_twist=0.1 * seen, head_tilt=ASIDE * np.abs(seen))

    words = {"side": first, "other": other(first), "tempo": pace}
    return Action("look_around", duration, perform, words, f"look {first}", arms=True)


@action(weight=0.8, wide=True)
def tilt_head(rng: np.random.Generator) -> Action:
    """The head to a shoulder; or once round."""
    kind, side, (pace, factor) = either(rng, "side", "side", "roll"), one_side(rng), tempo(rng, 0.2, 0.1)
    moving, stay = 0.65 * factor, float(rng.uniform(0.4, 1.2))
    duration = 2 * moving + stay if kind == "side" else 2.6 * factor

    def perform(stage: Stage, start: float) -> None:
        t = stage.t
        if kind == "side":
            stage.add(head_lean=0.6 * sign(side) * window(t, start, start + duration, moving))
            return
        angle = 2 * np.pi * np.clip((t - start - 0.3) / (duration - 0.6), 0.0, 1.0)
        weight = window(t, start, start + duration, 0.5)
        stage.add(head_tilt=0.5 * weight * np.cos(angle), head_lean=0.5 * sign(side) * weight * np.sin(angle))

    words = {"side": side, "kind": kind, "tempo": pace}
    return Action("tilt_head", duration, perform, words, f"tilt head {kind}", arms=True)


@action(weight=1.2, wide=True)
def sway(rng: np.random.Generator) -> Action:
    """The body leans from side to side over the feet; hips: these go, the shoulders stay."""
    kind, first, (pace, factor) = either(rng, "body", "hips"), one_side(rng), tempo(rng, 0.2, 0.1)
    count, period = int(rng.integers(2, 5)), 1.4 * factor
    duration = 0.6 + count * period

    def perform(stage: Stage, start: float) -> None:
        t = stage.t
        beat = np.sin(2 * np.pi * np.clip((t - start - 0.3) / period, 0.0, count)) * sign(first)
        if kind == "body":
            stage.add(
                left=0.09 * beat,
                lean=0.12 * beat,
                pelvis_lean=0.05 * beat,
                left_side=0.06 * np.abs(beat),
                right_side=0.06 * np.abs(beat),
            )
        else:
            stage.add(
                left=0.1 * beat, pelvis_lean=-0.16 * beat, lean=0.2 * beat, pelvis_twist=0.1 * beat, twist=-0.1 * beat
            )

    words = {"kind": kind, "tempo": pace}
    return Action("sway", duration, perform, words, f"sway {kind}", travels=True)
