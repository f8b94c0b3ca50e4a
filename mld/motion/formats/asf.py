"""`.asf`: the skeleton of an Acclaim capture, in text: bones with direction, length, axis and degrees of freedom."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from mld.errors import MotionFormatError
from mld.motion.euler import euler_to_matrix
from mld.motion.formats.limits import shown
from mld.motion.formats.numbers import to_number
from mld.motion.rig.rig import Rig

ROOT = "root"
_MOST_BONES = 1000
_MOST_TEXT = 1 << 22  # bytes
_LARGEST = 1e8
_DOFS = ("rx", "ry", "rz", "tx", "ty", "tz", "l")
_INCH = 0.0254


@dataclass
class Bone:
    """A bone in file units; `axis` in the file's angles turns the frame in which its degrees of freedom `dof` act."""

    name: str
    line: int
    direction: tuple[float, ...] = (0.0, 0.0, 0.0)
    length: float = 0.0
    axis: tuple[float, ...] = (0.0, 0.0, 0.0)
    axis_order: str = "XYZ"
    dof: tuple[str, ...] = ()


@dataclass
class Skeleton:
    """Bones by name (the root too), children by parent, the root's place, radians per angle, inch per unit."""

    bones: dict[str, Bone] = field(default_factory=dict)
    children: dict[str, list[str]] = field(default_factory=dict)
    position: tuple[float, ...] = (0.0, 0.0, 0.0)
    radians: float = math.pi / 180
    length: float | None = None

    @property
    def metres(self) -> float | None:
        """Metres per unit that the file tells."""
        return _INCH / self.length if self.length else None

    def axis_matrix(self, bone: Bone) -> Tensor:
        """The rotation (3, 3) float64 into the frame of a bone. The axes act in their order, the first innermost."""
        angles = torch.tensor(bone.axis[::-1], dtype=torch.float64) * self.radians
        return euler_to_matrix(angles, bone.axis_order[::-1])


