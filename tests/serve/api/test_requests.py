"""Requests over HTTP: motions, words, files; one clear line for what cannot be."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from mld.engine.pipeline import Pipeline
from mld.motion.motion import Motion
from mld.serve.api.jobs import GivenUp, Jobs
from mld.serve.client import as_motion, as_numbers
from tests.serve.api.conftest import WALK, opened
from tests.walking import walker

GIVEN = as_numbers(Motion(walker(40), 20.0))


def ask(client, path: str = "generate", **body) -> dict:
    answer = client.post(f"/v1/{path}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_motions_are_those_of_the_library(client, streamer_folder: Path) -> None:
    """The same model, words and seed give the same joints and rotations; a second sample has the next seed."""
    made = ask(client, text=WALK, seconds=1, seed=3, samples=2, model="streamer")
    assert [one["seed"] for one in made["answers"]] == [3, 4] and made["model"] == "streamer"
    want = Pipeline.load(streamer_folder).generate([WALK, WALK], seconds=1, seed=[3, 4])
    for one, other in zip(made["answers"], want, strict=True):
        motion = as_motion(one["motion"])
        torch.testing.assert_close(motion.joints, other.joints, atol=2e-3, rtol=1e-3)
        assert motion.fps == other.fps == 30 and motion.rotations is not None
    assert not np.allclose(made["answers"][0]["motion"]["joints"], made["answers"][1]["motion"]["joints"])


@pytest.mark.parametrize("kind", ["npz", "bvh", "glb", "gltf", "csv", "npy"])
def test_files_open_again(client, tmp_path: Path, kind: str) -> None:
    answer = client.post("/v1/generate", json={"text": WALK, "seconds": 1, "format": kind, "model": "streamer"})
    assert answer.status_code == 200 and f"motion_0.{kind}" in answer.headers["content-disposition"]
    file = tmp_path / f"made.{kind}"
    file.write_bytes(answer.content)
    motion = Motion.load(file, fps=30.0 if kind == "npy" else None)
    assert motion.num_frames == 30 and motion.fps == pytest.approx(30)


def test_several_files_come_in_one(client) -> None:
    body = {"text": WALK, "seconds": 1, "format": "bvh", "names": "mixamo", "samples": 2, "model": "streamer"}
    answer = client.post("/v1/generate", json=body)
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.namelist() == ["motion_0.bvh", "motion_1.bvh"] and answer.headers["x-mld-seeds"] == "0,1"
    assert b"mixamorig" in archive.read("motion_0.bvh")


def test_motions_are_given_as_numbers_or_files(client, files: Path) -> None:
    numbers = ask(client, "describe", motion=GIVEN)
    content = (files / "walk.bvh").read_text()
    binary = base64.b64encode((files / "curve.npy").read_bytes()).decode()
    assert numbers["model"] == "tiny", "of two models the one that can"
    assert isinstance(ask(client, "describe", motion={"format": "bvh", "content": content})["text"], str)
    assert isinstance(ask(client, "describe", motion={"format": "npy", "content": binary})["text"], str)
    went_on = ask(client, motions=[GIVEN], seconds=4, model="tiny")["answers"][0]["motion"]
    assert went_on["frames"] > 40
    between = ask(client, motions=[GIVEN, GIVEN], seconds=6, model="tiny")
    assert between["answers"][0]["motion"]["frames"] > 80
    assert "text" in ask(client, text="What is this?", motions=[GIVEN], task="m2t")["answers"][0]


BROKEN = json.dumps({**GIVEN, "joints": [[[float("nan")] * 3] * 22] * 40})


@pytest.mark.parametrize(("body", "status", "said"), [
    ({}, 400, "write something"), ({"text": "  "}, 400, "write something"), ({"text": "a" * 301}, 400, "long text"),
    ({"text": WALK, "secnods": 1}, 422, "secnods"), ({"text": WALK, "seconds": "many"}, 422, "seconds"),
    ({"text": WALK, "seconds": 1e9}, 400, "up to 120 seconds"), ({"text": WALK, "seconds": -1}, 400, "seconds"),
    ({"text": WALK, "samples": 7}, 400, "samples"), ({"text": WALK, "seed": -1}, 400, "Seeds"),
    ({"text": WALK, "format": "exe"}, 400, "format 'exe'"), ({"text": WALK, "names": "maya"}, 400, "names 'maya'"),
    ({"text": WALK, "model": "/etc/passwd"}, 400, "no model '/etc/passwd'"),
    ({"text": WALK, "model": "../streamer"}, 400, "no model"), ({"text": WALK, "task": "t9"}, 400, "no task 't9'"),
    ({"text": WALK, "model": "streamer", "task": "m2t", "motions": [GIVEN]}, 400, "does not answer with words"),
    ({"motions": [GIVEN] * 3}, 400, "3 motions"), ({"text": WALK, "task": "pred"}, 400, "takes 1 motions, 0"),
    ({"motions": [{"format": "bvh", "content": "HIERARCHY\n{"}]}, 400, "motion.bvh"),
    ({"motions": [{"format": "pkl", "content": ""}]}, 400, "'pkl'"),
    ({"motions": [{"format": "../../x.bvh", "content": ""}]}, 400, "is not known"),
    ({"motions": [{"format": "npy", "content": "(/&"}]}, 400, "base64"),
    ({"motions": [{"format": "npy", "content": "aGVsbG8="}]}, 400, "motion.npy"),
    ({"motions": [{"format": "npy", "content": 7}]}, 400, "content"),
    ({"motions": [{"fps": 20}]}, 400, "joints"), ({"motions": [{**GIVEN, "skeleton": "x"}]}, 400, "skeleton 'x'"),
    ({"motions": ["walk.npy"]}, 422, "motions"), ({"motions": [{**GIVEN, "fps": 0}]}, 400, "frame rate"),
    (f'{{"motions": [{BROKEN}]}}', 400, "NaN"), ("nonsense", 400, "no JSON"), ("[]", 422, ""),
    ('{"text": "' + "\\ud800" + '"}', 400, "characters"), ("{" * 100_000, 400, "no JSON"),
    ("[" * 100_000, 400, "no JSON that can be read"), ('{"seed": ' + "9" * 5000 + "}", 400, "no JSON that can be read"),
    ("null", 422, "has to be a JSON object"), ("", 422, "has to be a JSON object"),
    ({"text": WALK, "samples": 0}, 400, "samples"),
])  # fmt: skip
def test_mistakes_are_told_in_one_line(client, body, status: int, said: str) -> None:
    content = body if isinstance(body, str) else json.dumps(body)
    answer = client.post("/v1/generate", content=content, headers={"Content-Type": "application/json"})
    error = answer.json()["error"]
    assert answer.status_code == status and said in error, answer.text
    assert "\n" not in error and len(error) <= 300 and "/tmp" not in error


def test_a_gltf_file_reads_no_file_of_the_server(client, tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(b"x" * 100)
    document = {"asset": {"version": "2.0"}, "buffers": [{"byteLength": 100, "uri": f"{tmp_path}/secret.bin"}],
                "bufferViews": [{"buffer": 0, "byteLength": 100}], "accessors": [], "nodes": [],
                "animations": [{"channels": [], "samplers": []}]}  # fmt: skip
    answer = client.post("/v1/describe", json={"motion": {"format": "gltf", "content": json.dumps(document)}})
    assert answer.status_code == 400 and "error" in answer.json()


def test_models_and_health(client) -> None:
    found = {one["name"]: one for one in client.get("/v1/models").json()["models"]}
    assert found["streamer"]["streams"] and found["tiny"]["streams"]
    assert found["streamer"]["native"] and not found["tiny"]["native"]
    assert found["streamer"]["tasks"] == ["t2m", "pred"] and "m2t" in found["tiny"]["tasks"]
    assert "/" not in json.dumps(list(found.values())), "where models lie is nobody's affair"
    assert client.get("/v1/health").json()["status"] == "ok"


def test_counters(client) -> None:
    ask(client, text=WALK, seconds=1, model="streamer")
    text = client.get("/v1/metrics").text
    assert 'mld_requests_total{path="/v1/generate",status="200"}' in text and "mld_stream_sessions 0.0" in text


def test_the_description_says_what_can_be_asked(client) -> None:
    described = client.get("/openapi.json").json()
    assert {"/v1/generate", "/v1/describe", "/v1/models", "/v1/health", "/v1/metrics"} <= set(described["paths"])
    body = described["paths"]["/v1/generate"]["post"]["requestBody"]["content"]["application/json"]
    assert "text to motion" in body["examples"]
    asked = [(path, example["value"]) for path, methods in described["paths"].items() for method in methods.values()
             for example in method.get("requestBody", {"content": {"application/json": {"examples": {}}}})["content"]
             ["application/json"]["examples"].values()]  # fmt: skip
    assert len(asked) == 4
    for path, value in asked:
        answer = client.post(path, json=value)
        assert answer.status_code == 200, (path, answer.text)
    page = client.get("/docs")
    assert "openapi.json" in page.text and "http://" not in page.text and "https://" not in page.text


def test_what_is_asked_at_a_wrong_address_is_shown_the_way(client) -> None:
    assert client.get("/").url.path == "/docs"
    for answer, status, told in (
        (client.get("/v1/genrate"), 404, "nothing is at '/v1/genrate'; /docs lists the addresses"),
        (client.get("/v1/generate"), 405, "'/v1/generate' is asked by POST, not by GET; /docs says how"),
        (client.get("/v1/stream"), 404, "'/v1/stream' takes WebSockets (ws://...); /docs says how to talk to it"),
        (client.post("/v1/generate", json={"prompt": "a"}), 422, "prompt: no such field; /docs says which there are"),
    ):
        assert (answer.status_code, answer.json()) == (status, {"error": told})
    assert client.get("/v1/generate").headers["allow"] == "POST"


def test_a_bounded_number_waits(models, monkeypatch) -> None:
    """Who comes when too many wait is told when to come back; what runs is not disturbed."""
    begun, go_on = threading.Event(), threading.Event()
    run = Pipeline.run

    def slow(self, requests, *args, **kwargs):
        begun.set()
        assert go_on.wait(30)
        return run(self, requests, *args, **kwargs)

    monkeypatch.setattr(Pipeline, "run", slow)
    body = {"text": WALK, "seconds": 1, "model": "streamer"}
    with opened(models, waiting=1) as client:
        statuses: list[int] = []
        threads = [
            threading.Thread(target=lambda: statuses.append(client.post("/v1/generate", json=body).status_code))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        assert begun.wait(30)
        until = time.monotonic() + 20
        while client.get("/v1/health").json()["requests"] < 2 and time.monotonic() < until:
            time.sleep(0.05)
        refused = client.post("/v1/generate", json=body)
        assert refused.status_code == 429 and int(refused.headers["retry-after"]) >= 1
        assert "waiting already" in refused.json()["error"]
        go_on.set()
        for thread in threads:
            thread.join(60)
        assert statuses == [200, 200]
        assert client.get("/v1/health").json()["requests"] == 0


def test_a_request_that_takes_too_long_is_given_up(models, monkeypatch) -> None:
    ended = threading.Event()

    def endless(self, requests, on_step=None, **kwargs):
        try:
            while True:
                time.sleep(0.02)
                on_step(0)
        finally:
            ended.set()

    monkeypatch.setattr(Pipeline, "run", endless)
    with opened(models, timeout=0.5) as client:
        answer = client.post("/v1/generate", json={"text": WALK, "model": "streamer"})
        assert answer.status_code == 504 and "took too long" in answer.json()["error"]
        assert ended.wait(10), "its work ends, too"


def test_work_that_nobody_waits_for_ends() -> None:
    """A client that has gone frees the place of its request."""
    import asyncio

    ended = threading.Event()

    def work(check) -> None:
        try:
            while True:
                time.sleep(0.02)
                check()
        finally:
            ended.set()

    async def gone() -> bool:
        return True

    async def run() -> None:
        jobs = Jobs(1, 60.0)
        with pytest.raises(GivenUp):
            await jobs.run(work, gone)
        assert await asyncio.to_thread(ended.wait, 10)
        await asyncio.sleep(0.2)
        assert jobs.open == 0
        jobs.close()

    asyncio.run(run())


def test_what_nobody_foresaw_is_one_line(client, monkeypatch) -> None:
    def broken(*args, **kwargs):
        raise ValueError("secret inside")

    monkeypatch.setattr(Pipeline, "run", broken)
    answer = client.post("/v1/generate", json={"text": WALK, "model": "streamer"})
    assert answer.status_code == 500 and "log" in answer.json()["error"] and "secret" not in answer.text
