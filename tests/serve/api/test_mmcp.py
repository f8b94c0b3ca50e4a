"""MMCP: the official client against a server of two tiny models; any skeleton, several segments, pinned poses; and one
clear line, in the contract's form, for what cannot be."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("motionmcp", reason="the extra 'mmcp' is not installed")

from motionmcp import client as official
from motionmcp.schemas import Skeleton

from mld.motion.formats.gltf_read import read_rig
from mld.motion.motion import Motion
from mld.motion.rig.guessing import find_joints
from mld.serve.mmcp import answering
from mld.serve.mmcp.skeleton import canonical
from tests.motion.rigs_of_others import NAMES, joint_documents, node_documents, rig_of
from tests.serve.api.conftest import WALK, opened, running

TOKEN = "a-token-that-nobody-guesses"
MODELS = ("streamer", "tiny")
SECOND = "a person waves."


@pytest.fixture(scope="module")
def address(streamer_folder: Path, model_folder: Path) -> Iterator[str]:
    with running("--model", streamer_folder, model_folder, "--rate", 0) as (address, _):
        yield address


def body(joints: list[dict] | None = None, model: str = "streamer", frames: int = 24, **more: Any) -> dict[str, Any]:
    asked = {
        "protocol_version": "1.0", "model": model, "skeleton": {"joints": joints or canonical()},
        "segments": [{"type": "text", "prompt": WALK, "duration_frames": frames}], "options": {"seed": 3},
    }  # fmt: skip
    return {**asked, **more}


def texts(*frames: int, words: tuple[str, ...] = (WALK, SECOND)) -> list[dict]:
    return [{"type": "text", "prompt": words[i % len(words)], "duration_frames": n} for i, n in enumerate(frames)]


def generated(address: str, asked: dict[str, Any], tmp_path: Path) -> tuple[list[dict], Any, dict]:
    """The official client's view of the answer, the file as our own importer reads it, and the extension."""
    document = official.generate(address, asked)
    path = tmp_path / "made.gltf"
    path.write_text(json.dumps(document), encoding="utf-8")
    return official.parse_gltf_samples(document), read_rig(path), document["extensions"]["MMCP_motion"]


def turns(sample: dict) -> torch.Tensor:
    return torch.from_numpy(sample["local_rot_mats"]).double()


def checked(samples: list[dict], asked: dict[str, Any], extension: dict[str, Any]) -> None:
    """What the contract says of every answer."""
    joints = asked["skeleton"]["joints"]
    frames = sum(one["duration_frames"] for one in asked["segments"]) or asked["duration_frames"]
    assert len(samples) == asked["options"].get("num_samples", 1) == len(extension["samples"])
    for number, (sample, about) in enumerate(zip(samples, extension["samples"])):
        assert about["name"] == f"sample_{number}" and about["num_frames"] == sample["num_frames"] == frames
        assert sample["joint_names"] == [joint["name"] for joint in joints]
        assert sample["hierarchy"] == [(joint["name"], joint["parent"]) for joint in joints]
        assert np.isfinite(sample["posed_joints"]).all() and np.isfinite(sample["local_rot_mats"]).all()
        assert all(0 < join < frames for join in about["chunk_boundaries"])
    assert extension["model"] == asked["model"] and extension["version"].startswith("1.")
    known = {joint["name"] for joint in joints}
    assert set(extension["canonical_to_request"]) <= {joint["name"] for joint in canonical()}
    assert set(extension["canonical_to_request"].values()) <= known


# what the contract promises

def test_capabilities_are_the_contracts(address: str) -> None:
    told = official.get_capabilities(address, use_cache=False)
    assert told["protocol_version"].startswith("1.") and told["rotation_format"] == "quaternion_xyzw"
    assert [one["id"] for one in told["models"]] == list(MODELS)
    assert official.probe_server(address).ok and official.retarget_state(address) == "ready"
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
def test_the_models_own_skeleton(address: str, model: str, version: str, tmp_path: Path) -> None:
    asked = body(model=model, protocol_version=version, options={"seed": 3, "num_samples": 2})
    samples, rig, extension = generated(address, asked, tmp_path)
    checked(samples, asked, extension)
    assert samples[0]["fps"] == pytest.approx(30 if model == "streamer" else 20)
    assert not np.allclose(samples[0]["local_rot_mats"], samples[1]["local_rot_mats"])
    again = official.parse_gltf_samples(official.generate(address, asked))
    np.testing.assert_array_equal(again[1]["local_rot_mats"], samples[1]["local_rot_mats"])


