"""What hands say: waving, pointing, saluting, clapping, shrugging, cheering, praying, hugging, blowing a kiss."""

from __future__ import annotations

import numpy as np

from mld.data.sources.procedural.actions import Action, action, either, other, sign
from mld.data.sources.procedural.arms import OUT, hold, reach
from mld.data.sources.procedural.drawing import any_side, one_side, tempo
from mld.data.sources.procedural.stage import Stage, through, window


@action(weight=10.0, wide=True)
def wave(rng: np.random.Generator) -> Action:
    """The forearm swings to and fro beside the head, over it, or low before the chest."""
    side, (pace, factor) = any_side(rng, 0.2), tempo(rng)
    height, size = either(rng, "normal", "normal", "high", "low"), either(rng, "normal", "normal", "big", "small")
    count, period = int(rng.integers(2, 8)), 0.58 * factor
    wide = {"normal": 0.42, "big": 0.7, "small": 0.3}[size] * float(rng.uniform(0.9, 1.1))
    if size == "big":
        period *= 1.3
    rising = 0.7 * (0.5 + 0.5 * factor)
    duration = 2 * rising + count * period
    pose = {
        "normal": {"side": 1.25, "fwd": 0.35, "turn": -1.45, "flex": 1.35},
        "high": {"side": 2.2, "fwd": 0.35, "turn": -0.9, "flex": 0.6},
        "low": {"side": 0.45, "fwd": 0.55, "turn": -0.75, "flex": 1.75},
    }[height]
    pose = {name: value + float(rng.normal(0, 0.06)) for name, value in pose.items()}

    def perform(stage: Stage, start: float) -> None:
        t, end = stage.t, start + duration
        up = window(t, start, end, rising)
        beat = np.sin(2 * np.pi * np.clip((t - start - rising) / period, 0.0, count))
        moved = dict(pose)
        if height == "high":
            moved["side"] = pose["side"] + 0.75 * wide * beat
            moved["flex"] = pose["flex"] - 0.5 * wide * beat
        elif height == "low":
            moved["turn"] = pose["turn"] + 1.2 * wide * beat
        else:
            moved["flex"] = pose["flex"] + wide * beat
        stage.blend_arm(side, up, **moved)
        if side != "both":
            stage.blend(up, lean=-0.04 * sign(side))

    words = {"side": side, "height": height, "size": size, "tempo": pace}
    if count <= 5 and rng.random() < 0.5:
        words["times"] = str(count)
    return Action("wave", duration, perform, words, f"wave {side}", arms=True)


POINTS = {
    "forward": {"fwd": 1.52, "side": 0.0, "turn": 0.2},
    "up": {"fwd": 2.85, "side": 0.2, "turn": 0.1},
    "down": {"fwd": 0.75, "side": 0.08, "turn": 0.2},
    "out": {"side": 1.5, "fwd": 0.15, "turn": 0.0},
    "across": {"fwd": 1.35, "side": -0.55, "turn": 0.4},
}


@action(weight=4.0, wide=True)
def point(rng: np.random.Generator) -> Action:
    """A stretched arm shows the way, the head follows. Across: with the hand of the other side."""
    side, (pace, factor) = one_side(rng), tempo(rng, 0.15, 0.15)
    where = either(rng, "forward", "forward", "up", "down", "out", "out", "across")
    moving, stay = 0.65 * factor, float(rng.uniform(0.5, 1.8))
    duration = 2 * moving + stay

    def perform(stage: Stage, start: float) -> None:
        weight = window(stage.t, start, start + duration, moving)
        stage.blend_arm(side, weight, flex=0.08, **POINTS[where])
        turned = {"out": 0.7, "across": -0.7}.get(where, 0.0) * sign(side)
        stage.add(
            head_twist=turned * weight,
            head_tilt={"up": -0.4, "down": 0.35}.get(where, 0.0) * weight,
            twist=0.2 * turned * weight,
        )

    to = {"out": side, "across": other(side)}.get(where, "")
    words = {"side": side, "where": where, "to": to, "tempo": pace}
    return Action("point", duration, perform, words, f"point {side} {where}", arms=True)


