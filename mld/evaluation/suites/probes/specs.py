"""Which numbers and which events an expectation means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mld.errors import DataError, nearest, shown
from mld.motion.facts import Event
from mld.motion.facts.events import EVENTS

_NUMBER = r"([-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))"
_SIGNS = re.compile(rf"\s*(<=|>=|<|>|=)\s*{_NUMBER}\s*")
_BETWEEN = re.compile(rf"\s*{_NUMBER}\s+to\s+{_NUMBER}\s*")
_INF = float("inf")
WAYS = ("forward", "backward", "left", "right", "up")
LARGEST = 1e6  # of numbers that are compared


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`; without them where they are `open`."""

    low: float = -_INF
    high: float = _INF
    open: bool = False

    def holds(self, number: float) -> bool:
        return self.low < number < self.high if self.open else self.low <= number <= self.high

    def __str__(self) -> str:
        if self.low == self.high:
            return f"{self.low:g}"
        if self.high == _INF:
            return f"{'more than' if self.open else 'at least'} {self.low:g}"
        if self.low == -_INF:
            return f"{'less than' if self.open else 'at most'} {self.high:g}"
        return f"{self.low:g} to {self.high:g}"


def read_number(value: Any, where: str) -> float:
    """A number. `DataError` for anything else, and for numbers that no motion has."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) <= LARGEST:
        raise DataError(f"{where}: {shown(value)} is no number to compare with")
    return float(value)


def read_range(value: Any, where: str) -> Range:
    """ "> 2", "<= 0.5", "1 to 3" or a number. `DataError` for anything else."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        number = read_number(value, where)
        return Range(number, number)
    text = value if isinstance(value, str) else ""
    if match := _BETWEEN.fullmatch(text):
        low, high = (read_number(float(match[place]), where) for place in (1, 2))
        if low > high:
            raise DataError(f"{where}: {shown(value)} holds for no number; write the smaller one first")
        return Range(low, high)
    match = _SIGNS.fullmatch(text)
    if not match:
        raise DataError(f'{where}: {shown(value)} is no comparison; write "> 0.5", "<= 3" or "1 to 2"')
    sign, number = match[1], read_number(float(match[2]), where)
    if sign == "=":
        return Range(number, number)
    low, high = (number, _INF) if sign[0] == ">" else (-_INF, number)
    return Range(low, high, open=len(sign) == 1)


@dataclass(frozen=True)
class Spec:
    """Events of a name that have this side (events of both sides have each), way, amount, count and length."""

    name: str
    side: str = ""
    way: str = ""
    amount: Range = Range()
    count: Range = Range()
    seconds: Range = Range()

    def fits(self, event: Event) -> bool:
        if event.name != self.name or (self.way and event.way != self.way):
            return False
        if self.side and event.side not in (self.side, "both"):
            return False
        return self.amount.holds(event.amount) and self.count.holds(event.count) and self.seconds.holds(event.seconds)

    def __str__(self) -> str:
        parts = [self.name.replace("_", " "), self.side, self.way]
        for told, wanted in (("", self.amount), ("times", self.count), ("s long", self.seconds)):
            if wanted != Range():
                parts.append(f"{wanted} {told}".strip())
        return " ".join(part for part in parts if part)


def read_spec(item: Any, where: str) -> Spec:
    """A spec of {did: name, side, way, amount, count, for}. `DataError` for what is not understood, and for an event
    that there never is."""
    if not isinstance(item, Mapping) or "did" not in item:
        raise DataError(f"{where}: an event is a name or a mapping with did, not {shown(item)}")
    unknown = [key for key in item if key not in ("did", "side", "way", "amount", "count", "for")]
    if unknown:
        raise DataError(f"{where}: an event has no {shown(unknown[0])}; it has side, way, amount, count, for")
    name, side, way = item["did"], item.get("side", ""), item.get("way", "")
    if not isinstance(name, str) or name not in EVENTS:
        raise DataError(f"{where}: no event {shown(name)}; {nearest(name, EVENTS)[:100]}")
    if side not in ("", "left", "right", "both"):
        raise DataError(f"{where}: side is left, right or both, not {shown(side)}")
    if way not in ("", *WAYS):
        raise DataError(f"{where}: way is {', '.join(WAYS)}, not {shown(way)}")
    if side and name not in ("jump", "clap", "jumping_jack") and "side" not in EVENTS[name]:
        raise DataError(f"{where}: {name} has no side; leave it out")
    ranges = [read_range(item[key], where) if key in item else Range() for key in ("amount", "count", "for")]
    if name == "turn" and (side == "left" and ranges[0].high <= 0 or side == "right" and ranges[0].low >= 0):
        raise DataError(f"{where}: turns to the left have amounts above 0, those to the right below 0")
    return Spec(name, side, way, *ranges)
