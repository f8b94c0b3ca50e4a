"""Many motions without an end, made together: sessions join and leave at any token.

A step makes one token of every session that is waiting for one: one pass of the network for all, one run of its head,
one push into the decoder. What a session gives follows from its own words and seed; who else is there does not matter.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mld.engine.streaming.session import Chunk, EndPolicy, Recovery, Session, push_together
from mld.engine.streaming.streamer import IDLE, UNBOUNDED, Limits, Streamer
from mld.errors import RequestError
from mld.example import Clip, Text
from mld.models.contracts.generator import MotionGenerator
from mld.models.contracts.sampling import Streaming
from mld.models.noise import RowNoise
from mld.motion.motion import Motion
from mld.motion.representations.base import Representation

AGAIN = 2**32  # added to the number of a draw that replaces one which meant the end
FIRST_ROWS = 4
TOKENS, DECODER, PLACE = "tokens.", "decoder.", "place."  # of the names of what a session holds


@dataclass(eq=False)
class Row(Session):
    """recovery: its place in the world."""

    recovery: Recovery = field(kw_only=True)


class Batcher(Streamer[Row]):
    """model: one that streams. Calls may come from several threads; they wait for each other."""

    native = True

    def __init__(self, model: MotionGenerator, representation: Representation, limits: Limits = UNBOUNDED) -> None:
        if not model.streams():
            raise RequestError(f"a '{model.family}' model makes no motion without an end; ask for one that streams")
        super().__init__(model, representation, limits)
        self.tokens: Streaming = model.streaming(FIRST_ROWS)
        self.decoder = model.tokenizer.stream(FIRST_ROWS)
        self._rows = FIRST_ROWS

    def open(self, text: str, seed: int = 0, history: Clip | None = None, end: EndPolicy = "continue") -> Row:
        parts = self._checked(text, seed, history, end)
        with self._lock, torch.no_grad():
            prompt = self.model.prompt(self._encoded(parts), "motion")
            session = self.place(seed, end)
            try:
                if history is not None:
                    self._take_up(session, history)
                self.tokens.begin(session.row, prompt)
            except BaseException:
                self.close(session)
                raise
            session.texts.append((0, text))
        return session

    def place(self, seed: int, end: EndPolicy) -> Row:
        """A session in a free place, which is told nothing yet. `RequestError` where there is none."""
        with self._lock:
            row = self._free_row()
            if row == self._rows:
                self._rows *= 2
                self.tokens.grow(self._rows)
                self.decoder.grow(self._rows)
            self.decoder.begin(row)
            session = Row(row, seed, end, self.layout.frames_per_token, recovery=Recovery(self.representation))
            self.sessions[row] = session
            return session

    def say(self, session: Row, text: str) -> None:
        """Other words, from the next token on. `RequestError` for none, and for a session that has ended."""
        self._check_words(text)
        with self._lock:
            self._require_open(session)
            self.tokens.say(session.row, self.model.prompt([Text(text)], "motion"))
            session.texts.append((session.frames, text))

    @torch.no_grad()
    def step(self, sessions: Iterable[Row] | None = None) -> dict[Row, Chunk]:
        """One token more for these sessions, or all that are waiting, in one batch."""
        with self._lock:
            chosen = self._chosen(sessions)
            if not chosen:
                return {}
            started = time.perf_counter()
            rows = [session.row for session in chosen]
            tokens, stopped = self._drawn(chosen, rows)
            self.tokens.append(rows, tokens)
            drawn = time.perf_counter()
            features = self.decoder.push(tokens[:, None], rows).float().cpu()
            decoded = time.perf_counter()
            going = [i for i, stop in enumerate(stopped) if not stop]
            placed = iter(push_together([chosen[i].recovery for i in going], features[going]) if going else ())
            chunks = {}
            for session, piece, stop in zip(chosen, features, stopped, strict=True):
                if stop:
                    self.close(session)
                    piece = piece[:0]
                start = session.frames
                joints = piece.new_zeros(0, *self._pose) if stop else next(placed)
                session.made += not stop
                parts = {"tokens": drawn - started, "decoding": decoded - drawn}
                chunks[session] = Chunk(joints, piece, start, session.text, parts, ended=stop)
            return chunks

    def held(self, session: Row) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {TOKENS + name: value for name, value in self.tokens.held(session.row).items()}
        tensors |= {f"{DECODER}{i:03d}": value for i, value in enumerate(self.decoder.held(session.row))}
        tensors |= {f"{PLACE}{i}": value for i, value in enumerate(session.recovery.held())}
        return tensors, {}

    def restore(self, session: Row, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        def part(prefix: str) -> dict[str, Tensor]:
            found = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
            return dict(sorted(found.items()))

        self.tokens.restore(session.row, part(TOKENS))
        self.decoder.restore(session.row, list(part(DECODER).values()))
        session.recovery.restore(tuple(part(PLACE).values()))

    def _drawn(self, sessions: Sequence[Row], rows: list[int]) -> tuple[torch.Tensor, list[bool]]:
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

    def _encoded(self, parts: Sequence[Text | Clip]) -> list[Text | Clip]:
        """The prompt with the tokens of its clips."""
        return [self._tokens_of(part) if isinstance(part, Clip) else part for part in parts]

    def _tokens_of(self, clip: Clip) -> Clip:
        """A clip of tokens alone, the last of which ends with the clip's last frame."""
        first = len(clip.features) % self.layout.frames_per_token
        return Clip(tokens=self.model.tokenize([Clip(features=clip.features[first:])])[0])

    def _take_up(self, session: Row, history: Clip) -> None:
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
