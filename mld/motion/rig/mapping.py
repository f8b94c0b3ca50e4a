"""Which joint of a file is which joint of the model: tables of joint names as data, and their choice by what fits.

A table (`mappings/*.yaml`, or a user's own file of that form) names the joints of one kind of skeleton:

    description: one line
    marks: [names that tell this skeleton from others]          # optional
    sides: [Left, Right]                                        # what "{}" stands for on the left and on the right
    limbs: {hip: "{}UpLeg", foot: "{}ToeBase|end {}Foot", ...}  # hip knee ankle foot collar shoulder elbow wrist
    trunk: {pelvis: Hips, head: Head, ...}                      # pelvis spine1 spine2 spine3 neck head
    missing_bones: [{joints: [Neck], like: Spine1, times: 1}]   # bones that the files give no length, optional
    rest_pose_first: true                                       # frame 0 may be a rest pose, optional

"a|b" is a or else b; "end a" is the end of the bone of a leaf. What a table leaves out is derived from the rest.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import yaml

from mld.errors import DataError, nearest
from mld.motion.rig.rig import Rig
from mld.motion.skeletons import get_skeleton

LIMBS = ("hip", "knee", "ankle", "foot", "collar", "shoulder", "elbow", "wrist")
TRUNK = ("pelvis", "spine1", "spine2", "spine3", "neck", "head")
REQUIRED = tuple(f"{side}_{limb}" for limb in ("hip", "knee", "ankle", "shoulder", "elbow") for side in "lr")
_NAMESPACE = re.compile(r"^(.*[:|]|mixamorig\d*_?|character\d+_|bip\d+[ _]+)", re.IGNORECASE)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


@dataclass(frozen=True)
class JointMapping:
    """One table. joints: names to look for, best first, by joint of smpl22."""

    name: str
    description: str = ""
    joints: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    marks: tuple[tuple[str, ...], ...] = ()
    missing_bones: tuple[tuple[tuple[str, ...], str, float], ...] = ()
    rest_pose_first: bool = False


@dataclass(frozen=True)
class Found:
    """Joints of a rig by joint of smpl22; those in `ends` mean the end of that joint's bone, `guessed` were guessed."""

    mapping: JointMapping
    joints: Mapping[str, int]
    ends: frozenset[str] = frozenset()
    guessed: frozenset[str] = frozenset()

    @property
    def lacking(self) -> tuple[str, ...]:
        """Joints without which the body cannot be placed."""
        missing = [name for name in REQUIRED if name not in self.joints]
        return tuple(missing if {"neck", "head"} & set(self.joints) else [*missing, "head"])


def load_mapping(path: str | os.PathLike) -> JointMapping:
    """A table from a YAML file; `DataError` names what is wrong in it."""
    path = Path(path)
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{path}: not a readable joint table ({type(error).__name__})") from error
    if not isinstance(table, dict):
        raise DataError(f"{path}: a joint table has the keys limbs and trunk; see mld/motion/rig/mappings")
    return _parse(path.stem, table, str(path))


@lru_cache(maxsize=1)
def mappings() -> dict[str, JointMapping]:
    """The tables that come with the toolkit, by name."""
    folder = Path(__file__).with_name("mappings")
    return {path.stem: load_mapping(path) for path in sorted(folder.glob("*.yaml"))}


def get_mapping(name: str | os.PathLike) -> JointMapping:
    """A table by its name, or a user's file by its path."""
    if str(name) in mappings():
        return mappings()[str(name)]
    if Path(name).suffix in (".yaml", ".yml"):
        return load_mapping(name)
    raise DataError(f"no joint table '{name}'; {nearest(str(name), (*mappings(), 'a .yaml file'))}")


@lru_cache(maxsize=8192)
def plain_name(name: str) -> str:
    """A joint name without namespace, case, blanks and dashes, as names are compared."""
    return re.sub(r"[\s_.\-]+", "", _NAMESPACE.sub("", name)).lower()


def strip_namespace(name: str) -> str:
    """A joint name without the name of its character in front."""
    return _NAMESPACE.sub("", name)


def name_words(name: str) -> list[str]:
    """The lower-case words of a joint name: "mixamorig:LeftUpLeg_2" gives left, up, leg, 2."""
    return [word.lower() for word in _WORD.findall(_NAMESPACE.sub("", name))]


def look_up(rig: Rig, mapping: JointMapping) -> Found:
    """The joints of a rig that a table names; none where its marks are missing."""
    index: dict[str, int] = {}
    for joint, name in enumerate(rig.joint_names):
        index.setdefault(plain_name(name), joint)
    joints: dict[str, int] = {}
    ends = set()
    for target, names in mapping.joints.items():
        for name in names:
            is_end = name.startswith("end ")
            found = index.get(plain_name(name.removeprefix("end ")))
            if found is None or (is_end and found not in rig.end_offsets):
                continue
            joints[target] = found
            if is_end:
                ends.add(target)
            break
    if any(not any(plain_name(name) in index for name in names) for names in mapping.marks):
        return Found(mapping, {})
    return Found(mapping, joints, frozenset(ends))


def _parse(name: str, table: dict, where: str) -> JointMapping:
    unknown = set(table) - {"description", "marks", "sides", "limbs", "trunk", "missing_bones", "rest_pose_first"}
    if unknown:
        raise DataError(f"{where}: unknown key '{sorted(map(str, unknown))[0]}' in a joint table")
    try:
        sides = [str(side) for side in table.get("sides", ("", ""))]
        joints = {key: str(value) for key, value in (table.get("trunk") or {}).items()}
        for limb, pattern in (table.get("limbs") or {}).items():
            for letter, side in zip("lr", sides, strict=True):
                joints[f"{letter}_{limb}"] = str(pattern).replace("{}", side)
        bones = tuple((tuple(map(str, entry["joints"])), str(entry["like"]), float(entry.get("times", 1.0)))
                      for entry in table.get("missing_bones") or ())
        marks = tuple(tuple(str(mark).split("|")) for mark in table.get("marks") or ())
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{where}: not a joint table ({error}); see mld/motion/rig/mappings for the form") from error
    strange = next((key for key in joints if key not in get_skeleton("smpl22").joint_names), None)
    if strange is not None:
        raise DataError(f"{where}: there is no joint '{strange}'; limbs: {', '.join(LIMBS)}; trunk: {', '.join(TRUNK)}")
    split = {key: tuple(value.split("|")) for key, value in joints.items()}
    return JointMapping(name, str(table.get("description", "")), split, marks, bones,
                        bool(table.get("rest_pose_first", False)))
