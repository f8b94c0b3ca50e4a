"""Files we write, read by programs that are not ours: bvhio, pygltflib, trimesh, and the validator of Khronos."""

from __future__ import annotations

import json
import math
import shutil
import subprocess

import numpy as np
import pytest
import roma
import torch

from mld.motion.motion import Motion
from mld.motion.rig.capsules import capsule, capsule_body
from mld.motion.rig.rest_pose import size_of
from mld.motion.rig.rigging import to_rig
from mld.motion.skeletons import get_skeleton
from tests.motion.moves import random_motion
from tests.walking import walker

NAMES = get_skeleton("smpl22").joint_names
VALIDATE = """
const validator = require('gltf-validator'), fs = require('fs')
Promise.all(process.argv.slice(1).map(f => validator.validateBytes(new Uint8Array(fs.readFileSync(f)))))
  .then(reports => console.log(JSON.stringify(reports.map(report => report.issues))))
"""


@pytest.mark.parametrize("options", [{"unit": "m"}, {"unit": "cm", "order": "XZY"}])
def test_bvhio_places_the_joints_where_they_were(options, tmp_path):
    bvhio = pytest.importorskip("bvhio")
    motion = Motion(walker(12, yaw=math.pi, turning=0.3), 30.0)
    path = motion.save(tmp_path / "walk.bvh", **options)
    assert bvhio.readAsBvh(str(path)).FrameTime == pytest.approx(1 / 30, abs=1e-6)
    root = bvhio.readAsHierarchy(str(path))
    scale = 1.0 if options["unit"] == "m" else 0.01
    for frame in (0, 5, 11):
        root.loadPose(frame)
        for joint, name in enumerate(NAMES):
            place = np.array(root.filter(name, isEqual=True)[0].PositionWorld) * scale
            np.testing.assert_allclose(place, motion.joints[frame, joint], atol=1e-3)


def test_pygltflib_finds_skeleton_skin_and_animation(tmp_path):
    pygltflib = pytest.importorskip("pygltflib")
    motion = Motion(walker(9, yaw=2.5), 60.0)
    found = pygltflib.GLTF2().load(str(motion.save(tmp_path / "walk.glb", names="unreal")))
    assert found.nodes[found.skins[0].joints[1]].name == "thigh_l"
    animation = found.animations[0]

    def values(index: int) -> np.ndarray:
        accessor = found.accessors[index]
        start = found.bufferViews[accessor.bufferView].byteOffset
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}[accessor.type]
        data = found.binary_blob()[start : start + 4 * width * accessor.count]
        return np.frombuffer(data, np.float32).reshape(accessor.count, width)

    np.testing.assert_allclose(values(animation.samplers[0].input)[:, 0], np.arange(9) / 60, atol=1e-6)
    np.testing.assert_allclose(values(animation.samplers[0].output), motion.joints[:, 0], atol=1e-6)
    turns = {c.target.node: values(animation.samplers[c.sampler].output) for c in animation.channels[1:]}
    local = roma.unitquat_to_rotmat(torch.tensor(np.stack([turns[joint] for joint in range(22)], axis=1)).double())
    assert (local - to_rig(motion).rotations).abs().max() < 1e-5
    rest = np.zeros((22, 3))
    for joint, node in enumerate(found.nodes[:22]):
        rest[joint] += node.translation
        for child in node.children or ():
            rest[child] += rest[joint]
    inverse = values(found.skins[0].inverseBindMatrices).reshape(22, 4, 4)
    np.testing.assert_allclose(inverse[:, 3, :3], -rest, atol=1e-6)


def test_trimesh_sees_closed_bodies_that_stand_on_the_floor(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    path = Motion(walker(3), 20.0).save(tmp_path / "walk.glb")
    scene = trimesh.load(path)
    mesh = scene.to_geometry()
    assert mesh.is_watertight and mesh.is_winding_consistent and mesh.volume > 0
    low, high = mesh.bounds
    assert abs(low[1]) < 0.06 and 1.3 < high[1] < 2.0
    assert 1.2 < high[0] - low[0] < 2.0  # arms out


@pytest.mark.parametrize(("first", "last"), [(0.05, 0.05), (0.1, 0.02), (0.02, 0.3)])
def test_a_capsule_is_the_hull_of_two_balls(first, last):
    start, end = np.array([0.1, 0.2, 0.3]), np.array([0.1, 0.5, 0.1])
    vertices, normals, faces = capsule(start, end, first, last, np.ones(3))
    distance = np.minimum(np.abs(np.linalg.norm(vertices - start, axis=1) - first),
                          np.abs(np.linalg.norm(vertices - end, axis=1) - last))
    assert distance.max() < 1e-9
    a, b, c = vertices[faces].transpose(1, 0, 2)
    outward = np.cross(b - a, c - a)
    assert (np.einsum("fc,fc->f", outward, normals[faces].mean(1)) > 0).all()
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-9)


@pytest.mark.parametrize("skeleton", ["smpl22", "kit21"])
def test_every_bone_has_a_capsule_that_moves_with_it(skeleton):
    motion = random_motion(2, 5, skeleton)
    motion = Motion(motion.joints, motion.fps, motion.skeleton)
    rig = to_rig(motion).rig
    parts = capsule_body(rig, motion.skeleton, size_of(motion))
    moved = {int(joint) for part in parts for joint in np.unique(part.joints)}
    assert moved == set(range(motion.skeleton.num_joints))
    assert all(np.isfinite(part.vertices).all() and part.faces.max() < len(part.vertices) for part in parts)


def test_the_khronos_validator_has_no_complaint(tmp_path):
    node = shutil.which("node")
    found = node and subprocess.run([node, "-e", "require('gltf-validator')"], capture_output=True, check=False)
    if not found or found.returncode:
        pytest.skip("needs node and gltf-validator: npm install gltf-validator, then NODE_PATH=.../node_modules")
    files = [
        Motion(walker(50, turning=0.1), 20.0).save(tmp_path / "walk.glb"),
        Motion(walker(1), 120.0).save(tmp_path / "one.glb", names="mixamo"),
        Motion(walker(30, yaw=math.pi), 12.5).save(tmp_path / "walk.gltf", names="unreal"),
        random_motion(1, 20, "kit21").save(tmp_path / "kit.glb"),
    ]
    told = subprocess.run([node, "-e", VALIDATE, *map(str, files)], capture_output=True, text=True, check=True)
    for issues in json.loads(told.stdout):
        assert (issues["numErrors"], issues["numWarnings"], issues["messages"]) == (0, 0, [])
