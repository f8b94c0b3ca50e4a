"""How much a config with `${...}` comes to, before it is made.

A few lines in which every value holds the one before it twice stand for billions of characters or values. So what each
comes to is added up along the references, each value once. What may stand between the braces is the name of a key, or
`oc.env:NAME` with or without a default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MOST = 50_000  # values, or pieces of them, in all
MOST_TEXT = 1_000_000  # characters in all
LONGEST = 1000  # characters of a text that holds a reference
_REFERENCE = re.compile(r"(?<!\\)\$\{([^${}]*)\}")
_KEY = re.compile(r"\.*[\w-]+(?:\.[\w-]+|\[\d+\])*")
_VARIABLE = re.compile(r"oc\.env:\s*\w+\s*(?:,[^,\[\]{}]*)?")


def check_interpolation(values: Mapping[str, Any]) -> None:
    """`ValueError`, with the key, where values come to too much, refer to each other in a circle, or hold something
    else between `${` and `}`."""
    _Sizes(values).of((), values)


class _Sizes:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root
        self.known: dict[tuple[str, ...], tuple[int, int] | None] = {}

    def of(self, place: tuple[str, ...], value: Any) -> tuple[int, int]:
        """(values, characters) of what stands at a place, references filled in."""
        if place in self.known:
            size = self.known[place]
            if size is None:
                raise ValueError(f"'{'.'.join(place)}': values that refer to each other in a circle")
            return size
        self.known[place] = None
        if isinstance(value, Mapping):
            parts = [self.of((*place, str(key)), part) for key, part in value.items()]
        elif isinstance(value, (list, tuple)):
            parts = [self.of((*place, str(number)), part) for number, part in enumerate(value)]
        elif isinstance(value, str) and "${" in value:
            parts = self._text(place, value)
        else:
            parts = [(0, len(value) if isinstance(value, str) else 0)]
        size = 1 + sum(count for count, _ in parts), sum(length for _, length in parts)
        if size[0] > MOST or size[1] > MOST_TEXT:
            raise ValueError(f"'{'.'.join(place)}': with what its references stand for, more than {MOST:,} values or "
                             f"{MOST_TEXT:,} characters")  # fmt: skip
        self.known[place] = size
        return size

    def _text(self, place: tuple[str, ...], text: str) -> list[tuple[int, int]]:
        if len(text) > LONGEST:
            raise ValueError(f"'{'.'.join(place)}': a text with references of {len(text):,} characters")
        rest = _REFERENCE.sub("", text)
        if re.search(r"(?<!\\)\$\{", rest):
            raise ValueError(f"'{'.'.join(place)}': '${{' without its '}}', or one reference within another")
        parts = [(1, len(rest))]
        for found in _REFERENCE.finditer(text):
            inner = found[1].strip()
            if _KEY.fullmatch(inner):
                target = self._target(place, inner)
                parts += [] if target is None else [self.of(target, self._at(target))]
            elif not _VARIABLE.fullmatch(inner):
                raise ValueError(f"'{'.'.join(place)}': '${{{inner[:40]}}}' is no reference to a key")
        return parts

    def _target(self, place: tuple[str, ...], key: str) -> tuple[str, ...] | None:
        """The place that a reference leads to, through parents that are references themselves; None where there is
        nothing, which OmegaConf reports."""
        up = len(key) - len(key.lstrip("."))
        path = re.findall(r"[\w-]+", key)
        here: tuple[str, ...] = (*place[: len(place) - up], *path) if up else tuple(path)
        for end in range(1, len(here)):
            value = self._at(here[:end])
            if isinstance(value, str) and "${" in value:
                # A key within what a reference stands for is at most all of it.
                return here[:end]
        return here if self._at(here) is not None else None

    def _at(self, place: tuple[str, ...]) -> Any:
        value: Any = self.root
        for name in place:
            if isinstance(value, Mapping):
                value = next((part for key, part in value.items() if str(key) == name), None)
            elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
                value = value[int(name)]
            else:
                return None
        return value
