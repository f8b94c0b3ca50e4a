"""What goes over a stream's WebSocket: control messages as JSON text, frames of motion as binary messages.

A binary message is a chunk: a header of 24 bytes, then float32 numbers, all little-endian.

    offset  type     field
    0       4 bytes  "MLDF"
    4       uint8    version, 1
    5       uint8    data: 1 joints, 2 rotations
    6       uint16   flags: 1, other words hold from the first frame of this chunk on
    8       uint32   sequence number of the chunk, from 0
    12      uint32   number of its first frame, from 0
    16      uint16   frames
    18      uint16   joints
    20      float32  frames per second
    24      float32  the numbers

joints: frames x joints x 3, world positions. rotations: for each frame 3 numbers of the root's world position, then
joints x 4, quaternions x y z w relative to the parent joint, the root's relative to the world. Metres; right-handed, y
up; a motion begins at the origin and faces +z, its left is +x.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from mld.errors import DataError

HEADER = struct.Struct("<4sBBHIIHHf")
MAGIC, VERSION = b"MLDF", 1
DATA = {"joints": 1, "rotations": 2}
OTHER_WORDS = 1  # flag
SUBPROTOCOL, BEARER = "mld.stream.v1", "bearer."
AXES = "right-handed, y up, facing +z, left +x"


class Frames(NamedTuple):
    """A chunk. positions: (n, J, 3) of joints, or (n, 3) of the root where there are rotations (n, J, 4)."""

    sequence: int
    first_frame: int
    fps: float
    positions: np.ndarray
    rotations: np.ndarray | None = None
    other_words: bool = False


def packed(chunk: Frames) -> bytes:
    """A chunk as a binary message."""
    numbers = chunk.positions
    data, joints = DATA["joints"], numbers.shape[1]
    if chunk.rotations is not None:
        data, joints = DATA["rotations"], chunk.rotations.shape[1]
        numbers = np.concatenate((numbers, chunk.rotations.reshape(len(numbers), -1)), axis=1)
    flags = OTHER_WORDS if chunk.other_words else 0
    head = HEADER.pack(
        MAGIC, VERSION, data, flags, chunk.sequence, chunk.first_frame, len(numbers), joints, chunk.fps
    )
    return head + np.ascontiguousarray(numbers, dtype="<f4").tobytes()


def unpacked(message: bytes) -> Frames:
    """The chunk of a binary message; `DataError` for what is none."""
    if len(message) < HEADER.size or message[:4] != MAGIC:
        raise DataError("a message of a stream is no chunk of frames; is that address a stream of mld?")
    _, version, data, flags, sequence, first, count, joints, fps = HEADER.unpack_from(message)
    width = joints * 3 if data == DATA["joints"] else 3 + joints * 4
    if version != VERSION or data not in DATA.values() or len(message) != HEADER.size + 4 * count * width:
        raise DataError(f"a chunk of a stream has version {version} and {len(message)} bytes; this reads {VERSION}")
    numbers = np.frombuffer(message, dtype="<f4", offset=HEADER.size).reshape(count, width)
    other = bool(flags & OTHER_WORDS)
    if data == DATA["joints"]:
        return Frames(sequence, first, fps, numbers.reshape(count, joints, 3), None, other)
    return Frames(sequence, first, fps, numbers[:, :3], numbers[:, 3:].reshape(count, joints, 4), other)
