"""Many motions without an end, made together: sessions join and leave at any token.

A step makes one token of every session that is waiting for one: one pass of the network for all, one run of its head,
one push into the decoder. What a session gives follows from its own words and seed; who else is there does not matter.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from mld.engine.checks import check_request
from mld.engine.request import Request
from mld.engine.streaming.session import Chunk, EndPolicy, Recovery, Session
from mld.errors import RequestError
from mld.example import Clip, Text
from mld.models.contracts.generator import MotionGenerator
from mld.models.contracts.sampling import Streaming
from mld.models.noise import RowNoise
from mld.motion.motion import Motion
from mld.motion.representations.base import Representation

AGAIN = 2**32  # added to the number of a draw that replaces one which meant the end
IDLE = "a person stands still"
ENDS = ("continue", "hold", "stop")
FIRST_ROWS = 4


@dataclass(frozen=True)
class Limits:
    """sessions: at most so many at once. lead_seconds: how far ahead of what its listener has taken a session is made,
    None for any."""

    sessions: int = 256
    lead_seconds: float | None = None


class Batcher:
    """model: one that streams. Calls may come from several threads; they wait for each other."""

    def __init__(self, model: MotionGenerator, representation: Representation, limits: Limits = Limits()) -> None:
        if not model.streams():
            raise RequestError(f"a '{model.family}' model makes no motion without an end; ask for one that streams")
        self.model, self.representation, self.limits = model.eval(), representation, limits
        self.layout = model.tokenizer.layout
        self.tokens: Streaming = model.streaming(FIRST_ROWS)
        self.decoder = model.tokenizer.stream(FIRST_ROWS)
        self.sessions: dict[int, Session] = {}  # by row
        self._rows = FIRST_ROWS
        self._lock = threading.RLock()

    def open(self, text: str, seed: int = 0, history: Clip | None = None, end: EndPolicy = "continue") -> Session:
        """A session that begins with words, or goes on from a given motion (see `Pipeline.clip`) under them.

        end: what happens where the model ends its motion: it goes on ("continue"), stands still until it is told
        something ("hold"), or the session ends ("stop"). `RequestError` for what cannot be served."""
        if end not in ENDS:
            raise RequestError(f"end '{end}' is not one of {', '.join(ENDS)}")
        parts = (Text(text),) if history is None else (Text(text), history)
        check_request(Request(parts, "motion", seed=seed), self.representation, self.layout)
        with self._lock, torch.no_grad():
            prompt = self.model.prompt(self._encoded(parts), "motion")
            session = self.place(seed, end)
            if history is not None:
                self._take_up(session, history)
            self.tokens.begin(session.row, prompt)
            session.texts.append((0, text))
        return session

    def place(self, seed: int, end: EndPolicy) -> Session:
        """A session in a free place, which is told nothing yet. `RequestError` where there is none."""
        with self._lock:
            row = self._free_row()
            self.decoder.begin(row)
            session = Session(row, seed, end, Recovery(self.representation), self.layout.frames_per_token)
            self.sessions[row] = session
            return session

    def say(self, session: Session, text: str) -> None:
        """Other words, from the next token on. `RequestError` for none, and for a session that has ended."""
        check_request(Request((Text(text),), "motion"), self.representation, self.layout)
        with self._lock:
            self._require_open(session)
            self.tokens.say(session.row, self.model.prompt([Text(text)], "motion"))
            session.texts.append((session.frames, text))

    def close(self, session: Session) -> None:
        """Free its place. Once is enough."""
        with self._lock:
            session.ended = True
            if self.sessions.get(session.row) is session:
                del self.sessions[session.row]

    def waiting(self) -> list[Session]:
        """The sessions that are not paused and not too far ahead."""
        with self._lock:
            return [s for s in self.sessions.values() if not s.paused and not self._ahead(s)]

    @torch.no_grad()
    def step(self, sessions: Iterable[Session] | None = None) -> dict[Session, Chunk]:
        """One token more for these sessions, or all that are waiting, in one batch."""
        with self._lock:
            chosen = self.waiting() if sessions is None else [s for s in sessions if not s.ended]
            if not chosen:
                return {}
            started = time.perf_counter()
            rows = [session.row for session in chosen]
            tokens, stopped = self._drawn(chosen, rows)
            self.tokens.append(rows, tokens)
            drawn = time.perf_counter()
            features = self.decoder.push(tokens[:, None], rows).float().cpu()
            decoded = time.perf_counter()
            chunks = {}
            for session, piece, stop in zip(chosen, features, stopped, strict=True):
                if stop:
                    self.close(session)
                    piece = piece[:0]
                start = session.frames
                joints = session.recovery.push(piece) if len(piece) else piece.new_zeros(0, *self._pose)
                session.made += not stop
                parts = {"tokens": drawn - started, "decoding": decoded - drawn}
                chunks[session] = Chunk(joints, piece, start, session.text, parts, ended=stop)
            return chunks

    def _drawn(self, sessions: Sequence[Session], rows: list[int]) -> tuple[torch.Tensor, list[bool]]:
        """The next tokens, and which sessions stop instead. A token that means the end is drawn once more for those
        that go on."""
        noise, numbers = RowNoise([s.seed for s in sessions]), [s.made for s in sessions]
        tokens, ended = self.tokens.draw(rows, noise, numbers)
        again = [i for i, (s, end) in enumerate(zip(sessions, ended.tolist())) if end and s.end != "stop"]
        for i in again:
            if sessions[i].end == "hold" and sessions[i].text != IDLE:
                self.say(sessions[i], IDLE)
        if again:
            chosen = [rows[i] for i in again]
            anew = RowNoise([sessions[i].seed for i in again])
            tokens = tokens.clone()
            tokens[again] = self.tokens.draw(chosen, anew, [numbers[i] + AGAIN for i in again])[0]
        return tokens, [bool(end) and s.end == "stop" for s, end in zip(sessions, ended.tolist())]

    @property
    def _pose(self) -> tuple[int, int]:
        return self.representation.skeleton.num_joints, 3

    def _ahead(self, session: Session) -> bool:
        lead = self.limits.lead_seconds
        return lead is not None and session.frames - session.taken >= lead * self.representation.fps

    def _require_open(self, session: Session) -> None:
        if session.ended:
            raise RequestError("the session has ended; open another")

    def _free_row(self) -> int:
        if len(self.sessions) >= self.limits.sessions:
            raise RequestError(f"{len(self.sessions)} sessions are open, more are not served; try again later")
        row = next(i for i in range(self._rows + 1) if i not in self.sessions)
        if row == self._rows:
            self._rows *= 2
            self.tokens.grow(self._rows)
            self.decoder.grow(self._rows)
        return row

    def _encoded(self, parts: Sequence[Text | Clip]) -> list[Text | Clip]:
        """The prompt with the tokens of its clips."""
        return [self._tokens_of(part) if isinstance(part, Clip) else part for part in parts]

    def _tokens_of(self, clip: Clip) -> Clip:
        """A clip of tokens alone, the last of which ends with the clip's last frame."""
        first = len(clip.features) % self.layout.frames_per_token
        return Clip(tokens=self.model.tokenize([Clip(features=clip.features[first:])])[0])

    def _take_up(self, session: Session, history: Clip) -> None:
        """Decoder and place in the world as they are at the end of a given motion."""
        tokens = self._tokens_of(history).tokens
        self.decoder.push(tokens[None].to(self.model.device), [session.row])
        session.recovery.follow(history)


def motion_of(chunks: Sequence[Chunk], representation: Representation) -> Motion:
    """The motion of chunks in order; `RequestError` for none."""
    if not sum(chunk.num_frames for chunk in chunks):
        raise RequestError("nothing was made yet")
    joints = torch.cat([chunk.joints for chunk in chunks])
    return Motion(joints, representation.fps, representation.skeleton)
