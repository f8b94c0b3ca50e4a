"""The HIERARCHY block of a BVH file: joints, offsets and channels. Any tree, any channel order, braces anywhere.

Parsed with a stack and not by recursion, so that no depth of nesting can exhaust it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mld.errors import MotionFormatError
from mld.motion.formats.limits import shown
from mld.motion.formats.numbers import to_number

MOST_JOINTS = 1000
_MOST_TEXT = 1 << 22  # bytes
_LARGEST = 1e8
_LONGEST_NAME = 200  # letters; the rest is left out
CHANNELS = {f"{axis}{kind}".lower(): f"{axis}{kind}" for axis in "XYZ" for kind in ("position", "rotation")}


@dataclass
class Node:
    """A joint: offset in file units, channels as "Xposition" ... "Zrotation" in file order, end offset of a leaf."""

    name: str
    parent: int
    line: int
    offset: tuple[float, ...] = (0.0, 0.0, 0.0)
    channels: tuple[str, ...] = ()
    end: tuple[float, ...] | None = None


class _Tokens:
    """Words of the block with their line numbers; braces are words of their own."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.line = path, 1
        self._words = self._split(text)

    def _split(self, text: str) -> Iterator[str]:
        for number, line in enumerate(text.splitlines(), start=1):
            self.line = number
            yield from line.replace("{", " { ").replace("}", " } ").split()

    def next(self, wanted: str) -> str:
        word = next(self._words, None)
        if word is None:
            raise self.error(f"the hierarchy ends where {wanted} should follow")
        return word

    def maybe(self) -> str | None:
        return next(self._words, None)

    def number(self, wanted: str) -> float:
        word = self.next(wanted)
        try:
            value = to_number(word)
        except ValueError:
            raise self.error(f"'{shown(word)}' stands where {wanted} should be") from None
        if not math.isfinite(value) or abs(value) > _LARGEST:
            raise self.error(f"{wanted} is {shown(word)}")
        return value

    def until_brace(self) -> str:
        words = []
        while (word := self.next("'{'")) != "{":
            words.append(word)
        return " ".join(words)

    def error(self, message: str) -> MotionFormatError:
        return MotionFormatError(f"{self.path}, line {self.line}: {message}")


def parse_hierarchy(path: Path, text: bytes) -> list[Node]:
    """Joints in file order, parents first. Raises `MotionFormatError` naming the line."""
    if len(text) > _MOST_TEXT:
        raise MotionFormatError(f"{path}: the hierarchy is {len(text) >> 20} MB of text; this is no BVH skeleton")
    tokens = _Tokens(path, text.decode("utf-8-sig", errors="replace"))
    if tokens.next("HIERARCHY").upper() != "HIERARCHY":
        raise tokens.error("a BVH file begins with the word HIERARCHY")
    nodes: list[Node] = []
    stack: list[int] = []  # open joints; -1 is an open End Site
    while (word := tokens.maybe()) is not None:
        _take(word.upper(), word, tokens, nodes, stack)
        if len(nodes) > MOST_JOINTS:
            raise tokens.error(f"more than {MOST_JOINTS} joints")
    if stack:
        raise tokens.error(f"{len(stack)} opening braces are never closed")
    if not nodes:
        raise tokens.error("there is no ROOT joint")
    return nodes


def _take(keyword: str, word: str, tokens: _Tokens, nodes: list[Node], stack: list[int]) -> None:
    if keyword in ("ROOT", "JOINT"):
        _open_joint(keyword, tokens, nodes, stack)
    elif keyword == "}":
        if not stack:
            raise tokens.error("a closing brace without an opening one")
        stack.pop()
    elif not stack:
        raise tokens.error(f"'{shown(word)}' stands where ROOT or MOTION should be")
    elif keyword == "END":
        tokens.until_brace()
        if stack[-1] < 0:
            raise tokens.error("an End Site inside an End Site")
        nodes[stack[-1]].end = (0.0, 0.0, 0.0)
        stack.append(-1)
    elif keyword == "OFFSET":
        offset = tuple(tokens.number("a number of the OFFSET") for _ in range(3))
        if stack[-1] < 0:
            nodes[stack[-2]].end = offset
        else:
            nodes[stack[-1]].offset = offset
    elif keyword == "CHANNELS":
        _channels(tokens, nodes[stack[-1]] if stack[-1] >= 0 else None)
    else:
        raise tokens.error(f"'{shown(word)}' stands where OFFSET, CHANNELS, JOINT, End Site or a brace should be")


def _open_joint(keyword: str, tokens: _Tokens, nodes: list[Node], stack: list[int]) -> None:
    line = tokens.line
    name = tokens.until_brace()[:_LONGEST_NAME]
    if not name:
        raise tokens.error(f"a {keyword} without a name")
    if (keyword == "JOINT") != bool(stack) or (stack and stack[-1] < 0):
        raise tokens.error(f"{keyword} '{shown(name)}' in the wrong place: a ROOT is outermost, a JOINT inside a joint")
    nodes.append(Node(name, stack[-1] if stack else -1, line))
    stack.append(len(nodes) - 1)


def _channels(tokens: _Tokens, node: Node | None) -> None:
    count = tokens.number("the number of CHANNELS")
    if node is None:
        if count:
            raise tokens.error("an End Site has no channels")
        return
    if node.channels or count != int(count) or not 0 <= count <= 9:
        raise tokens.error(f"joint '{shown(node.name)}' cannot have {count:g} channels")
    words = [tokens.next("a channel name") for _ in range(int(count))]
    for word in words:
        if word.lower() not in CHANNELS:
            raise tokens.error(f"joint '{shown(node.name)}' has the channel '{shown(word)}'; "
                               f"known: {', '.join(CHANNELS.values())}")
    node.channels = tuple(CHANNELS[word.lower()] for word in words)
    if len({c for c in node.channels if "position" in c}) < sum("position" in c for c in node.channels):
        raise tokens.error(f"joint '{shown(node.name)}' has a position channel twice")
