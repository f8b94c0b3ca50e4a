"""Events one after the other, and at the same time."""

from __future__ import annotations

from collections.abc import Sequence

from mld.evaluation.suites.probes.specs import Spec
from mld.motion.facts import Event

# What goes on for a while. A walk that began before a jump goes on after it, so it can come after it as well.
LASTING = {"walk", "run", "walk_backward", "side_step", "march", "stand", "sit", "kneel", "lie", "one_leg",
           "raise_hand", "arm_out", "arm_front", "overhead"}  # fmt: skip
AFTER = 0.25  # s between the moments of two parts
EDGE = 0.2  # s at the ends of what lasts in which nothing is seen of it yet
EARLY = 0.6  # s that a part may begin before the moment of the part that it follows


def in_order(specs: Sequence[Sequence[Spec]], events: Sequence[Event]) -> int | None:
    """The number of the first part that cannot follow the others, None where all do. Each part has alternatives.

    A part happens in the middle of its event, one that lasts at any moment of it. A part that follows another begins no
    earlier than 0.6 s before that other's moment, unless it is the same event going on (walks, jumps, walks).
    """
    deepest = 0
    tried: set[object] = set()  # without success; many ways lead to the same state

    def follow(number: int, now: float, used: tuple[Event, ...]) -> bool:
        nonlocal deepest
        deepest = max(deepest, number)
        if number == len(specs):
            return True
        # What goes on may come again; of the others only the last one decides what can follow.
        state = (number, now, used[-1:], frozenset(event for event in used if event.name in LASTING))
        if state in tried:
            return False
        tried.add(state)
        for event in events:
            if not any(spec.fits(event) for spec in specs[number]):
                continue
            moment = _moment(event, now + AFTER if number else event.start)
            if number and (moment is None or moment < now + AFTER):
                continue
            early = number > 0 and event not in used and event.start < now - EARLY
            if moment is None or early or (used and event is used[-1]):
                continue
            if follow(number + 1, moment, (*used, event)):
                return True
        return False

    return None if follow(0, 0.0, ()) else deepest


def _moment(event: Event, soonest: float) -> float | None:
    """When an event happens, not before `soonest` where it lasts; None where it is over by then."""
    if event.name not in LASTING:
        return event.middle
    edge = min(EDGE, event.seconds / 3)
    moment = max(event.start + edge, soonest)
    return moment if moment <= event.end - edge + 1e-9 else None


def together(first: Sequence[Spec], second: Sequence[Spec], events: Sequence[Event], least: float = 0.5) -> bool:
    """Whether an event of each kind overlap by `least` seconds, or by most of the shorter one."""
    for one in (e for e in events if any(spec.fits(e) for spec in first)):
        for other in (e for e in events if any(spec.fits(e) for spec in second)):
            common = min(one.end, other.end) - max(one.start, other.start)
            if one is not other and common >= min(least, 0.6 * min(one.seconds, other.seconds)) and common > 0:
                return True
    return False
