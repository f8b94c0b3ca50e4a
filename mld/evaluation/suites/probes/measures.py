"""Numbers of a motion that probes compare, by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mld.motion.facts import Facts
from mld.motion.facts.body import SHOULDER, WRIST


def _still_share(facts: Facts) -> float:
    """Share of the clip in which it stands still."""
    return sum(e.seconds for e in facts.find("stand")) / max(facts.seconds, 1e-6)


def _least(facts: Facts, side: str) -> float:
    return float(facts.hand(side).over_floor.min())


def _lower_hand(facts: Facts) -> float:
    """Metres that the left hand is lower than the right where the lower one of both is lowest; above 0: the left
    one."""
    left, right = (facts.joints[:, WRIST[side], 1] for side in ("left", "right"))
    frame = int(np.minimum(left, right).argmin())
    return float(right[frame] - left[frame])


def _from_start(facts: Facts, curve: str) -> float:
    """Metres from the first place to the last, along or across the way that it faces at first."""
    way = (facts.ahead if curve == "ahead" else facts.aside)[0]
    return float((facts.root[-1] - facts.root[0]) @ way)


def _end_speed(facts: Facts) -> float:
    return float(facts.speed[-max(1, round(0.3 * facts.fps)) :].mean())


def _end_hands(facts: Facts) -> float:
    """Metres that the higher hand is over its shoulder in the last quarter of a second."""
    last = max(1, round(0.25 * facts.fps))
    return max(float(facts.hand(side).over_shoulder[-last:].mean()) for side in WRIST)


def _arm_swing(facts: Facts) -> float:
    """Metres that a wrist goes to and fro against its shoulder, but for the first and the last second."""
    rim = round(facts.fps) if facts.seconds > 3 else 0
    inner = slice(rim, facts.frames - rim)
    swing = [np.percentile(facts.local(WRIST[s], SHOULDER[s])[inner, 2], [5, 95]) for s in WRIST]
    return max(float(high - low) for low, high in swing)


# name: (how it is measured, how it is said; {value} is the number)
MEASURES: dict[str, tuple[Callable[[Facts], float], str]] = {
    "forward": (lambda f: f.forward, "it goes {value:+.2f} m forward"),
    "leftward": (lambda f: f.leftward, "it goes {value:+.2f} m to its left"),
    "distance": (lambda f: f.distance, "its path is {value:.2f} m long"),
    "displacement": (lambda f: f.displacement, "it ends {value:.2f} m from where it starts"),
    "deviation": (lambda f: f.deviation, "its path leaves the straight line by {value:.2f} m"),
    "turned": (lambda f: f.turned, "it turns by {value:+.0f} degrees, left above 0"),
    "turned_all": (lambda f: f.turned_all, "it turns by {value:.0f} degrees in all"),
    "cruise": (lambda f: f.cruise, "it goes at {value:.2f} m/s"),
    "travel_speed": (lambda f: f.travel_speed, "its mean speed is {value:.2f} m/s"),
    "top_speed": (lambda f: f.top_speed, "it goes at {value:.2f} m/s at the most"),
    "pelvis_rise": (lambda f: f.pelvis_rise, "the pelvis rises by {value:.2f} m"),
    "pelvis_drop": (lambda f: f.pelvis_drop, "the pelvis sinks by {value:.2f} m"),
    "end_drop": (lambda f: f.end_drop, "at the end the pelvis is {value:+.2f} m below standing"),
    "lowest_head": (lambda f: f.lowest_head, "the head comes down to {value:.2f} m"),
    "least_hand": (lambda f: min(_least(f, "left"), _least(f, "right")), "a hand comes down to {value:.2f} m"),
    "least_left_hand": (lambda f: _least(f, "left"), "the left hand comes down to {value:.2f} m"),
    "least_right_hand": (lambda f: _least(f, "right"), "the right hand comes down to {value:.2f} m"),
    "lower_hand": (_lower_hand, "the left hand is lower than the right by {value:+.2f} m at the lowest"),
    "still_share": (_still_share, "it stands still for {value:.0%} of the time"),
    "start_forward": (lambda f: _from_start(f, "ahead"), "it ends {value:+.2f} m ahead of where it starts"),
    "start_leftward": (lambda f: _from_start(f, "aside"), "it ends {value:+.2f} m to the left of where it starts"),
    "end_speed": (_end_speed, "at the end it goes at {value:.2f} m/s"),
    "end_hands": (_end_hands, "at the end a hand is {value:+.2f} m over its shoulder"),
    "arm_swing": (_arm_swing, "a hand swings by {value:.2f} m"),
    "seconds": (lambda f: f.seconds, "it lasts {value:.1f} s"),
}
