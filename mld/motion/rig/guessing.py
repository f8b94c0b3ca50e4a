"""Which joint of a rig is a hip, a knee, a hand: by the table that fits best, what it lacks guessed from names, with
words and sides as data."""

from __future__ import annotations

import dataclasses
import math
import re
from functools import lru_cache
from pathlib import Path

import yaml

from mld.errors import DataError
from mld.motion.rig.mapping import Found, JointMapping, look_up, mappings, name_words, strip_namespace
from mld.motion.rig.rig import Rig

_RANK_COST, _BESIDE_COST, _WORD_COST = 0.1, 1.0, 0.05  # of a less usual word, a word of helpers, a word too many
_RATIO_COST, _USUAL_RATIO = 4.0, 1.2  # upper and lower bones of human limbs differ by less than this factor
_MOST_TRIED = 8  # joints of fitting names


def find_joints(rig: Rig, mapping: JointMapping | None = None) -> Found:
    """The joints of a rig by `mapping`, or by the table that fits best with the rest guessed from names.

    Raises `DataError` naming the joints that are lacking and those that the file has.
    """
    if mapping is not None:
        found = look_up(rig, mapping)
    else:
        found = best_found(rig)
    if found.lacking:
        lacking = ", ".join(found.lacking[:6]) + (f" and {more} others" if (more := len(found.lacking) - 6) > 0 else "")
        names = [name[:40] for name in rig.joint_names[:200]]
        raise DataError(
            f"cannot tell which joint is {lacking} (table '{found.mapping.name}'); give a joint table of your own "
            f"(--mapping FILE.yaml). The file has: {', '.join(names[:3])}, ...",
            f"the joints of the file: {', '.join(names)}",
        )
    return found


def best_found(rig: Rig) -> Found:
    """The joints of a rig by the table that fits best, the rest guessed from names; some may be lacking."""
    found = max((look_up(rig, table) for table in mappings().values()), key=_fit)
    return guess_joints(rig, found) if found.lacking else found


def guess_joints(rig: Rig, found: Found) -> Found:
    """`found` with what it lacks guessed; a joint that nothing fits stays out. The report lists the guesses.

    Of joints whose names fit alike, those win whose bones have human proportions: no stub between hip and pelvis.
    """
    names = [_side_and_words(name) for name in rig.joint_names]
    joints = dict(found.joints)
    for side in "lr":
        for chain, after in ((("hip", "knee", "ankle"), "foot"), (("shoulder", "elbow", "wrist"), "")):
            joints |= _best_chain(rig, names, joints, side, chain)
            last = joints.get(f"{side}_{chain[-1]}")
            if after and last is not None and f"{side}_{after}" not in joints:
                below = [entry for entry in _fitting(names, side, after, joints) if _is_below(rig, entry[1], last)]
                joints |= {f"{side}_{after}": min(below)[1]} if below else {}
    for target in _table()["trunk"]:
        fitting = _fitting(names, "", target, joints)
        if fitting and target not in joints:
            joints[target] = min(fitting)[1]
    if not {"head", "neck"} & set(joints):
        top = _top_of_spine(rig, names, joints)
        joints |= {} if top is None else {"head": top}
    mapping = found.mapping if found.joints else JointMapping("guessed from names")
    guessed = found.guessed | (set(joints) - set(found.joints))
    return dataclasses.replace(found, mapping=mapping, joints=joints, guessed=frozenset(guessed))


def _best_chain(
    rig: Rig, names: list[tuple[str, list[str]]], joints: dict[str, int], side: str, chain: tuple[str, ...]
) -> dict[str, int]:
    """The joints of a limb, each below the one before it, by the least cost of names and proportions; the last may be
    missing."""
    open_ends: list[tuple[float, list[int]]] = [(0.0, [])]
    for limb in chain:
        known = joints.get(f"{side}_{limb}")
        fitting = sorted(_fitting(names, side, limb, joints))[:_MOST_TRIED] if known is None else [(0.0, known)]
        longer = [
            (cost + more, [*way, joint]) for cost, way in open_ends for more, joint in fitting
            if not way or _is_below(rig, joint, way[-1]) and joint != way[-1]
        ]  # fmt: skip
        if not longer:
            break
        open_ends = longer
    way = min(open_ends, key=lambda entry: entry[0] + _disproportion(rig, entry[1]))[1]
    return {f"{side}_{limb}": joint for limb, joint in zip(chain, way)}


