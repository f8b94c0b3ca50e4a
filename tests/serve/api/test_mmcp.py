"""MMCP: the official client against a server of two tiny models; any skeleton, several segments, pinned poses."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mld.motion.motion import Motion
from mld.motion.rig.guessing import find_joints
from mld.serve.mmcp.skeleton import canonical
from tests.motion.rigs_of_others import NAMES, joint_documents, node_documents, rig_of
from tests.serve.api.conftest import WALK
from tests.serve.api.mmcp_asks import MODELS, body, checked, generated, official, texts, world

# what the contract promises

def test_capabilities_are_the_contracts(mmcp: str) -> None:
    from motionmcp.schemas import Skeleton

    told = official.get_capabilities(mmcp, use_cache=False)
    assert told["protocol_version"].startswith("1.") and told["rotation_format"] == "quaternion_xyzw"
    assert [one["id"] for one in told["models"]] == list(MODELS)
    assert official.probe_server(mmcp).ok and official.retarget_state(mmcp) == "ready"
    for model in told["models"]:
        skeleton = Skeleton(**model["canonical_skeleton"])
        heights = rest_positions(model["canonical_skeleton"]["joints"])[:, 1]
        assert abs(heights.min()) < 1e-5 and heights.max() > 1.4 and len(skeleton.joints) == 22
        assert model["supports_retargeting"] and official.model_supported_segments(model) == ["text", "unconditioned"]
        assert model["supported_constraints"] == ["pose_keyframe"]
    native = {model["id"]: (model["fps"], model["chunking"]) for model in told["models"]}
    assert native == {"streamer": (30.0, "none"), "tiny": (20.0, "stitched")}


def rest_positions(joints: list[dict]) -> np.ndarray:
    places: dict[str, np.ndarray] = {}
    for joint in joints:
        above = places[joint["parent"]] if joint["parent"] else np.zeros(3)
        places[joint["name"]] = above + np.array(joint["rest_translation"])
    return np.array(list(places.values()))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("version", ["1.0", "1.4", "1.9"])
def test_the_models_own_skeleton(mmcp: str, model: str, version: str, tmp_path: Path) -> None:
    asked = body(model=model, protocol_version=version, options={"seed": 3, "num_samples": 2})
    samples, rig, extension = generated(mmcp, asked, tmp_path)
    checked(samples, asked, extension)
    assert samples[0]["fps"] == pytest.approx(30 if model == "streamer" else 20)
    assert not np.allclose(samples[0]["local_rot_mats"], samples[1]["local_rot_mats"])
    again = official.parse_gltf_samples(official.generate(mmcp, asked))
    np.testing.assert_array_equal(again[1]["local_rot_mats"], samples[1]["local_rot_mats"])


def test_the_motion_is_that_of_the_library(mmcp: str, streamer_folder: Path, tmp_path: Path) -> None:
    """On the model's own skeleton: limbs point where those of `Pipeline.generate` do."""
    from mld.engine.pipeline import Pipeline

    asked = body(options={"seed": 3})
    _, rig, _ = generated(mmcp, asked, tmp_path)
    want = Pipeline.load(streamer_folder).generate(WALK, seconds=25 / 30, seed=3).joints[:24]
    assert aligned(rig.positions(), want, Motion(want, 30.0).skeleton.joint_names, rig.rig) > 0.99


def aligned(places: torch.Tensor, want: torch.Tensor, names: tuple[str, ...], rig: Any) -> float:
    """The smallest cosine between limbs of one motion and of another."""
    found = find_joints(rig).joints
    worst = 1.0
    for side in "lr":
        for a, b in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist")):
            a, b = f"{side}_{a}", f"{side}_{b}"
            bone = places[:, found[b]] - places[:, found[a]]
            other = want[:, names.index(b)] - want[:, names.index(a)]
            worst = min(worst, float(torch.nn.functional.cosine_similarity(bone, other, dim=-1).min()))
    return worst


@pytest.mark.parametrize("name", NAMES)
def test_any_skeleton(mmcp: str, name: str, tmp_path: Path) -> None:
    """Other names, more bones, other sizes, poses and axes: the same motion, on the joints that were sent."""
    asked = body(joint_documents(rig_of(name)))
    samples, rig, extension = generated(mmcp, asked, tmp_path)
    checked(samples, asked, extension)
    found = extension["canonical_to_request"]
    names = tuple(canonical_name for canonical_name in found)
    index = {joint["name"]: place for place, joint in enumerate(asked["skeleton"]["joints"])}
    places, want = world(samples[0], asked), world(generated(mmcp, body(), tmp_path)[0][0], body())
    if name == "facing -x":
        want = want @ torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    order = [joint["name"] for joint in canonical()]
    for side in "lr":
        for a, b in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist")):
            a, b = f"{side}_{a}", f"{side}_{b}"
            assert a in names and b in names
            bone = places[:, index[found[b]]] - places[:, index[found[a]]]
            other = want[:, order.index(b)] - want[:, order.index(a)]
            assert float(torch.nn.functional.cosine_similarity(bone, other, dim=-1).min()) > 0.99, (a, b)


