"""The server with two tiny untrained models: one that streams and one that makes clips and words."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tasks
from mld.serve.models import Models
from tests.commands.conftest import ROOT

for package in ("fastapi", "uvicorn", "websockets", "prometheus_client"):
    pytest.importorskip(package, reason="the extra 'server' is not installed")

WALK, SIT = "a person walks forward.", "a woman sits down slowly."


@pytest.fixture(scope="session")
def models(streamer_folder: Path, model_folder: Path) -> Models:
    return Models([str(streamer_folder), str(model_folder)], kept=2)


@contextlib.contextmanager
def opened(models: Models, **settings: Any) -> Iterator[Any]:
    """A client of an application of its own, in this process."""
    from starlette.testclient import TestClient

    from mld.serve.api.app import create_app
    from mld.serve.api.settings import Settings

    app = create_app(models, tasks.forms(), Settings(**settings), allowed=["testserver"])
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def client(models: Models) -> Iterator[Any]:
    with opened(models, rate=0, grace=2.0, patience=3.0, sessions=6) as made:
        yield made


class Talk:
    """A stream's connection in this process: `ask` sends a message and gives the answer, chunks on the way are kept."""

    def __init__(self, socket: Any) -> None:
        from mld.serve.protocol import unpacked

        self.socket, self._unpacked = socket, unpacked
        self.chunks: list[Any] = []

    def send(self, **message: Any) -> None:
        self.socket.send_text(json.dumps(message))

    def ask(self, **message: Any) -> dict[str, Any]:
        self.send(**message)
        return self.told()

    def told(self) -> dict[str, Any]:
        """The next answer that is no chunk."""
        while True:
            message = self.socket.receive()
            if message.get("bytes") is None:
                assert message["type"] == "websocket.send", message
                return json.loads(message["text"])
            self.chunks.append(self._unpacked(message["bytes"]))

    def take(self, count: int, acknowledge: bool = True) -> list[Any]:
        """So many chunks from the first one on."""
        while len(self.chunks) < count:
            message = self.socket.receive()
            assert message.get("bytes") is not None, message
            self.chunks.append(self._unpacked(message["bytes"]))
            if acknowledge:
                self.send(type="ack", sequence=self.chunks[-1].sequence)
        return self.chunks


@pytest.fixture
def talk(client):
    """Open connections: `talk()`; all are closed in the end."""
    with contextlib.ExitStack() as stack:
        yield lambda: Talk(stack.enter_context(client.websocket_connect("/v1/stream")))


@contextlib.contextmanager
def running(*arguments: object, **environment: str) -> Iterator[tuple[str, subprocess.Popen]]:
    """`python serve.py ...` as a process of its own, by its address."""
    process = subprocess.Popen(
        [sys.executable, "serve.py", "--port", "0", *map(str, arguments)], cwd=ROOT, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        said = process.stdout.readline()
        if " on http" not in said:
            pytest.fail(f"the server did not start: {said} {process.communicate(timeout=20)}")
        yield said.split(" on ")[1].split()[0], process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        process.stderr.close()


@pytest.fixture(scope="session")
def mmcp(streamer_folder: Path, model_folder: Path) -> Iterator[str]:
    """The address of a server of both models."""
    with running("--model", streamer_folder, model_folder, "--rate", 0) as (address, _):
        yield address


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
