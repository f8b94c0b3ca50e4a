"""Reading glTF animations: odd rest poses, scales and interpolations against plain node mathematics, and bad files."""

from __future__ import annotations

import base64
import copy
import json
import struct

import numpy as np
import pytest
import roma
import torch

from mld.errors import MotionFormatError
from mld.motion.formats.gltf_read import read_rig
from mld.motion.formats.options import ReadOptions
from mld.motion.importing import import_report
from mld.motion.motion import Motion
from mld.motion.rig.rigging import to_rig
from tests.walking import walker

FRAMES, FPS, SCALE = 9, 30.0, 0.01


def build(interpolation: str = "LINEAR", names=None) -> tuple[dict, bytes, torch.Tensor]:
    """A walking figure below an armature that is scaled by 0.01 and lies on its side, with random axes in every joint:
    document, binary buffer and the joints (T, 22, 3) that it has to give."""
    joints = walker(FRAMES)
    rig_motion = to_rig(Motion(joints, FPS))
    rig = rig_motion.rig
    names = names or rig.joint_names
    generator = torch.Generator().manual_seed(1)
    rest = roma.random_rotmat(22, dtype=torch.float64, generator=generator)  # world rotations of the nodes at rest
    armature = roma.rotvec_to_rotmat(torch.tensor([-np.pi / 2, 0, 0], dtype=torch.float64))
    _, world = rig_motion.forward()
    world = world.double() @ rest
    document = {"asset": {"version": "2.0"}, "nodes": [], "skins": [{"joints": list(range(22))}],
                "animations": [{"channels": [], "samplers": []}], "accessors": [], "bufferViews": [], "buffers": [{}]}
    data = bytearray()

    def accessor(values: np.ndarray, kind: str) -> int:
        values = np.ascontiguousarray(values, dtype="<f4")
        document["bufferViews"].append({"buffer": 0, "byteOffset": len(data), "byteLength": values.nbytes})
        document["accessors"].append({"bufferView": len(document["bufferViews"]) - 1, "componentType": 5126,
                                      "count": len(values), "type": kind})
        data.extend(values.tobytes())
        return len(document["accessors"]) - 1

    def animate(node: int, path: str, values: np.ndarray, kind: str) -> None:
        if interpolation == "CUBICSPLINE":
            tangents = np.gradient(values, 1 / FPS, axis=0)
            values = np.stack([tangents, values, tangents], axis=1).reshape(-1, values.shape[1])
        animation = document["animations"][0]
        output = accessor(values, kind)
        animation["samplers"].append({"input": times, "output": output, "interpolation": interpolation})
        number = len(animation["samplers"]) - 1
        animation["channels"].append({"sampler": number, "target": {"node": node, "path": path}})

    times = accessor(np.arange(FRAMES) / FPS, "SCALAR")
    for joint, parent in enumerate(rig.parents):
        above_rest = armature if parent < 0 else rest[parent]
        above = armature.expand(FRAMES, 3, 3) if parent < 0 else world[:, parent]
        offset = rig.offsets[joint] / SCALE
        quaternions = roma.rotmat_to_unitquat(above.transpose(-1, -2) @ world[:, joint])
        document["nodes"].append({
            "name": names[joint], "children": [c for c, p in enumerate(rig.parents) if p == joint],
            "translation": (above_rest.T @ offset).tolist(),
            "rotation": roma.rotmat_to_unitquat(above_rest.T @ rest[joint]).tolist(),
        })  # fmt: skip
        animate(joint, "rotation", quaternions.numpy(), "VEC4")
    animate(0, "translation", ((rig_motion.translation.double() / SCALE) @ armature).numpy(), "VEC3")
    document["nodes"].append({"name": "Armature", "children": [0], "scale": [SCALE] * 3,
                              "rotation": roma.rotmat_to_unitquat(armature).tolist()})
    document["buffers"][0]["byteLength"] = len(data)
    return document, bytes(data), rig_motion.positions()


