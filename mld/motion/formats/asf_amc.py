"""`.amc`: motion of an Acclaim skeleton (CMU, HDM05), in text; the skeleton is an `.asf` file next to it.

The skeleton is the one given, or the .asf file whose name begins the name of the motion (07.asf for 07_01.amc), or the
only one in the folder.
"""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mld.errors import MotionFormatError
from mld.motion.euler import euler_to_matrix
from mld.motion.formats.asf import ROOT, Bone, Skeleton, read_skeleton, to_rig
from mld.motion.formats.limits import refuse_bomb, shown
from mld.motion.formats.numbers import line_at, parse_numbers, to_number, words_per_line
from mld.motion.formats.options import ReadOptions
from mld.motion.rig.rig import Rig, RigMotion
from mld.motion.rig.units import guess_unit

_USUAL_FPS = 120.0  # CMU and HDM05; the files do not say it
_LARGEST = 1e8
_FRAME = re.compile(rb"(?m)^[ \t]*\d+[ \t]*\r?$")
_NAME = re.compile(rb"(?m)^[ \t]*([A-Za-z_]\S*)")
_RATE = re.compile(rb"(?im)^[ \t]*:SAMPLES-PER-SECOND[ \t]+(\d+\.?\d*)")


def read_rig(path: Path, options: ReadOptions | None = None) -> RigMotion:
    """The skeleton and its motion in metres; `MotionFormatError` naming the line where a file is damaged."""
    options, path = options or ReadOptions(), Path(path)
    if path.suffix.lower() == ".asf":
        raise MotionFormatError(f"{path}: this is the skeleton of a motion; open the .amc file of the motion")
    asf = options.skeleton or find_skeleton(path)
    if not asf.is_file():
        raise MotionFormatError(f"{asf}: there is no such file (the skeleton of {path.name})")
    skeleton = read_skeleton(asf)
    rig, bones = to_rig(asf, skeleton)
    text = path.read_bytes()
    table, columns = _table(path, text, skeleton)
    refuse_bomb(path, len(text), len(table), rig.num_joints)
    unit, note = (options.unit, "") if options.unit else guess_unit(rig, skeleton.metres)
    fps, rate_note = _rate(text, options.fps)
    radians = 1.0 if re.search(rb"(?im)^[ \t]*:RADIANS", text[:4096]) else math.pi / 180
    notes = [f"skeleton {asf.name}", note, rate_note]
    translation = (_moves(bones[0], table[:, columns[ROOT]]) + rig.offsets[0]) * unit
    rotations = _rotations(rig, bones, skeleton, table, columns, radians)
    rig, shifts = _shifts(rig, bones, skeleton, table, columns)
    shifts = {joint: shift * unit for joint, shift in shifts.items()}
    notes = [note for note in notes if note]
    return RigMotion(rig.scaled(unit), rotations, translation, fps, "asf/amc", tuple(notes), shifts=shifts)


def find_skeleton(path: Path) -> Path:
    """The .asf file that belongs to an .amc file; `MotionFormatError` where that is not clear."""
    files = sorted(p for p in path.parent.iterdir() if p.suffix.lower() == ".asf")
    fitting = [p for p in files if path.stem.lower().startswith(p.stem.lower())]
    if fitting:
        return max(fitting, key=lambda p: len(p.stem))
    if len(files) == 1:
        return files[0]
    found = ", ".join(p.name for p in files[:8]) or "none"
    raise MotionFormatError(f"{path}: which skeleton belongs to it? (.asf files here: {found}); name it "
                            "with --skeleton FILE.asf")


def _rate(text: bytes, fps: float | None) -> tuple[float, str]:
    said = _RATE.search(text[:4096])
    if fps is not None:
        return fps, ""
    if said is not None and 1 <= float(said.group(1)) <= 10_000:
        return float(said.group(1)), ""
    return _USUAL_FPS, f"the file does not say its frame rate; taken as {_USUAL_FPS:g}, as CMU and HDM05 have it"