TOUCHES = {  # where a hand goes: place (out, up, ahead) and elbow
    "salute": ((-0.06, 0.2, 0.15), OUT),
    "head": ((-0.12, 0.31, 0.05), OUT),
    "mouth": ((-0.19, 0.11, 0.17), (0.5, -0.9, 0)),
    "ear": ((-0.07, 0.15, 0.06), (0.6, -0.8, 0.1)),
    "chin": ((-0.17, 0.05, 0.16), (0.3, -1, 0)),
    "chest": ((-0.15, -0.12, 0.2), (0.6, -0.8, 0)),
    "eyes": ((-0.12, 0.19, 0.16), (0.6, -0.8, 0.1)),
    "hip": ((0.0, -0.45, -0.01), (1.0, -0.1, -0.6)),
    "belly": ((-0.15, -0.33, 0.2), (0.6, -0.8, -0.2)),
    "back": ((-0.1, -0.38, -0.17), (0.7, -0.2, -0.9)),
    "nape": ((-0.14, 0.13, -0.1), (0.9, 0.2, 0.4)),
    "shoulder": ((-0.36, 0.02, 0.12), (0.2, -0.6, 0.8)),
    "knee": ((-0.02, -0.3, 0.4), (0.4, -1, -0.3)),
}
ONE_HAND = {  # what is done, where, seconds it takes at least and most, how often it is drawn
    "salute": ("salute", 0.6, 1.6, 2.0),
    "touch_head": ("head", 0.5, 1.5, 1.4),
    "scratch_head": ("head", 1.2, 2.2, 1.2),
    "drink": ("mouth", 1.0, 2.2, 1.4),
    "eat": ("mouth", 0.3, 0.8, 1.2),
    "phone": ("ear", 1.5, 3.5, 1.2),
    "think": ("chin", 1.2, 2.6, 0.8),
    "touch_chest": ("chest", 0.8, 2.0, 0.8),
    "wipe_brow": ("eyes", 0.9, 1.4, 0.5),
    "shade_eyes": ("eyes", 1.0, 2.2, 0.6),
    "hand_on_hip": ("hip", 1.0, 2.6, 1.0),
    "rub_belly": ("belly", 1.4, 2.6, 0.7),
    "hand_behind_back": ("back", 1.0, 2.0, 0.5),
    "hand_to_neck": ("nape", 0.8, 1.8, 0.5),
    "cough": ("mouth", 0.9, 1.3, 0.5),
    "touch_shoulder": ("shoulder", 0.7, 1.6, 0.7),
    "yawn": ("mouth", 1.4, 2.2, 0.4),
}


@action(weight=10.0, wide=True)
def touch(rng: np.random.Generator) -> Action:
    """One hand goes to a part of the body and does something there; the phrases are those of the kind."""
    kinds = list(ONE_HAND)
    chances = np.array([ONE_HAND[kind][3] for kind in kinds])
    kind = kinds[int(rng.choice(len(kinds), p=chances / chances.sum()))]
    spot, least, most, _ = ONE_HAND[kind]
    side, (pace, factor) = one_side(rng), tempo(rng, 0.15, 0.1)
    moving, stay = 0.75 * factor, float(rng.uniform(least, most))
    count = int(rng.integers(1, 4)) if kind in ("eat", "salute") else 1
    if kind == "salute":
        count = 1
    once = 2 * moving + stay
    duration = count * once

    def perform(stage: Stage, start: float) -> None:
        for number in range(count):
            _one_touch(stage, start + number * once, kind, spot, side, moving, stay)

    words = {"side": side, "other": other(side), "tempo": pace, "times": str(count)}
    if count == 1:
        del words["times"]
    return Action(kind, duration, perform, words, f"{kind} {side}", arms=True)


