"""Writes `.bvh`: the T-pose as hierarchy, then root positions and Euler angles of every frame.

The root has OFFSET 0 and absolute position channels, so that no reader can add its rest position a second time. Angles
are continuous in time, also where the middle one passes a right angle: tools interpolate them one by one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mld.errors import RequestError
from mld.motion.euler import matrix_to_euler
from mld.motion.formats.numbers import format_numbers
from mld.motion.motion import Motion
from mld.motion.rig.rig import Rig, RigMotion
from mld.motion.rig.rigging import OWN_NAMES, to_rig

UNITS = {"cm": 100.0, "m": 1.0}  # units per metre
ORDERS = ("XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX")
_CHUNK = 4096  # frames formatted at a time


def write(motion: Motion, path: Path, names: str = OWN_NAMES, unit: str = "cm", order: str = "ZXY") -> None:
    """Write a motion. names: "own", "mixamo" or "unreal"; unit: "cm" or "m"; order: of the Euler channels."""
    write_bvh(to_rig(motion, names), path, order, unit)


def write_bvh(motion: RigMotion, path: Path, order: str = "ZXY", unit: str = "cm", compat: bool = False) -> None:
    """Write a rig motion; `RequestError` for an unknown unit or order. compat: as MotionStreamer's exporter does, the
    root's OFFSET is its rest position and angles may jump by whole turns."""
    if unit not in UNITS:
        raise RequestError(f"no BVH unit '{unit}'; known: {', '.join(UNITS)}")
    if order.upper() not in ORDERS:
        raise RequestError(f"no Euler order '{order}'; known: {', '.join(ORDERS)}")
    sequence = _depth_first(motion.rig)
    with open(path, "wb") as file:
        file.write(_hierarchy(motion.rig.scaled(UNITS[unit]), order.upper(), compat).encode())
        file.write(f"MOTION\nFrames: {motion.num_frames}\nFrame Time: {1 / motion.fps:.9f}\n".encode())
        degrees = torch.rad2deg(_angles(motion.rotations, order))
        angles = (degrees if compat else _continuous(degrees)).numpy()
        place = motion.translation.numpy() * np.float64(UNITS[unit])
        for first in range(0, motion.num_frames, _CHUNK):
            part = slice(first, first + _CHUNK)
            turns = angles[part][:, sequence].reshape(len(place[part]), -1)
            file.write(format_numbers(np.concatenate([place[part], turns], axis=1)))


def _angles(rotations: Tensor, order: str) -> Tensor:
    """Euler angles (T, J, 3) float64 in radians, converted in parts that stay in the cache."""
    return torch.cat([matrix_to_euler(part.double(), order) for part in rotations.split(_CHUNK // 8)])


def _continuous(angles: Tensor) -> Tensor:
    """Euler angles (T, J, 3) in degrees that mean the same rotations and do not jump.

    Joints whose steps from frame to frame are small (twice the outer angles and the middle one, at most 180 degrees)
    cannot jump and are left as they are.
    """
    steps = (angles[1:] - angles[:-1]).abs_() @ angles.new_tensor([2.0, 1.0, 2.0])
    restless = (steps > 180.0).any(0)
    if restless.any():
        angles[:, restless] = _without_jumps(angles[:, restless])
    return angles


def _without_jumps(angles: Tensor) -> Tensor:
    """(a, b, c) and (a + 180, 180 - b, c + 180) are one rotation: the one nearer to the frame before, then whole turns.
    angles (T, J, 3) in degrees, with at least two frames."""
    other = angles * angles.new_tensor([1.0, -1.0, 1.0]) + 180.0
    before = angles[:-1]
    changes = _distance(other[1:], before) < _distance(angles[1:], before)
    changed = torch.cat([torch.zeros_like(changes[:1]), changes]).cumsum(0) % 2 == 1
    angles = torch.where(changed[..., None], other, angles)
    turns = ((angles[1:] - angles[:-1]) / 360.0).round().cumsum(0)
    angles[1:] -= 360.0 * turns
    return angles


def _distance(a: Tensor, b: Tensor) -> Tensor:
    """Sum (...) of the differences of angles (..., 3) in degrees, whole turns aside."""
    difference = a - b
    return (difference - 360.0 * (difference / 360.0).round()).abs().sum(-1)


def _depth_first(rig: Rig) -> list[int]:
    """Joints in the order of the hierarchy, children after their parent, first child first."""
    order, stack = [], [0]
    while stack:
        joint = stack.pop()
        order.append(joint)
        stack.extend(reversed(rig.children(joint)))
    return order


def _hierarchy(rig: Rig, order: str, compat: bool) -> str:
    turns = " ".join(f"{axis}rotation" for axis in order)
    lines = ["HIERARCHY"]
    _joint(rig, 0, 0, turns, lines)
    if compat:
        lines[3] = f"\tOFFSET {_numbers(rig.offsets[0])}"
    return "\n".join(lines) + "\n"


def _joint(rig: Rig, joint: int, depth: int, turns: str, lines: list[str]) -> None:
    indent, inside = "\t" * depth, "\t" * (depth + 1)
    offset = rig.offsets[joint] if joint else torch.zeros(3)
    channels = f"3 {turns}" if joint else f"6 Xposition Yposition Zposition {turns}"
    lines += [
        f"{indent}{'JOINT' if joint else 'ROOT'} {rig.joint_names[joint]}", f"{indent}{{",
        f"{inside}OFFSET {_numbers(offset)}", f"{inside}CHANNELS {channels}",
    ]  # fmt: skip
    children = rig.children(joint)
    for child in children:
        _joint(rig, child, depth + 1, turns, lines)
    if not children:
        end = rig.end_offsets.get(joint, torch.zeros(3))
        lines += [f"{inside}End Site", f"{inside}{{", f"{inside}\tOFFSET {_numbers(end)}", f"{inside}}}"]
    lines.append(f"{indent}}}")


def _numbers(vector: Tensor) -> str:
    return " ".join(f"{value:.6f}" for value in vector.tolist())