def _table(path: Path, text: bytes, skeleton: Skeleton) -> tuple[np.ndarray, dict[str, slice]]:
    """Numbers (T, C) of all frames, and the columns of each bone."""
    frames = _FRAME.finditer(text)
    first = next(frames, None)
    if first is None:
        raise MotionFormatError(f"{path}, line {line_at(text, len(text))}: the file has no frame")
    second = next(frames, None)
    start = first.start()
    pattern = text[first.end() : len(text) if second is None else second.start()]
    names = [name.decode("latin-1") for name in _NAME.findall(pattern)]
    columns, width = _columns(path, text, first.end(), names, skeleton)
    data = text[start:]
    try:
        numbers = parse_numbers(_NAME.sub(b"", data))
    except ValueError:
        numbers = np.empty(0)
    count = max(numbers.size // width, 1)
    expected = [name.encode("latin-1") for name in names]
    per_line = [1, *(1 + columns[name].stop - columns[name].start for name in names)] * count
    same = numbers.size == count * width and _NAME.findall(data) == expected * count
    if not same or not np.array_equal(words_per_line(data), per_line):
        raise _diagnose(path, data, line_at(text, start), names, columns)
    table = numbers.reshape(count, width)
    if not (np.abs(table) < _LARGEST).all() or (np.diff(table[:, 0]) != 1).any():
        raise _diagnose(path, data, line_at(text, start), names, columns)
    return table, columns


def _columns(path: Path, text: bytes, at: int, names: list[str], skeleton: Skeleton) -> tuple[dict[str, slice], int]:
    """Columns of each bone of a frame by the degrees of freedom of the skeleton; column 0 is the frame number."""
    columns, width = {ROOT: slice(0, 0)}, 1
    seen: set[str] = set()
    line = line_at(text, at) + 1
    for number, name in enumerate(names):
        where = f"{path}, line {line + number}"
        if name not in skeleton.bones:
            raise MotionFormatError(f"{where}: the skeleton has no bone '{shown(name)}'; is it the right .asf file?")
        if name in seen:
            raise MotionFormatError(f"{where}: bone '{shown(name)}' for the second time in a frame")
        seen.add(name)
        columns[name] = slice(width, width + len(skeleton.bones[name].dof))
        width = columns[name].stop
    return columns, width


def _diagnose(path: Path, data: bytes, first_line: int, names: list[str], columns: dict[str, slice]) -> Exception:
    """The first line that does not fit the pattern of the first frame."""
    place, frame = len(names), None
    for number, line in enumerate(data.splitlines(), start=first_line):
        words = line.decode("latin-1").split()
        where = f"{path}, line {number}"
        if not words:
            continue
        if place == len(names):
            if len(words) > 1 or not words[0].isdecimal() or (frame is not None and int(words[0][:12]) != frame + 1):
                return MotionFormatError(f"{where}: frame {'number' if frame is None else frame + 1} should stand here")
            place, frame = 0, int(words[0][:12])
            continue
        if words[0] != names[place]:
            return MotionFormatError(f"{where}: '{shown(words[0])}' stands where bone '{shown(names[place])}' should")
        wanted = columns[names[place]].stop - columns[names[place]].start
        if len(words) - 1 != wanted or not all(_is_number(word) for word in words[1:]):
            return MotionFormatError(f"{where}: bone '{shown(words[0])}' needs {wanted} numbers "
                                     "(its degrees of freedom)")
        place += 1
    last = first_line + line_at(data, len(data)) - 1
    return MotionFormatError(f"{path}, line {last}: the file ends inside frame {frame}")


def _is_number(word: str) -> bool:
    try:
        return abs(to_number(word)) < _LARGEST
    except ValueError:
        return False


def _shifts(
    rig: Rig, bones: list[Bone], skeleton: Skeleton, table: np.ndarray, columns: dict[str, slice]
) -> tuple[Rig, dict[int, Tensor]]:
    """The rig with every joint at its median place, and the places (T, 3) of those that move against their parents.

    tx, ty and tz move the beginning of a bone in the frame of the bone, l makes it longer, so that what hangs on it
    moves. Some files say the differences from the skeleton and some the whole place or length: what is nearer to the
    skeleton is taken.
    """
    places = {}
    for joint, bone in enumerate(bones[1:], start=1):
        above = bones[rig.parents[joint]]
        place = rig.offsets[joint].expand(len(table), 3)
        longer = _lengths(above, table[:, columns[above.name]]) if above.name in columns else None
        if longer is not None:
            place = longer[:, None] * torch.tensor(above.direction, dtype=torch.float64)
        values = table[:, columns[bone.name]] if bone.name in columns else np.empty((len(table), 0))
        if any(dof[0] == "t" for dof in bone.dof[: values.shape[1]]):
            moved = _moves(bone, values) @ skeleton.axis_matrix(bone).T
            place = moved if _is_whole(moved, place) else place + moved
        elif longer is None:
            continue
        places[joint] = place
    offsets = rig.offsets.clone()
    for joint, place in places.items():
        offsets[joint] = place.median(0).values
    moving = {joint: place for joint, place in places.items() if float(np.ptp(place.numpy(), axis=0).max()) > 0}
    return dataclasses.replace(rig, offsets=offsets), moving


def _lengths(bone: Bone, values: np.ndarray) -> Tensor | None:
    """The length (T,) of a bone in each frame, None where it does not change."""
    if "l" not in bone.dof[: values.shape[1]]:
        return None
    said = torch.from_numpy(values[:, bone.dof.index("l")].copy())
    whole = _is_whole(said[:, None], torch.full((1, 1), bone.length, dtype=torch.float64))
    return said if whole else bone.length + said


def _is_whole(said: Tensor, usual: Tensor) -> bool:
    """Whether values (T, N) are nearer to the usual ones than to none."""
    middle = said.median(0).values
    return float((middle - usual.median(0).values).norm()) < float(middle.norm())


def _moves(bone: Bone, values: np.ndarray) -> Tensor:
    """Translation (T, 3) of a bone in file units."""
    moved = torch.zeros(len(values), 3, dtype=torch.float64)
    for column, dof in enumerate(bone.dof[: values.shape[1]]):
        if dof[0] == "t":
            moved[:, "xyz".index(dof[1])] = torch.from_numpy(values[:, column])
    return moved


def _rotations(
    rig: Rig, bones: list[Bone], skeleton: Skeleton, table: np.ndarray, columns: dict[str, slice], radians: float
) -> Tensor:
    """Local rotations (T, J, 3, 3): C R C^-1 with C the axis of the bone and R its turns, the first innermost."""
    rotations = torch.eye(3).repeat(len(table), rig.num_joints, 1, 1)
    for joint, bone in enumerate(bones):
        turns = [(i, dof[1]) for i, dof in enumerate(bone.dof) if dof[0] == "r"][::-1]
        if bone.name not in columns or not turns or columns[bone.name].stop == 0:
            continue
        values = table[:, columns[bone.name]][:, [i for i, _ in turns]]
        turned = euler_to_matrix(torch.from_numpy(values * radians), "".join(axis for _, axis in turns))
        axis = skeleton.axis_matrix(bone)
        rotations[:, joint] = (axis @ turned @ axis.T).float()
    return rotations