def test_the_motion_is_that_of_the_library(address: str, streamer_folder: Path, tmp_path: Path) -> None:
    """On the model's own skeleton: limbs point where those of `Pipeline.generate` do."""
    from mld.engine.pipeline import Pipeline

    asked = body(options={"seed": 3})
    _, rig, _ = generated(address, asked, tmp_path)
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
def test_any_skeleton(address: str, name: str, tmp_path: Path) -> None:
    """Other names, more bones, other sizes, poses and axes: the same motion, on the joints that were sent."""
    asked = body(joint_documents(rig_of(name)))
    samples, rig, extension = generated(address, asked, tmp_path)
    checked(samples, asked, extension)
    found = extension["canonical_to_request"]
    names = tuple(canonical_name for canonical_name in found)
    index = {joint["name"]: place for place, joint in enumerate(asked["skeleton"]["joints"])}
    places, want = world(samples[0], asked), world(generated(address, body(), tmp_path)[0][0], body())
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


def world(sample: dict, asked: dict) -> torch.Tensor:
    """Joints (T, J, 3) as a reader of glTF places them."""
    joints = asked["skeleton"]["joints"]
    index = {joint["name"]: place for place, joint in enumerate(joints)}
    local, places, frames = turns(sample), [], []
    for place, joint in enumerate(joints):
        if joint["parent"] is None:
            places.append(torch.from_numpy(sample["posed_joints"][:, place]).double())
            frames.append(local[:, place])
        else:
            above = index[joint["parent"]]
            bone = torch.tensor(joint["rest_translation"], dtype=torch.float64)
            places.append(places[above] + frames[above] @ bone)
            frames.append(frames[above] @ local[:, place])
    return torch.stack(places, dim=1).float()


def test_rest_rotations_of_exporters(address: str, tmp_path: Path) -> None:
    """A skeleton whose joints rest turned is placed as the same one without turns."""
    rig = rig_of("mixamo with fingers")
    plain, turned = body(joint_documents(rig)), body(node_documents(rig))
    want = world(generated(address, plain, tmp_path)[0][0], plain)
    seen = world(generated(address, turned, tmp_path)[0][0], turned)
    torch.testing.assert_close(seen, want, atol=1e-4, rtol=0)


@pytest.mark.parametrize("model", MODELS)
def test_several_segments(address: str, model: str, tmp_path: Path) -> None:
    """One after the other; what was made before other words does not change with them; windows say where they join."""
    segments = [*texts(30, 20), {"type": "unconditioned", "duration_frames": 17}, *texts(1)]
    asked = body(model=model, segments=segments)
    samples, _, extension = generated(address, asked, tmp_path)
    checked(samples, asked, extension)
    other = body(model=model, segments=[segments[0], *texts(38, words=("someone sits down.",))])
    changed = generated(address, other, tmp_path)[0][0]
    kept = 30 if model == "streamer" else 28
    before, after = (one["posed_joints"][:kept, 0, ::2] for one in (samples[0], changed))
    np.testing.assert_allclose(after, before, atol=1e-4)
    assert not np.allclose(changed["local_rot_mats"][45:60], samples[0]["local_rot_mats"][45:60], atol=1e-3)
    joins = extension["samples"][0]["chunk_boundaries"]
    assert (joins == []) if model == "streamer" else (joins and abs(joins[0] - 30) < 5), joins
    steps = world(samples[0], asked).diff(dim=0).norm(dim=-1).amax(-1)
    assert float(steps.max()) < 1.0


@pytest.mark.parametrize("fps", [24.0, 29.97, 60.0, 120.0])
def test_other_frame_rates(address: str, fps: float, tmp_path: Path) -> None:
    """Frames are those of the client: as many as were asked for, at its rate, and the same motion in time."""
    frames = round(fps * 0.8)
    asked = body(timing={"fps": fps}, segments=texts(frames))
    samples, _, extension = generated(address, asked, tmp_path)
    checked(samples, asked, extension)
    assert samples[0]["fps"] == pytest.approx(fps, rel=1e-3) and extension["fps"] == fps
    own = generated(address, body(segments=texts(24)), tmp_path)[0][0]["posed_joints"][:, 0]
    times = np.arange(frames) / fps * 30
    want = np.stack([np.interp(times[times <= 23], np.arange(24), own[:, axis]) for axis in (0, 2)], axis=-1)
    np.testing.assert_allclose(samples[0]["posed_joints"][: len(want), 0][:, [0, 2]], want, atol=0.05)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("frames", [1, 2, 3])
