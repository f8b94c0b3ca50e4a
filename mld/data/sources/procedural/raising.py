"""Raising arms and holding them: up, ahead, to the side, as a T or a Y; one after the other; arm circles."""

from __future__ import annotations

import numpy as np

from mld.data.sources.procedural.actions import Action, action, either, other, sign
from mld.data.sources.procedural.drawing import any_side, hands_of, one_side, tempo
from mld.data.sources.procedural.stage import Stage, through, window

WHERE = {  # where a stretched arm goes, and how often it does
    "up": ({"fwd": 2.85, "side": 0.2, "flex": 0.1, "turn": 0.1}, 4.0),
    "front": ({"fwd": 1.55, "side": 0.02, "flex": 0.08, "turn": 0.2}, 2.0),
    "out": ({"side": 1.52, "fwd": 0.05, "flex": 0.08, "turn": 0.0}, 2.0),
    "y": ({"side": 2.35, "fwd": 0.1, "flex": 0.08, "turn": -0.2}, 0.8),
}


def _where(rng: np.random.Generator, side: str) -> str:
    names = [name for name in WHERE if side == "both" or name != "y"]
    chances = np.array([WHERE[name][1] for name in names])
    return names[int(rng.choice(len(names), p=chances / chances.sum()))]


@action(weight=10.0, wide=True)
def raise_arm(rng: np.random.Generator) -> Action:
    side, (pace, factor) = any_side(rng, 0.3), tempo(rng)
    where, kept = _where(rng, side), either(rng, "short", "long")
    moving, hold = 0.9 * factor, float(rng.uniform(0.2, 0.7) if kept == "short" else rng.uniform(1.4, 2.6))
    pose = {name: value + float(rng.normal(0, 0.05)) for name, value in WHERE[where][0].items()}
    duration = 2 * moving + hold

    def perform(stage: Stage, start: float) -> None:
        up = window(stage.t, start, start + duration, moving)
        stage.blend_arm(side, up, **pose)
        if side != "both":
            stage.blend(up, lean=-0.04 * sign(side))

    words = {"side": side, "where": where, "hold": kept, "tempo": pace}
    return Action("raise_arm", duration, perform, words, f"raise {side} {where}", arms=True)


@action(weight=1.2, wide=True)
def raise_in_turn(rng: np.random.Generator) -> Action:
    """One arm and then the other, each going down before, or staying up until, the other is up."""
    first, (pace, factor) = one_side(rng), tempo(rng)
    where, stays = either(rng, "up", "front", "out", "up"), either(rng, "no", "yes")
    moving, hold = 0.85 * factor, float(rng.uniform(0.2, 0.5))
    duration = 3 * moving + 2 * hold if stays == "yes" else 4 * moving + 2 * hold

    def perform(stage: Stage, start: float) -> None:
        t, end, pose = stage.t, start + duration, WHERE[where][0]
        if stays == "yes":
            spans = ((start, end), (start + moving + hold, end))
        else:
            spans = ((start, start + 2 * moving + hold), (start + 2 * moving + hold, end))
        for side, (begin, finish) in zip((first, other(first)), spans):
            stage.blend_arm(side, window(t, begin, finish, moving), **pose)

    words = {"side": first, "other": other(first), "where": where, "stays": stays, "tempo": pace}
    return Action("raise_in_turn", duration, perform, words, f"raise {first} then {other(first)}", arms=True)


@action(weight=1.6, wide=True)
def arm_circles(rng: np.random.Generator) -> Action:
    """Stretched arms go round: small circles at the sides, or large ones past the head and the legs."""
    side, way, size = any_side(rng, 0.55), either(rng, "forward", "backward"), either(rng, "small", "large")
    count, (pace, factor) = int(rng.integers(2, 6)), tempo(rng, 0.15, 0.15)
    period = (0.8 if size == "small" else 1.25) * factor
    if size == "large":
        count = min(count, 4, int(7.8 / period))
    duration = 1.2 + count * period

    def perform(stage: Stage, start: float) -> None:
        t, up = stage.t, window(stage.t, start, start + duration, 0.6)
        turned = 2 * np.pi * np.clip((t - start - 0.6) / period, 0.0, count) * (1.0 if way == "forward" else -1.0)
        if size == "small":
            pose = {"side": 1.5 + 0.3 * np.cos(turned), "fwd": 0.05 + 0.32 * np.sin(turned)}
            stage.blend_arm(side, up, flex=0.08, turn=0.0, **pose)
            return
        # Forward: from over the head down in front, round the left-right axis, spread a bit.
        for hand in hands_of(side):
            stage.blend_arm(hand, up, **_wheel(turned), flex=0.08)

    words = {"side": side, "way": way, "size": size, "times": str(count), "tempo": pace}
    return Action("arm_circles", duration, perform, words, f"arm circles {side} {way}", arms=True)


