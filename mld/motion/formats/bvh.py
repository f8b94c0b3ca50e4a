"""`.bvh`: joint hierarchy with Euler angles, as text. Reads every dialect: any tree, channels in any order and number.

Position channels stand in for the OFFSET of their joint, as in the files of today's tools, or are added to it where
that fits the OFFSETs of a file. Memory stays within a fixed
multiple of the file size.
"""

from __future__ import annotations

import re
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mld.errors import MotionFormatError
from mld.motion.euler import euler_to_matrix
from mld.motion.formats.bvh_hierarchy import Node, parse_hierarchy
from mld.motion.formats.limits import refuse_bomb, shown
from mld.motion.formats.numbers import line_at, parse_numbers, to_number, words_per_line
from mld.motion.formats.options import HIGHEST_FPS, LOWEST_FPS, ReadOptions
from mld.motion.rig.rig import Rig, RigMotion, distinct_names
from mld.motion.rig.units import guess_unit

_MOTION = re.compile(rb"(?mi)^[ \t]*MOTION[ \t\r]*$")
_HEAD = re.compile(rb"(?i)\s*Frames[ \t]*:[ \t]*(\S+)\s+Frame[ \t]*Time[ \t]*:[ \t]*(\S+)[ \t]*\r?(?:\n|$)")
_LARGEST = 1e8
_MISCOUNTED = 1  # frames that a file may hold more or fewer than it says: some count the rest pose, some from 0
_LARGEST_SHIFT = 1e-4  # of the body size: how far a joint may be from its place before it counts as moving
_FARTHEST = 2.0  # of the OFFSET: what a joint that travels says about the kind of positions, at most
_RATES = (12.5, 15, 20, 24, 25, 30, 48, 50, 60, 90, 100, 120, 180, 200, 240, 250, 300)
_COARSE = 0.021  # a frame time of few digits may be so far from that of a usual rate: 0.017 is 60
_CHUNK = 4096  # frames converted at a time


def read_rig(path: Path, options: ReadOptions | None = None) -> RigMotion:
    """The hierarchy and its motion in metres; `MotionFormatError` naming the line where the file is damaged."""
    options = options or ReadOptions()
    text = Path(path).read_bytes()
    mark = _MOTION.search(text)
    nodes = parse_hierarchy(path, text[: mark.start()] if mark else text)
    if mark is None:
        raise MotionFormatError(f"{path}, line {line_at(text, len(text))}: the file ends without a MOTION block")
    notes: list[str] = []
    table, fps = _motion(path, text, mark.end(), nodes, options.fps, notes)
    refuse_bomb(path, len(text), len(table), len(nodes))
    return _build(nodes, table, fps, options.unit, notes)


def _motion(
    path: Path, text: bytes, start: int, nodes: list[Node], fps: float | None, notes: list[str]
) -> tuple[np.ndarray, float]:
    """Channel values (T, C) in file units and degrees, and the frame rate."""
    head = _HEAD.match(text, start)
    if head is None:
        raise MotionFormatError(f"{path}, line {line_at(text, start) + 1}: after MOTION come 'Frames: <number>' and "
                                "'Frame Time: <seconds>'")
    count, seconds = head.group(1), head.group(2)
    where = f"{path}, line {line_at(text, head.start(1))}"
    try:
        told = to_number(count)
    except ValueError:
        told = 0.0
    if not (1 <= told < 1e15 and told == int(told)):
        raise MotionFormatError(f"{where}: 'Frames: {shown(count)}'; a motion has at least one frame")
    fps = fps or frame_rate(f"{path}, line {line_at(text, head.start(2))}", seconds)
    width, frames = sum(len(node.channels) for node in nodes), int(told)
    if width == 0:
        raise MotionFormatError(f"{path}: no joint has channels, so there is no motion")
    data = text[head.end() :]
    data, cut = _without_cut_line(data, frames, width)
    try:
        values = parse_numbers(data)
    except ValueError:
        values = np.empty(0)
    held = values.size // width
    whole = values.size == held * width and held > 0 and abs(held - frames) <= _MISCOUNTED
    if not whole or not (np.abs(values) < _LARGEST).all() or (held != frames and not _even(data, width)):
        raise _diagnose(path, data, line_at(text, head.end()), frames, width)
    if cut:
        notes.append("the last line of the file is cut off; the frames before it were taken")
    elif held != frames:
        notes.append(f"the file says {frames} frames and holds {held}; {min(held, frames)} were taken")
    return values.reshape(held, width)[: min(held, frames)], fps


