"""A stream's connection: control messages in, answers and chunks out. What is wrong with a message is told on the same
connection, which goes on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

from mld.errors import MldError, RequestError, nearest, one_line, shown
from mld.serve.api.gate import Rates
from mld.serve.api.live import Channel, Live
from mld.serve.api.streams import Draining, Full, Streams, checked_text

KNOWN = {
    "start": ("text", "seed", "model", "data", "end", "seconds", "history"), "resume": ("session", "next"),
    "say": ("text",), "pause": ("on",), "ack": ("sequence",), "stop": (),
}  # fmt: skip
LONGEST_ID = 100  # characters of a message's id, which the answer repeats
SURROGATE = re.compile("[\ud800-\udfff]")  # halves of characters: JSON may hold them, no answer can
UNEXPECTED = "something went wrong on the server; its log says what"
NOTHING_RUNS = "no stream runs on this connection; send start, or resume with its session"
log = logging.getLogger(__name__)


class Refused(RequestError):
    """What a client did wrong, with a word for programs."""

    def __init__(self, code: str, said: str) -> None:
        super().__init__(said)
        self.code = code


class Conversation:
    """socket: a WebSocket that was accepted. address: of the client, for rates."""

    def __init__(self, socket: Any, streams: Streams, rates: Rates, address: str) -> None:
        self._socket, self._streams, self._rates, self._address = socket, streams, rates, address
        self._live: Live | None = None
        self._channel: Channel | None = None
        self._sent = 0  # number of the next chunk to send
        self._over = 0  # chunks of the stream that has just ended
        self.news = asyncio.Event()
        self._sending = asyncio.Lock()
        self._told_draining = False
        self._starting, self._used = False, time.monotonic()  # whether it is being opened; when a stream left
        self._actions: dict[str, Callable[[dict[str, Any]], Awaitable[None]]] = {
            "start": self._start, "resume": self._resume, "say": self._say, "pause": self._pause, "ack": self._ack,
            "stop": self._stop,
        }  # fmt: skip

    async def run(self) -> None:
        """Until the connection ends, or the client takes what it is sent no longer."""
        tasks = {asyncio.create_task(one()) for one in (self._send_chunks, self._receive, self._end_unused)}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:  # nothing is awaited here: whoever cancels this must not be held up
            self._leave()
            for task in tasks:
                task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
                task.cancel()

    async def _end_unused(self) -> None:
        """Close a connection on which no stream has run for as long as a client is waited for."""
        patience = self._streams.settings.patience
        while self._channel is not None or self._starting or time.monotonic() - self._used < patience:
            await asyncio.sleep(min(1.0, patience / 4))
        reason = f"no stream ran on this connection for {patience:g} s"
        await self._out({"type": "websocket.close", "code": 1000, "reason": reason})

    # what comes in

    async def _receive(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            content = message.get("text")
            asked: dict[str, Any] = {}
            try:
                asked = _parsed(content)
                _check_known(asked)
                self._starting = asked["type"] in ("start", "resume")
                await self._actions[asked["type"]](asked)
            except MldError as error:
                await self._tell("error", asked, code=_code(error), error=str(error))
            except (asyncio.CancelledError, ConnectionError):
                raise
            except Exception:  # the last line of defence: clients get a sentence, the log has the whole story
                log.exception("a message of a stream failed")
                await self._tell("error", asked, code="failed", error=UNEXPECTED)
            finally:
                self._starting = False

    async def _start(self, asked: dict[str, Any]) -> None:
        if self._channel is not None:
            raise Refused("running", "a stream runs on this connection already; send stop first, or open another one")
        self._count()
        live, channel = await self._streams.open(asked)
        await self._tell("started", asked, **self._streams.about(live, channel))
        self._attach(live, channel, 0)

    async def _resume(self, asked: dict[str, Any]) -> None:
        if self._channel is not None:
            raise Refused("running", "a stream runs on this connection already; resume on another one")
        self._count()
        live, channel = self._streams.find(asked.get("session"))
        number = _whole(asked, "next")
        first = channel.first_kept
        if not first <= number <= channel.made:
            raise Refused("not_kept", f"chunk {number} is not kept; chunks {first} to {channel.made} can be asked for")
        if number > first:
            channel.take(number - 1)
        if isinstance(channel.listener, _Listener):  # the old connection, which may not know yet that it is lost
            channel.listener.conversation.lose()
        channel.listener = None
        await self._tell("resumed", asked, next=number, **self._streams.about(live, channel))
        self._attach(live, channel, number)

    async def _say(self, asked: dict[str, Any]) -> None:
        live, channel = self._running()
        checked_text(asked.get("text"))
        self._count()
        frame = await asyncio.wrap_future(live.call(live.say, channel, asked["text"]))
        await self._tell("said", asked, text=asked["text"], frame=frame)

    async def _pause(self, asked: dict[str, Any]) -> None:
        live, channel = self._running()
        on = asked.get("on", True)
        if not isinstance(on, bool):
            raise RequestError(f"on: true or false, not {shown(on)}")
        channel.session.paused, channel.heard = on, time.monotonic()
        live.wake()
        await self._tell("paused", asked, on=on)

    async def _ack(self, asked: dict[str, Any]) -> None:
        number = _whole(asked, "sequence")
        if self._channel is None and number < self._over:
            return  # of a stream that ended while its last chunks were shown
        live, channel = self._attached()
        if number >= self._sent:
            raise Refused("not_sent", f"chunk {number} was not sent yet; the next one is {self._sent}")
        channel.take(number)
        live.wake()

    async def _stop(self, asked: dict[str, Any]) -> None:
        live, channel = self._running()
        self._channel, self._used = None, time.monotonic()
        channel.listener = None
        await asyncio.wrap_future(live.call(live.end, channel, "stopped"))
        live.forget(channel)
        await self._tell("stopped", asked, frames=channel.session.frames, chunks=channel.made)

    # what goes out

    async def _send_chunks(self) -> None:
        while True:
            await self.news.wait()
            self.news.clear()
            live, channel = self._live, self._channel
            if live is None or channel is None:
                continue
            if self._streams.draining and not self._told_draining:
                self._told_draining = True
                await self._tell("closing", {}, seconds=self._streams.settings.drain)
            for number, message in channel.after(self._sent):
                if self._channel is not channel:
                    break
                self._sent = number + 1
                await self._out({"type": "websocket.send", "bytes": message})
            if channel.why and self._channel is channel and self._sent >= channel.made:
                self._leave()
                self._over = channel.made
                more = {"error": channel.said} if channel.said else {}
                await self._tell("ended", {}, reason=channel.why, frames=channel.session.frames, chunks=channel.made,
                                 **more)  # fmt: skip

    async def _tell(self, kind: str, asked: dict[str, Any], **content: Any) -> None:
        """A message as JSON; with the id of the message that it answers, where that had one."""
        number = {"id": asked["id"]} if "id" in asked else {}
        text = json.dumps({"type": kind, **number, **content}, ensure_ascii=False)
        await self._out({"type": "websocket.send", "text": text})

    async def _out(self, message: dict[str, Any]) -> None:
        """Send; a client that takes nothing for too long counts as lost."""
        async with self._sending:
            try:
                await asyncio.wait_for(self._socket.send(message), self._streams.settings.patience)
            except Exception as error:  # too slow, closed, or closed by the other side: all the same here
                raise ConnectionError("the client is gone") from error

    # who listens

    def _attach(self, live: Live, channel: Channel, number: int) -> None:
        self._live, self._channel, self._sent, self._over = live, channel, number, 0
        channel.heard = time.monotonic()
        channel.listener = _Listener(self, asyncio.get_running_loop())
        self.news.set()
        live.wake()

    def _leave(self) -> None:
        """The stream goes on without this connection, for as long as it waits for another."""
        channel, self._channel, self._used = self._channel, None, time.monotonic()
        if channel is not None and isinstance(channel.listener, _Listener) and channel.listener.conversation is self:
            channel.listener, channel.left = None, time.monotonic()

    def lose(self) -> None:
        """Another connection goes on with the stream."""
        self._channel, self._used = None, time.monotonic()
        asyncio.ensure_future(self._quietly(self._tell("ended", {}, reason="resumed elsewhere")))

    async def _quietly(self, told: Awaitable[None]) -> None:
        try:
            await told
        except ConnectionError:
            log.debug("a connection was lost before its stream was resumed")

    def _attached(self) -> tuple[Live, Channel]:
        """The stream of this connection, which may have ended without having been told so yet."""
        if self._live is None or self._channel is None:
            raise Refused("no_session", NOTHING_RUNS)
        return self._live, self._channel

    def _running(self) -> tuple[Live, Channel]:
        live, channel = self._attached()
        if channel.why:
            raise Refused("no_session", NOTHING_RUNS)
        return live, channel

    def _count(self) -> None:
        if wait := self._rates.take(self._address):
            raise Refused("too_many", f"too many requests in a minute; try again in {wait} s")


class _Listener:
    """Called from the thread of the streams: there is news for a conversation."""

    def __init__(self, conversation: Conversation, loop: asyncio.AbstractEventLoop) -> None:
        self.conversation, self._loop = conversation, loop

    def __call__(self) -> None:
        with contextlib.suppress(RuntimeError):  # the server has ended
            self._loop.call_soon_threadsafe(self.conversation.news.set)


def _parsed(content: Any) -> dict[str, Any]:
    """A control message; `Refused` for what is none."""
    try:
        asked = json.loads(content) if isinstance(content, str) else None
    except (ValueError, RecursionError) as error:
        raise Refused("not_json", one_line(f"a message is no JSON ({error})")) from error
    if not isinstance(asked, dict) or not isinstance(asked.get("type"), str):
        raise Refused("not_json", 'a message is a JSON object with a type, such as {"type": "say", "text": "..."}')
    number = asked.get("id", "")
    words = isinstance(number, str) and len(number) <= LONGEST_ID and not SURROGATE.search(number)
    if not words and number is not None and not (type(number) is int and abs(number) < 2**63):
        raise RequestError(f"id: a whole number or up to {LONGEST_ID} characters, not {shown(number)}")
    return asked


def _check_known(asked: dict[str, Any]) -> None:
    """`Refused` for a message that there is not, or that has what it does not have."""
    if asked["type"] not in KNOWN:
        raise Refused("unknown", f"there is no message {shown(asked['type'])}; {nearest(asked['type'], KNOWN)}")
    known = ("type", "id", *KNOWN[asked["type"]])
    odd = [name for name in asked if name not in known]
    if odd:
        raise Refused("unknown", f"a message '{asked['type']}' has no {shown(odd[0])}; {nearest(odd[0], known)}")


def _whole(asked: dict[str, Any], name: str) -> int:
    number = asked.get(name)
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 2**32:
        raise RequestError(f"{name}: the number of a chunk is needed, not {shown(number)}")
    return number


def _code(error: MldError) -> str:
    """A word for programs."""
    codes = {Draining: "closing", Full: "full"}
    return getattr(error, "code", codes.get(type(error), "bad_request"))
