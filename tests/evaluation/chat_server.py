"""A small OpenAI-compatible server on this machine, whose answers a test decides."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = Callable[[dict[str, Any]], tuple[int, Any]]


class ChatServer(ThreadingHTTPServer):
    """bodies: the questions that came; keys: their Authorization headers. reply: status and JSON (or bytes) of one."""

    daemon_threads = True

    def __init__(self, reply: Reply, models: tuple[str, ...] = ("seer",)) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reply, self.models = reply, models
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.headers_sent: dict[str, str] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: ChatServer

    def do_GET(self) -> None:
        self._send(200, {"data": [{"id": name} for name in self.server.models]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        self.server.keys.append(self.headers.get("Authorization"))
        self._send(*self.server.reply(body))

    def _send(self, status: int, content: Any) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in self.server.headers_sent.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(OSError):  # of who did not wait for it
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


def said(text: str) -> tuple[int, Any]:
    """A chat completion."""
    return 200, {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}


def question_of(body: dict[str, Any]) -> str:
    return body["messages"][0]["content"][0]["text"]


@contextlib.contextmanager
def serving(reply: Reply, **options: Any) -> Iterator[ChatServer]:
    with ChatServer(reply, **options) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