def _without_cut_line(data: bytes, frames: int, width: int) -> tuple[bytes, bool]:
    """The block without its last line, and True, where that ends too early and all frames before it are there."""
    rest, _, last = data.rstrip().rpartition(b"\n")
    if not rest.strip() or len(last.split()) >= width or len(rest.splitlines()) < frames - 1:
        return data, False
    lines = sum(bool(line.strip()) for line in rest.splitlines())
    return (rest, True) if lines == frames - 1 and _even(rest, width) else (data, False)


def _even(data: bytes, width: int) -> bool:
    """Whether each line holds one frame."""
    return bool((words_per_line(data) == width).all())


def frame_rate(where: str, seconds: bytes) -> float:
    """Frames per second of a frame time as text: a usual or whole rate where its digits allow it (".0083333": 120)."""
    try:
        time = to_number(seconds)
    except ValueError:
        raise MotionFormatError(f"{where}: the frame time is '{shown(seconds)}'") from None
    if not 1 / HIGHEST_FPS <= time <= 1 / LOWEST_FPS:
        raise MotionFormatError(f"{where}: the frame time is {shown(seconds)} s; give the frame rate yourself (fps)")
    last_digit = 10.0 ** -len(seconds.partition(b".")[2]) if b"e" not in seconds.lower() else 0.0
    slack = max(min(last_digit, _COARSE * time), 1e-6 * time)
    usual = min(_RATES, key=lambda rate: abs(1 / rate - time))
    fitting = [rate for rate in (usual, round(1 / time)) if rate > 0 and abs(1 / rate - time) <= slack]
    return float(fitting[0]) if fitting else 1 / time


def _diagnose(path: Path, data: bytes, first_line: int, frames: int, width: int) -> MotionFormatError:
    """The first thing that is wrong with the lines of a motion block that does not add up."""
    found = 0
    for number, line in enumerate(data.splitlines(), start=first_line):
        words = line.split()
        where = f"{path}, line {number}"
        for word in words:
            try:
                value = to_number(word)
            except ValueError:
                return MotionFormatError(f"{where}: '{shown(word)}' is not a number")
            if not abs(value) < _LARGEST:
                return MotionFormatError(f"{where}: {shown(word)} is no possible angle or position")
        if words and len(words) != width:
            return MotionFormatError(f"{where}: {len(words)} numbers, the hierarchy has {width} channels")
        found += bool(words)
    last = first_line + data.count(b"\n")
    return MotionFormatError(f"{path}, line {last}: 'Frames: {frames}', but the file holds {found}; correct that line "
                             "or get the whole file")


def _build(nodes: list[Node], table: np.ndarray, fps: float, unit: float | None, notes: list[str]) -> RigMotion:
    starts = [0, *accumulate(len(node.channels) for node in nodes)]
    keep = _first_skeleton(nodes, notes)
    names, more = distinct_names([node.name for node in keep])
    notes += more
    offsets = torch.tensor([node.offset for node in keep], dtype=torch.float64)
    size = float(offsets[1:].norm(dim=-1).sum())
    values = [table[:, starts[joint] : starts[joint + 1]] for joint in range(len(keep))]
    added = _are_added(keep, values)
    if added:
        notes.append("position channels below the root are differences from the OFFSETs, so they were added to them")
    shifts = {}
    for joint, node in enumerate(keep[1:], start=1):
        place = _own_places(node, values[joint], offsets[joint], added)
        if place is not None:
            offsets[joint] = place.median(dim=0).values
            if float((place - offsets[joint]).norm(dim=-1).max()) > _LARGEST_SHIFT * size:
                shifts[joint] = place
    parents = tuple(node.parent for node in keep)
    leaves = set(range(len(keep))) - set(parents)
    ends = {j: torch.tensor(keep[j].end) for j in leaves if keep[j].end is not None}
    rig = Rig(names, parents, offsets, ends)
    if unit is None:
        unit, note = guess_unit(rig)
        notes.append(note)
    place = _positions(keep[0], values[0], offsets[0])
    shifts = {joint: shift * unit for joint, shift in shifts.items()}
    return RigMotion(
        rig.scaled(unit), _rotations(keep, starts, table), place * unit, fps, "bvh", tuple(notes), shifts=shifts
    )


