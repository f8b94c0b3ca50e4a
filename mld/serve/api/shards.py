"""One address for several processes: a front that hands every connection to the process that holds its session.

A shard is the whole application (`create_app`) in a process of its own. The front looks at one thing alone, which
session a client comes back to: its id begins with the number of the shard that made it. All else goes to the shard
with the fewest open connections, as ASGI messages, so that tokens, names and rates are checked where they always are.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any, Protocol

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
PLAIN = ("type", "asgi", "http_version", "scheme", "method", "path", "raw_path", "query_string", "root_path", "headers",
         "client", "server", "subprotocols", "extensions")  # fmt: skip  (of a scope: what another process can be told)
GONE = {"http": {"type": "http.disconnect"}, "websocket": {"type": "websocket.disconnect", "code": 1006}}
LOST = "the part of the server that answers this has failed and starts again; try again in a moment"
TELLING: set[asyncio.Future[None]] = set()  # on their way; a loop keeps no task alive by itself
PATIENCE = 10.0  # seconds that a shard has to let go of a connection


class Remote(Protocol):
    """A shard, wherever it is. Any exception of these means that it cannot be reached."""

    def answer(self, connection: str, scope: Message) -> AsyncIterator[list[Message]]: ...

    async def put(self, connection: str, messages: list[Message]) -> None: ...


def prefix(number: int) -> str:
    """How the ids of a shard's sessions begin."""
    return f"{number}."


