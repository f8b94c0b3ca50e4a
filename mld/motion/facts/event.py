"""Something that happens in a motion, with its time, side, amount and count."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

SIDES = ("left", "right")


@dataclass(frozen=True)
class Event:
    """name: what happens. start, end: seconds. side: "left", "right", "both" or "" where it has none.

    amount: how much, in the unit of the name (`EVENTS` of `mld.motion.facts.events`). count: how often, 1 where it is
    one.
    way: "forward", "backward", "left", "right", "up" or "" where the event has a direction of its own.
    """

    name: str
    start: float
    end: float
    side: str = ""
    amount: float = 0.0
    count: int = 1
    way: str = ""

    @property
    def seconds(self) -> float:
        return self.end - self.start

    @property
    def middle(self) -> float:
        return (self.start + self.end) / 2


def paired(
    left: Iterable[Event], right: Iterable[Event], overlap: float = 0.5, apart: float = float("inf")
) -> list[Event]:
    """Events of two sides; those that share at least `overlap` of the shorter one, and begin no more than `apart`
    seconds after one another, become one event of both sides."""
    rest, out = list(right), []
    for one in left:
        partner = next((o for o in rest if _shared(one, o) >= overlap and abs(one.start - o.start) <= apart), None)
        if partner is None:
            out.append(one)
            continue
        rest.remove(partner)
        start, end = min(one.start, partner.start), max(one.end, partner.end)
        amount, count = min(one.amount, partner.amount, key=abs), max(one.count, partner.count)
        out.append(replace(one, start=start, end=end, side="both", amount=amount, count=count))
    return sorted(out + rest, key=lambda event: event.start)


def both_sides(
    detect: Callable[[str], list[Event]], overlap: float = 0.5, apart: float = float("inf")
) -> list[Event]:
    """`paired` events of a detector that takes a side."""
    return paired(detect("left"), detect("right"), overlap, apart)


def _shared(one: Event, other: Event) -> float:
    common = min(one.end, other.end) - max(one.start, other.start)
    return common / max(min(one.seconds, other.seconds), 1e-6)
