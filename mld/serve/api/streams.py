"""All streams of the server, of all its models: opened, found again by their id, and let go where nobody listens."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from mld.engine.streaming.streamer import ENDS
from mld.errors import RequestError, nearest, shown
from mld.serve.api.live import Channel, Live
from mld.serve.api.metrics import Metrics
from mld.serve.api.service import Service
from mld.serve.api.settings import Settings
from mld.serve.models import STREAM
from mld.serve.page.forms import HIGHEST_SEED, LONGEST_TEXT
from mld.serve.protocol import AXES, DATA

SWEEP = 0.5  # seconds between two looks at who has left
RECENT = 32  # words of a stream that a client is told when it comes back


class Draining(RequestError):
    """The server ends; nothing begins any more."""


class Full(RequestError):
    """All places are taken."""


class Streams:
    def __init__(self, service: Service, settings: Settings, metrics: Metrics) -> None:
        self.service, self.settings, self.metrics = service, settings, metrics
        self.draining = False
        self._lives: dict[str, Live] = {}
        self._opening = asyncio.Lock()

    async def open(self, ask: dict[str, Any]) -> tuple[Live, Channel]:
        """A stream as a `start` message asks for it; `RequestError` for what cannot be served."""
        text, seed = ask.get("text"), ask.get("seed", 0)
        data, end = ask.get("data", "joints"), ask.get("end", "continue")
        checked_text(text)
        if self.draining:
            raise Draining("the server is ending; try again in a moment")
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= HIGHEST_SEED:
            raise RequestError(f"seed: a whole number from 0 to {HIGHEST_SEED}, not {shown(seed)}")
        for name, value, known in (("data", data, DATA), ("end", end, ENDS)):
            if not isinstance(value, str) or value not in known:
                raise RequestError(f"{name} {shown(value)} is not known; {nearest(value, known)}")
        if self.number >= self.settings.sessions:
            raise Full(f"{self.number} streams are open, more are not served; try again later")
        live = await self._live(self.service.named(ask.get("model"), STREAM))
        most = live.pipeline.frames(ask.get("seconds"))
        clip = None
        if ask.get("history") is not None:
            given = await asyncio.to_thread(self.service.given, ask["history"])
            clip = await asyncio.to_thread(live.pipeline.clip, given)
        return live, await asyncio.wrap_future(live.call(live.open, text, seed, clip, end, data, most))

    def find(self, name: Any) -> tuple[Live, Channel]:
        """A stream by its id; `RequestError` for one that is not there."""
        for live in self._lives.values():
            if isinstance(name, str) and name in live.channels:
                return live, live.channels[name]
        raise RequestError(f"there is no session {shown(name)}; it ended, or was given up {self.settings.grace:g} s "
                           "after its connection was lost")  # fmt: skip

    def about(self, live: Live, channel: Channel) -> dict[str, Any]:
        """What a client has to know of a stream."""
        representation = live.pipeline.representation
        skeleton = representation.skeleton
        return {
            "session": channel.id, "data": channel.data, "fps": representation.fps, "unit": "m", "axes": AXES,
            "frames_per_chunk": live.batcher.chunk, "skeleton": skeleton.name,
            "joints": list(skeleton.joint_names), "parents": list(skeleton.parents), "face": list(skeleton.face_joints),
            "offsets": [[round(x, 6) for x in row] for row in live.offsets.tolist()],
            "lead_seconds": self.settings.lead_seconds, "grace_seconds": self.settings.grace,
            "texts": [[frame, text] for frame, text in channel.session.texts[-RECENT:]],
        }  # fmt: skip

    @property
    def number(self) -> int:
        """Streams that are open."""
        return sum(len(live.batcher.sessions) for live in self._lives.values())

    def sweep(self) -> None:
        """Let go of streams that nobody listens to, or that nobody reads."""
        now, kept = time.monotonic(), self.settings
        for live in self._lives.values():
            for channel in list(live.channels.values()):
                why, said = _overdue(channel, now, kept)
                if channel.why and channel.listener is None and now - channel.left > kept.grace:
                    live.forget(channel)
                elif why and not channel.why:
                    live.call(live.end, channel, why, said)

    async def sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP)
            self.sweep()

    def drain(self) -> None:
        """Begin nothing any more, and let clients know."""
        self.draining = True
        for live in self._lives.values():
            for channel in list(live.channels.values()):
                if channel.listener is not None:
                    channel.listener()

    def end_all(self) -> None:
        """End every stream, because the server does."""
        for live in self._lives.values():
            for channel in list(live.channels.values()):
                if not channel.why:
                    live.call(live.end, channel, "closing", "the server is ending")

    async def close(self) -> None:
        for live in self._lives.values():
            await asyncio.to_thread(live.close)

    async def _live(self, name: str) -> Live:
        async with self._opening:
            if name not in self._lives:
                pipeline = await asyncio.to_thread(self.service.models.pipeline, name)
                for other in [key for key, live in self._lives.items() if not live.channels]:  # memory for one more
                    await asyncio.to_thread(self._lives.pop(other).close)
                self._lives[name] = Live(pipeline, self.settings, self.metrics)
            return self._lives[name]


def checked_text(text: Any) -> None:
    """`RequestError` for what is no text, or too long a one. That it is not empty is checked by the engine."""
    if not isinstance(text, str):
        raise RequestError(f"text: words are needed, not {shown(text)}")
    if len(text) > LONGEST_TEXT:
        raise RequestError(f"that is a long text ({len(text)} characters); up to {LONGEST_TEXT} are read")


def _overdue(channel: Channel, now: float, kept: Settings) -> tuple[str, str]:
    """(word, sentence) on why a stream is to be let go; ("", "")."""
    if channel.listener is None:
        return ("lost", "nobody came back to the stream") if now - channel.left > kept.grace else ("", "")
    silent = now - channel.heard
    if channel.session.paused:
        return ("idle", f"the pause lasted longer than {kept.idle:g} s") if silent > kept.idle else ("", "")
    if channel.kept and silent > kept.patience:
        return "unread", f"nothing was acknowledged for {kept.patience:g} s; send ack for every chunk that was taken"
    return "", ""
