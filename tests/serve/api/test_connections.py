"""Connections that hold places for nothing: others are answered, and patience ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="the extra 'server' is not installed")

import uvicorn

from mld.serve.api import connections, gate
from mld.serve.api.gate import Gate, Rates
from mld.serve.api.server import bound
from mld.serve.api.settings import Settings

HEAD = b"POST /v1/generate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n"


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Says how many bytes it was sent; `/slow` after a while."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await asyncio.sleep(2.0)
        await send({"type": "websocket.send", "text": "still here"})
        return
    size, more = 0, scope["type"] == "http"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message["body"]), message["more_body"]
    await asyncio.sleep(1.5 if scope["path"] == "/slow" else 0)
    body = str(size).encode()
    headers = [(b"connection", b"keep-alive"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextlib.contextmanager
def served(**options: Any) -> Iterator[int]:
    """The port of the application behind the gate."""
    app = Gate(application, Settings(), "127.0.0.1", (), Rates(0), lambda: False)
    config = uvicorn.Config(app, http=connections.connection_type(), lifespan="off", log_level="error", **options)
    server, listening = uvicorn.Server(config), connections.hardened(bound("127.0.0.1", 0))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def port(monkeypatch) -> Iterator[int]:
    for name, value in (("HEAD", 0.5), ("BODY", 0.5), ("SLOWEST", 20)):
        monkeypatch.setattr(connections, name, value)
    with served(limit_concurrency=8) as port:
        yield port


@pytest.fixture
def connect(port: int) -> Iterator[Any]:
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))


def heard(raw: socket.socket) -> bytes:
    """All that comes until the other side ends it."""
    parts = []
    while part := raw.recv(65536):
        parts.append(part)
    return b"".join(parts)


def get(port: int, path: str = "/v1/health", body: bytes | None = None) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", body, timeout=30) as answer:
        return answer.read().decode()


def patiently(port: int) -> str | None:
    """The answer; None where the server says that it is too busy."""
    try:
        return get(port)
    except urllib.error.HTTPError as error:
        assert error.code == 503
        time.sleep(0.05)
        return None


@pytest.mark.parametrize(("sent", "status"), [
    (b"", b""), (b"GET / HT", b"HTTP/1.1 408"), (HEAD, b"HTTP/1.1 408"),
    (HEAD + b"\r\n{", b"HTTP/1.1 408"),
])  # fmt: skip
def test_a_request_that_does_not_arrive(connect, sent: bytes, status: bytes) -> None:
    began, raw = time.monotonic(), connect()
    raw.sendall(sent)
    answer = heard(raw)
    assert answer.startswith(status) and bool(answer) == bool(status) and 0.4 < time.monotonic() - began < 9
    if answer:
        assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"error": "the request did not arrive in time"}


def test_bytes_one_by_one_are_no_excuse(connect) -> None:
    raw, sent = connect(), 0
    with contextlib.suppress(ConnectionError):
        while sent < 60:
            raw.sendall(b"a")
            sent += 1
            time.sleep(0.1)
    assert sent < 50


def test_a_slow_line_and_a_slow_answer_are_waited_for(port: int, connect) -> None:
    raw = connect()
    raw.sendall(HEAD + b"\r\n")
    for _ in range(10):  # 100 bytes in a second and more: longer than `BODY`, quicker than `SLOWEST`
        time.sleep(0.12)
        raw.sendall(b"a" * 10)
    assert raw.recv(4096).startswith(b"HTTP/1.1 200")
    assert get(port, "/slow", b"1234") == "4"


def test_the_next_request_of_a_connection_is_awaited(port: int, connect) -> None:
    """As long as uvicorn keeps it alive; and a half one not for longer than a first one."""
    raw, request = connect(), b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    for _ in range(2):
        raw.sendall(request)
        answer = b""
        while not answer.endswith(b"\r\n\r\n0"):
            answer += (part := raw.recv(4096))
            assert part, answer
        assert answer.startswith(b"HTTP/1.1 200")
        time.sleep(1.0)
    raw.sendall(request[:-4])
    assert b"408" in heard(raw)


def test_a_stream_is_no_request_that_is_late(port: int, caplog: pytest.LogCaptureFixture) -> None:
    """Its connection began as a request; nothing waits for the rest of that one."""
    from websockets.sync.client import connect as opened

    with opened(f"ws://127.0.0.1:{port}/v1/stream", open_timeout=20) as socket:
        assert socket.recv(20) == "still here"
    assert not caplog.records, caplog.text


@pytest.mark.parametrize("sent", [b"", HEAD, HEAD + b"\r\n{"])
def test_places_that_are_held_for_nothing_are_given_to_others(monkeypatch, sent: bytes) -> None:
    with served(limit_concurrency=8) as port, contextlib.ExitStack() as stack:
        for _ in range(20):
            raw = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            with contextlib.suppress(ConnectionError):  # others may have its place already
                raw.sendall(sent)
        deadline = time.monotonic() + 5
        while (answer := patiently(port)) is None:  # what was dropped ends a moment later
            assert time.monotonic() < deadline
        assert answer == "0"
        for _ in range(3):
            assert get(port) == "0"


@pytest.mark.parametrize("path", ["/v1/generate", "/v1/describe", "/generate"])
def test_who_sends_too_much_hears_why(port: int, path: str) -> None:
    """Clients that send all of a body before they listen, as most do."""
    with pytest.raises(urllib.error.HTTPError) as told:
        get(port, path, b"a" * 40_000_000)
    assert told.value.code == 413 and "too large" in told.value.read().decode()
    assert get(port) == "0"


def test_what_is_refused_is_not_read_for_ever(monkeypatch) -> None:
    monkeypatch.setattr("mld.serve.guard.PATIENCE", 0.5)
    with served() as port, socket.create_connection(("127.0.0.1", port), 10) as raw:
        raw.sendall(HEAD.replace(b"100", b"100000000") + b"\r\n{")
        assert b"413" in heard(raw)


def test_after_a_refusal_a_body_is_thrown_away() -> None:
    from starlette.exceptions import HTTPException

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"a" * 20_000_000, "more_body": True}

    async def read() -> None:
        body = gate._Bounded(receive)
        await body()
        with pytest.raises(HTTPException):
            await body()
        assert (await body())["more_body"]

    asyncio.run(read())