def _one_touch(stage: Stage, start: float, kind: str, spot: str, side: str, moving: float, stay: float) -> None:
    t, end = stage.t, start + 2 * moving + stay
    place, elbow = TOUCHES[spot]
    weight, inside = window(t, start, end, moving), window(t, start + moving, end - moving, min(0.2, stay / 2))
    since = t - start - moving
    places = np.broadcast_to(np.asarray(place), (len(t), 3)).copy()
    if kind == "scratch_head":
        places[:, 0] += 0.035 * inside * np.sin(2 * np.pi * 3.2 * since)
    elif kind == "rub_belly":
        places[:, 0] += 0.06 * inside * np.cos(2 * np.pi * 1.3 * since)
        places[:, 1] += 0.06 * inside * np.sin(2 * np.pi * 1.3 * since)
    elif kind == "wipe_brow":
        places[:, 0] += 0.1 * inside * np.clip(2 * since / stay - 1, -1, 1)
    elif kind == "eat":  # first down to the plate
        places[:, 1] -= 0.3 * (1.0 - window(t, start + 0.5 * moving, end - 0.5 * moving, moving))
        places[:, 2] += 0.12 * (1.0 - window(t, start + 0.5 * moving, end - 0.5 * moving, moving))
    hold(stage, side, weight, places, elbow)
    if kind == "drink":
        stage.add(head_tilt=-0.4 * window(t, start + 0.8 * moving, end - 0.8 * moving, 0.5))
    elif kind in ("phone", "scratch_head", "hand_to_neck"):
        stage.add(head_lean=0.12 * sign(side) * weight)
    elif kind == "cough":
        stage.add(tilt=0.22 * inside * (0.5 + 0.5 * np.sin(2 * np.pi * 2.2 * since)), head_tilt=0.2 * weight)
    elif kind == "yawn":
        stage.add(head_tilt=-0.3 * inside, tilt=-0.08 * inside)
    elif kind == "think":
        stage.add(head_tilt=0.12 * weight)
    elif kind == "shade_eyes":
        stage.add(head_twist=0.5 * inside * np.sin(2 * np.pi * since / max(stay, 1.0)))
    elif kind == "salute":
        stage.add(tilt=-0.03 * weight)


BOTH = {  # two hands: place, elbow, how often
    "hands_on_hips": ("hip", 2.0),
    "hands_on_head": ("head", 1.2),
    "pray": ((-0.16, -0.08, 0.24), 1.0),
    "cover_mouth": ("mouth", 0.6),
    "cover_eyes": ("eyes", 0.6),
    "cover_ears": ("ear", 0.7),
    "cry": ("eyes", 0.7),
    "hands_behind_back": ("back", 0.9),
    "hands_on_knees": ("knee", 0.7),
    "hug": ((-0.14, -0.02, 0.34), 1.0),
    "rub_hands": ((-0.17, -0.22, 0.26), 0.8),
    "wash_hands": ((-0.17, -0.26, 0.28), 0.5),
    "beg": ((-0.15, -0.1, 0.36), 0.5),
    "hands_behind_head": ("nape", 0.7),
    "boast": ("chest", 0.4),
    "shiver": ((-0.3, -0.12, 0.17), 0.7),
}