def test_very_short_answers(address: str, model: str, frames: int, tmp_path: Path) -> None:
    asked = body(model=model, segments=texts(frames))
    assert len(official.parse_gltf_samples(official.generate(address, asked))) == 1


def test_a_long_answer_of_a_model_that_makes_clips(address: str, tmp_path: Path) -> None:
    asked = body(model="tiny", segments=texts(900))
    samples, _, extension = generated(address, asked, tmp_path)
    checked(samples, asked, extension)


# poses

QUARTER = [0.0, 0.0, 0.38268343, 0.92387953]  # 45 degrees about z


def quaternion_matrix(value: list[float]) -> np.ndarray:
    return official.xyzw_to_rotmat(np.array([value], dtype=np.float64))[0]


@pytest.mark.parametrize("model", MODELS)
def test_pinned_joints_are_where_they_are_pinned(address: str, model: str, tmp_path: Path) -> None:
    pins = [{"type": "pose_keyframe", "frame": frame, "joint_rotations": {"l_elbow": QUARTER, "r_elbow": [0, 0, 0, 1]}}
            for frame in (0, 12, 23)]  # fmt: skip
    asked = body(model=model, constraints=pins)
    samples, _, extension = generated(address, asked, tmp_path)
    checked(samples, asked, extension)
    free = generated(address, body(model=model), tmp_path)[0][0]
    elbow, hip = (samples[0]["joint_names"].index(name) for name in ("l_elbow", "l_hip"))
    for frame in (0, 12, 23):
        np.testing.assert_allclose(samples[0]["local_rot_mats"][frame, elbow], quaternion_matrix(QUARTER), atol=1e-5)
    np.testing.assert_allclose(samples[0]["local_rot_mats"][:, hip], free["local_rot_mats"][:, hip], atol=1e-5)
    steps = np.abs(np.diff(samples[0]["local_rot_mats"][:, elbow], axis=0)).max()
    assert steps < np.abs(np.diff(free["local_rot_mats"][:, elbow], axis=0)).max() + 0.5


@pytest.mark.parametrize("model", MODELS)
def test_the_motion_begins_and_ends_with_given_poses(address: str, model: str, tmp_path: Path) -> None:
    """Without words, between two poses and places."""
    around = [0.0, 1.0, 0.0, 0.0]  # facing -z
    pins = [
        {"type": "pose_keyframe", "frame": 0, "joint_rotations": {"l_shoulder": QUARTER}, "fill_mode": "rest",
         "root_position": [1.0, 0.95, -2.0]},
        {"type": "pose_keyframe", "frame": 39, "joint_rotations": {"pelvis": around}, "fill_mode": "rest",
         "root_position": [0.0, 0.95, 1.0]},
    ]  # fmt: skip
    asked = body(model=model, segments=[], duration_frames=40, constraints=pins)
    samples, _, extension = generated(address, asked, tmp_path)
    checked(samples, asked, extension)
    sample = samples[0]
    shoulder = sample["joint_names"].index("l_shoulder")
    np.testing.assert_allclose(sample["posed_joints"][[0, -1], 0], [[1, 0.95, -2], [0, 0.95, 1]], atol=1e-4)
    np.testing.assert_allclose(sample["local_rot_mats"][0, shoulder], quaternion_matrix(QUARTER), atol=1e-5)
    np.testing.assert_allclose(sample["local_rot_mats"][-1, 0], quaternion_matrix(around), atol=1e-5)
    np.testing.assert_allclose(sample["local_rot_mats"][-1, shoulder], np.eye(3), atol=1e-5)


