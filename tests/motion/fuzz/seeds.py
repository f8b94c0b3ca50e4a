"""Small valid files of every format, made once: what the fuzzing damages."""

from __future__ import annotations

import io
import json
import struct
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from mld.motion.formats import gltf
from mld.motion.motion import Motion
from mld.motion.rig.rigging import to_rig
from tests.walking import walker

FRAMES = 4
SIDES = {"l": 1.0, "r": -1.0}
_BONES = [("hipjoint", "root", 2, -2, 0), ("femur", "hipjoint", 0, -8, 0), ("tibia", "femur", 0, -8, 0),
          ("foot", "tibia", 0, -1, 2), ("toes", "foot", 0, 0, 1)]  # fmt: skip
_ARMS = [("clavicle", "thorax", 2, 1, 0), ("humerus", "clavicle", 5, 0, 0), ("radius", "humerus", 4, 0, 0),
         ("wrist", "radius", 2, 0, 0), ("hand", "wrist", 1, 0, 0)]  # fmt: skip
_TRUNK = [("lowerback", "root", 0, 2, 0), ("upperback", "lowerback", 0, 2, 0), ("thorax", "upperback", 0, 2, 0),
          ("lowerneck", "thorax", 0, 2, 0), ("upperneck", "lowerneck", 0, 1, 0), ("head", "upperneck", 0, 1, 0)]


def motion(frames: int = FRAMES) -> Motion:
    return Motion(walker(frames), 20.0)


@lru_cache
def saved(suffix: str, frames: int = FRAMES) -> bytes:
    """A walk as the toolkit writes it."""
    with TemporaryDirectory() as folder:
        return motion(frames).save(Path(folder) / f"walk{suffix}").read_bytes()


@lru_cache
def tensor() -> bytes:
    """What torch.save makes of joints in a dictionary."""
    file = io.BytesIO()
    torch.save({"motion": walker(FRAMES)}, file)
    return file.getvalue()


def arrays() -> dict[str, np.ndarray]:
    """The arrays of an SMPL file."""
    with np.load(io.BytesIO(saved(".npz")), allow_pickle=False) as found:
        return dict(found)


def npz(members: dict, compressed: bool = False) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **members)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@lru_cache
def gltf_parts() -> tuple[str, bytes]:
    """Document (as JSON) and buffer of an animated skeleton without a body."""
    document, data = gltf.build(to_rig(motion()), [])
    for key in ("materials", "meshes"):
        del document[key]
    del document["nodes"][-1]
    return json.dumps(document), data


def gltf_document() -> dict:
    return json.loads(gltf_parts()[0])


def glb(document: object, data: bytes) -> bytes:
    """A GLB file of any JSON and buffer."""
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(data), 0x004E4942) + data
    return b"glTF" + struct.pack("<II", 2, 12 + len(body)) + body


@lru_cache
def acclaim() -> tuple[bytes, bytes]:
    """An ASF skeleton with the joint names of CMU and an AMC motion of it."""
    bones = [(*bone, "") for bone in _TRUNK]
    bones += [(side + name, side * (above not in ("root", "thorax")) + above, sign * x, y, z, "dof rx ry rz\n")
              for side, sign in SIDES.items() for name, above, x, y, z in _BONES + _ARMS]  # fmt: skip
    lines = [":version 1.10\n:units\n  length 0.45\n  angle deg\n:root\n  order TX TY TZ RX RY RZ\n  axis XYZ\n"
             "  position 0 0 0\n  orientation 0 0 0\n:bonedata\n"]  # fmt: skip
    for number, (name, _, x, y, z, dof) in enumerate(bones, start=1):
        length = float(np.linalg.norm([x, y, z]))
        lines.append(f"  begin\n    id {number}\n    name {name}\n"
                     f"    direction {x / length} {y / length} {z / length}\n    length {length}\n"
                     f"    axis 0 0 0 XYZ\n    {dof}  end\n")
    lines.append(":hierarchy\n  begin\n" + "".join(f"    {above} {name}\n" for name, above, *_ in bones) + "  end\n")
    frame = "root 1 17 3 10 20 30\n" + "".join(f"{name} 1 2 3\n" for name, *_, dof in bones if dof)
    text = ":FULLY-SPECIFIED\n:DEGREES\n" + "".join(f"{number}\n{frame}" for number in range(1, FRAMES + 1))
    return "".join(lines).encode(), text.encode()
