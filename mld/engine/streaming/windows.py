"""Motion without an end from models that make whole motions: in windows, one after the other, joined.

New words begin with a motion for them, placed and turned after what was there and blended with it. While they hold, a
model that goes on from a given motion does so from the last seconds; another one makes a motion for the words again.
Frames that were handed out never change. What a session gives follows from its seed, its words and the frames at which
they were said; who else is there, and when a window is made, does not matter.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from mld.engine.body import on_model_body
from mld.engine.given import SHORTEST, given
from mld.engine.request import Answer, Request
from mld.engine.streaming.session import Chunk, EndPolicy, Session
from mld.engine.streaming.streamer import IDLE, UNBOUNDED, Limits, Streamer, check_seconds
from mld.errors import RequestError
from mld.example import Clip, Text
from mld.models.contracts.generator import MotionGenerator, Shape
from mld.motion import stitch
from mld.motion.motion import Motion
from mld.motion.representations.base import Representation

CHUNK_SECONDS = 0.2
JOINTS, ROWS = ("last", "ready"), "ready_features"  # names of what a session holds


class Engine(Protocol):
    """What answers: a `Pipeline` that leaves joints as the network has them."""

    def check(self, request: Request) -> None:
        """`RequestError` when a request cannot be served."""
        ...

    def run(self, requests: Sequence[Request]) -> list[Answer]:
        """Answers in the order of the requests; each depends on its own request alone."""
        ...


@dataclass(frozen=True)
class WindowSettings:
    """seconds: of a window. context: seconds that a model goes on from. drop: other words count at once, frames that
    were made and not yet handed out are dropped; else they count from the end of the window on."""

    seconds: float = 4.0
    context: float = 2.0
    drop: bool = True

    def __post_init__(self) -> None:
        check_seconds("seconds of a window", self.seconds)
        check_seconds("context", self.context)


USUAL = WindowSettings()


@dataclass(eq=False)
class WindowSession(Session):
    """last (n, J, 3): world joints of the frames that were handed out last. ready (m, J, 3), ready_features (m, D):
    made and not yet handed out. fresh: its words have no motion yet. final: nothing follows what is ready. told:
    changes whenever words do."""

    last: Tensor = field(kw_only=True)
    ready: Tensor = field(kw_only=True)
    ready_features: Tensor = field(kw_only=True)
    fresh: bool = True
    final: bool = False
    told: int = 0

    def words(self, frame: int) -> str:
        """The words that hold at a frame."""
        return next((text for start, text in reversed(self.texts) if start <= frame), self.text)


class Windows(Streamer[WindowSession]):
    """chunk, window, context: their frames."""

    native = False

    def __init__(
        self, model: MotionGenerator, representation: Representation, engine: Engine,
        limits: Limits = UNBOUNDED, settings: WindowSettings = USUAL,
    ) -> None:  # fmt: skip
        if Shape("motion") not in model.answers:
            raise RequestError(f"a '{model.family}' model makes no motion for words alone, so none without an end")
        super().__init__(model, representation, limits)
        self.engine, self.settings = engine, settings
        self.goes_on = Shape("motion", 1) in model.answers
        fps, unit, longest = representation.fps, self.layout.unit, self.layout.longest
        self.chunk = unit * max(1, round(CHUNK_SECONDS * fps / unit))
        self.window = self._chunks(settings.seconds * fps)
        if longest:
            self.window = min(self.window, max(self.chunk, longest // 2 // self.chunk * self.chunk))
        least = max(SHORTEST, self.layout.shortest)
        self.context = max(least, unit * round(settings.context * fps / unit))
        if longest:
            self.context = max(least, min(self.context, longest - self.window))
        self._making = threading.RLock()  # held while a window is made; sessions can be told things meanwhile

    def open(
        self, text: str, seed: int = 0, history: Clip | None = None, end: EndPolicy = "continue"
    ) -> WindowSession:
        self._checked(text, seed, history, end)
        self._check_windows(text)
        with self._lock:
            session = self.place(seed, end)
            if history is not None:
                joints = history.joints
                if joints is None:
                    joints = self.representation.decode(history.features).joints
                session.last = joints.detach().cpu().float()[-self.context :].clone()
            session.texts.append((0, text))
        return session

    def place(self, seed: int, end: EndPolicy) -> WindowSession:
        with self._lock:
            pose = torch.zeros(0, self.representation.skeleton.num_joints, 3)
            rows = torch.zeros(0, self.representation.width)
            row = self._free_row()
            session = WindowSession(row, seed, end, self.chunk, last=pose, ready=pose, ready_features=rows)
            self.sessions[row] = session
            return session

    def say(self, session: WindowSession, text: str) -> None:
        """Other words, see `WindowSettings.drop`. `RequestError` for none, and for a session that has ended."""
        self._check_words(text)
        self._check_windows(text)
        with self._lock:
            self._require_open(session)
            self._tell(session, text)

    def step(self, sessions: Iterable[WindowSession] | None = None) -> dict[WindowSession, Chunk]:
        with self._making:
            with self._lock:
                chosen = self._chosen(sessions)
            seconds = dict.fromkeys(chosen, 0.0)
            while True:
                with self._lock:
                    chosen = [session for session in chosen if not session.ended]
                    empty = [session for session in chosen if not len(session.ready) and not session.final]
                    if not empty:
                        return {session: self._handed_out(session, seconds[session]) for session in chosen}
                    asked = [(session, session.told, self._asked(session)) for session in empty]
                started = time.perf_counter()
                answers = self.engine.run([request for _, _, request in asked])
                with self._lock:
                    for (session, told, request), answer in zip(asked, answers, strict=True):
                        seconds[session] += time.perf_counter() - started
                        if session.told == told and not session.ended:
                            self._take(session, request, answer)

    def held(self, session: WindowSession) -> tuple[dict[str, Tensor], dict[str, Any]]:
        with self._lock:
            tensors = {name: getattr(session, name) for name in (*JOINTS, ROWS)}
            return tensors, {"fresh": session.fresh, "final": session.final}

    def restore(self, session: WindowSession, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        for name in JOINTS:
            if tensors[name].shape[1:] != session.last.shape[1:]:
                raise ValueError(f"{name} is not of this skeleton")
        if tensors[ROWS].shape != (len(tensors["ready"]), self.representation.width):
            raise ValueError("features and joints are not of the same frames")
        for name in (*JOINTS, ROWS):
            setattr(session, name, tensors[name].clone())
        session.fresh, session.final = bool(plain["fresh"]), bool(plain["final"])

    def _check_windows(self, text: str) -> None:
        """`RequestError` for words that are too many for a window."""
        self.engine.check(Request((Text(text),), "motion", self.window))
        if self.goes_on:
            clip = Clip(features=torch.zeros(self.context, self.representation.width))
            self.engine.check(Request((Text(text), clip), "motion", self.context + self.window))

    def _tell(self, session: WindowSession, text: str) -> None:
        if self.settings.drop:
            session.ready, session.ready_features = session.ready[:0], session.ready_features[:0]
        session.texts.append((session.frames + len(session.ready), text))
        session.fresh, session.final, session.told = True, False, session.told + 1

    def _asked(self, session: WindowSession) -> Request:
        """What the next window is made of. Whether the model may end its motion itself is up to the session."""
        seed = _seed(session.seed, session.frames)
        words = Text(session.text)
        if session.fresh or not self.goes_on:
            open_end = session.end == "stop" or (session.end == "hold" and session.text != IDLE)
            return Request((words,), "motion", None if open_end else self.window, seed)
        clip = given(self._motion(session.last), self.representation)
        return Request((words, clip), "motion", len(clip.joints) + self.window, seed)

    def _take(self, session: WindowSession, request: Request, answer: Answer) -> None:
        """Make the frames of an answer the ones that come next."""
        skeleton = self.representation.skeleton
        kept = sum(len(part.joints) for part in request.prompt if isinstance(part, Clip))
        made = on_model_body(answer.motion.joints, skeleton)
        joints = made[kept:]
        missing = -len(joints) % self.chunk
        joints = torch.cat((joints, joints[-1:].expand(missing, *joints.shape[1:])))
        before = session.last
        if len(before):
            joints = stitch.extend(before, joints, skeleton, reference=made[kept - 1] if kept else None)[len(before) :]
        whole = torch.cat((before, joints))
        session.ready = joints.clone()
        session.ready_features = given(self._motion(whole), self.representation).features[len(before) :].float().clone()
        session.fresh, session.final = False, session.end == "stop"
        if session.end == "hold" and session.text != IDLE:
            session.texts.append((session.frames + len(joints), IDLE))
            session.fresh = True

    def _handed_out(self, session: WindowSession, seconds: float) -> Chunk:
        """The next chunk of a session that has one ready, or has nothing more."""
        count, start = self.chunk, session.frames
        joints, features = session.ready[:count].clone(), session.ready_features[:count].clone()
        session.ready, session.ready_features = session.ready[count:], session.ready_features[count:]
        ended = not len(joints)
        text = session.words(start)
        if ended:
            self.close(session)
        else:
            session.last = torch.cat((session.last, joints))[-self.context :].clone()
            session.made += 1
        return Chunk(joints, features, start, text, {"window": seconds}, ended=ended)

    def _motion(self, joints: Tensor) -> Motion:
        return Motion(joints, self.representation.fps, self.representation.skeleton)

    def _chunks(self, frames: float) -> int:
        """So many frames in whole chunks, at least one."""
        return self.chunk * max(1, round(frames / self.chunk))


def _seed(seed: int, frame: int) -> int:
    """The seed of the window that begins at a frame; that of the first is the session's own."""
    if not frame:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed}:{frame}".encode()).digest()[:8], "big") >> 1
