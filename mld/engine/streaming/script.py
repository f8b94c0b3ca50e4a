"""Motions that are told other words on the way, as a list: many of them through the places of a streamer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from mld.engine.request import Answer, Request, TimedCaption
from mld.engine.streaming.session import Chunk, Session
from mld.engine.streaming.streamer import Streamer
from mld.example import Clip, Text
from mld.motion.motion import Motion


@dataclass(frozen=True)
class Script(Request):
    """prompt: texts in the order in which they hold, behind a given motion where there is one. lengths: frames under
    each text; the next one holds from the first token on that begins after them."""

    lengths: tuple[int, ...] = ()

    @property
    def texts(self) -> list[str]:
        return [part.text for part in self.prompt if isinstance(part, Text)]

    @property
    def given(self) -> Clip | None:
        return next((part for part in self.prompt if isinstance(part, Clip)), None)


@dataclass(frozen=True, eq=False)
class Performance(Answer):
    """features, motion: the given frames and what follows. starts: frame from which each text holds."""

    starts: tuple[int, ...] = ()


@dataclass(eq=False)
class _Act:
    """A script that is being played. starts: without the given frames."""

    place: int
    script: Script
    session: Session
    chunks: list[Chunk] = field(default_factory=list)
    starts: list[int] = field(default_factory=lambda: [0])
    frames: int = 0

    @property
    def due(self) -> bool:
        """Whether the text in force has had its frames."""
        return self.frames >= self.starts[-1] + self.script.lengths[len(self.starts) - 1]

    @property
    def done(self) -> bool:
        return self.due and len(self.starts) == len(self.script.lengths)


def perform(
    streamer: Streamer, scripts: Sequence[Script], together: int = 32, on_step: Callable[[int, int], None] | None = None
) -> list[Performance]:
    """Play scripts, in the order of the scripts; as one ends, the next one takes its place. together: so many at once.
    on_step: is told after every step how many frames were made, and how many texts begun, of all scripts together.

    What a script gives does not depend on the others. Its length is that of its parts, the last one cut to its
    frames."""
    waiting = deque(enumerate(scripts))
    acts: list[_Act] = []
    found: dict[int, Performance] = {}
    frames = texts = 0
    try:
        while waiting or acts:
            while waiting and len(acts) < together:
                place, script = waiting.popleft()
                acts.append(_Act(place, script, streamer.open(script.texts[0], script.seed, script.given)))
                texts += 1
            chunks = streamer.step([act.session for act in acts])
            for act in acts:
                act.chunks.append(chunks[act.session])
                act.frames += chunks[act.session].num_frames
                frames += chunks[act.session].num_frames
                if act.due and not act.done:
                    streamer.say(act.session, act.script.texts[len(act.starts)])
                    act.starts.append(act.frames)
                    texts += 1
            if on_step is not None:
                on_step(frames, texts)
            for act in [act for act in acts if act.done]:
                streamer.close(act.session)
                acts.remove(act)
                found[act.place] = _performance(streamer, act)
    finally:
        for act in acts:
            streamer.close(act.session)
    return [found[place] for place in range(len(scripts))]


def _performance(streamer: Streamer, act: _Act) -> Performance:
    script, fps = act.script, streamer.representation.fps
    end = act.starts[-1] + script.lengths[-1]
    features = torch.cat([chunk.features for chunk in act.chunks]).cpu()[:end]
    before = 0
    if script.given is not None and script.given.features is not None:
        before = len(script.given.features)
        features = torch.cat((script.given.features.to(features), features))
    starts = tuple(before + start for start in act.starts)
    stops = (*starts[1:], before + end)
    captions = tuple(TimedCaption(a / fps, b / fps, text) for a, b, text in zip(starts, stops, script.texts))
    motion = streamer.representation.decode(features)
    if not streamer.native:  # windows are joined as joints
        made = torch.cat([chunk.joints for chunk in act.chunks])[:end]
        motion = Motion(torch.cat((_given_joints(streamer, script), made)), fps, streamer.representation.skeleton)
    return Performance(script, motion, captions=captions, features=features, first_frame=before, starts=starts)


def _given_joints(streamer: Streamer, script: Script) -> torch.Tensor:
    """World joints (T, J, 3) of the given frames, none where nothing is given."""
    if script.given is None:
        return torch.zeros(0, streamer.representation.skeleton.num_joints, 3)
    if script.given.joints is not None:
        return script.given.joints.float().cpu()
    return streamer.representation.decode(script.given.features).joints.float()
