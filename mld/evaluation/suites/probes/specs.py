"""Which numbers and which events an expectation means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mld.errors import DataError, nearest
from mld.motion.facts import Event
from mld.motion.facts.events import EVENTS

_SIGNS = re.compile(r"\s*(<=|>=|<|>|=)\s*(-?\d+(?:\.\d+)?)\s*")
_BETWEEN = re.compile(r"\s*(-?\d+(?:\.\d+)?)\s+to\s+(-?\d+(?:\.\d+)?)\s*")
_INF = float("inf")


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


def read_range(value: Any, where: str) -> Range:
    """ "> 2", "<= 0.5", "1 to 3" or a number. `DataError` for anything else."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Range(float(value), float(value))
    if match := _BETWEEN.fullmatch(str(value)):
        return Range(float(match[1]), float(match[2]))
    match = _SIGNS.fullmatch(str(value))
    if not match:
        raise DataError(f'{where}: \'{value}\' is no comparison; write "> 0.5", "<= 3" or "1 to 2"')
    sign, number = match[1], float(match[2])
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
    """A spec of {did: name, side, way, amount, count, for}."""
    if not isinstance(item, Mapping) or "did" not in item:
        raise DataError(f"{where}: an event is a name or a mapping with did, not {item!r}")
    unknown = sorted(set(item) - {"did", "side", "way", "amount", "count", "for"})
    if unknown:
        raise DataError(f"{where}: an event has no '{unknown[0]}'; it has side, way, amount, count, for")
    name = str(item["did"])
    if name not in EVENTS:
        raise DataError(f"{where}: no event '{name}'; {nearest(name, EVENTS)[:100]}")
    side = str(item.get("side", ""))
    if side not in ("", "left", "right", "both"):
        raise DataError(f"{where}: side is left, right or both, not '{side}'")
    ranges = [read_range(item[key], where) if key in item else Range() for key in ("amount", "count", "for")]
    return Spec(name, side, str(item.get("way", "")), *ranges)