def glb(document: dict, data: bytes) -> bytes:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(data), 0x004E4942) + data
    return b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks


def write(tmp_path, document: dict, data: bytes, name: str = "walk.glb"):
    (tmp_path / name).write_bytes(glb(document, data))
    return tmp_path / name


@pytest.mark.parametrize("interpolation", ["LINEAR", "STEP", "CUBICSPLINE"])
def test_nodes_with_odd_axes_and_scales_give_the_joints(tmp_path, interpolation):
    document, data, joints = build(interpolation)
    motion, report = import_report(write(tmp_path, document, data))
    assert motion.fps == FPS and motion.num_frames == FRAMES and report.table == "smpl"
    assert (motion.joints - joints).abs().max() < 1e-4
    assert motion.rotations is not None  # the nodes rest in the T-pose


def test_buffers_in_the_file_beside_it_and_in_the_json(tmp_path):
    document, data, joints = build()
    uri = "data:application/octet-stream;base64," + base64.b64encode(data).decode()
    (tmp_path / "my walk.bin").write_bytes(data)
    for where in (uri, "my%20walk.bin"):
        document["buffers"][0]["uri"] = where
        (tmp_path / "walk.gltf").write_text(json.dumps(document))
        assert (Motion.load(tmp_path / "walk.gltf").joints - joints).abs().max() < 1e-4


def test_rates_are_those_of_the_keys_or_as_told(tmp_path):
    document, data, joints = build()
    path = write(tmp_path, document, data)
    fine = import_report(path, fps=60)[0]
    assert fine.num_frames == 2 * FRAMES - 1 and (fine.joints[::2] - joints).abs().max() < 1e-4
    for rate in (12.5, 24.0, 120.0):
        scaled = bytearray(data)
        scaled[: 4 * FRAMES] = (np.arange(FRAMES) / rate).astype("<f4").tobytes()
        assert read_rig(write(tmp_path, document, bytes(scaled))).fps == rate


def test_vrm_bones_are_known_by_what_the_file_says(tmp_path):
    names = [f"J_{i}" for i in range(22)]
    document, data, joints = build(names=names)
    bones = {"hips": 0, "leftUpperLeg": 1, "rightUpperLeg": 2, "spine": 3, "leftLowerLeg": 4, "rightLowerLeg": 5,
             "leftFoot": 7, "rightFoot": 8, "leftToes": 10, "rightToes": 11, "neck": 12, "head": 15, "leftUpperArm": 16,
             "rightUpperArm": 17, "leftLowerArm": 18, "rightLowerArm": 19, "leftHand": 20, "rightHand": 21}
    known = {name: {"node": node} for name, node in bones.items()}
    document["extensions"] = {"VRMC_vrm_animation": {"humanoid": {"humanBones": known}}}
    write(tmp_path, document, data, "walk.vrma")
    motion, report = import_report(tmp_path / "walk.vrma")
    assert report.table == "vrm" and (motion.joints[:, [1, 7, 16, 20]] - joints[:, [1, 7, 16, 20]]).abs().max() < 1e-4
    document["extensions"] = {"VRM": {"humanoid": {"humanBones": [{"bone": k, "node": n} for k, n in bones.items()]}}}
    assert import_report(write(tmp_path, document, data))[1].table == "vrm"


def test_without_a_skin_what_moves_is_the_skeleton(tmp_path):
    document, data, joints = build()
    del document["skins"]
    document["animations"].insert(0, {"channels": [], "samplers": []})
    document["nodes"].append({"name": "lamp", "translation": [1, 2, 3]})
    motion, report = import_report(write(tmp_path, document, data))
    assert (motion.joints - joints).abs().max() < 1e-4 and "lamp" not in report.unused


def _changed(change) -> dict:
    document = copy.deepcopy(build()[0])
    change(document)
    return document


def _set(*path):
    *keys, last, value = path

    def change(document):
        for key in keys:
            document = document[key]
        document[last] = value

    return change


