"""One address for several processes, without Ray: two applications behind a front, in this process."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tasks
from mld.serve.api.app import create_app
from mld.serve.api.settings import Settings
from mld.serve.api.shards import Front, Shard, prefix
from mld.serve.models import Models
from tests.serve.api.conftest import WALK, Talk

TOKEN = "a-token-that-nobody-guesses"


class Broken:
    """A shard whose process is gone."""

    async def answer(self, connection: str, scope: dict[str, Any]):
        raise RuntimeError("the actor died")
        yield []

    async def put(self, connection: str, messages: list[Any]) -> None:
        raise RuntimeError("the actor died")


@contextlib.contextmanager
def fronted(models: Models, more: tuple[Any, ...] = (), **settings: Any) -> Iterator[tuple[Any, list[Shard]]]:
    from starlette.testclient import TestClient

    given = {"rate": 0, "grace": 30.0, **settings}
    shards = [
        Shard(create_app(models, tasks.forms(), Settings(**given, prefix=prefix(number)), allowed=["testserver"]))
        for number in range(2)
    ]
    front = Front(lambda: [*shards, *more])

    async def app(scope, receive, send) -> None:
        if scope["type"] != "lifespan":
            await front(scope, receive, send)
            return
        await receive()
        for shard in shards:
            await shard.begin()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        for shard in shards:
            await shard.end()
        await send({"type": "lifespan.shutdown.complete"})

    with TestClient(app, raise_server_exceptions=False) as client:
        yield client, shards


@pytest.fixture(scope="module")
def two(models: Models) -> Iterator[tuple[Any, list[Shard]]]:
    with fronted(models) as made:
        yield made


def whole(client: Any, seed: int, chunks: int) -> np.ndarray:
    with client.websocket_connect("/v1/stream") as socket:
        talk = Talk(socket)
        talk.ask(type="start", text=WALK, seed=seed, model="streamer")
        found = np.concatenate([chunk.positions for chunk in talk.take(chunks)][:chunks])
        assert talk.ask(type="stop")["type"] == "stopped"
        return found


def test_sessions_are_spread_and_come_back_to_where_they_are(two) -> None:
    """Two streams, each in the shard that its id names; both are cut off and resumed through other connections, where
    the front would send a new stream to the other shard."""
    client, shards = two
    alone = [whole(client, seed, 14) for seed in (0, 1)]
    with contextlib.ExitStack() as stack:
        first = [stack.enter_context(client.websocket_connect("/v1/stream")) for _ in range(2)]
        talks = [Talk(socket) for socket in first]
        told = [talk.ask(type="start", text=WALK, seed=seed, model="streamer") for seed, talk in enumerate(talks)]
        owners = [int(one["session"].split(".")[0]) for one in told]
        assert sorted(owners) == [0, 1] and [shard.open for shard in shards] == [1, 1]
        for talk in talks:
            talk.take(5)
        for socket in first:
            socket.close()
        for seed in (1, 0):  # the other way round, one after the other
            with client.websocket_connect("/v1/stream") as socket:
                again = Talk(socket)
                answer = again.ask(type="resume", session=told[seed]["session"], next=5)
                assert answer["type"] == "resumed" and answer["session"] == told[seed]["session"]
                found = [chunk.positions for chunk in [*talks[seed].chunks[:5], *again.take(9)[:9]]]
                assert [chunk.sequence for chunk in again.chunks][:9] == list(range(5, 14))
                assert np.allclose(np.concatenate(found), alone[seed], atol=2e-3)
                assert again.ask(type="stop")["type"] == "stopped"
    assert [shard.open for shard in shards] == [0, 0]


@pytest.mark.parametrize("session", ["1.nobody", "0.nobody", "7.nobody", "nobody", "", "١.x", None])
def test_a_session_that_is_nowhere_is_said_so(two, session: Any) -> None:
    client, _ = two
    with client.websocket_connect("/v1/stream") as socket:
        talk = Talk(socket)
        assert "no session" in talk.ask(type="resume", session=session, next=0)["error"]
        assert talk.ask(type="start", text=WALK, model="streamer")["type"] == "started"  # the connection goes on


def test_a_running_stream_stays_when_another_one_is_asked_for(two) -> None:
    client, _ = two
    with client.websocket_connect("/v1/stream") as socket:
        talk = Talk(socket)
        owner = int(talk.ask(type="start", text=WALK, model="streamer")["session"].split(".")[0])
        assert talk.ask(type="resume", session=f"{1 - owner}.x", next=0)["code"] == "running"
        assert len(talk.take(3)) >= 3
        assert talk.ask(type="stop")["type"] == "stopped"
        assert "no session" in talk.ask(type="resume", session=f"{1 - owner}.x", next=0)["error"]


@pytest.mark.parametrize("text", ["no json", '["resume"]', '{"type": ["resume"]}', '{"type": "resume", "session": {}}'])
def test_nonsense_is_answered_by_a_shard(two, text: str) -> None:
    client, _ = two
    with client.websocket_connect("/v1/stream") as socket:
        socket.send_text(text)
        assert json.loads(socket.receive_text())["type"] == "error"


def test_requests_are_answered_by_one_and_counts_are_of_all(two) -> None:
    client, shards = two
    with client.websocket_connect("/v1/stream") as socket:
        Talk(socket).ask(type="start", text=WALK, model="streamer")
        health = client.get("/v1/health").json()
        assert health["status"] == "ok" and health["shards"] == [shard.open for shard in shards]
        assert health["streams"] == sum(health["shards"]) >= 1
    made = client.post("/v1/generate", json={"text": WALK, "seconds": 1, "model": "streamer"})
    assert made.status_code == 200 and made.json()["answers"]
    assert client.post("/v1/generate", json={"text": WALK, "model": "x"}).status_code == 400
    assert client.get("/nowhere").status_code == 404 and client.get("/live").status_code == 200
    counters = client.get("/v1/metrics").text
    for number in range(2):
        assert f'mld_stream_sessions{{shard="{number}"}}' in counters
        assert f'mld_stream_step_seconds_bucket{{le="0.005",shard="{number}"}}' in counters


def test_the_gate_stands_in_every_shard(models: Models) -> None:
    from starlette.websockets import WebSocketDisconnect

    with fronted(models, token=TOKEN) as (client, _):
        assert client.get("/v1/metrics").status_code == 401 and client.get("/v1/models").status_code == 401
        known = {"Authorization": f"Bearer {TOKEN}"}
        assert client.get("/v1/metrics", headers=known).status_code == 200
        assert client.get("/v1/models", headers={**known, "Host": "elsewhere.example"}).status_code == 403
        with pytest.raises(Exception) as refused, client.websocket_connect("/v1/stream"):
            pass
        assert isinstance(refused.value, WebSocketDisconnect) or refused.value.status_code == 401
        with client.websocket_connect("/v1/stream", headers=known) as socket:
            assert Talk(socket).ask(type="start", text=WALK, model="streamer")["type"] == "started"


def test_a_shard_that_is_gone_is_told_and_others_go_on(models: Models) -> None:
    from starlette.websockets import WebSocketDisconnect

    with fronted(models, more=(Broken(),)) as (client, _):
        assert client.get("/v1/health").status_code == 503
        with client.websocket_connect("/v1/stream") as first, client.websocket_connect("/v1/stream") as second:
            for socket in (first, second):
                assert Talk(socket).ask(type="start", text=WALK, model="streamer")["type"] == "started"
            with pytest.raises(WebSocketDisconnect), client.websocket_connect("/v1/stream") as third:
                third.receive()
            answer = client.get("/v1/models")
            assert answer.status_code == 503 and "try again" in answer.json()["error"]
            assert len(Talk(first).take(2)) == 2