@action(weight=5.0, wide=True)
def both_hands(rng: np.random.Generator) -> Action:
    """Both hands go to a place and do something there; the phrases are those of the kind."""
    kinds = list(BOTH)
    chances = np.array([BOTH[kind][1] for kind in kinds])
    kind = kinds[int(rng.choice(len(kinds), p=chances / chances.sum()))]
    spot = BOTH[kind][0]
    place, elbow = TOUCHES[spot] if isinstance(spot, str) else (spot, (0.8, -0.6, -0.1))
    pace, factor = tempo(rng, 0.15, 0.1)
    moving, stay = 0.75 * factor, float(rng.uniform(1.2, 2.8))
    duration = 2 * moving + stay

    def perform(stage: Stage, start: float) -> None:
        t, end = stage.t, start + duration
        weight, inside = window(t, start, end, moving), window(t, start + moving, end - moving, 0.3)
        since = t - start - moving
        places = np.broadcast_to(np.asarray(place, dtype=float), (len(t), 3)).copy()
        if kind in ("rub_hands", "wash_hands"):
            for side in ("left", "right"):
                moved = places.copy()
                moved[:, 2] += 0.05 * sign(side) * inside * np.sin(2 * np.pi * 1.8 * since)
                hold(stage, side, weight, moved, elbow)
        elif kind == "hug":  # first wide open
            opened = window(t, start, start + 2 * moving, moving)
            places[:, 0] += 0.45 * opened
            places[:, 2] += 0.05 * opened
            hold(stage, "both", weight, places, elbow)
        elif kind == "hands_on_knees":
            stage.add(pelvis_tilt=0.6 * weight, tilt=0.42 * weight, height=-0.19 * weight, forward=-0.12 * weight)
            hold(stage, "both", weight, places, elbow)
        else:
            if kind == "beg":
                places[:, 1] += 0.05 * inside * np.sin(2 * np.pi * 1.2 * since)
            hold(stage, "both", weight, places, elbow)
        if kind in ("cry", "pray"):
            stage.add(head_tilt=0.4 * weight, tilt=(0.25 if kind == "cry" else 0.08) * weight)
        if kind == "cry":
            stage.add(tilt=0.05 * inside * np.sin(2 * np.pi * 1.9 * since))
        if kind == "shiver":
            shake = inside * np.sin(2 * np.pi * 4.2 * since)
            stage.add(
                tilt=0.18 * weight + 0.025 * shake,
                twist=0.03 * shake,
                height=-0.05 * weight,
                left_shrug=0.3 * weight,
                right_shrug=0.3 * weight,
                head_tilt=0.2 * weight,
            )

    return Action(
        kind, duration, perform, {"tempo": pace} if kind != "shiver" else {}, kind.replace("_", " "), arms=True
    )


@action(weight=1.6, wide=True)
def cross_arms(rng: np.random.Generator) -> Action:
    """Arms folded before the chest and kept there."""
    pace, factor = tempo(rng, 0.15, 0.1)
    over = one_side(rng)
    moving, stay = 0.75 * factor, float(rng.uniform(1.2, 3.0))
    duration = 2 * moving + stay

    def perform(stage: Stage, start: float) -> None:
        weight = window(stage.t, start, start + duration, moving)
        for side in ("left", "right"):
            ahead = 0.24 if side == over else 0.19
            stage.blend_arm(
                side, weight, **reach((-0.29, -0.19 + (0.03 if side == over else 0.0), ahead), (0.7, -0.7, 0.1))
            )

    return Action("cross_arms", duration, perform, {"tempo": pace}, "cross arms", arms=True)


@action(weight=1.6, wide=True)
def shrug(rng: np.random.Generator) -> Action:
    """Shoulders up and down, hands a little open."""
    count, (pace, factor) = either(rng, 1, 1, 1, 2, 3), tempo(rng, 0.15, 0.15)
    period = 1.1 * factor
    hands = either(rng, 0.0, 1.0)
    duration = count * period + 0.5

    def perform(stage: Stage, start: float) -> None:
        t = stage.t
        up = sum(
            window(t, start + 0.25 + n * period, start + 0.25 + (n + 1) * period, 0.42 * period) for n in range(count)
        )
        stage.add(left_shrug=0.48 * up, right_shrug=0.48 * up, head_tilt=0.08 * up)
        opened = hands * window(t, start, start + duration, 0.45)
        stage.blend_arm("both", opened, side=0.25, fwd=0.15, turn=-0.75, flex=1.3)

    words = {"times": str(count), "tempo": pace}
    return Action("shrug", duration, perform, words, "shrug", arms=True)


CLAPS = {
    "front": ((-0.165, -0.12, 0.34), 0.16),
    "over": ((-0.175, 0.47, 0.12), 0.2),
    "low": ((-0.165, -0.3, 0.28), 0.12),
}


