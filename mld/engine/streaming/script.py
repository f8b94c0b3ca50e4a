"""Streams that are told everything beforehand: words by the frame from which they hold, and a length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from mld.engine.request import Answer, Request, TimedCaption, named
from mld.engine.streaming.session import Chunk, Session
from mld.engine.streaming.streamer import Streamer
from mld.example import Text
from mld.motion.motion import Motion


@dataclass(frozen=True)
class Script(Request):
    """said: words by frame, the first at frame 0, in order, each before `num_frames`. prompt: all of it as one text,
    for people."""

    said: tuple[tuple[int, str], ...] = ()

    def texts(self) -> list[Request]:
        """Each of the words as a request of its own."""
        return [Request((Text(text),), "motion", seed=self.seed, name=self.name) for _, text in self.said]


def play(streamer: Streamer, scripts: Sequence[Script], on_step: Callable[[int], None] | None = None) -> list[Answer]:
    """Motions of scripts, made together; each follows from its own script alone. Words hold from the first chunk on
    that begins at their frame or later. `Answer.captions` has what was said when.

    on_step: told after every step how many more are finished."""
    sessions: list[Session] = []
    chunks: list[list[Chunk]] = [[] for _ in scripts]
    try:
        for script in scripts:
            sessions.append(named(script, streamer.open, script.said[0][1], script.seed))
        going, told = list(range(len(scripts))), [1] * len(scripts)
        while going:
            for place in going:
                due = sum(frame <= sessions[place].frames for frame, _ in scripts[place].said)
                if due > told[place]:
                    told[place] = due
                    named(scripts[place], streamer.say, sessions[place], scripts[place].said[due - 1][1])
            made = streamer.step([sessions[place] for place in going])
            for place in going:
                chunks[place].append(made[sessions[place]])
            left = [place for place in going if sessions[place].frames < scripts[place].num_frames]
            if on_step is not None:
                on_step(len(going) - len(left))
            going = left
    finally:
        for session in sessions:
            streamer.close(session)
    return [_answer(streamer, *one) for one in zip(scripts, sessions, chunks, strict=True)]


def _answer(streamer: Streamer, script: Script, session: Session, chunks: Sequence[Chunk]) -> Answer:
    fps, frames = streamer.representation.fps, script.num_frames
    joints = torch.cat([chunk.joints for chunk in chunks])[:frames]
    spoken = list(dict(session.texts).items())
    stops = [start for start, _ in spoken[1:]] + [frames]
    captions = tuple(TimedCaption(start / fps, stop / fps, text) for (start, text), stop in zip(spoken, stops))
    return Answer(
        script, Motion(joints, fps, streamer.representation.skeleton), captions=captions,
        features=torch.cat([chunk.features for chunk in chunks])[:frames],
    )  # fmt: skip