class Shard:
    """app: a FastAPI application. Calls are for its event loop; `begin` comes first, `end` last."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self._incoming: dict[str, asyncio.Queue[Message]] = {}
        self._lifespan = contextlib.AsyncExitStack()

    async def begin(self) -> None:
        await self._lifespan.enter_async_context(self.app.router.lifespan_context(self.app))

    async def end(self) -> None:
        await self._lifespan.aclose()

    async def answer(self, connection: str, scope: Message) -> AsyncIterator[list[Message]]:
        """What the application sends on a connection, as it comes; an empty list first: from then on it can be told
        something (`put`)."""
        incoming = self._incoming[connection] = asyncio.Queue()
        outgoing: asyncio.Queue[Message | None] = asyncio.Queue()
        running = asyncio.create_task(self.app(dict(scope), incoming.get, outgoing.put))
        running.add_done_callback(lambda _: outgoing.put_nowait(None))
        try:
            yield []
            over = False
            while not over:
                messages = [await outgoing.get(), *_rest(outgoing)]
                over = messages[-1] is None
                yield [message for message in messages if message is not None]
            await running
        finally:
            del self._incoming[connection]
            if not running.done():
                incoming.put_nowait(GONE[scope["type"]])
                asyncio.get_running_loop().call_later(PATIENCE, running.cancel)

    async def put(self, connection: str, messages: list[Message]) -> None:
        """What a client sends; nothing happens where the connection is over."""
        if (incoming := self._incoming.get(connection)) is not None:
            for message in messages:
                incoming.put_nowait(message)

    def drain(self) -> None:
        """Begin nothing any more, and let clients know."""
        self.app.state.streams.drain()

    def end_streams(self) -> None:
        self.app.state.streams.end_all()

    @property
    def open(self) -> int:
        """Streams and requests."""
        return int(self.app.state.streams.number + self.app.state.jobs.open)


class Front:
    """An ASGI application. shards: gives them, by their numbers; asked when the first connection comes."""

    def __init__(self, shards: Callable[[], Sequence[Remote]]) -> None:
        self._find, self._shards = shards, list[Remote]()
        self._open: list[int] = []

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if not self._shards:
            self._shards = list(self._find())
            self._open = [0] * len(self._shards)
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        elif scope["path"] in GATHERED:
            await self._gather(scope, receive, send)
        else:
            await self._request(scope, receive, send)

    def owner(self, session: Any) -> int | None:
        """The number of the shard that made a session; None where its id names none."""
        number, dot, _ = session.partition(".") if isinstance(session, str) else ("", "", "")
        known = dot and number.isascii() and number.isdecimal() and len(number) < 6
        return int(number) if known and int(number) < len(self._shards) else None

    async def _request(self, scope: Message, receive: Receive, send: Send) -> None:
        begun, tasks = False, list[asyncio.Task[Any]]()
        with contextlib.ExitStack() as stack:
            try:
                link = await self._opened(stack, scope, self._least())
                tasks = [asyncio.create_task(link.pump(receive))]
                async for message in link:
                    await send(message)
                    begun = True
            except Exception:  # the shard is gone: whatever that is called
                if not begun:
                    await _say(send, 503, LOST)
            finally:
                _let_go(*tasks)

    async def _gather(self, scope: Message, receive: Receive, send: Send) -> None:
        """The answers of all shards as one; of the first that refuses."""
        answers = await asyncio.gather(*(self._whole(scope, number) for number in range(len(self._shards))))
        for status, headers, body in answers:
            if status != 200:
                await _answer(send, status, headers, body)
                return
        bodies = [body for _, _, body in answers]
        await _answer(send, 200, answers[0][1], GATHERED[scope["path"]](bodies))

    async def _whole(self, scope: Message, number: int) -> tuple[int, list[Any], bytes]:
        status, headers, body = 503, list[Any](), b""
        try:
            with contextlib.ExitStack() as stack:
                link = await self._opened(stack, scope, number)
                await link.put({"type": "http.request", "body": b"", "more_body": False})
                async for message in link:
                    status, headers = message.get("status", status), message.get("headers", headers)
                    body += message.get("body", b"")
        except Exception:
            return 503, [(b"content-type", b"application/json")], json.dumps({"error": LOST}).encode()
        return status, headers, body

    async def _socket(self, scope: Message, receive: Receive, send: Send) -> None:
        """A connection of a stream. It may go over to another shard as long as no stream runs on it."""
        number, runs = self._least(), False
        tasks: list[asyncio.Task[Any]] = []
        with contextlib.ExitStack() as stack:
            try:
                link = await self._opened(stack, scope, number)
                await link.put(await receive())
                down = asyncio.create_task(_pass_on(link, send))
                while True:
                    incoming = asyncio.create_task(receive())
                    tasks = [incoming, down]
                    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                    if down.done():
                        down.result()
                        return
                    message = incoming.result()
                    kind, session = _control(message)
                    owner = self.owner(session)
                    if kind == "resume" and not runs and owner not in (None, number):
                        _let_go(down)
                        stack.close()
                        number = owner
                        link = await self._opened(stack, scope, number)
                        await link.put({"type": "websocket.connect"})
                        down = asyncio.create_task(_pass_on(link, send, accepted=True))
                    runs = (runs or kind in ("start", "resume")) and kind != "stop"
                    await link.put(message)
                    if message["type"] == "websocket.disconnect":
                        return
            except Exception:  # the shard is gone; clients that come back find the one that took its place
                with contextlib.suppress(Exception):
                    await send({"type": "websocket.close", "code": 1011})
            finally:  # nothing is awaited here: whoever cancels this must not be held up
                _let_go(*tasks)

    def _least(self) -> int:
        """The shard with the fewest connections that this front has opened."""
        return min(range(len(self._open)), key=lambda number: self._open[number])

    async def _opened(self, stack: contextlib.ExitStack, scope: Message, number: int) -> _Link:
        """A connection with a shard, until the stack closes."""
        link = stack.enter_context(self._link(scope, number))
        await link.begin()
        return link

    @contextlib.contextmanager
    def _link(self, scope: Message, number: int) -> Iterator[_Link]:
        self._open[number] += 1
        link = _Link(self._shards[number], {name: scope[name] for name in PLAIN if name in scope})
        try:
            yield link
        finally:
            self._open[number] -= 1
            link.close()


class _Link:
    """A connection with a shard: messages of its application, in order."""

    def __init__(self, shard: Remote, scope: Message) -> None:
        self._shard, self._scope, self._name, self._over = shard, scope, uuid.uuid4().hex, False
        self._answers = shard.answer(self._name, scope)

    async def begin(self) -> None:
        await self._answers.__anext__()

    async def __aiter__(self) -> AsyncIterator[Message]:
        async for messages in self._answers:
            for message in messages:
                yield message
        self._over = True

    async def put(self, message: Message) -> None:
        await self._shard.put(self._name, [message])

    async def pump(self, receive: Receive) -> None:
        """Everything that a client sends, until it is gone."""
        while True:
            message = await receive()
            await self.put(message)
            if message["type"].endswith("disconnect"):
                return

    def close(self) -> None:
        """Let the application know that nobody is there."""
        if not self._over:
            telling = asyncio.ensure_future(self.put(GONE[self._scope["type"]]))
            TELLING.add(telling)
            telling.add_done_callback(_told)


async def _pass_on(link: _Link, send: Send, accepted: bool = False) -> None:
    """accepted: the client was told so by another shard."""
    async for message in link:
        if not (accepted and message["type"] == "websocket.accept"):
            await send(message)


def _let_go(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks; how they end is nobody's concern any more."""
    for task in tasks:
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        task.cancel()


