"""Motions for the segments of a request: one text as one motion, several as a stream that is told other words on the
way; from the pose that it is to begin with, and in between two poses, where a client pins them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mld.engine.body import on_one_body
from mld.engine.given import SHORTEST
from mld.engine.pipeline import Pipeline
from mld.engine.request import Request
from mld.engine.streaming.script import Script, perform
from mld.engine.streaming.streamer import IDLE
from mld.example import Clip, Text
from mld.models.contracts.generator import Shape
from mld.motion import edit
from mld.motion.motion import Motion

HELD = 8  # frames for which a pose is held that a motion begins or ends with
Check = Callable[..., None]


@dataclass(frozen=True)
class Wanted:
    """lengths: frames of each segment at `fps`; texts: "" for a segment without words. first, last: poses that the
    motion begins and ends with, held, where they are known. seeds: one for each sample."""

    texts: tuple[str, ...]
    lengths: tuple[int, ...]
    fps: float
    seeds: tuple[int, ...]
    first: Motion | None = None
    last: Motion | None = None

    @property
    def frames(self) -> int:
        return sum(self.lengths)


@dataclass(frozen=True, eq=False)
class Made:
    """motion: at the model's frame rate, as long as is wanted or a little longer. joins: frames at `Wanted.fps` where
    parts were joined."""

    motion: Motion
    joins: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


def make(pipeline: Pipeline, wanted: Wanted, check: Check) -> list[Made]:
    """One motion for each seed. check: is called now and then, and may raise. `RequestError` for what the model cannot
    be asked."""
    fps = pipeline.representation.fps
    stops = [round(sum(wanted.lengths[: place + 1]) / wanted.fps * fps) for place in range(len(wanted.lengths))]
    stops[-1] += 1  # the last frame that is wanted may lie a little after the model's last one
    if wanted.last is not None and wanted.first is not None and Shape("motion", 2) in pipeline.model.answers:
        return _between(pipeline, wanted, stops[-1], check)
    one = len(wanted.texts) == 1 and wanted.first is None
    most = pipeline.most_frames
    if one and not 0 < most < stops[-1]:
        least = max(SHORTEST, pipeline.model.tokenizer.layout.shortest)
        words = (Text(wanted.texts[0] or IDLE),)
        asked = [Request(words, "motion", max(least, stops[-1]), seed) for seed in wanted.seeds]
        return [Made(answer.motion, notes=answer.notes) for answer in pipeline.run(asked, on_step=check)]
    return _performed(pipeline, wanted, stops, check)


def _between(pipeline: Pipeline, wanted: Wanted, frames: int, check: Check) -> list[Made]:
    """What lies between two poses, as the model makes it without words."""
    kept = [pipeline.clip(pose) for pose in (wanted.first, wanted.last)]
    held = [len(clip.joints) for clip in kept]
    seconds = (max(frames, 3) + sum(held) - 2) / pipeline.representation.fps
    ends = pipeline.ends(wanted.first, wanted.last, seconds)
    words = tuple(Text(text) for text in wanted.texts if text)
    answers = pipeline.run([Request((*words, *ends), "motion", seed=seed) for seed in wanted.seeds], on_step=check)
    first, last = held[0] - 1, held[1] - 1
    return [Made(answer.motion.crop(first, answer.motion.num_frames - last), notes=answer.notes) for answer in answers]


def _performed(pipeline: Pipeline, wanted: Wanted, stops: Sequence[int], check: Check) -> list[Made]:
    """The texts one after the other, as a stream."""
    streamer = pipeline.streamer()
    given: tuple[Clip, ...] = () if wanted.first is None else (pipeline.clip(wanted.first),)
    lengths = tuple(max(1, stop - start) for start, stop in zip((0, *stops), stops))
    words = tuple(Text(text or IDLE) for text in wanted.texts)
    scripts = [Script((*words, *given), "motion", sum(lengths), seed, lengths=lengths) for seed in wanted.seeds]
    made = []
    for one in perform(_Watched(streamer, check), scripts):
        begin = max(one.first_frame - 1, 0)  # the last given frame is the pose that it begins with
        joins = () if streamer.native else tuple(
            round((start - begin) / pipeline.representation.fps * wanted.fps) for start in one.starts[1:]
        )  # fmt: skip
        motion = one.motion.crop(begin)
        made.append(Made(on_one_body(motion, torch.zeros(motion.num_frames, dtype=torch.bool)), joins, one.notes))
    return made


def held_pose(pose: Motion, grounded: bool) -> Motion:
    """One pose (1, 22, 3) as a motion that stays in it, over the origin, facing +z; on the floor where `grounded`."""
    joints = pose.joints[:1].expand(HELD, -1, -1).clone()
    held = Motion(joints, pose.fps, pose.skeleton)
    return edit.face_forward(edit.center(edit.ground(held) if grounded else held))


class _Watched:
    """A streamer that looks, before each step, whether anybody still waits."""

    def __init__(self, streamer: Any, check: Check) -> None:
        self._streamer, self._check = streamer, check

    def step(self, sessions: Any) -> Any:
        self._check()
        with torch.no_grad():
            return self._streamer.step(sessions)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._streamer, name)