def test_one_place_moves_the_whole_motion(address: str, tmp_path: Path) -> None:
    """Turned and moved as a whole: no foot slides for it."""
    free = generated(address, body(), tmp_path)[0][0]
    side = [0.0, 0.70710678, 0.0, 0.70710678]
    pins = [{"type": "pose_keyframe", "frame": 10, "joint_rotations": {"l_wrist": [0, 0, 0, 1]},
             "root_position": [4.0, float(free["posed_joints"][10, 0, 1]), 5.0]}]  # fmt: skip
    asked = body(constraints=pins)
    placed = generated(address, asked, tmp_path)[0][0]
    moved = placed["posed_joints"][:, 0] - free["posed_joints"][:, 0]
    np.testing.assert_allclose(moved, np.broadcast_to(moved[:1], moved.shape), atol=1e-4)
    pins[0]["joint_rotations"]["pelvis"] = side
    turned = generated(address, body(constraints=pins), tmp_path)[0][0]
    steps = [np.linalg.norm(np.diff(one["posed_joints"][:, 0, ::2], axis=0), axis=-1) for one in (turned, free)]
    np.testing.assert_allclose(steps[0], steps[1], atol=1e-4)


# what cannot be

def refused(address: str, asked: Any, token: str | None = None) -> official.MmcpError:
    with pytest.raises(official.MmcpError) as told:
        official.generate(address, asked, access_token=token)
    said = str(told.value)
    assert said and "\n" not in said and len(said) <= 300
    return told.value


def changed_joint(place: int, **fields: Any) -> list[dict]:
    joints = canonical()
    joints[place].update(fields)
    return joints


def many(count: int) -> list[dict]:
    joints = canonical()
    more = {"parent": "head", "rest_translation": [0, 0.01, 0], "rest_rotation": [0, 0, 0, 1]}
    return joints + [{"name": f"b{i}", **more} for i in range(count - len(joints))]


