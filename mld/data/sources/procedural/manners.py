"""Ways to walk: on tiptoe, limping, tired, with the hands on the hips."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from mld.data.sources.procedural.actions import other, sign
from mld.data.sources.procedural.arms import OUT, hold
from mld.data.sources.procedural.locomotion import Gait
from mld.data.sources.procedural.stage import Stage, window


@dataclass(frozen=True)
class Manner:
    """gait: fields of `Gait` that are other; body: what is added to curves of the stage; arms: where they are kept;
    speed: walking speeds (m/s) from, to; limp: the leg that hurts; sway: metres that the way strays to the sides."""

    gait: dict[str, float] = field(default_factory=dict)
    body: dict[str, float] = field(default_factory=dict)
    arms: str = ""
    speed: tuple[float, float] = (0.75, 1.15)
    limp: str = ""
    sway: float = 0.0


STILL = {"swing": 0.0}
MANNERS = {
    "tiptoe": Manner(
        {"tiptoe": 0.55, "off": 0.75, "on": 0.62, "lower": -0.05, "swing": 0.08, "apex": 0.08},
        {"tilt": -0.02},
        speed=(0.4, 0.7),
    ),
    "sneak": Manner(
        {"cycle": 1.5, "lower": 0.17, "swing": 0.1, "elbow": 0.9, "apex": 0.13, "off": 0.5, "on": 0.05},
        {"tilt": 0.4, "pelvis_tilt": 0.2, "head_tilt": -0.3, "forward": -0.05},
        speed=(0.4, 0.65),
    ),
    "crouched": Manner(
        {"cycle": 1.25, "lower": 0.26, "swing": 0.12, "elbow": 0.6, "apex": 0.1, "off": 0.5, "on": 0.0},
        {"tilt": 0.45, "pelvis_tilt": 0.25, "head_tilt": -0.4, "forward": -0.06},
        speed=(0.5, 0.75),
    ),
    "limp_left": Manner({"cycle": 1.35, "uneven": 0.16, "swing": 0.15, "apex": 0.05}, limp="left", speed=(0.45, 0.7)),
    "limp_right": Manner(
        {"cycle": 1.35, "uneven": -0.16, "swing": 0.15, "apex": 0.05}, limp="right", speed=(0.45, 0.7)
    ),
    "drunk": Manner(
        {"cycle": 1.3, "swing": 0.12, "lower": 0.03},
        {"left_side": 0.25, "right_side": 0.25},
        sway=0.22,
        speed=(0.5, 0.75),
    ),
    "old": Manner(
        {"cycle": 1.35, "lower": 0.07, "swing": 0.06, "apex": 0.03, "off": 0.3, "on": -0.05, "elbow": 0.45},
        {"tilt": 0.5, "pelvis_tilt": 0.1, "head_tilt": -0.3},
        speed=(0.35, 0.55),
    ),
    "sad": Manner(
        {"cycle": 1.4, "swing": 0.08, "lower": 0.02, "apex": 0.04},
        {"tilt": 0.25, "head_tilt": 0.45},
        speed=(0.45, 0.65),
    ),
    "proud": Manner(
        {"swing": 0.5, "cycle": 1.1},
        {"tilt": -0.14, "head_tilt": -0.15, "left_side": 0.1, "right_side": 0.1},
        speed=(1.0, 1.3),
    ),
    "happy": Manner(
        {"swing": 0.6, "bob": 0.05, "cycle": 0.95, "apex": 0.12, "elbow": 0.3}, {"head_tilt": -0.08}, speed=(1.0, 1.3)
    ),
    "stomp": Manner(
        {"apex": 0.28, "swing": 0.45, "elbow": 0.7, "cycle": 1.0, "off": 0.3, "on": 0.1},
        {"tilt": 0.12},
        speed=(0.7, 1.0),
    ),
    "high_knees": Manner(
        {"apex": 0.42, "swing": 0.3, "elbow": 0.9, "cycle": 1.15, "off": 0.4, "on": 0.15}, speed=(0.5, 0.75)
    ),
    "arms_out": Manner(STILL, arms="out"),
    "arms_up": Manner(STILL, arms="up"),
    "arms_front": Manner(STILL, arms="front"),
    "hips": Manner(STILL, arms="hips"),
    "behind": Manner(STILL, arms="behind"),
    "crossed": Manner(STILL, arms="crossed"),
    "head": Manner(STILL, arms="head"),
}
ARMS_ONLY = ("arms_out", "arms_up", "arms_front", "hips", "behind", "crossed", "head")


def place_arms(stage: Stage, weight: np.ndarray, where: str) -> None:
    """Keep both arms out, up, to the front, on the hips, behind the back, crossed or on the head by `weight` (T,)."""
    if where == "out":
        stage.blend_arm("both", weight, side=1.5, fwd=0.08, flex=0.1, turn=0.0)
    elif where == "up":
        stage.blend_arm("both", weight, fwd=2.8, side=0.25, flex=0.15, turn=0.1)
    elif where == "front":
        stage.blend_arm("both", weight, fwd=1.5, side=0.05, flex=0.1, turn=0.2)
    elif where == "hips":
        hold(stage, "both", weight, (-0.04, -0.42, 0.02), (1.0, 0.0, -0.6))
    elif where == "behind":
        hold(stage, "both", weight, (-0.15, -0.44, -0.13), (0.6, 0.0, -1.0))
    elif where == "head":
        hold(stage, "both", weight, (-0.09, 0.2, -0.03), OUT)
    else:
        hold(stage, "left", weight, (-0.24, -0.2, 0.2))
        hold(stage, "right", weight, (-0.24, -0.24, 0.16))


def changed(gait: Gait, manner: Manner) -> Gait:
    """A gait in that manner."""
    return replace(gait, **manner.gait)


def keep(stage: Stage, manner: Manner, gait: Gait, start: float, end: float, first: str) -> None:
    """What the body does to a manner from `start` to `end` (s) of a walk that `first` begins."""
    t, weight = stage.t, window(stage.t, start, end, 0.6)
    stage.add(**{name: weight * amount for name, amount in manner.body.items()})
    if manner.arms:
        place_arms(stage, weight, manner.arms)
    if manner.limp:  # the trunk falls over the hurt leg whenever it stands
        swing = (1 - gait.duty) * gait.cycle
        landing = start + 0.2 + swing + (0.0 if first == manner.limp else gait.cycle / 2)
        beat = np.clip(np.cos(2 * np.pi * (t - landing - 0.28 * gait.cycle) / gait.cycle), -0.3, 1.0)
        stage.add(
            lean=0.2 * sign(manner.limp) * weight * beat,
            height=-0.035 * weight * (beat + 0.3),
            tilt=0.1 * weight * beat,
        )
        stage.blend_arm(other(manner.limp), weight, side=0.35)
    if manner.sway:
        slow, fast = np.sin(2 * np.pi * 0.37 * (t - start) + 0.4), np.sin(2 * np.pi * 0.61 * (t - start) + 1.9)
        stage.add(
            lean=0.22 * weight * slow,
            tilt=0.14 * weight * (1 + fast),
            head_lean=0.2 * weight * fast,
            head_tilt=0.15 * weight * slow,
            left_fwd=0.25 * weight * fast,
            right_side=0.3 * weight * slow,
        )


def straying(manner: Manner, forward: float):
    """Metres aside at a share of the way of a walk that strays; none for one that does not."""
    if not manner.sway:
        return None
    waves = max(1.0, round(abs(forward) / 1.6))
    return lambda share: manner.sway * np.sin(2 * np.pi * waves * share) * np.sin(np.pi * share)