@action(weight=6.0, wide=True)
def clap(rng: np.random.Generator) -> Action:
    """Hands meet before the chest, over the head or low, a number of times."""
    where = either(rng, "front", "front", "front", "over", "low")
    count, (pace, factor) = int(rng.integers(1, 8)), tempo(rng, 0.15, 0.25)
    period, rising = 0.52 * factor, 0.6
    if where == "over":
        period *= 1.25
    duration = 2 * rising + count * period
    place, apart = CLAPS[where]

    def perform(stage: Stage, start: float) -> None:
        t = stage.t
        shut = 0.5 - 0.5 * np.cos(2 * np.pi * np.clip((t - start - rising) / period, 0.0, count))
        places = np.broadcast_to(np.asarray(place, dtype=float), (len(t), 3)).copy()
        places[:, 0] += apart * (1.0 - shut)
        hold(stage, "both", window(t, start, start + duration, rising), places, (0.9, -0.5, -0.1))

    words = {"times": str(count), "where": where, "tempo": pace}
    return Action("clap", duration, perform, words, "clap", arms=True)


@action(weight=3.0, wide=True)
def cheer(rng: np.random.Generator) -> Action:
    """Both fists or arms thrown up, again and again, with a bounce; or one fist pumped."""
    side, count = either(rng, "both", "both", "left", "right"), int(rng.integers(1, 5))
    period = float(rng.uniform(0.55, 0.75))
    duration = 1.0 + count * period

    def perform(stage: Stage, start: float) -> None:
        t = stage.t
        weight = window(t, start, start + duration, 0.5)
        up = 0.5 - 0.5 * np.cos(2 * np.pi * np.clip((t - start - 0.5) / period, 0.0, count))
        stage.blend_arm(side, weight, fwd=1.95 + 0.85 * up, side=0.45, flex=1.25 - 1.05 * up, turn=0.0)
        stage.add(height=-0.07 * weight * (1 - up), tilt=0.06 * weight * (1 - up), head_tilt=-0.18 * weight)

    return Action("cheer", duration, perform, {"side": side, "times": str(count)}, f"cheer {side}", arms=True)


@action(weight=0.8, wide=True)
def blow_kiss(rng: np.random.Generator) -> Action:
    side, (pace, factor) = any_side(rng, 0.2), tempo(rng, 0.15, 0.0)
    moving = 0.75 * factor
    duration = 4 * moving

    def perform(stage: Stage, start: float) -> None:
        t, end = stage.t, start + duration
        mouth, away = reach((-0.185, 0.11, 0.2), (0.5, -0.9, 0)), reach((-0.08, 0.02, 0.46))
        gone = window(t, start + 1.4 * moving, end + moving, moving)
        stage.blend_arm(
            side, window(t, start, end, moving), **{k: mouth[k] + gone * (away[k] - mouth[k]) for k in mouth}
        )
        stage.add(tilt=0.1 * gone * window(t, start, end, moving))

    return Action("blow_kiss", duration, perform, {"side": side, "tempo": pace}, f"blow kiss {side}", arms=True)


@action(weight=0.8, wide=True)
def laugh(rng: np.random.Generator) -> Action:
    """Bent forward a little, hands at the belly, the trunk shaking; or thrown back."""
    stay = float(rng.uniform(1.6, 3.0))
    duration = stay + 1.2

    def perform(stage: Stage, start: float) -> None:
        t, end = stage.t, start + duration
        weight, shake = window(t, start, end, 0.6), np.sin(2 * np.pi * 2.6 * (t - start))
        hold(stage, "both", weight, TOUCHES["belly"][0], TOUCHES["belly"][1])
        lean = through(t, [start, start + 0.6, start + 0.6 + stay / 2, end - 0.6, end], [0.0, 0.3, -0.05, 0.35, 0.0])
        stage.add(
            tilt=lean + 0.035 * weight * shake,
            height=0.008 * weight * shake,
            head_tilt=0.06 * weight * shake,
            left_shrug=0.1 * weight,
            right_shrug=0.1 * weight,
        )

    return Action("laugh", duration, perform, {}, "laugh", arms=True)
