"""A client of `mld serve`: requests, and streams that come back after a lost connection.

    async with Client("http://127.0.0.1:8700") as client:
        motion = await client.generate("a person jumps", seconds=3)
        async with client.stream("a person walks") as stream:
            async for chunk in stream:
                show(chunk.positions)
                if chunk.first_frame == 120:
                    await stream.say("now they sit down")
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from mld.errors import RequestError, missing_extra
from mld.motion.motion import Motion
from mld.serve.protocol import BEARER, SUBPROTOCOL, Frames, unpacked

RETRIES = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)  # seconds before a lost connection is tried again
TAKEN = 120.0  # seconds for an answer


class Refused(RequestError):
    """The server said no. status: of HTTP, 0 on a stream; code: a word for programs; retry_after: seconds."""

    def __init__(self, said: str, status: int = 0, code: str = "", retry_after: float | None = None) -> None:
        super().__init__(said)
        self.status, self.code, self.retry_after = status, code, retry_after


class Client:
    """address: of the server, http:// or https://. token: where it asks for one."""

    def __init__(self, address: str = "http://127.0.0.1:8700", token: str = "", timeout: float = TAKEN) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise RequestError(f"'{address}' is no address of a server; write http://HOST:PORT")
        self.address, self.token, self.timeout = address.rstrip("/"), token, timeout

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *exception: object) -> None:
        return None

    async def generate(self, text: str = "", motions: list[Motion] | None = None, **options: Any) -> Motion:
        """A motion; options as in `POST /v1/generate` (seconds, seed, model, task). `Refused` where the server says
        no."""
        given = [as_numbers(motion) for motion in motions or []]
        body = {"text": text, "motions": given, **options, "samples": 1, "format": "json"}
        content = await self.ask("generate", body)
        return as_motion(json.loads(content)["answers"][0]["motion"])

    async def describe(self, motion: Motion, text: str = "", **options: Any) -> str:
        """What a motion shows."""
        content = await self.ask("describe", {"motion": as_numbers(motion), "text": text, **options})
        return str(json.loads(content)["text"])

    async def models(self) -> list[dict[str, Any]]:
        """What can be asked, and of whom."""
        return list(json.loads(await self.ask("models"))["models"])

    async def ask(self, path: str, body: dict[str, Any] | None = None) -> bytes:
        """The content of an answer of `/v1/<path>`; a body makes it a POST."""
        return await asyncio.to_thread(self._ask, path, body)

    def stream(self, text: str, acknowledge: bool = True, **options: Any) -> Stream:
        """A motion without an end; options as in `start` (seed, model, data, end, seconds). acknowledge: a chunk counts
        as taken when the next one is asked for; False leaves it to `Stream.acknowledge`."""
        history = options.pop("history", None)
        if isinstance(history, Motion):
            options["history"] = as_numbers(history)
        return Stream(self, {"text": text, **options}, acknowledge)

    def _ask(self, path: str, body: dict[str, Any] | None) -> bytes:
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}/v1/{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            raise _refused(error.code, error.read(), error.headers.get("Retry-After")) from error
        except OSError as error:
            raise Refused(f"{self.address} cannot be reached ({error}); is `mld serve` running there?") from error


class Stream:
    """Chunks, in order, none lost and none twice, whatever happens to the connection in between. about: what the server
    says of it (fps, joints, parents, offsets ...). `Refused` where the server says no."""

    def __init__(self, client: Client, first: dict[str, Any], acknowledge: bool) -> None:
        self.client, self.about = client, dict[str, Any]()
        self.next = 0  # number of the chunk that comes next
        self.resumed = 0  # how often the connection was lost and found again
        self.ended: dict[str, Any] | None = None
        self._first, self._acknowledge, self._waiting = first, acknowledge, -1
        self._taken = -1
        self._socket: Any = None

    async def __aenter__(self) -> Stream:
        await self._connect({"type": "start", **self._first})
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self.ended is None and self._socket is not None:
            try:
                await self._socket.send(json.dumps({"type": "stop"}))
            except _closed():
                pass  # the server lets go of it by itself
        await self.close()

    def __aiter__(self) -> AsyncIterator[Frames]:
        return self

    async def __anext__(self) -> Frames:
        if self._acknowledge and self._waiting >= 0:
            waiting, self._waiting = self._waiting, -1
            await self.acknowledge(waiting)
        while self.ended is None:
            try:
                message = await self._socket.recv()
            except _closed():
                await self._resume()
                continue
            if isinstance(message, str):
                self._take(json.loads(message))
                continue
            chunk = unpacked(message)
            if chunk.sequence != self.next:
                raise Refused(f"chunk {chunk.sequence} came where {self.next} was due")
            self.next, self._waiting = self.next + 1, chunk.sequence
            return chunk
        if self.ended.get("error"):
            raise Refused(str(self.ended["error"]), code=str(self.ended.get("reason", "")))
        raise StopAsyncIteration

    async def say(self, text: str) -> None:
        """Other words, from a chunk soon on (`Frames.other_words`). A mistake is raised by the next chunk."""
        await self._send({"type": "say", "text": text})

    async def pause(self, on: bool = True) -> None:
        """Make nothing for a while; what was made comes."""
        await self._send({"type": "pause", "on": on})

    async def acknowledge(self, sequence: int) -> None:
        """All chunks up to this number were taken; the server makes more."""
        if sequence > self._taken:
            self._taken = sequence
            await self._send({"type": "ack", "sequence": sequence})

    async def close(self) -> None:
        """Leave the connection. The stream goes on for a while; `__aexit__` stops it."""
        if self._socket is not None:
            await self._socket.close()

    async def _send(self, message: dict[str, Any]) -> None:
        try:
            await self._socket.send(json.dumps(message))
        except _closed():
            if message["type"] == "ack":
                return  # coming back says it, too
            await self._resume()
            await self._socket.send(json.dumps(message))

    async def _resume(self) -> None:
        """A new connection that goes on with the next chunk; `Refused` where there is none in time."""
        for seconds in RETRIES:
            await asyncio.sleep(seconds)
            try:
                await self._connect({"type": "resume", "session": self.about["session"], "next": self.next})
            except Refused as error:
                if error.status or error.code:
                    raise
                continue
            self.resumed, self._taken, self._waiting = self.resumed + 1, self.next - 1, -1
            return
        raise Refused(f"the connection to {self.client.address} was lost")

    async def _connect(self, first: dict[str, Any]) -> None:
        connect, failures = _websockets()
        parts = urlsplit(self.client.address)
        scheme = "wss" if parts.scheme == "https" else "ws"
        address = urlunsplit((scheme, parts.netloc, f"{parts.path}/v1/stream", "", ""))
        protocols = [SUBPROTOCOL, *([BEARER + self.client.token] if self.client.token else [])]
        try:
            self._socket = await connect(address, subprotocols=protocols, max_size=2**24, proxy=None, compression=None)
            await self._socket.send(json.dumps(first))
            answer = json.loads(await asyncio.wait_for(self._socket.recv(), self.client.timeout))
        except failures as error:
            said = getattr(error, "response", None)
            if said is not None:
                raise _refused(said.status_code, said.body or b"", said.headers.get("Retry-After")) from error
            raise Refused(f"{address} cannot be reached ({error}); is `mld serve` running there?") from error
        if answer["type"] == "error":
            await self._socket.close()
            raise Refused(answer["error"], code=answer["code"])
        self.about = answer

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "error":
            raise Refused(message["error"], code=message["code"])
        if message["type"] in ("ended", "stopped"):
            self.ended = message


def as_numbers(motion: Motion) -> dict[str, Any]:
    """A motion as the server takes it."""
    return {"fps": motion.fps, "skeleton": motion.skeleton.name, "joints": motion.joints.tolist()}


def as_motion(document: dict[str, Any]) -> Motion:
    """A motion of an answer, which is what a `.json` file holds."""
    from mld.motion.formats.json import read

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "motion.json"
        path.write_text(json.dumps(document), encoding="utf-8")
        return read(path)


def _refused(status: int, content: bytes, retry_after: str | None) -> Refused:
    try:
        said = str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        said = f"the server answers with status {status}"
    wait = float(retry_after) if retry_after and retry_after.isdecimal() else None
    return Refused(said, status, retry_after=wait)


def _websockets() -> tuple[Any, tuple[type[BaseException], ...]]:
    try:
        from websockets.asyncio.client import connect
        from websockets.exceptions import WebSocketException
    except ImportError as error:
        raise missing_extra("websockets", "server") from error
    return connect, (OSError, WebSocketException, asyncio.TimeoutError)


def _closed() -> type[BaseException]:
    from websockets.exceptions import ConnectionClosed

    return ConnectionClosed