KEY = {"type": "pose_keyframe", "frame": 0, "joint_rotations": {"head": [0, 0, 0, 1]}}
WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "no skeleton": ({"skeleton": {"joints": []}}, "schema_validation", "joints"),
    "cyclic parents": ({"skeleton": {"joints": changed_joint(1, parent="l_knee")}}, "invalid_skeleton", "l_knee"),
    "its own parent": ({"skeleton": {"joints": changed_joint(1, parent="l_hip")}}, "invalid_skeleton", "l_hip"),
    "two roots": ({"skeleton": {"joints": changed_joint(3, parent=None)}}, "invalid_skeleton", "exactly one"),
    "two of one name": ({"skeleton": {"joints": changed_joint(2, name="l_hip")}}, "invalid_skeleton", "unique"),
    "no body": ({"skeleton": {"joints": [{"name": f"bone{i}", "parent": f"bone{i - 1}" if i else None,
                                          "rest_translation": [0, 1, 0], "rest_rotation": [0, 0, 0, 1]}
                                         for i in range(9)]}}, "invalid_skeleton", "cannot tell which joint"),
    "NaN": ({"skeleton": {"joints": changed_joint(4, rest_translation=[0.0, float("nan"), 0.0])}}, "invalid_skeleton",
            "finite metres"),
    "infinity": ({"skeleton": {"joints": changed_joint(4, rest_translation=[0.0, float("inf"), 0.0])}},
                 "invalid_skeleton", "finite metres"),
    "bones of light years": ({"skeleton": {"joints": changed_joint(4, rest_translation=[0.0, 1e300, 0.0])}},
                             "invalid_skeleton", "finite metres"),
    "rotation of no length": ({"skeleton": {"joints": changed_joint(4, rest_rotation=[0, 0, 0, 0])}},
                              "invalid_skeleton", "no quaternion"),
    "no lengths": ({"skeleton": {"joints": [{**one, "rest_translation": [0, 0, 0]} for one in canonical()]}},
                   "invalid_skeleton", "no body stands"),
    "10,000 bones": ({"skeleton": {"joints": many(10_000)}}, "invalid_skeleton", "10000 joints"),
    "other units": ({"skeleton": {"joints": canonical(), "units": "centimeters"}}, "schema_validation", "units"),
    "other axes": ({"skeleton": {"joints": canonical(), "coordinate_system": "z_up"}}, "schema_validation", "system"),
    "nothing": ({"segments": []}, "schema_validation", "non-empty"),
    "empty text": ({"segments": texts(10, words=("",))}, "schema_validation", "prompt"),
    "blank text": ({"segments": texts(10, words=("  \n",))}, "invalid_request", "empty"),
    "long text": ({"segments": texts(10, words=("a" * 301,))}, "invalid_options", "max_prompt_length"),
    "no frames": ({"segments": texts(0)}, "schema_validation", "greater than 0"),
    "negative frames": ({"segments": texts(-5)}, "schema_validation", "greater than 0"),
    "endless": ({"segments": texts(10**9)}, "invalid_options", "max_duration_seconds"),
    "a length twice": ({"duration_frames": 10}, "schema_validation", "duration_frames"),
    "overlapping segments": ({"segments": [{**texts(10)[0], "start_frame": 3}]}, "schema_validation", "start_frame"),
    "a segment of poses": ({"segments": [{"type": "pose", "prompt": "sit"}]}, "unsupported_segment", "pose"),
    "a segment of nothing": ({"segments": [{"type": "smell"}]}, "schema_validation", "smell"),
    "unknown model": ({"model": "../../etc/passwd"}, "unknown_model", "not registered"),
    "next version": ({"protocol_version": "2.0"}, "version_unsupported", "2.0"),
    "root path": ({"constraints": [{"type": "root_path", "frames": [0], "positions_xz": [[0, 0]]}]},
                  "unsupported_constraint", "root_path"),
    "effector": ({"constraints": [{"type": "effector_target", "joint": "head", "frames": [0],
                                   "positions": [[0, 0, 0]]}]}, "unsupported_constraint", "effector_target"),
    "ground": ({"constraints": [{"type": "ground_height", "points": [[0, 0, 0]]}]}, "unsupported_constraint", "ground"),
    "unknown constraint": ({"constraints": [{"type": "gravity"}]}, "schema_validation", "gravity"),
    "pin after the end": ({"constraints": [{**KEY, "frame": 24}]}, "frame_out_of_range", "24"),
    "pin before the start": ({"constraints": [{**KEY, "frame": -1}]}, "schema_validation", "frame"),
    "unknown joint": ({"constraints": [{**KEY, "joint_rotations": {"tail": [0, 0, 0, 1]}}]}, "unknown_joint", "tail"),
    "pose of no length": ({"constraints": [{**KEY, "joint_rotations": {"head": [0, 0, 0, 0]}}]}, "invalid_request",
                          "no quaternion"),
    "pose of NaN": ({"constraints": [{**KEY, "joint_rotations": {"head": [0, float("nan"), 0, 0]}}]}, "invalid_request",
                    "no quaternion"),
    "place of NaN": ({"constraints": [{**KEY, "root_position": [0, float("nan"), 0]}]}, "invalid_request", "no place"),
    "many pins": ({"constraints": [KEY] * 257}, "invalid_options", "too many constraints"),
    "many samples": ({"options": {"num_samples": 16}}, "invalid_options", "max_num_samples"),
    "a loop": ({"options": {"loop": True}}, "invalid_options", "loop"),
    "no rate": ({"timing": {"fps": 0}}, "schema_validation", "fps"),
    "endless rate": ({"timing": {"fps": float("inf")}}, "invalid_options", "timing.fps"),
    "too much": ({"skeleton": {"joints": many(1000)}, "segments": texts(1800), "options": {"num_samples": 2}},
                 "invalid_options", "too much"),
    "what nobody knows": ({"wish": 1}, "schema_validation", "wish"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told(address: str, name: str) -> None:
    change, code, said = WRONG[name]
    error = refused(address, body(**change))
    assert error.code == code and said in str(error), (error.code, str(error))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"requests": []}'])
