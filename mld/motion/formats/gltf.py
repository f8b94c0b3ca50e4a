"""Writes `.glb` and `.gltf` (glTF 2.0): skeleton, skinned capsule body and animation, y up, metres, facing +z.

The rest pose of the file is the T-pose on the floor. Rotations are keyed at every frame, linear in between; their signs
are chosen so that also readers which mix quaternions plainly take the short way. A `.gltf` holds its data as base64.
"""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mld.motion.motion import Motion
from mld.motion.rig.capsules import Part, capsule_body
from mld.motion.rig.rest_pose import size_of
from mld.motion.rig.rig import RigMotion
from mld.motion.rig.rigging import OWN_NAMES, to_rig
from mld.motion.rotations import matrix_to_quaternion
from mld.version import __version__

_COMPONENTS = {"float32": 5126, "uint32": 5125, "uint16": 5123, "uint8": 5121}
_SHAPES = {(): "SCALAR", (3,): "VEC3", (4,): "VEC4", (16,): "MAT4"}
_VERTICES, _INDICES = 34962, 34963  # buffer targets
_GLB, _JSON, _BIN = 0x46546C67, 0x4E4F534A, 0x004E4942


def write(motion: Motion, path: Path, names: str = OWN_NAMES) -> None:
    """Write a motion. names: "own", "mixamo" or "unreal" joint names."""
    rig_motion = to_rig(motion, names)
    body = capsule_body(rig_motion.rig, motion.skeleton, size_of(motion))
    document, data = build(rig_motion, body)
    if path.suffix.lower() == ".gltf":
        document["buffers"][0]["uri"] = "data:application/octet-stream;base64," + base64.b64encode(data).decode()
        path.write_text(json.dumps(document), encoding="utf-8")
        return
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    with open(path, "wb") as file:
        file.write(struct.pack("<III", _GLB, 2, 12 + 8 + len(text) + 8 + len(data)))
        file.write(struct.pack("<II", len(text), _JSON) + text)
        file.write(struct.pack("<II", len(data), _BIN) + data)


def build(motion: RigMotion, body: list[Part]) -> tuple[dict[str, Any], bytes]:
    """The glTF document and the bytes of its only buffer."""
    store = _Store()
    rig = motion.rig
    nodes = [_node(motion, joint) for joint in range(rig.num_joints)]
    nodes.append({"name": "body", "mesh": 0, "skin": 0})
    inverse = np.tile(np.eye(4, dtype=np.float32), (rig.num_joints, 1, 1))
    inverse[:, 3, :3] = -rig.rest_positions().numpy()  # matrices are stored column by column
    document = {
        "asset": {"version": "2.0", "generator": f"mld {__version__}", "extras": {"fps": motion.fps}},
        "scene": 0,
        "scenes": [{"nodes": [0, rig.num_joints]}],
        "nodes": nodes,
        "meshes": [{"name": "body", "primitives": [_primitive(part, i, store) for i, part in enumerate(body)]}],
        "materials": [_material(part) for part in body],
        "skins": [{
            "joints": list(range(rig.num_joints)), "skeleton": 0,
            "inverseBindMatrices": store.add(inverse.reshape(-1, 16)),
        }],
        "animations": [_animation(motion, store)],
        "accessors": store.accessors,
        "bufferViews": store.views,
        "buffers": [{"byteLength": len(store.data)}],
    }  # fmt: skip
    return document, bytes(store.data)


class _Store:
    """Arrays put one behind the other into a buffer, with the views and accessors that describe them."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def add(self, array: np.ndarray, target: int | None = None, bounds: bool = False, normalized: bool = False) -> int:
        """The index of the accessor of an array (N,) or (N, C). bounds: name the least and largest values."""
        array = np.ascontiguousarray(array)
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": array.nbytes}
        self.views.append(view | ({"target": target} if target else {}))
        self.data += array.tobytes() + bytes(-array.nbytes % 4)
        accessor = {
            "bufferView": len(self.views) - 1, "componentType": _COMPONENTS[array.dtype.name], "count": len(array),
            "type": _SHAPES[array.shape[1:]],
        }  # fmt: skip
        if bounds:
            accessor |= {"min": np.atleast_1d(array.min(0)).tolist(), "max": np.atleast_1d(array.max(0)).tolist()}
        self.accessors.append(accessor | ({"normalized": True} if normalized else {}))
        return len(self.accessors) - 1


def _node(motion: RigMotion, joint: int) -> dict[str, Any]:
    node = {"name": motion.rig.joint_names[joint], "translation": motion.rig.offsets[joint].tolist()}
    children = list(motion.rig.children(joint))
    return node | ({"children": children} if children else {})


def _primitive(part: Part, material: int, store: _Store) -> dict[str, Any]:
    """Triangles of one colour; each vertex follows one joint with full weight."""
    joints, weights = np.zeros((2, len(part.vertices), 4), dtype=np.uint8)
    joints[:, 0], weights[:, 0] = part.joints, 255
    faces = part.faces.astype(np.uint16 if len(part.vertices) < 65535 else np.uint32)
    return {
        "attributes": {
            "POSITION": store.add(part.vertices, _VERTICES, bounds=True),
            "NORMAL": store.add(part.normals, _VERTICES),
            "JOINTS_0": store.add(joints, _VERTICES),
            "WEIGHTS_0": store.add(weights, _VERTICES, normalized=True),
        },
        "indices": store.add(faces.reshape(-1), _INDICES),
        "material": material,
    }


def _material(part: Part) -> dict[str, Any]:
    surface = {"baseColorFactor": [*part.colour, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.75}
    return {"name": part.name, "pbrMetallicRoughness": surface}


def _animation(motion: RigMotion, store: _Store) -> dict[str, Any]:
    times = store.add((np.arange(motion.num_frames) / motion.fps).astype(np.float32), bounds=True)
    turns = quaternions(motion.rotations).numpy().astype(np.float32)
    curves = [("translation", 0, motion.translation.numpy())]
    curves += [("rotation", joint, turns[:, joint]) for joint in range(motion.rig.num_joints)]
    return {
        "name": "motion",
        "samplers": [{"input": times, "interpolation": "LINEAR", "output": store.add(values)} for *_, values in curves],
        "channels": [
            {"sampler": index, "target": {"node": node, "path": path}} for index, (path, node, _) in enumerate(curves)
        ],
    }


def quaternions(rotations: Tensor) -> Tensor:
    """Unit quaternions (T, J, 4) float64, x y z w, of rotations (T, J, 3, 3), of like sign from frame to frame."""
    found = matrix_to_quaternion(rotations.double())
    flips = torch.where((found[1:] * found[:-1]).sum(-1, keepdim=True) < 0, -1.0, 1.0)
    first = torch.where(found[:1, :, 3:] < 0, -1.0, 1.0)
    return found * torch.cat([first, flips]).cumprod(0).to(found)
