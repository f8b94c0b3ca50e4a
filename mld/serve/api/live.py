"""The streams of one model: a thread that makes the next chunk of all that wait for one, and keeps chunks until their
client has acknowledged them.

Everything that touches the engine runs in that thread, between two steps, so that no request waits for a lock.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
import torch

from mld.engine.body import body_offsets
from mld.engine.pipeline import Pipeline
from mld.engine.streaming.session import Chunk, EndPolicy, Session
from mld.engine.streaming.streamer import Limits
from mld.errors import RequestError
from mld.example import Clip
from mld.motion.formats.gltf import quaternions
from mld.motion.motion import Motion
from mld.motion.representations.base import Representation
from mld.motion.rig.rest_pose import solve
from mld.serve.api.metrics import Metrics
from mld.serve.api.settings import Settings
from mld.serve.protocol import Frames, packed

REST = 0.5  # seconds between two looks, where nothing is to be made
BEFORE = 8  # frames that rotations of a chunk are found with, so that limbs do not roll from chunk to chunk
log = logging.getLogger(__name__)


@dataclass(eq=False)
class Channel:
    """A stream and its client. id: nobody guesses it. most_frames: it ends after so many, None for never. kept: chunks
    that were not acknowledged, as (number, last frame + 1, message). made: chunks so far. why: it has ended, "" while
    it has not. listener: called from the thread whenever there is news. left: when its client was lost."""

    session: Session
    data: str
    most_frames: int | None
    id: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    kept: deque[tuple[int, int, bytes]] = field(default_factory=deque)
    made: int = 0
    why: str = ""
    said: str = ""
    listener: Callable[[], None] | None = None
    left: float = field(default_factory=time.monotonic)
    heard: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)
    before: torch.Tensor | None = None
    texts: int = 1

    @property
    def first_kept(self) -> int:
        """The number of the oldest chunk that can be sent again."""
        with self.lock:
            return self.kept[0][0] if self.kept else self.made

    def after(self, number: int) -> list[tuple[int, bytes]]:
        """Chunks from this number on."""
        with self.lock:
            return [(at, message) for at, _, message in self.kept if at >= number]

    def take(self, number: int) -> None:
        """The client has all chunks up to this number. `RequestError` for one that it cannot have, or has told of."""
        with self.lock:
            if number >= self.made:
                raise RequestError(f"chunk {number} was not sent yet; the last one is {self.made - 1}")
            if not self.kept or number < self.kept[0][0]:
                raise RequestError(f"chunk {number} was acknowledged before; send each number once")
            while self.kept and self.kept[0][0] <= number:
                _, frames, _ = self.kept.popleft()
            self.session.taken, self.heard = frames, time.monotonic()


class Live:
    """pipeline: of a model that makes motion from words. `close` ends the thread and all streams."""

    def __init__(self, pipeline: Pipeline, settings: Settings, metrics: Metrics) -> None:
        self.pipeline, self.settings, self._metrics = pipeline, settings, metrics
        limits = Limits(settings.sessions, settings.lead_seconds)
        self.batcher = pipeline.streamer(limits)
        self.offsets = body_offsets(pipeline.representation.skeleton)
        self.channels: dict[str, Channel] = {}
        self._of: dict[Session, Channel] = {}
        self._calls: SimpleQueue[tuple[Future, Callable[..., Any], tuple[Any, ...]]] = SimpleQueue()
        self._wake, self._ended, self._ending = threading.Event(), False, threading.Lock()
        self._thread = threading.Thread(target=self._run, name="mld-live", daemon=True)
        self._thread.start()

    def call(self, function: Callable[..., Any], *arguments: Any) -> Future:
        """Run a function in the thread, between two steps. `RequestError` where that has ended."""
        future: Future = Future()
        with self._ending:
            if self._ended:
                raise RequestError("the model was let go in this moment; please try again")
            self._calls.put((future, function, arguments))
        self._wake.set()
        return future

    def wake(self) -> None:
        """Somebody took something, or goes on."""
        self._wake.set()

    def close(self) -> None:
        with self._ending:
            self._ended = True
        self._wake.set()
        self._thread.join()

    # in the thread

    def open(
        self, text: str, seed: int, history: Clip | None, end: EndPolicy, data: str, most_frames: int | None
    ) -> Channel:
        """A stream; `RequestError` for what cannot be served."""
        channel = Channel(self.batcher.open(text, seed, history, end), data, most_frames)
        channel.id = self.settings.prefix + channel.id
        self.channels[channel.id] = self._of[channel.session] = channel
        self._metrics.sessions.inc()
        return channel

    def say(self, channel: Channel, text: str) -> int:
        """Other words; the frame from which they hold."""
        if channel.why:
            raise RequestError("the stream has ended; start another")
        self.batcher.say(channel.session, text)
        return channel.session.frames

    def end(self, channel: Channel, why: str, said: str = "") -> None:
        """End a stream and free its place. why: a word; said: a sentence for the client, where it did not ask."""
        if channel.why:
            return
        channel.why, channel.said = why, said
        self.batcher.close(channel.session)
        self._of.pop(channel.session, None)
        if why == "lost":
            self.forget(channel)
        self._metrics.sessions.dec()
        self._metrics.ended.labels(why).inc()
        _tell(channel)

    def forget(self, channel: Channel) -> None:
        """Nobody will ask for an ended stream any more."""
        self.channels.pop(channel.id, None)

    def _run(self) -> None:
        while not self._ended:
            self._wake.clear()
            self._answer_calls()
            try:
                began = time.perf_counter()
                chunks = self.batcher.step()
                if chunks:
                    self._metrics.steps.observe(time.perf_counter() - began)
                    self._metrics.batch.observe(len(chunks))
                turns = self._turns(chunks)
                for session, chunk in chunks.items():
                    self._hand_over(self._of[session], chunk, turns.get(session))
            except Exception:  # the last line of defence: streams end with a sentence, the log has the whole story
                log.exception("a step of the streams failed")
                chunks = {}
                for channel in list(self._of.values()):
                    self.end(channel, "failed", "something went wrong on the server; its log says what")
            if not chunks:
                self._wake.wait(REST)
        for channel in list(self._of.values()):
            self.end(channel, "closing", "the server is ending")
        self._answer_calls()

    def _answer_calls(self) -> None:
        while True:
            try:
                future, function, arguments = self._calls.get_nowait()
            except Empty:
                return
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(*arguments))
                except BaseException as error:
                    future.set_exception(error)

    def _hand_over(self, channel: Channel, chunk: Chunk, turns: np.ndarray | None) -> None:
        """Keep a chunk until it is acknowledged, and tell who listens."""
        if chunk.num_frames:
            if not chunk.joints.isfinite().all():
                self.end(channel, "failed", "the model made no finite numbers; start another stream")
                return
            message = packed(self._frames(channel, chunk, turns))
            with channel.lock:
                if not channel.kept:
                    channel.heard = time.monotonic()  # from now on there is something to acknowledge
                channel.kept.append((channel.made, chunk.start + chunk.num_frames, message))
                channel.made += 1
            self._metrics.frames.inc(chunk.num_frames)
        if chunk.ended or (channel.most_frames is not None and channel.session.frames >= channel.most_frames):
            self.end(channel, "ended")
        _tell(channel)

    def _turns(self, chunks: Mapping[Session, Chunk]) -> dict[Session, np.ndarray]:
        """Rotations (n, J, 4) of the chunks of all streams that send them, found together for those with as many frames
        before."""
        asked: dict[tuple[int, int], list[tuple[Session, torch.Tensor]]] = {}
        for session, chunk in chunks.items():
            channel, joints = self._of[session], self._shown(self._of[session], chunk)
            if channel.data == "rotations" and len(joints) and joints.isfinite().all():
                whole = joints if channel.before is None else torch.cat((channel.before, joints))
                channel.before = whole[-BEFORE:]
                asked.setdefault((len(whole), len(joints)), []).append((session, whole))
        found: dict[Session, np.ndarray] = {}
        for (_, count), pairs in asked.items():
            wholes = torch.stack([whole for _, whole in pairs])
            turns = turns_together(wholes, count, self.pipeline.representation, self.offsets)
            found |= {session: row for (session, _), row in zip(pairs, turns)}
        return found

    def _shown(self, channel: Channel, chunk: Chunk) -> torch.Tensor:
        """The joints that are sent of a chunk; a stream that ends at a frame within it is cut there."""
        most = channel.most_frames
        return chunk.joints if most is None else chunk.joints[: max(0, most - chunk.start)]

    def _frames(self, channel: Channel, chunk: Chunk, turns: np.ndarray | None) -> Frames:
        """What is sent of a chunk."""
        joints, texts = self._shown(channel, chunk), channel.session.texts
        other, channel.texts = len(texts) > channel.texts and texts[-1][0] == chunk.start, len(texts)
        positions = joints if turns is None else joints[:, 0]
        return Frames(channel.made, chunk.start, self.pipeline.representation.fps, positions.numpy(), turns, other)


def turns_together(
    joints: torch.Tensor, count: int, representation: Representation, offsets: torch.Tensor
) -> np.ndarray:
    """Rotations (B, count, J, 4), x y z w, of the last frames of B motions of joints (B, T, J, 3) on the body of
    `offsets`: for each those that it has alone."""
    clips, frames = joints.shape[:2]
    motion = Motion(joints.flatten(0, 1), representation.fps, representation.skeleton)
    local = solve(motion, offsets, clips)[0].unflatten(0, (clips, frames))[:, -count:]
    side = quaternions(local.transpose(0, 1).flatten(1, 2))
    return side.unflatten(1, (clips, -1)).transpose(0, 1).float().numpy()


def _tell(channel: Channel) -> None:
    if channel.listener is not None:
        channel.listener()