def test_rest_rotations_of_exporters(mmcp: str, tmp_path: Path) -> None:
    """A skeleton whose joints rest turned is placed as the same one without turns."""
    rig = rig_of("mixamo with fingers")
    plain, turned = body(joint_documents(rig)), body(node_documents(rig))
    want = world(generated(mmcp, plain, tmp_path)[0][0], plain)
    seen = world(generated(mmcp, turned, tmp_path)[0][0], turned)
    torch.testing.assert_close(seen, want, atol=1e-4, rtol=0)


@pytest.mark.parametrize("model", MODELS)
def test_several_segments(mmcp: str, model: str, tmp_path: Path) -> None:
    """One after the other; what was made before other words does not change with them; windows say where they join."""
    segments = [*texts(30, 20), {"type": "unconditioned", "duration_frames": 17}, *texts(1)]
    asked = body(model=model, segments=segments)
    samples, _, extension = generated(mmcp, asked, tmp_path)
    checked(samples, asked, extension)
    other = body(model=model, segments=[segments[0], *texts(38, words=("someone sits down.",))])
    changed = generated(mmcp, other, tmp_path)[0][0]
    kept = 30 if model == "streamer" else 28
    before, after = (one["posed_joints"][:kept, 0, ::2] for one in (samples[0], changed))
    np.testing.assert_allclose(after, before, atol=1e-4)
    assert not np.allclose(changed["local_rot_mats"][45:60], samples[0]["local_rot_mats"][45:60], atol=1e-3)
    joins = extension["samples"][0]["chunk_boundaries"]
    assert (joins == []) if model == "streamer" else (joins and abs(joins[0] - 30) < 5), joins
    steps = world(samples[0], asked).diff(dim=0).norm(dim=-1).amax(-1)
    assert float(steps[28:33].max()) < 2 * float(steps[:28].max())  # no jump where the words change


@pytest.mark.parametrize("fps", [24.0, 29.97, 60.0, 120.0])
def test_other_frame_rates(mmcp: str, fps: float, tmp_path: Path) -> None:
    """Frames are those of the client: as many as were asked for, at its rate, and the same motion in time."""
    frames = round(fps * 0.8)
    asked = body(timing={"fps": fps}, segments=texts(frames))
    samples, _, extension = generated(mmcp, asked, tmp_path)
    checked(samples, asked, extension)
    assert samples[0]["fps"] == pytest.approx(fps, rel=1e-3) and extension["fps"] == fps
    own = generated(mmcp, body(segments=texts(24)), tmp_path)[0][0]["posed_joints"][:, 0]
    times = np.arange(frames) / fps * 30
    want = np.stack([np.interp(times[times <= 23], np.arange(24), own[:, axis]) for axis in (0, 2)], axis=-1)
    np.testing.assert_allclose(samples[0]["posed_joints"][: len(want), 0][:, [0, 2]], want, atol=0.05)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("frames", [1, 2, 3])
def test_very_short_answers(mmcp: str, model: str, frames: int, tmp_path: Path) -> None:
    asked = body(model=model, segments=texts(frames))
    assert len(official.parse_gltf_samples(official.generate(mmcp, asked))) == 1


def test_a_long_answer_of_a_model_that_makes_clips(mmcp: str, tmp_path: Path) -> None:
    asked = body(model="tiny", segments=texts(900))
    samples, _, extension = generated(mmcp, asked, tmp_path)
    checked(samples, asked, extension)


# poses

QUARTER = [0.0, 0.0, 0.38268343, 0.92387953]  # 45 degrees about z


def quaternion_matrix(value: list[float]) -> np.ndarray:
    return official.xyzw_to_rotmat(np.array([value], dtype=np.float64))[0]


@pytest.mark.parametrize("model", MODELS)
def test_pinned_joints_are_where_they_are_pinned(mmcp: str, model: str, tmp_path: Path) -> None:
    pins = [{"type": "pose_keyframe", "frame": frame, "joint_rotations": {"l_elbow": QUARTER, "r_elbow": [0, 0, 0, 1]}}
            for frame in (0, 12, 23)]  # fmt: skip
    asked = body(model=model, constraints=pins)
    samples, _, extension = generated(mmcp, asked, tmp_path)
    checked(samples, asked, extension)
    free = generated(mmcp, body(model=model), tmp_path)[0][0]
    elbow, hip = (samples[0]["joint_names"].index(name) for name in ("l_elbow", "l_hip"))
    for frame in (0, 12, 23):
        np.testing.assert_allclose(samples[0]["local_rot_mats"][frame, elbow], quaternion_matrix(QUARTER), atol=1e-5)
    np.testing.assert_allclose(samples[0]["local_rot_mats"][:, hip], free["local_rot_mats"][:, hip], atol=1e-5)
    steps = np.abs(np.diff(samples[0]["local_rot_mats"][:, elbow], axis=0)).max()
    assert steps < np.abs(np.diff(free["local_rot_mats"][:, elbow], axis=0)).max() + 0.5


