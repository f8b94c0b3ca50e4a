"""Mirrored twins: a clip reflected in the sagittal plane and its caption with the sides swapped."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence

import numpy as np

MIRROR_PREFIX = "M"
MIRROR_FOLDER = "Mirror_"
_TURNS = {"clockwise": "counterclockwise", "counterclockwise": "clockwise", "anticlockwise": "clockwise", "cw": "ccw",
          "ccw": "cw"}  # fmt: skip
_PARTS = "foot|feet|hand|arm|leg|knee|side"  # of "leftfoot" and "righthanded", which names of files are made of
_SIDED = re.compile(
    r"(?<![a-z])(?:(?:counter[- ]?|anti[- ]?)?clockwise(?![a-z])|c?cw(?![a-z])"
    rf"|(?<!\ball )(?:left|right)(?=(?:s|ward|wards|most)?(?![a-z])|{_PARTS})(?! (?:away|angle)s?\b))",
    re.IGNORECASE,
)


# What somebody did with a room, and what is no side either: "he left the room", "right in front", "right after that".
_LEAVING = re.compile(r"(?:^|[^a-z])(?:he|she|they|who|it|has|had|having|was|were|been) $", re.IGNORECASE)
_LEFT = re.compile(r" (?:the|his|her|their|its|him|them|it|alone)\b", re.IGNORECASE)
_ADVERB = re.compile(
    r" (?:in front|there|here|next to|beside|up to|(?:after|before) (?:that|this|he|she|they))\b", re.IGNORECASE
)


def mirror_caption(text: str) -> str:
    """Swap left and right (also in leftwards, right-handed, ...) and the two turning senses, where they are sides;
    keeps capitals."""
    return _SIDED.sub(lambda found: _like(found[0], _other(found[0])) if _is_side(found) else found[0], text)


def _is_side(found: re.Match[str]) -> bool:
    before, after, word = found.string[: found.start()], found.string[found.end() :], found[0].lower()
    if word == "left":
        return not _LEAVING.search(before[-12:]) and not _LEFT.match(after)
    return word != "right" or not _ADVERB.match(after)


def mirror_joints(joints: np.ndarray, mirror_pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """Reflect joints (..., J, 3) in the plane x = 0 and exchange the joints of every (left, right) pair."""
    order = np.arange(joints.shape[-2])
    for left, right in mirror_pairs:
        order[left], order[right] = right, left
    return joints[..., order, :] * np.array([-1, 1, 1], dtype=joints.dtype)


def is_twin_name(name: str, names: Container[str]) -> bool:
    """Whether `name` is the mirrored twin of another of `names`."""
    return original_of(name, names) != name


def original_of(name: str, names: Container[str]) -> str:
    """The clip that `name` is the mirrored twin of, or `name`.

    A twin's name begins with `M` where the rest of it is one of `names`, as in HumanML3D, or it lies in a folder whose
    name begins with `Mirror_`, as in MotionMillion; there its clip need not be among `names`."""
    folders = name.split("/")
    plain = [folder.removeprefix(MIRROR_FOLDER) for folder in folders[:-1]]
    last = folders[-1]
    if last.startswith(MIRROR_PREFIX):
        without = "/".join([*plain, last.removeprefix(MIRROR_PREFIX)])
        if without in names:
            return without
    return "/".join([*plain, last])


def _other(word: str) -> str:
    lower = re.sub("[- ]", "", word.lower())
    return {"left": "right", "right": "left"}.get(lower) or _TURNS[lower]


def _like(model: str, word: str) -> str:
    if model.isupper():
        return word.upper()
    return word.capitalize() if model[0].isupper() else word
