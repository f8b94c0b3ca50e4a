"""`Stream`: a motion without an end as something to iterate over, with words that change on the way.

    with model.stream("a person walks", seed=0) as stream:
        for chunk in stream:
            show(chunk.joints)
            if chunk.start > 120:
                stream.say("now they sit down")
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from mld.engine.streaming.batcher import motion_of
from mld.engine.streaming.saving import load_session, save_session
from mld.engine.streaming.session import Chunk, Session
from mld.engine.streaming.streamer import Streamer
from mld.motion.motion import Motion


class Stream:
    """One session of a batcher, alone or among others. most_frames: it ends after so many, the last
    chunk cut to them; None for never. keep: what was made stays for `motion`, which takes memory that grows (1 MB a
    minute). One that nobody holds any more is closed."""

    def __init__(
        self, batcher: Streamer, session: Session, most_frames: int | None = None, keep: bool = True
    ) -> None:
        self.batcher, self.session, self.most_frames = batcher, session, most_frames
        self.keep = keep
        self.chunks: list[Chunk] = []
        self._next = threading.Lock()  # chunks stay in order when several threads ask for them
        weakref.finalize(self, batcher.close, session).atexit = False  # of a stream that nobody closed

    # iterating

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        with self._next:
            if self.most_frames is not None and self.session.frames >= self.most_frames:
                raise StopIteration
            chunk = self.batcher.step([self.session]).get(self.session)
            if chunk is None or chunk.ended:  # it was closed, or the model has ended it
                raise StopIteration
            if self.most_frames is not None:
                chunk = chunk.first(self.most_frames - chunk.start)
            if self.keep:
                self.chunks.append(chunk)
            return chunk

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        chunk = await asyncio.to_thread(next, self, None)
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    # talking

    def say(self, text: str) -> None:
        """Other words, from the next chunk on."""
        self.batcher.say(self.session, text)

    @property
    def native(self) -> bool:
        """Whether the model makes such motion itself. Else it comes in windows, whose first chunks take longer."""
        return self.batcher.native

    @property
    def texts(self) -> list[tuple[int, str]]:
        """What was said, by the frame from which it holds."""
        return list(self.session.texts)

    def motion(self) -> Motion:
        """All that was made so far. `RequestError` where nothing was."""
        return motion_of(self.chunks, self.batcher.representation)

    # ending

    def save(self, path: str | Path) -> Path:
        """Write the session to a .safetensors file, from which it goes on to the bit (`Pipeline.resume`)."""
        return save_session(self.batcher, self.session, path)

    @classmethod
    def resume(cls, batcher: Streamer, path: str | Path, most_frames: int | None = None, keep: bool = True) -> Stream:
        """Go on with a saved session."""
        return cls(batcher, load_session(batcher, path), most_frames, keep)

    def close(self) -> None:
        """Free its place among the sessions. What was made stays."""
        self.batcher.close(self.session)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.close()
