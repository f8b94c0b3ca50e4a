"""What every way of making motion without an end has in common: sessions in places, with words and limits.

`Batcher` is for families that make tokens one after the other without an end, `Windows` for all others; who serves
sessions, on a page or over a network, asks no further.
"""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from torch import Tensor

from mld.engine.checks import check_request
from mld.engine.given import SHORTEST
from mld.engine.request import Request
from mld.engine.streaming.session import Chunk, EndPolicy, Session
from mld.errors import RequestError, shown
from mld.example import Clip, Text
from mld.models.contracts.generator import MotionGenerator
from mld.motion.representations.base import Representation

IDLE = "a person stands still"
ENDS = ("continue", "hold", "stop")
S = TypeVar("S", bound=Session)


@dataclass(frozen=True)
class Limits:
    """sessions: at most so many at once. lead_seconds: how far ahead of what its listener has taken a session is made,
    None for any."""

    sessions: int = 256
    lead_seconds: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.sessions, int) or isinstance(self.sessions, bool) or self.sessions < 1:
            raise RequestError(f"sessions {shown(self.sessions)}: a whole number of at least 1 is needed")
        if self.lead_seconds is not None:
            check_seconds("lead_seconds", self.lead_seconds)


def check_seconds(name: str, seconds: object) -> None:
    """`RequestError` for what is no length of time above 0."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < math.inf:
        raise RequestError(f"{name} {shown(seconds)}: a number of seconds above 0 is needed")


UNBOUNDED = Limits()


class Streamer(ABC, Generic[S]):
    """native: the model makes such motion itself, token after token; else it comes in windows, with more latency.
    chunk: frames of each. sessions: by row. Calls may come from several threads."""

    native: ClassVar[bool]
    chunk: int

    def __init__(self, model: MotionGenerator, representation: Representation, limits: Limits) -> None:
        self.model, self.representation, self.limits = model.eval(), representation, limits
        self.layout = model.tokenizer.layout
        self.chunk = self.layout.frames_per_token
        self.sessions: dict[int, S] = {}
        self._lock = threading.RLock()

    @abstractmethod
    def open(self, text: str, seed: int = 0, history: Clip | None = None, end: EndPolicy = "continue") -> S:
        """A session that begins with words, or goes on from a given motion (see `Pipeline.clip`) under them.

        end: what happens where the model ends its motion: it goes on ("continue"), stands still until it is told
        something ("hold"), or the session ends ("stop"). `RequestError` for what cannot be served."""

    @abstractmethod
    def place(self, seed: int, end: EndPolicy) -> S:
        """A session in a free place, which is told nothing yet. `RequestError` where there is none."""

    @abstractmethod
    def say(self, session: S, text: str) -> None:
        """Other words. `RequestError` for none, and for a session that has ended."""

    @abstractmethod
    def step(self, sessions: Iterable[S] | None = None) -> dict[S, Chunk]:
        """A chunk more of these sessions, or of all that are waiting, made together."""

    @abstractmethod
    def held(self, session: S) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and plain values that it needs to go on elsewhere, beside its words, seed and length."""

    @abstractmethod
    def restore(self, session: S, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """Put back what `held` gave. ValueError, KeyError and the like for what it did not."""

    def close(self, session: S) -> None:
        """Free its place. Once is enough."""
        with self._lock:
            session.ended = True
            if self.sessions.get(session.row) is session:
                del self.sessions[session.row]

    def alone(self) -> AbstractContextManager[Any]:
        """A block in which no other thread changes a session."""
        return self._lock

    def __reduce__(self) -> Any:
        raise RequestError("streams are not copied or pickled; `Stream.save` writes one to a file")

    def waiting(self) -> list[S]:
        """The sessions that are not paused and not too far ahead."""
        with self._lock:
            return [s for s in list(self.sessions.values()) if not s.paused and not self._ahead(s)]

    def _chosen(self, sessions: Iterable[S] | None) -> list[S]:
        """The sessions of a step, each once."""
        if sessions is None:
            return self.waiting()
        chosen = [session for session in dict.fromkeys(sessions) if not session.ended]
        for session in chosen:
            self._require_open(session)
        return chosen

    def _checked(self, text: str, seed: int, history: Clip | None, end: EndPolicy) -> tuple[Text | Clip, ...]:
        """The prompt of a new session."""
        if end not in ENDS:
            raise RequestError(f"end '{end}' is not one of {', '.join(ENDS)}")
        if history is not None and (not isinstance(history, Clip) or history.features is None):
            raise RequestError("history: a clip with features is needed; `Pipeline.clip` makes one of a motion")
        parts: tuple[Text | Clip, ...] = (Text(text),) if history is None else (Text(text), history)
        check_request(Request(parts, "motion", seed=seed), self.representation, self.layout)
        if history is not None and len(history.features) < SHORTEST:
            raise RequestError(f"history: a motion of {len(history.features)} frames; at least {SHORTEST} are needed")
        return parts

    def _check_words(self, text: str) -> None:
        check_request(Request((Text(text),), "motion"), self.representation, self.layout)

    def _ahead(self, session: S) -> bool:
        lead = self.limits.lead_seconds
        return lead is not None and session.frames - session.taken >= lead * self.representation.fps

    def _require_open(self, session: S) -> None:
        if session.ended:
            raise RequestError("the session has ended; open another")
        if self.sessions.get(session.row) is not session:
            raise RequestError("the session is not one of these; ask the streamer that opened it")

    def _free_row(self) -> int:
        """The first place that is free."""
        if len(self.sessions) >= self.limits.sessions:
            raise RequestError(f"{len(self.sessions)} sessions are open, more are not served; try again later")
        return next(row for row in range(len(self.sessions) + 1) if row not in self.sessions)