def _disproportion(rig: Rig, way: list[int]) -> float:
    """How far the two bones of a limb are from being about as long as each other."""
    if len(way) < 3:
        return 0.0
    upper, lower = _length(rig, way[0], way[1]), _length(rig, way[1], way[2])
    if upper <= 0 and lower <= 0:
        return 0.0
    ratio = max(upper, 1e-6 * lower) / max(lower, 1e-6 * upper)
    return _RATIO_COST * max(0.0, abs(math.log(ratio)) - math.log(_USUAL_RATIO))


def _length(rig: Rig, above: int, joint: int) -> float:
    """The way along the bones from a joint above to one below it, in units of the rig."""
    length = 0.0
    while joint > above:
        length += float(rig.offsets[joint].norm())
        joint = rig.parents[joint]
    return length


def _fitting(
    names: list[tuple[str, list[str]]], side: str, target: str, joints: dict[str, int]
) -> list[tuple[float, int]]:
    """Cost and index of the joints, not taken yet, whose names say the target."""
    table, taken = _table(), set(joints.values())
    wanted = (table["limbs"] | table["trunk"])[target]
    found = []
    for joint, (own_side, words) in enumerate(names):
        rank = next((rank for rank, word in enumerate(wanted) if _says(words, word)), None)
        if rank is None or own_side != side or joint in taken:
            continue
        beside = sum(word in table["beside"] for word in words)
        more = len(words) - len(wanted[rank].split())
        found.append((_RANK_COST * rank + _BESIDE_COST * beside + _WORD_COST * more, joint))
    return found


def _top_of_spine(rig: Rig, names: list[tuple[str, list[str]]], joints: dict[str, int]) -> int | None:
    """The end of the chain of spine joints above the shoulders, where a skeleton numbers its spine up to the head."""
    if not {"l_shoulder", "r_shoulder"} <= set(joints):
        return None
    a, b = joints["l_shoulder"], joints["r_shoulder"]
    while a != b:
        a, b = (rig.parents[a], b) if a > b else (a, rig.parents[b])
    top = None
    while True:
        above = [child for child in rig.children(a) if not names[child][0]
                 and any(word in _table()["spine"] for word in names[child][1])]  # fmt: skip
        if not above:
            return top
        top = a = above[0]


def _fit(found: Found) -> tuple[int, int]:
    """Fewer joints lacking first; then more joints mapped, marks counting too."""
    return -len(found.lacking), len(found.joints) - len(found.ends) + len(found.mapping.marks)


def _side_and_words(name: str) -> tuple[str, list[str]]:
    """The side of a name, "l", "r" or none, and its other words."""
    sides = {mark: side for side, marks in _table()["sides"].items() for mark in marks}
    words = _known_words(name, sides)
    for place, word in enumerate(words):
        if word in sides:
            return sides[word], [*words[:place], *words[place + 1 :]]
    return "", words


def _known_words(name: str, sides: dict[str, str]) -> list[str]:
    """Lower-case words of a name: "HEad" is head, "leftknee" left and knee, "LUArm" l, u and arm."""
    known = _vocabulary()
    words: list[str] = []
    for piece in re.findall(r"[^\W\d_]+|\d+", strip_namespace(name)):
        whole = piece.lower()
        side = next((mark for mark in sides if whole.startswith(mark) and whole.removeprefix(mark) in known), None)
        if whole in known:
            words.append(whole)
        elif side is not None:
            words += [side, whole.removeprefix(side)]
        else:
            for word in name_words(piece):
                words += word if len(word) == 2 and word[0] in sides and word[1] in "ufl" else [word]
    return words


@lru_cache(maxsize=1)
def _vocabulary() -> frozenset[str]:
    table = _table()
    return frozenset(word for words in (table["limbs"] | table["trunk"]).values() for word in words)


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