def test_bodies_that_are_none(address: str, content: bytes) -> None:
    request = urllib.request.Request(f"{address}/generate", content, {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as told:
        urllib.request.urlopen(request, timeout=30)
    error = json.loads(told.value.read())["error"]
    assert told.value.code == 422 and error["code"] == "schema_validation" and len(error["message"]) <= 300


def test_too_large_a_body(address: str) -> None:
    assert refused(address, body(segments=texts(10, words=("a" * 5_000_000,)))).code == "payload_too_large"


def test_options_that_do_not_hold_are_told(address: str, tmp_path: Path) -> None:
    """The contract: what a model has no use for is passed over, not refused."""
    options = {"diffusion_steps": 10, "guidance": {"type": "regular", "weight": [2.0]}, "seed": -1}
    asked = body(options=options, segments=[{**texts(12)[0], "seed": None}, {**texts(12)[0], "seed": 4}])
    notes = generated(address, asked, tmp_path)[2]["notes"]
    assert any("diffusion_steps, guidance" in note["message"] for note in notes) and len(notes) == 2
    drawn = generated(address, body(options={}), tmp_path)[2]["notes"]
    seed = int(drawn[0]["message"].split()[2])
    again, first = (generated(address, body(options=one), tmp_path)[0][0] for one in ({"seed": seed}, {"seed": seed}))
    np.testing.assert_array_equal(again["local_rot_mats"], first["local_rot_mats"])


def test_a_batch_is_answered_one_by_one(address: str) -> None:
    content = json.dumps({"protocol_version": "1.0", "requests": [body(), body(model="nobody"), body(segments=[])]})
    request = urllib.request.Request(f"{address}/generate", content.encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        first, second, third = json.load(answer)["results"]
    assert official.parse_gltf(first["gltf"])["num_frames"] == 24
    assert second["error"]["code"] == "unknown_model" and third["error"]["code"] == "schema_validation"


def test_many_ask_at_once(address: str) -> None:
    """Each gets its own answer."""
    made: dict[int, Any] = {}

    def ask(seed: int) -> None:
        made[seed] = official.parse_gltf(official.generate(address, body(options={"seed": seed})))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for seed in (0, 4):
        alone = official.parse_gltf(official.generate(address, body(options={"seed": seed})))
        np.testing.assert_array_equal(made[seed]["local_rot_mats"], alone["local_rot_mats"])


# the gate

def envelope(answer: Any) -> str:
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "details"} and error["message"]
    return error["code"]


def test_the_guards_speak_the_contract(models) -> None:
    with opened(models, token=TOKEN, rate=2, waiting=0) as client:
        assert client.get("/health").json()["retargeting"] == "ready"
        assert envelope(client.get("/capabilities")) == "unauthorized"
        known = {"Authorization": f"Bearer {TOKEN}"}
        assert client.get("/capabilities", headers=known).status_code == 200
        assert envelope(client.get("/capabilities", headers={"Host": "evil.example", **known})) == "forbidden"
        foreign = {"Origin": "https://evil.example", **known}
        assert envelope(client.post("/generate", json=body(), headers=foreign)) == "forbidden"
        assert client.post("/generate", json=body(frames=4), headers=known).status_code == 200
        assert client.get("/generate", headers=known).status_code == 405
        client.post("/generate", json={}, headers=known)
        told = client.post("/generate", json=body(), headers=known)
        assert (told.status_code, envelope(told)) == (429, "rate_limited") and int(told.headers["retry-after"]) > 0


def test_a_full_queue_and_a_slow_answer(models, monkeypatch) -> None:
    entered, go = threading.Event(), threading.Event()
    real = answering.answer

    def slow(pipeline, request, check):
        entered.set()
        while not go.wait(0.05):
            check()
        return real(pipeline, request, check)

    monkeypatch.setattr(answering, "answer", slow)
    with opened(models, rate=0, waiting=0, timeout=1.5) as client:
        late: list[Any] = []
        thread = threading.Thread(target=lambda: late.append(client.post("/generate", json=body())))
        thread.start()
        assert entered.wait(20)
        told = client.post("/generate", json=body())
        assert (told.status_code, envelope(told)) == (429, "rate_limited") and int(told.headers["retry-after"]) > 0
        thread.join(30)
        assert (late[0].status_code, envelope(late[0])) == (504, "timeout")
        go.set()
        until = time.monotonic() + 20  # what was given up ends at its next step
        while (answer := client.post("/generate", json=body(frames=4))).status_code == 429:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert answer.status_code == 200


def test_a_fault_of_ours_is_not_told(models, monkeypatch, caplog) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(answering, "answer", broken)
    with opened(models, rate=0) as client:
        told = client.post("/generate", json=body())
    assert (told.status_code, envelope(told)) == (500, "internal_error")
    assert "secret" not in told.text and "a secret" in caplog.text


def test_without_the_extra(models, monkeypatch) -> None:
    from mld.serve.mmcp import app

    monkeypatch.setattr(app, "find_spec", lambda _: None)
    with opened(models) as client:
        told = client.get("/capabilities")
        assert told.status_code == 404 and "extra 'mmcp'" in told.json()["error"]["message"]
        assert client.get("/v1/health").status_code == 200
