"""Figures that move while words are typed: one for each visitor, all made together in one thread.

A figure is made at most `LEAD` seconds ahead of what its page shows, and ends when the page does.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from mld.engine.pipeline import Pipeline
from mld.engine.streaming.session import Chunk, Session
from mld.engine.streaming.streamer import Limits, Streamer
from mld.errors import MldError, RequestError
from mld.serve.models import SPOKEN, STREAM, Models
from mld.serve.page.forms import HIGHEST_SEED, LONGEST_TEXT

LEAD = 1.0  # seconds of motion that are made ahead of what is shown
SILENT = 8.0  # seconds after which a page that asks for nothing is gone
PLACES = 16  # figures at once
REST = 0.2  # seconds between two looks, where nothing is to be made
UNEXPECTED = "Something went wrong on the server; its log says what. Please start again."
log = logging.getLogger(__name__)


@dataclass(eq=False)
class Live:
    """A figure and its page. run: a name for it, so that a page that was started again is not mistaken for this one.
    ready: chunks that the page does not have yet. seen: its visitor has been here; words may be said before a slow page
    has arrived. why: it has ended, and a sentence on that."""

    pipeline: Pipeline
    streamer: Streamer
    session: Session
    run: str = field(default_factory=lambda: secrets.token_urlsafe(9))
    ready: list[Chunk] = field(default_factory=list)
    ended: bool = False
    seen: bool = False
    why: str = ""
    heard: float = field(default_factory=time.monotonic)


class Lives:
    """models: that figures can be made with. present: whether a visitor, by name, still has a page open."""

    def __init__(self, models: Models, present: Callable[[str], bool]) -> None:
        self.models, self.present = models, present
        self._lives: dict[str, Live] = {}
        self._lock, self._wake, self._closed = threading.Lock(), threading.Event(), False
        self._thread: threading.Thread | None = None

    def __len__(self) -> int:
        return len(self._lives)

    def start(self, visitor: str, text: object, seed: object, model: object) -> Live:
        """A figure for a visitor, in the place of the one before. `MldError` for what cannot be served."""
        words, number = checked_words(text), _checked_seed(seed)
        name = self.models.named(model if isinstance(model, str) else "", STREAM, SPOKEN)
        self.stop(visitor)
        pipeline = self.models.pipeline(name)
        with self._lock:
            if len(self._lives) >= PLACES:
                raise RequestError(f"{len(self._lives)} figures are moving already; please try again in a moment.")
            shared = next((one.streamer for one in self._lives.values() if one.pipeline is pipeline), None)
            streamer = shared or pipeline.streamer(Limits(PLACES, LEAD))
            session = streamer.open(words, number)
            live = self._lives[visitor] = Live(pipeline, streamer, session, seen=self.present(visitor))
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="mld-live", daemon=True)
                self._thread.start()
        self._wake.set()
        return live

    def find(self, visitor: str, run: object) -> Live:
        """The figure of a visitor; `RequestError` where it has ended and is forgotten."""
        live = self._lives.get(visitor)
        if live is None or live.run != run:
            raise RequestError("The figure has stopped; start it again.")
        return live

    def say(self, live: Live, text: object) -> None:
        """Other words. `RequestError` for none, and where it has ended."""
        live.streamer.say(live.session, checked_words(text))
        self._wake.set()

    def take(self, live: Live, shown: object) -> list[Chunk]:
        """The chunks that a page does not have yet. shown: the frame that it shows."""
        live.heard = time.monotonic()
        if isinstance(shown, int) and live.session.taken < shown <= live.session.frames:
            live.session.taken = shown
            self._wake.set()
        with self._lock:
            chunks, live.ready = live.ready, []
        return chunks

    def stop(self, visitor: str, run: object = None) -> None:
        """End the figure of a visitor, or this one of its runs."""
        with self._lock:
            live = self._lives.get(visitor)
            if live is None or run not in (None, live.run):
                return
            del self._lives[visitor]
        live.ended = True
        live.streamer.close(live.session)

    def close(self) -> None:
        self._closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        for visitor in list(self._lives):
            self.stop(visitor)

    def _run(self) -> None:
        while not self._closed:
            self._wake.clear()
            self._sweep()
            with self._lock:
                lives = [live for live in self._lives.values() if not live.ended]
            made = [self._step(streamer, lives) for streamer in {live.streamer for live in lives}]
            if not any(made):
                self._wake.wait(REST)

    def _step(self, streamer: Streamer, lives: list[Live]) -> bool:
        """A chunk more of the figures of one model; whether there was one."""
        mine = {live.session: live for live in lives if live.streamer is streamer}
        try:
            chunks = streamer.step([session for session in streamer.waiting() if session in mine])
        except MldError as error:
            self._fail(list(mine.values()), str(error))
            return False
        except Exception:  # the last line of defence: users get a sentence, the log the whole story
            log.exception("a step of the live figures failed")
            self._fail(list(mine.values()), UNEXPECTED)
            return False
        for session, chunk in chunks.items():
            if not chunk.joints.isfinite().all():
                self._fail([mine[session]], "The model made no finite numbers; please start again.")
                continue
            with self._lock:
                if chunk.num_frames:
                    mine[session].ready.append(chunk)
                mine[session].ended |= chunk.ended
        return bool(chunks)

    def _fail(self, lives: list[Live], why: str) -> None:
        for live in lives:
            live.ended, live.why = True, why
            live.streamer.close(live.session)

    def _sweep(self) -> None:
        """End the figures of pages that are gone."""
        now = time.monotonic()
        for visitor, live in list(self._lives.items()):
            here = self.present(visitor)
            if now - live.heard > SILENT or (live.seen and not here):
                self.stop(visitor, live.run)
            live.seen |= here


def checked_words(text: object) -> str:
    """`RequestError` for what is no text, or too long a one; that it is not empty is checked by the engine."""
    if not isinstance(text, str):
        raise RequestError("Words are needed.")
    if len(text) > LONGEST_TEXT:
        raise RequestError(f"That is a long text ({len(text)} characters); up to {LONGEST_TEXT} are read.")
    return text


def _checked_seed(seed: object) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= HIGHEST_SEED:
        raise RequestError(f"Seed: a whole number from 0 to {HIGHEST_SEED}.")
    return seed