def _told(task: asyncio.Future[None]) -> None:
    TELLING.discard(task)
    _ = task.cancelled() or task.exception()  # a shard that is gone has let go of the connection


def _control(message: Message) -> tuple[str, Any]:
    """(type, session) of a control message; ("", None) for what is none."""
    text = message.get("text") or ""
    if not any(f'"{kind}"' in text for kind in ("start", "resume", "stop")):
        return "", None
    try:
        asked = json.loads(text)
    except (ValueError, RecursionError):
        return "", None
    kind = asked.get("type") if isinstance(asked, dict) else None
    return (kind, asked.get("session")) if isinstance(kind, str) else ("", None)


def _rest(queue: asyncio.Queue[Any]) -> list[Any]:
    found = []
    while not queue.empty():
        found.append(queue.get_nowait())
    return found


def _health(bodies: Sequence[bytes]) -> bytes:
    parts = [json.loads(body) for body in bodies]
    state = "ok" if all(part["status"] == "ok" for part in parts) else "ending"
    sums = {name: sum(part[name] for part in parts) for name in ("requests", "streams")}
    return json.dumps({**parts[0], "status": state, **sums, "shards": [part["streams"] for part in parts]}).encode()


def _metrics(bodies: Sequence[bytes]) -> bytes:
    """Counters of all shards, told apart by a label."""
    from prometheus_client import generate_latest
    from prometheus_client.metrics_core import Metric
    from prometheus_client.parser import text_string_to_metric_families

    found: dict[str, Metric] = {}
    for number, body in enumerate(bodies):
        for family in text_string_to_metric_families(body.decode()):
            whole = found.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                whole.add_sample(sample.name, {**sample.labels, "shard": str(number)}, sample.value)

    class Found:
        def collect(self) -> list[Metric]:
            return list(found.values())

    return generate_latest(Found())  # type: ignore[arg-type]  (it asks for `collect` alone)


GATHERED: dict[str, Callable[[Sequence[bytes]], bytes]] = {"/v1/health": _health, "/v1/metrics": _metrics}


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _answer(send: Send, status: int, headers: Sequence[Any], body: bytes) -> None:
    kept = [(name, value) for name, value in headers if bytes(name).lower() != b"content-length"]
    await send({"type": "http.response.start", "status": status,
                "headers": [*kept, (b"content-length", str(len(body)).encode())]})  # fmt: skip
    await send({"type": "http.response.body", "body": body})


async def _say(send: Send, status: int, said: str) -> None:
    headers = [(b"content-type", b"application/json"), (b"retry-after", b"10")]
    await _answer(send, status, headers, json.dumps({"error": said}).encode())