class _Lines:
    """The words of each line that is not blank or a comment, with its number."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.number = path, 0
        self._lines = enumerate(text.splitlines(), start=1)

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> list[str]:
        for number, line in self._lines:
            self.number = number
            words = line.partition("#")[0].split()
            if words:
                return words
        raise StopIteration

    def error(self, message: str) -> MotionFormatError:
        return MotionFormatError(f"{self.path}, line {self.number}: {message}")

    def numbers(self, words: list[str], count: int, what: str) -> tuple[float, ...]:
        try:
            values = tuple(to_number(word) for word in words[:count])
        except ValueError:
            values = ()
        if len(values) != count or not all(abs(value) < _LARGEST for value in values):
            raise self.error(f"{what} needs {count} numbers, the line has: {shown(' '.join(words), 60)}")
        return values


def read_skeleton(path: Path) -> Skeleton:
    """Parse an ASF file; `MotionFormatError` naming the line."""
    if path.stat().st_size > _MOST_TEXT:
        raise MotionFormatError(f"{path}: too large for a skeleton file")
    lines = _Lines(path, path.read_bytes().decode("utf-8-sig", errors="replace"))
    skeleton = Skeleton(bones={ROOT: Bone(ROOT, 0)})
    section = ""
    for words in lines:
        if words[0].startswith(":"):
            section = words[0][1:].lower()
        elif section in _SECTIONS:
            _SECTIONS[section](lines, words, skeleton)
    if len(skeleton.bones) < 2:
        raise lines.error("no :bonedata with bones in this file")
    return skeleton


def to_rig(path: Path, skeleton: Skeleton) -> tuple[Rig, list[Bone]]:
    """The rig in file units and its bones by joint: the joint of a bone is where the bone begins."""
    names, parents, waiting = [], [], [(ROOT, -1)]
    while waiting:
        name, parent = waiting.pop()
        if name in names:
            raise MotionFormatError(f"{path}: bone '{shown(name)}' hangs in the hierarchy twice, or on itself")
        names.append(name)
        parents.append(parent)
        waiting += [(child, len(names) - 1) for child in reversed(skeleton.children.get(name, []))]
    loose = sorted(set(skeleton.bones) - set(names))
    if loose:
        raise MotionFormatError(f"{path}: bone '{shown(loose[0])}' does not hang on the root in the hierarchy")
    bones = [skeleton.bones[name] for name in names]
    vectors = torch.tensor([[bone.length * part for part in bone.direction] for bone in bones], dtype=torch.float64)
    offsets = torch.stack([vectors[max(parent, 0)] for parent in parents])
    offsets[0] = torch.tensor(skeleton.position)
    leaves = set(range(len(names))) - set(parents)
    return Rig(tuple(names), tuple(parents), offsets, {joint: vectors[joint] for joint in leaves}), bones


def _units(lines: _Lines, words: list[str], skeleton: Skeleton) -> None:
    if words[0].lower() == "length":
        (skeleton.length,) = lines.numbers(words[1:], 1, "length")
        if skeleton.length < 0:
            raise lines.error("a negative unit of length")
    elif words[0].lower() == "angle" and len(words) > 1:
        skeleton.radians = 1.0 if words[1].lower().startswith("rad") else math.pi / 180


def _root(lines: _Lines, words: list[str], skeleton: Skeleton) -> None:
    root, key = skeleton.bones[ROOT], words[0].lower()
    if key == "order":
        root.dof = _dofs(lines, words[1:])
    elif key == "axis" and len(words) > 1:
        root.axis_order = _order(lines, words[1])
    elif key == "position":
        skeleton.position = lines.numbers(words[1:], 3, "position")
    elif key == "orientation":
        root.axis = lines.numbers(words[1:], 3, "orientation")


def _bonedata(lines: _Lines, words: list[str], skeleton: Skeleton) -> None:
    if words[0].lower() != "begin":
        raise lines.error(f"'{shown(words[0])}' stands where 'begin' of a bone should be")
    bone = Bone("", lines.number)
    for words in lines:
        key = words[0].lower()
        if key == "end":
            break
        if key.startswith(":"):
            raise lines.error(f"the bone of line {bone.line} has no 'end'")
        _bone_line(lines, key, words, bone)
    else:
        raise lines.error(f"the file ends inside the bone of line {bone.line}")
    if not bone.name or bone.name in skeleton.bones:
        raise lines.error(f"the bone of line {bone.line} has no name, or one that was given before")
    skeleton.bones[bone.name] = bone
    if len(skeleton.bones) > _MOST_BONES:
        raise lines.error(f"more than {_MOST_BONES} bones")


def _bone_line(lines: _Lines, key: str, words: list[str], bone: Bone) -> None:
    if key == "name" and len(words) > 1:
        bone.name = words[1]
    elif key == "direction":
        bone.direction = lines.numbers(words[1:], 3, "direction")
    elif key == "length":
        (bone.length,) = lines.numbers(words[1:], 1, "length")
    elif key == "axis":
        bone.axis = lines.numbers(words[1:], 3, "axis")
        bone.axis_order = _order(lines, words[4] if len(words) > 4 else "XYZ")
    elif key == "dof":
        bone.dof = _dofs(lines, words[1:])


def _hierarchy(lines: _Lines, words: list[str], skeleton: Skeleton) -> None:
    if words[0].lower() in ("begin", "end"):
        return
    for name in words:
        if name not in skeleton.bones:
            raise lines.error(f"the hierarchy names the bone '{shown(name)}', which is not in :bonedata")
    skeleton.children.setdefault(words[0], []).extend(words[1:])


def _dofs(lines: _Lines, words: list[str]) -> tuple[str, ...]:
    dofs = tuple(word.lower() for word in words)
    if len(set(dofs)) < len(dofs) or any(dof not in _DOFS for dof in dofs):
        raise lines.error(f"degrees of freedom are some of {', '.join(_DOFS)}, each once; "
                          f"not: {shown(' '.join(words), 60)}")
    return dofs


def _order(lines: _Lines, word: str) -> str:
    if sorted(word.upper()) != ["X", "Y", "Z"]:
        raise lines.error(f"'{shown(word)}' is not an order of the axes X, Y and Z")
    return word.upper()


_SECTIONS = {"units": _units, "root": _root, "bonedata": _bonedata, "hierarchy": _hierarchy}
