"""`Facts`: the measures of a motion, summed up, and its events in order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mld.motion.facts.body import ANKLE, HEAD, PELVIS, SHOULDER, TOE, WRIST, Body
from mld.motion.facts.event import Event
from mld.motion.facts.events import detect
from mld.motion.facts.signals import Array

LIMBS = {
    "left_arm": WRIST["left"], "right_arm": WRIST["right"], "left_leg": ANKLE["left"], "right_leg": ANKLE["right"],
    "head": HEAD,
}  # fmt: skip


@dataclass(frozen=True)
class Hand:
    """Heights (T,) in metres of a wrist over its shoulder, over the head joint and over the floor; its reach, share of
    the arm."""

    over_shoulder: Array
    over_head: Array
    over_floor: Array
    reach: Array


@dataclass(frozen=True)
class Foot:
    """Heights (T,) in metres of an ankle and a toe over the floor, and the least of both over the ground around."""

    ankle: Array
    toe: Array
    clearance: Array


class Facts(Body):
    """What a motion shows. Measured when asked for, and kept."""

    def hand(self, side: str) -> Hand:
        wrist = self.joints[:, WRIST[side], 1]
        return Hand(wrist - self.joints[:, SHOULDER[side], 1], wrist - self.joints[:, HEAD, 1],
                    wrist - self.floor, self.reach(side))  # fmt: skip

    def foot(self, side: str) -> Foot:
        return Foot(self.height(ANKLE[side]), self.height(TOE[side]), self.clearance(side))

    def activity(self, limb: str) -> float:
        """Mean speed of a limb's end against the pelvis, m/s: "left_arm", "right_arm", "left_leg", "right_leg",
        "head"."""
        return float(self.limb_speed(LIMBS[limb]).mean())

    @cached_property
    def travel_speed(self) -> float:
        """Mean speed in m/s while it travels; 0 where it never does."""
        going = self.speed > self.limits.travel_speed * self.pace
        return float(self.speed[going].mean()) if going.any() else 0.0

    @cached_property
    def cruise(self) -> float:
        """Speed in m/s at which it goes on: 75th percentile over the frames in which it travels; 0 where it never
        does."""
        going = self.speed > self.limits.travel_speed * self.pace
        return float(np.percentile(self.speed[going], 75)) if going.any() else 0.0

    @cached_property
    def top_speed(self) -> float:
        return float(self.speed.max())

    @cached_property
    def end_drop(self) -> float:
        """Metres that the pelvis is below standing in the last quarter of a second."""
        return float(-self.lift[-max(1, round(0.25 * self.fps)) :].mean())

    @cached_property
    def lowest_head(self) -> float:
        return float(self.height(HEAD).min())

    @cached_property
    def pelvis_height(self) -> Array:
        return self.height(PELVIS)

    @cached_property
    def events(self) -> tuple[Event, ...]:
        """All events in order of their start."""
        return detect(self)

    def find(self, name: str, side: str = "") -> tuple[Event, ...]:
        """Events of a name; with a side, those of that side or of both."""
        return tuple(e for e in self.events if e.name == name and (not side or e.side in (side, "both")))

    @cached_property
    def turned_all(self) -> float:
        """Degrees turned in all, both ways together."""
        return float(sum(abs(e.amount) for e in self.find("turn")))

    @cached_property
    def deviation(self) -> float:
        """Largest distance in metres of the path from the straight line between its ends."""
        start, end = self.root[0, ::2], self.root[-1, ::2]
        along = end - start
        length = np.linalg.norm(along)
        away = self.root[:, ::2] - start
        if length < 1e-3:
            return float(np.linalg.norm(away, axis=-1).max())
        return float(np.abs(away[:, 0] * along[1] - away[:, 1] * along[0]).max() / length)
