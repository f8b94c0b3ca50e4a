"""A visitor of the page without a browser, over its HTTP addresses on this machine: comes, asks, leaves at any time."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from mld.serve.studio import Studio


@contextmanager
def served(studio: Studio, allowed: Sequence[str] = ()) -> Iterator[str]:
    """The page of a studio on a free port, by its address."""
    from mld.serve.page.server import launch

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    page = launch(studio, "127.0.0.1", port, allowed=allowed)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        page.close()


class Visitor:
    """address: of the page. It lets go of its connections when it is closed, as a tab does."""

    def __init__(self, address: str) -> None:
        assert "//127.0.0.1:" in address, "visitors stay on this machine"
        self.address, self.tab = address.rstrip("/"), secrets.token_hex(6)
        self.http = httpx.Client(trust_env=False, timeout=90, headers={"origin": self.address})
        self.functions: dict[str, int] = {}
        self._look_around()

    def arrive(self) -> None:
        """Open the page, with the connection that tells the server that it is still open."""
        self._call("arrive", ["", None])
        request = self.http.build_request("GET", f"{self.address}/gradio_api/heartbeat/{self.tab}")
        self._alive = self.http.send(request, stream=True)

    def ask(self, text: str, files: list[Path] = (), task: str = "t2m", seconds: float = 0.0) -> str:
        """Press "Send": the history that comes back."""
        uploads = [self.upload(file) for file in files]
        boxes = [[one] for one in uploads] + [None] * (2 - len(uploads))
        data = [None, task, text, *boxes, seconds, 0, 1, self.model, ""]
        return self._call("send", data)["data"][0]

    def upload(self, file: Path) -> dict[str, Any]:
        answer = self.http.post(f"{self.address}/gradio_api/upload", files={"files": (file.name, file.read_bytes())})
        answer.raise_for_status()
        return {"path": answer.json()[0], "orig_name": file.name, "meta": {"_type": "gradio.FileData"}}

    def follow(self, messages: int | None = None) -> list[dict[str, Any]]:
        """What the server tells of the answer: so many messages, or all of them."""
        join = {"data": [None], "fn_index": self.functions["work"], "session_hash": self.tab}
        self.http.post(f"{self.address}/gradio_api/queue/join", json=join).raise_for_status()
        seen = []
        stream = f"{self.address}/gradio_api/queue/data?session_hash={self.tab}"
        with self.http.stream("GET", stream) as answer:
            for line in answer.iter_lines():
                if line.startswith("data:"):
                    seen.append(json.loads(line[5:]))
                    if seen[-1]["msg"] == "close_stream" or len(seen) == messages:
                        break
        return seen

    def close(self) -> None:
        self.http.close()

    def _look_around(self) -> None:
        """Learn the numbers of the page's functions, and which model answers."""
        config = self.http.get(f"{self.address}/config").json()
        ids = {one["id"]: one["props"].get("elem_id") for one in config["components"]}
        self.model = next(one["props"]["value"] for one in config["components"] if ids[one["id"]] == "model")
        for one in config["dependencies"]:
            place, event = one["targets"][0]
            work = "work" if one["queue"] else ""
            named = {("send", "click"): "send", (None, "load"): "arrive", (None, "then"): work}
            if name := named.get((ids.get(place), event)):
                self.functions.setdefault(name, one["id"])

    def _call(self, name: str, data: list[Any]) -> dict[str, Any]:
        body = {"data": data, "fn_index": self.functions[name], "session_hash": self.tab}
        answer = self.http.post(f"{self.address}/gradio_api/run/predict", json=body)
        answer.raise_for_status()
        return answer.json()