def _first_skeleton(nodes: list[Node], notes: list[str]) -> list[Node]:
    roots = [i for i, node in enumerate(nodes) if node.parent < 0]
    if len(roots) == 1:
        return nodes
    notes.append(f"the file holds {len(roots)} skeletons; the first, '{nodes[0].name}', was taken")
    return nodes[: roots[1]]


def _positions(node: Node, values: np.ndarray, offset: Tensor) -> Tensor:
    """Positions (T, 3) of a joint in its parent: the position channels, the offset where there are none."""
    place = offset.repeat(len(values), 1)
    for column, channel in enumerate(node.channels):
        if channel.endswith("position"):
            place[:, "XYZ".index(channel[0])] = torch.from_numpy(values[:, column])
    return place


def _own_places(node: Node, values: np.ndarray, offset: Tensor, added: bool) -> Tensor | None:
    """Positions (T, 3) of a joint below the root in its parent; None where it has no position channels.

    Channels that are zero throughout leave the offset alone.
    """
    columns = _position_columns(node)
    if not columns or not values[:, columns].any():
        return None
    return offset + _positions(node, values, torch.zeros_like(offset)) if added else _positions(node, values, offset)


def _are_added(nodes: list[Node], values: list[np.ndarray]) -> bool:
    """Whether the positions below the root are differences from the OFFSETs: by which of the two the medians fit.

    A joint's median position is near its OFFSET, or near 0; each counts by the length of its OFFSET.
    """
    votes = lengths = 0.0
    for node, numbers in zip(nodes[1:], values[1:]):
        columns = _position_columns(node)
        offset = np.array([node.offset["XYZ".index(node.channels[c][0])] for c in columns])
        length = float(np.linalg.norm(offset)) if columns else 0.0
        if length == 0 or not numbers[:, columns].any():
            continue
        share = float(np.median(numbers[:, columns], axis=0) @ offset) / length**2
        votes += length * min(max(share, 1 - _FARTHEST), _FARTHEST)
        lengths += length
    return votes < 0.5 * lengths


def _position_columns(node: Node) -> list[int]:
    return [c for c, channel in enumerate(node.channels) if channel.endswith("position")]


def _rotations(nodes: list[Node], starts: list[int], table: np.ndarray) -> Tensor:
    """Local rotations (T, J, 3, 3) float32, computed for all joints of one Euler order together."""
    groups: dict[str, tuple[list[int], list[list[int]]]] = {}
    for joint, node in enumerate(nodes):
        turns = [c for c, channel in enumerate(node.channels) if channel.endswith("rotation")]
        joints, columns = groups.setdefault("".join(node.channels[c][0] for c in turns), ([], []))
        joints.append(joint)
        columns.append([starts[joint] + c for c in turns])
    rotations = torch.eye(3).repeat(len(table), len(nodes), 1, 1) if "" in groups else torch.empty(
        len(table), len(nodes), 3, 3)
    for order, (joints, columns) in groups.items():
        for first in range(0, len(table) if order else 0, _CHUNK):
            part = slice(first, first + _CHUNK)
            angles = torch.from_numpy(np.deg2rad(table[part][:, columns]).astype(np.float32))
            rotations[part, joints] = euler_to_matrix(angles, order)
    return rotations