def _loop(document):
    document["nodes"][22]["children"], document["nodes"][21]["children"] = [], [0]


BAD = [
    (_set("nodes", 3, "children", [0]), "child of two nodes"), (_loop, "own ancestor"),
    (_set("nodes", 3, "children", [99]), "no nodes[99]"), (_set("nodes", 3, "children", 5), "not a list"),
    (_set("nodes", []), "0 nodes"), (_set("nodes", 5), "not a list of objects"),
    (_set("animations", []), "no animation"),
    (_set("nodes", 3, "rotation", [0, 0, 0, 0]), "no length"), (_set("nodes", 3, "scale", [1, 1]), "scale is not 3"),
    (_set("nodes", 3, "translation", ["a", 0, 0]), "not 3 numbers"),
    (_set("nodes", 3, "scale", [-1, -1, -1]), "above 0"),
    (_set("accessors", 1, "count", 10**9), "beyond its buffer"), (_set("accessors", 1, "count", -1), "not a count"),
    (_set("accessors", 1, "count", 1.5), "not a count"), (_set("accessors", 1, "bufferView", 999), "bufferViews[999]"),
    (_set("accessors", 1, "componentType", [1]), "unknown componentType"),
    (_set("accessors", 1, "type", {}), "unknown"),
    (_set("accessors", 1, "sparse", {}), "sparse"), (_set("bufferViews", 1, "byteLength", 10**9), "beyond its buffer"),
    (_set("accessors", 1, "type", "VEC3"), "do not fit"),
    (_set("bufferViews", 0, "byteOffset", 40), "times do not rise"),
    (_set("animations", 0, "samplers", 0, "interpolation", "MAGIC"), "MAGIC"),
    (_set("animations", 0, "samplers", 0, "input", [3]), "accessors[[3]]"),
    (_set("animations", 0, "channels", 0, "sampler", 999), "no sampler"),
    (_set("animations", 0, "channels", 0, "target", {"node": -1, "path": "rotation"}), "nodes[-1]"),
    (_set("buffers", 0, "uri", "../../../etc/passwd"), "not in the folder"), (_set("buffers", 0, "uri", 3), "not text"),
    (_set("buffers", 0, "uri", "http://x/y.bin"), "not in the folder"), (_set("buffers", []), "buffers[0]"),
    (_set("buffers", 0, "uri", "data:x;base64,!!"), "base64"), (_set("bufferViews", 0, "byteStride", 1), "beyond"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), BAD, ids=range(len(BAD)))
def test_bad_documents_are_named(tmp_path, change, message):
    with pytest.raises(MotionFormatError, match=r"walk\.glb") as caught:
        read_rig(write(tmp_path, _changed(change), build()[1]))
    assert message in str(caught.value)


def test_bad_containers_are_named(tmp_path):
    document, data, _ = build()
    whole = glb(document, data)
    path = tmp_path / "walk.glb"
    for content in (b"", b"glTF", whole[:100], whole[:-20], whole[:4] + b"\x01" + whole[5:], b"{", b"[]", b"[" * 99999,
                    whole.replace(b"JSON", b"NOSJ", 1)):  # fmt: skip
        path.write_bytes(content)
        with pytest.raises(MotionFormatError, match=r"walk\.glb"):
            read_rig(path)


def test_two_keys_an_age_apart_do_not_ask_for_memory(tmp_path):
    document, data, _ = build()
    far = bytearray(data)
    far[: 4 * FRAMES] = np.linspace(0, 9e5, FRAMES).astype("<f4").tobytes()
    with pytest.raises(MotionFormatError, match="hardly any of them moving"):
        read_rig(write(tmp_path, document, bytes(far)), ReadOptions(fps=120))
    far[36:40] = b"\xff\xff\xff\xff"  # a NaN in the first rotation
    with pytest.raises(MotionFormatError, match="NaN"):
        read_rig(write(tmp_path, document, bytes(far)))
