"""Who may ask the server: names, origins, the token, sizes and rates, and how it ends."""

from __future__ import annotations

import pytest

from mld.serve.api import gate as gate_module
from mld.serve.api.gate import Rates
from tests.serve.api.conftest import WALK, opened

TOKEN = "a-token-that-nobody-guesses"


@pytest.mark.parametrize(("headers", "status"), [
    ({}, 200), ({"host": "localhost:1"}, 200), ({"host": "evil.example"}, 403), ({"host": ""}, 403),
    ({"origin": "http://evil.example"}, 403), ({"origin": "null"}, 403), ({"origin": "http://testserver"}, 200),
    ({"host": "evil.example", "origin": "http://evil.example"}, 403),
])  # fmt: skip
def test_known_names_and_own_pages_alone(client, headers: dict, status: int) -> None:
    answer = client.get("/v1/models", headers=headers)
    assert answer.status_code == status
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("default-src 'self'")


def status_of(client, protocols=None, headers=None) -> int:
    """The status with which a stream is refused."""
    from starlette.testclient import WebSocketDenialResponse

    with pytest.raises(WebSocketDenialResponse) as refused:
        client.websocket_connect("/v1/stream", protocols, headers=headers or {}).__enter__()
    return refused.value.status_code


def test_other_sites_open_no_stream(client) -> None:
    for headers in ({"origin": "http://evil.example"}, {"host": "evil.example"}):
        assert status_of(client, headers=headers) == 403


def test_a_token(models) -> None:
    with opened(models, token=TOKEN) as client:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}, {"Authorization": "Bearer "}):
            answer = client.get("/v1/models", headers=headers)
            assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
            assert "token" in answer.json()["error"] and TOKEN not in answer.text
        assert client.get("/v1/models", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
        assert client.get("/v1/health").status_code == 200, "whether it is up is no secret"
        assert client.post("/v1/generate", json={"text": WALK}).status_code == 401
        for protocols in (["mld.stream.v1"], ["mld.stream.v1", "bearer.wrong"]):
            assert status_of(client, protocols) == 401
        with client.websocket_connect("/v1/stream", ["mld.stream.v1", f"bearer.{TOKEN}"]) as socket:
            assert socket.accepted_subprotocol == "mld.stream.v1", "the token does not come back"
        with client.websocket_connect("/v1/stream", headers={"Authorization": f"Bearer {TOKEN}"}):
            pass


def test_large_bodies_are_refused_before_they_are_read(client, monkeypatch) -> None:
    monkeypatch.setattr(gate_module, "LARGEST_BODY", 1000)
    assert client.post("/v1/generate", content=b" " * 1001).status_code == 413

    def pieces():
        for _ in range(20):
            yield b" " * 100

    answer = client.post("/v1/generate", content=pieces(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413 and "too large" in answer.json()["error"]


def test_rates_fill_again() -> None:
    now = [0.0]
    rates = Rates(6, lambda: now[0])
    assert [rates.take("a") for _ in range(7)] == [0] * 6 + [10]
    assert rates.take("b") == 0, "each address has its own"
    now[0] = 10.0
    assert [rates.take("a"), rates.take("a")] == [0, 10]
    assert all(Rates(0).take("a") == 0 for _ in range(1000))
    for number in range(2 * gate_module.MOST_ADDRESSES):
        rates.take(str(number))
    assert len(rates._left) == gate_module.MOST_ADDRESSES


def test_who_asks_too_often_is_told_when_to_come_back(models) -> None:
    with opened(models, rate=3) as client:
        answers = [client.post("/v1/generate", json={}) for _ in range(5)]
        assert [one.status_code for one in answers] == [400, 400, 400, 429, 429]
        assert int(answers[-1].headers["retry-after"]) > 0
        assert client.get("/v1/health").status_code == 200, "looking costs nothing"


def test_while_it_ends_nothing_begins(models) -> None:
    with opened(models) as client:
        client.app.state.streams.drain()
        answer = client.post("/v1/generate", json={"text": WALK})
        assert answer.status_code == 503 and answer.headers["retry-after"]
        assert client.get("/v1/health").json()["status"] == "ending"