def _wheel(angle: np.ndarray) -> dict[str, np.ndarray]:
    """Angles of a stretched arm on a wide cone about the left-right axis; 0 is up, growing forward and down.

    The cone stays 0.55 rad outside the plane of the body's middle, so the arm is never at the pole behind the back."""
    out, radius = np.sin(0.62), np.cos(0.62)
    y, z = radius * np.cos(angle), radius * np.sin(angle)
    theta = np.arccos(np.clip(-y, -1.0, 1.0))
    flat = np.hypot(out, z)
    return {"side": theta * out / flat, "fwd": theta * z / flat, "turn": np.zeros_like(angle)}


@action(weight=0.8, wide=True)
def flap_arms(rng: np.random.Generator) -> Action:
    """Both arms up and down at the sides, like wings."""
    count, (pace, factor) = int(rng.integers(2, 7)), tempo(rng)
    period = 0.75 * factor
    duration = 0.8 + count * period

    def perform(stage: Stage, start: float) -> None:
        t = stage.t
        beat = np.clip((t - start - 0.4) / period, 0.0, count)
        up = 0.5 - 0.5 * np.cos(2 * np.pi * beat)
        lagging = 0.5 - 0.5 * np.cos(2 * np.pi * np.clip(beat - 0.12, 0.0, count))
        stage.blend_arm(
            "both",
            window(t, start, start + duration, 0.4),
            side=0.75 + 1.25 * up,
            fwd=0.1,
            flex=0.15 + 0.5 * np.maximum(lagging - up, 0.0),
            turn=0.0,
        )
        stage.add(height=-0.03 * up * window(t, start, start + duration, 0.4))

    return Action("flap_arms", duration, perform, {"times": str(count), "tempo": pace}, "flap arms", arms=True)


@action(weight=1.2, wide=True)
def swing_arms(rng: np.random.Generator) -> Action:
    """Both arms forward and back, together or against each other."""
    count, (pace, factor) = int(rng.integers(2, 6)), tempo(rng)
    kind = either(rng, "together", "alternating")
    period = 1.0 * factor
    duration = 0.6 + count * period

    def perform(stage: Stage, start: float) -> None:
        t = stage.t
        beat = np.sin(2 * np.pi * np.clip((t - start - 0.3) / period, 0.0, count))
        weight = window(t, start, start + duration, 0.3)
        for side in ("left", "right"):
            swung = beat * (sign(side) if kind == "alternating" else 1.0)
            stage.blend_arm(side, weight, fwd=0.25 + 0.95 * swung, flex=0.15, side=0.12)
        stage.add(height=-0.02 * weight * np.abs(beat), tilt=0.08 * weight * (beat if kind == "together" else 0.0))

    words = {"times": str(count), "tempo": pace, "kind": kind}
    return Action("swing_arms", duration, perform, words, "swing arms", arms=True)


@action(weight=1.4, wide=True)
def stretch(rng: np.random.Generator) -> Action:
    """Arms over the head and up on the toes' side, or one arm over the head and the trunk to the other side."""
    kind, (pace, factor) = either(rng, "up", "side", "both"), tempo(rng, 0.2, 0.05)
    side = one_side(rng)
    moving, hold = 0.9 * factor, float(rng.uniform(0.3, 1.0))
    duration = (2 * moving + hold) if kind != "both" else 5 * moving + 2 * hold

    def perform(stage: Stage, start: float) -> None:
        t, end = stage.t, start + duration
        weight, lean = window(t, start, end, moving), sign(side)
        if kind == "up":
            stage.blend_arm("both", weight, fwd=2.95, side=0.12, flex=0.1, turn=0.3, shrug=0.25)
            stage.add(tilt=-0.12 * weight, head_tilt=-0.25 * weight)
        elif kind == "side":  # to the side `side`, the other arm over the head
            stage.blend_arm(other(side), weight, side=2.7, fwd=0.2, flex=0.35, turn=-0.2)
            stage.add(lean=0.55 * lean * weight, pelvis_lean=0.08 * lean * weight, left=-0.05 * lean * weight)
        else:
            stage.blend_arm("both", window(t, start, end, moving), fwd=2.9, side=0.2, flex=0.2, turn=0.3)
            times = np.cumsum([start + moving, moving, hold, moving, hold, moving])
            bent = through(t, times, [0.0, 1.0, 1.0, -1.0, -1.0, 0.0]) * lean
            stage.add(lean=0.5 * bent, pelvis_lean=0.06 * bent, left=-0.05 * bent)

    words = {"side": side, "other": other(side), "kind": kind, "tempo": pace}
    return Action("stretch", duration, perform, words, f"stretch {kind} {side}", arms=True)
