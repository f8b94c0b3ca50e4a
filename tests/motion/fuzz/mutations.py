"""Strategies that damage files: bytes anywhere, words and lines of text, values anywhere in a JSON document."""

from __future__ import annotations

import copy
import math
from typing import Any

from hypothesis import strategies as st

WORDS = [b"nan", b"inf", b"-inf", b"1e308", b"-1e39", b"1e-320", b"1e9", b"99999999999999999999", b"4294967295", b"-1",
         b"0", b"-0.0", b"", b"1_0", b"0x10", b"1,5", b"1.2.3", b"1e", b"--1", b"\xff\xfe", b"\xc2\xb2", b"\xb2",
         "٣".encode(), "Ω".encode(), b"\0", b"{", b"}", b"\"", b"#", b":", b"x" * 9000, b"7" * 5000, b"\n", b"\r",
         b"\x0b", b"\x1c", "\u2028".encode(), b"1 2", b"End", b"JOINT", b"ROOT", b"MOTION", b"Frames:", b"CHANNELS",
         b"OFFSET", b"begin", b"end", b":bonedata", b":hierarchy", b"root", b"[" * 3000, b"null", b"[]"]  # fmt: skip
VALUES = [None, True, False, 0, -1, 1, 3, 2**31, 2**32, 2**53, 2**63, 10**30, 10**400, 0.5, -0.5, 1e-320, 1e308,
          math.nan, math.inf, "", "x", "x" * 9000, "nan", "\0", "\ud800", "../../etc/passwd", "file:///etc/passwd",
          "data:,", [], [[]], [0], [None], [0.0] * 16, {}, {"node": 0}, {"0": []}]  # fmt: skip


def deep(depth: int) -> Any:
    """A list in a list in a list ..."""
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


@st.composite
def damaged_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """Cut off, shortened, repeated, overwritten or grown, up to three times; often only cut off."""
    if draw(st.integers(0, 3)) == 0:
        return content[: draw(st.integers(0, len(content)))]
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(content)))
        stop = min(len(content), start + draw(st.sampled_from([0, 1, 2, 4, 8, 64, 500])))
        piece = content[start:stop]
        action = draw(st.sampled_from(["drop", "twice", "flip", "junk", "number"]))
        if action == "drop":
            piece = b""
        elif action == "twice":
            piece *= draw(st.integers(2, 4))
        elif action == "flip":
            piece = bytes(byte ^ (1 << draw(st.integers(0, 7))) for byte in piece[:8]) + piece[8:]
        elif action == "junk":
            piece = draw(st.binary(max_size=16))
        else:
            value = draw(st.sampled_from([0, 1, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]))
            piece = value.to_bytes(8, draw(st.sampled_from(["little", "big"])))[: max(len(piece), 1)]
        content = content[:start] + piece + content[stop:]
    return content


@st.composite
def damaged_text(draw: st.DrawFn, content: bytes) -> bytes:
    """Words replaced, dropped or repeated, lines dropped, repeated or swapped; also bytes damaged."""
    if draw(st.integers(0, 4)) == 0:
        return draw(damaged_bytes(content))
    lines = content.split(b"\n")
    for _ in range(draw(st.integers(1, 3))):
        at, other = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        action = draw(st.sampled_from(["word", "word", "word", "drop", "twice", "swap", "many"]))
        if action == "word":
            words = lines[at].split(b" ")
            words[draw(st.integers(0, len(words) - 1))] = draw(st.sampled_from(WORDS))
            lines[at] = b" ".join(words)
        elif action == "drop":
            lines[at] = b""
        elif action == "twice":
            lines.insert(other, lines[at])
        elif action == "swap":
            lines[at], lines[other] = lines[other], lines[at]
        else:
            lines[at:at] = [lines[at]] * draw(st.sampled_from([10, 2000]))
    return b"\n".join(lines)


@st.composite
def damaged_document(draw: st.DrawFn, document: Any) -> Any:
    """A JSON document with up to three of its values, anywhere, replaced, dropped, repeated or given to another key."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        parent, key = _somewhere(draw, document)
        if parent is None:
            return draw(st.sampled_from(VALUES))
        action = draw(st.sampled_from(["value", "value", "number", "deep", "drop", "twice"]))
        if action == "value":
            parent[key] = copy.deepcopy(draw(st.sampled_from(VALUES)))
        elif action == "number":
            parent[key] = draw(st.integers(-5, 100) | st.floats(width=32))
        elif action == "deep":
            parent[key] = deep(draw(st.sampled_from([1, 2, 70, 400])))
        elif action == "drop":
            del parent[key]
        elif isinstance(parent, list):
            parent.extend([parent[key]] * draw(st.sampled_from([1, 3, 500])))
        else:
            parent[draw(st.sampled_from([*parent, "matrix", "sparse", "children", "rotations"]))] = parent[key]
    return document


def _somewhere(draw: st.DrawFn, document: Any) -> tuple[Any, Any]:
    """A container within the document and one of its keys; None, None when there is none."""
    parent, key, value = None, None, document
    for _ in range(draw(st.integers(1, 8))):
        if not isinstance(value, (dict, list)) or not value:
            break
        parent = value
        key = draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
        value = parent[key]
    return parent, key
