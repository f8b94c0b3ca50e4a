"""Which joint of a rig is a hip, a knee, a hand: by the table that fits best, what it lacks guessed from names, with
words and sides as data."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from pathlib import Path

import yaml

from mld.errors import DataError
from mld.motion.rig.mapping import Found, JointMapping, look_up, mappings, name_words
from mld.motion.rig.rig import Rig

_ABOVE = {"knee": "hip", "ankle": "knee", "foot": "ankle", "elbow": "shoulder", "wrist": "elbow"}


def find_joints(rig: Rig, mapping: JointMapping | None = None) -> Found:
    """The joints of a rig by `mapping`, or by the table that fits best with the rest guessed from names.

    Raises `DataError` naming the joints that are lacking and those that the file has.
    """
    if mapping is not None:
        found = look_up(rig, mapping)
    else:
        found = best_found(rig)
    if found.lacking:
        names = ", ".join(name[:40] for name in rig.joint_names[:40]) + (" ..." if rig.num_joints > 40 else "")
        raise DataError(f"cannot tell which joint is {', '.join(found.lacking)} (table '{found.mapping.name}'); "
                        f"give a joint table of your own (--mapping FILE.yaml). The file has: {names}")
    return found


def best_found(rig: Rig) -> Found:
    """The joints of a rig by the table that fits best, the rest guessed from names; some may be lacking."""
    found = max((look_up(rig, table) for table in mappings().values()), key=_fit)
    return guess_joints(rig, found) if found.lacking else found


def guess_joints(rig: Rig, found: Found) -> Found:
    """`found` with what it lacks guessed; a joint that nothing fits stays out. The report lists the guesses."""
    joints, guessed = dict(found.joints), set(found.guessed)
    table = _table()
    words = [_side_and_words(name, table["sides"]) for name in rig.joint_names]

    def take(target: str, side: str, wanted: list[str], above: int | None) -> None:
        if target in joints:
            return
        for word in wanted:
            for joint, (joint_side, name) in enumerate(words):
                if joint_side != side or joint in joints.values() or not _says(name, word):
                    continue
                if above is None or _is_below(rig, joint, above):
                    joints[target] = joint
                    guessed.add(target)
                    return

    for limb, wanted in table["limbs"].items():
        for side in "lr":
            above = joints.get(f"{side}_{_ABOVE[limb]}") if limb in _ABOVE else None
            if limb not in _ABOVE or above is not None:
                take(f"{side}_{limb}", side, wanted, above)
    for target, wanted in table["trunk"].items():
        take(target, "", wanted, None)
    mapping = found.mapping if found.joints else JointMapping("guessed from names")
    return dataclasses.replace(found, mapping=mapping, joints=joints, guessed=frozenset(guessed))


def _fit(found: Found) -> tuple[int, int]:
    """Fewer joints lacking first; then more joints mapped, marks counting too."""
    return -len(found.lacking), len(found.joints) - len(found.ends) + len(found.mapping.marks)


def _side_and_words(name: str, sides: dict[str, list[str]]) -> tuple[str, list[str]]:
    words = name_words(name)
    for side, marks in sides.items():
        for word in words:
            if word in marks:
                return side, [other for other in words if other != word]
    known = {word for limb in _table()["limbs"].values() for word in limb}
    for side, marks in sides.items():  # "leftknee" and "lknee" are one word
        for mark in marks:
            if words and words[0].startswith(mark) and words[0].removeprefix(mark) in known:
                return side, [words[0].removeprefix(mark), *words[1:]]
    return "", words


def _says(words: list[str], wanted: str) -> bool:
    """Whether the wanted word, or words next to each other, occur in a name."""
    parts = wanted.split()
    return any(words[i : i + len(parts)] == parts for i in range(len(words) - len(parts) + 1))


def _is_below(rig: Rig, joint: int, above: int) -> bool:
    while joint > above:
        joint = rig.parents[joint]
    return joint == above


@lru_cache(maxsize=1)
def _table() -> dict:
    return yaml.safe_load(Path(__file__).with_name("guesses.yaml").read_text(encoding="utf-8"))
