"""`.csv`: root position and joint quaternions, one row per frame, as MuJoCo orders its qpos (free root, ball joints).

Comment lines at the top say the convention and hold frame rate, skeleton and rest offsets, so that positions can be
had from the file alone. Axes are MuJoCo's: x forward, y left, z up; quaternions are w x y z.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import torch

from mld.errors import MldError, MotionFormatError
from mld.motion import kinematics
from mld.motion.edit import check_finite
from mld.motion.formats.gltf import quaternions
from mld.motion.formats.limits import shown
from mld.motion.formats.numbers import format_numbers, parse_numbers, to_number
from mld.motion.formats.options import ReadOptions
from mld.motion.motion import Motion
from mld.motion.rig.rigging import OWN_NAMES, to_rig
from mld.motion.rotations import quaternion_to_matrix
from mld.motion.skeletons import get_skeleton

_FIRST = b"# motion: one row per frame"
_CONVENTION = (
    "metres and seconds; x forward, y left, z up; quaternions w x y z; the root's in the world, the others relative to "
    "the parent joint; a rotation acts on the bones that leave the joint"
)
_TO_FILE, _TO_MOTION = [2, 0, 1], [1, 2, 0]  # x y z of a motion (left, up, forward) and of the file, and back
_FROM_WXYZ = [2, 3, 1, 0]  # of the file, to x y z w of a motion


def write(motion: Motion, path: Path, names: str = OWN_NAMES) -> None:
    """Write a motion. names: "own", "mixamo" or "unreal" joint names in the column heads."""
    found = to_rig(motion, names)
    turns = quaternions(found.rotations)[..., [3, *_TO_FILE]].flatten(1)
    time = torch.arange(motion.num_frames, dtype=torch.float64)[:, None] / motion.fps
    table = torch.cat([time, found.translation[:, _TO_FILE].double(), turns], dim=1)
    facts = {
        "convention": _CONVENTION, "fps": motion.fps, "skeleton": motion.skeleton.name,
        "rest_offsets": [[round(x, 7) for x in row] for row in found.rig.offsets[:, _TO_FILE].tolist()],
    }  # fmt: skip
    heads = ["time", *(f"root_{axis}" for axis in "xyz")]
    heads += [f"{name}_q{axis}" for name in found.rig.joint_names for axis in "wxyz"]
    rows = re.sub(rb" +", b",", re.sub(rb"(?m)^ +", b"", format_numbers(table.numpy(), 7)))
    with open(path, "wb") as file:
        file.write(_FIRST + b"\n")
        file.writelines(f"# {key}: {json.dumps(value)}\n".encode() for key, value in facts.items())
        file.write(",".join(heads).encode() + b"\n" + rows)


def read(path: Path, fps: float | None = None) -> Motion:
    """Open a file that `write` wrote; `MotionFormatError` for other tables and damaged files."""
    text = Path(path).read_bytes()
    if not text.startswith(_FIRST):
        raise MotionFormatError(f"{path}: not a motion table of this toolkit (its first line is '{_FIRST.decode()}')")
    facts, body, line = _facts(path, text)
    try:
        skeleton = get_skeleton(shown(facts["skeleton"]))
        offsets = np.array(facts["rest_offsets"], dtype=np.float64)[:, _TO_MOTION]
        rate = fps or float(facts["fps"])
        ReadOptions(rate)  # refuses what is no frame rate
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, MldError) as error:
        raise MotionFormatError(f"{path}: the comment lines lack a proper skeleton, fps or rest_offsets") from error
    count = skeleton.num_joints
    table = _table(path, body, line, 4 + 4 * count)
    if offsets.shape != (count, 3) or not np.isfinite(offsets).all():
        raise MotionFormatError(f"{path}: rest_offsets are not {count} rows of 3 numbers")
    turns = torch.from_numpy(table[:, 4:]).reshape(len(table), count, 4)[..., _FROM_WXYZ]
    norm = turns.norm(dim=-1, keepdim=True)
    if not (norm > 0.5).all():
        raise MotionFormatError(f"{path}, line {line + int((norm < 0.5).flatten(1).any(1).nonzero()[0])}: "
                                "a quaternion is not of length 1")
    rotations = quaternion_to_matrix(turns / norm)
    root = torch.from_numpy(table[:, 1:4][:, _TO_MOTION])
    joints, _ = kinematics.forward(root, rotations, torch.from_numpy(offsets), skeleton.parents)
    try:
        return check_finite(Motion(joints, rate, skeleton, rotations, root))
    except MldError as error:
        raise MotionFormatError(f"{path}: {error}") from error


def _facts(path: Path, text: bytes) -> tuple[dict, bytes, int]:
    """The values of the comment lines, the rows below the column heads, and the line number of the first row."""
    facts, start, line = {}, text.find(b"\n") + 1, 2
    while text[start : start + 2] == b"# ":
        end = text.find(b"\n", start) % (len(text) + 1)
        key, _, value = text[start + 2 : end].partition(b": ")
        try:
            facts[key.decode("latin-1")] = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise MotionFormatError(f"{path}, line {line}: this comment cannot be read") from error
        start, line = end + 1, line + 1
    end = text.find(b"\n", start)
    return facts, text[end + 1 :] if end >= 0 else b"", line + 1


def _table(path: Path, body: bytes, line: int, width: int) -> np.ndarray:
    """The rows (T, width) float64; the error names the first line that is wrong."""
    try:
        values = parse_numbers(body.replace(b",", b" "))
        rows = body.rstrip().count(b"\n") + 1
        if values.size and values.size == rows * width and np.isfinite(values).all():
            return values.reshape(-1, width)
    except ValueError:
        pass  # the lines are looked at one by one below
    for number, row in enumerate(body.split(b"\n"), start=line):
        words = row.strip().split(b",")
        if row.strip() and not (len(words) == width and all(map(_is_number, words))):
            raise MotionFormatError(f"{path}, line {number}: not {width} finite numbers with commas between")
    raise MotionFormatError(f"{path}: there are no rows, or blank lines between them")


def _is_number(word: bytes) -> bool:
    try:
        return bool(np.isfinite(to_number(word)))
    except ValueError:
        return False