@pytest.mark.parametrize("model", MODELS)
def test_the_motion_begins_and_ends_with_given_poses(mmcp: str, model: str, tmp_path: Path) -> None:
    """Without words, between two poses and places."""
    around = [0.0, 1.0, 0.0, 0.0]  # facing -z
    pins = [
        {"type": "pose_keyframe", "frame": 0, "joint_rotations": {"l_shoulder": QUARTER}, "fill_mode": "rest",
         "root_position": [1.0, 0.95, -2.0]},
        {"type": "pose_keyframe", "frame": 39, "joint_rotations": {"pelvis": around}, "fill_mode": "rest",
         "root_position": [0.0, 0.95, 1.0]},
    ]  # fmt: skip
    asked = body(model=model, segments=[], duration_frames=40, constraints=pins)
    samples, _, extension = generated(mmcp, asked, tmp_path)
    checked(samples, asked, extension)
    sample = samples[0]
    shoulder = sample["joint_names"].index("l_shoulder")
    np.testing.assert_allclose(sample["posed_joints"][[0, -1], 0], [[1, 0.95, -2], [0, 0.95, 1]], atol=1e-4)
    np.testing.assert_allclose(sample["local_rot_mats"][0, shoulder], quaternion_matrix(QUARTER), atol=1e-5)
    np.testing.assert_allclose(sample["local_rot_mats"][-1, 0], quaternion_matrix(around), atol=1e-5)
    np.testing.assert_allclose(sample["local_rot_mats"][-1, shoulder], np.eye(3), atol=1e-5)


@pytest.mark.parametrize("documents", [joint_documents, node_documents])
def test_a_pose_of_an_answer_can_be_pinned(mmcp: str, documents: Any, tmp_path: Path) -> None:
    """Rotations of an answer and of a pin mean the same: a frame that is sent back comes again as it was."""
    joints = documents(rig_of("mixamo with fingers"))
    made = official.generate(mmcp, body(joints))
    values = {}
    for channel in made["animations"][0]["channels"]:
        if channel["target"]["path"] == "rotation":
            track = channel["sampler"]
            values[made["nodes"][channel["target"]["node"]]["name"]] = quaternions(made, track)[7].tolist()
    sample = official.parse_gltf(made)
    pin = {"type": "pose_keyframe", "frame": 19, "joint_rotations": values,
           "root_position": sample["posed_joints"][7, 0].tolist()}  # fmt: skip
    again = official.parse_gltf(official.generate(mmcp, body(joints, constraints=[pin], options={"seed": 8})))
    np.testing.assert_allclose(again["local_rot_mats"][19], sample["local_rot_mats"][7], atol=1e-4)
    np.testing.assert_allclose(again["posed_joints"][19, 0], sample["posed_joints"][7, 0], atol=1e-4)


def quaternions(document: dict, sampler: int) -> np.ndarray:
    accessor = document["accessors"][document["animations"][0]["samplers"][sampler]["output"]]
    view = document["bufferViews"][accessor["bufferView"]]
    data = base64.b64decode(document["buffers"][0]["uri"].partition(",")[2])
    return np.frombuffer(data, "<f4", accessor["count"] * 4, view["byteOffset"]).reshape(-1, 4)


def test_one_place_moves_the_whole_motion(mmcp: str, tmp_path: Path) -> None:
    """Turned and moved as a whole: no foot slides for it."""
    free = generated(mmcp, body(), tmp_path)[0][0]
    side = [0.0, 0.70710678, 0.0, 0.70710678]
    pins = [{"type": "pose_keyframe", "frame": 10, "joint_rotations": {"l_wrist": [0, 0, 0, 1]},
             "root_position": [4.0, float(free["posed_joints"][10, 0, 1]), 5.0]}]  # fmt: skip
    asked = body(constraints=pins)
    placed = generated(mmcp, asked, tmp_path)[0][0]
    moved = placed["posed_joints"][:, 0] - free["posed_joints"][:, 0]
    np.testing.assert_allclose(moved, np.broadcast_to(moved[:1], moved.shape), atol=1e-4)
    pins[0]["joint_rotations"]["pelvis"] = side
    turned = generated(mmcp, body(constraints=pins), tmp_path)[0][0]
    steps = [np.linalg.norm(np.diff(one["posed_joints"][:, 0, ::2], axis=0), axis=-1) for one in (turned, free)]
    np.testing.assert_allclose(steps[0], steps[1], atol=1e-4)
