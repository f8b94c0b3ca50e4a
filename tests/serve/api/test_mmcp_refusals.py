"""MMCP: one clear line, in the contract's form, for what cannot be; and the guards of the server."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mld.serve.mmcp import answering
from mld.serve.mmcp.skeleton import canonical
from tests.serve.api.conftest import opened
from tests.serve.api.mmcp_asks import body, generated, official, texts

TOKEN = "a-token-that-nobody-guesses"

# what cannot be

def refused(mmcp: str, asked: Any, token: str | None = None) -> official.MmcpError:
    with pytest.raises(official.MmcpError) as told:
        official.generate(mmcp, asked, access_token=token)
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
def test_what_is_wrong_is_told(mmcp: str, name: str) -> None:
    change, code, said = WRONG[name]
    error = refused(mmcp, body(**change))
    assert error.code == code and said in str(error), (error.code, str(error))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"requests": []}'])
def test_bodies_that_are_none(mmcp: str, content: bytes) -> None:
    request = urllib.request.Request(f"{mmcp}/generate", content, {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as told:
        urllib.request.urlopen(request, timeout=30)
    error = json.loads(told.value.read())["error"]
    assert told.value.code == 422 and error["code"] == "schema_validation" and len(error["message"]) <= 300


def test_too_large_a_body(mmcp: str) -> None:
    assert refused(mmcp, body(segments=texts(10, words=("a" * 5_000_000,)))).code == "payload_too_large"


def test_options_that_do_not_hold_are_told(mmcp: str, tmp_path: Path) -> None:
    """The contract: what a model has no use for is passed over, not refused."""
    options = {"diffusion_steps": 10, "guidance": {"type": "regular", "weight": [2.0]}, "seed": -1}
    asked = body(options=options, segments=[{**texts(12)[0], "seed": None}, {**texts(12)[0], "seed": 4}])
    notes = generated(mmcp, asked, tmp_path)[2]["notes"]
    assert any("diffusion_steps, guidance" in note["message"] for note in notes) and len(notes) == 2
    drawn = generated(mmcp, body(options={}), tmp_path)[2]["notes"]
    seed = int(drawn[0]["message"].split()[2])
    again, first = (generated(mmcp, body(options=one), tmp_path)[0][0] for one in ({"seed": seed}, {"seed": seed}))
    np.testing.assert_array_equal(again["local_rot_mats"], first["local_rot_mats"])


def test_a_batch_is_answered_one_by_one(mmcp: str) -> None:
    content = json.dumps({"protocol_version": "1.0", "requests": [body(), body(model="nobody"), body(segments=[])]})
    request = urllib.request.Request(f"{mmcp}/generate", content.encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        first, second, third = json.load(answer)["results"]
    assert official.parse_gltf(first["gltf"])["num_frames"] == 24
    assert second["error"]["code"] == "unknown_model" and third["error"]["code"] == "schema_validation"


def test_many_ask_at_once(mmcp: str) -> None:
    """Each gets its own answer."""
    made: dict[int, Any] = {}

    def ask(seed: int) -> None:
        made[seed] = official.parse_gltf(official.generate(mmcp, body(options={"seed": seed})))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for seed in (0, 4):
        alone = official.parse_gltf(official.generate(mmcp, body(options={"seed": seed})))
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
        assert 'mld_requests_total{path="/generate",status="200"} 1.0' in client.get("/v1/metrics", headers=known).text
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
