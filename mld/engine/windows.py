"""Motions that are longer than a model reads: what it is asked instead, and one answer from what it says.

Words about a motion come part by part, with the seconds of each. What goes on from a motion, or lies between two, is
made from the frames next to it; all given frames are in the answer as they were given.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from mld.engine.request import Answer, Request, TimedCaption
from mld.engine.worlds import joints_in_one_world, rows_in_one_world
from mld.errors import RequestError, TooLong
from mld.example import Clip, Segment
from mld.motion import stitch
from mld.motion.motion import Motion
from mld.motion.representations.base import Representation

NEAREST_SECONDS = 3.0  # read of a motion too long to be read whole; ends in training are shorter (a fifth, a quarter)


@dataclass(frozen=True)
class Asked:
    """What a model is asked for a request: the request itself, or its parts. spans: of the given motion in each part,
    in frames; of a request whose answer is a motion, what of each given motion is kept aside."""

    request: Request
    parts: tuple[Request, ...]
    spans: tuple[tuple[int, int], ...] = ()

    def joined(self, answers: Sequence[Answer], keeps_given: bool, representation: Representation) -> Answer:
        """One answer out of those to the parts. keeps_given: those keep the frames that they go on from."""
        if not self.spans:
            return answers[0]
        if self.request.output == "text":
            return self._told(answers, representation.fps)
        return self._whole(answers[0], keeps_given, representation)

    def _told(self, answers: Sequence[Answer], fps: float) -> Answer:
        captions = tuple(
            TimedCaption(start / fps, stop / fps, answer.text.strip())
            for (start, stop), answer in zip(self.spans, answers, strict=True)
        )
        note = f"the motion is longer than the model reads; it was described in {len(captions)} parts"
        return dataclasses.replace(
            answers[0], request=self.request, text=" ".join(map(str, captions)), captions=captions,
            notes=(*answers[0].notes, note), complete=all(answer.complete for answer in answers),
        )  # fmt: skip

    def _whole(self, answer: Answer, keeps_given: bool, representation: Representation) -> Answer:
        """The answer between the given frames that the model did not read."""
        clips = _in_one_world(_clips(self.request), representation)
        before, last, made = self.spans[0][0], self.spans[-1][1], answer.motion.joints
        front = clips[0].joints[:before].to(made)
        if not before:
            joints = made
        elif keeps_given:
            joints = torch.cat((front, made))
        else:  # the answer has a world of its own
            joints = stitch.extend(front, made, representation.skeleton)
        lacking = len(made) - len(answer.features)  # given frames that fill no whole token
        features = [clips[0].features.cpu()[: before + lacking], answer.features]
        if len(clips) > 1:
            joints = torch.cat((joints, clips[1].joints[last:].to(made)))
            features.append(clips[1].features.cpu()[last:])
        read = " and ".join(f"{(stop - start) / representation.fps:.1f} s" for start, stop in self.spans)
        note = f"the motion is longer than the model reads; the nearest {read} were read"
        return dataclasses.replace(
            answer, request=self.request, motion=Motion(joints, representation.fps, representation.skeleton),
            features=rows_in_one_world(features, joints, representation),
            first_frame=answer.first_frame + before, notes=(*answer.notes, note),
        )  # fmt: skip


def asked(request: Request, check: Callable[[Request], None], shortest: int, representation: Representation) -> Asked:
    """What to ask for a request. check: raises `RequestError` for a request that cannot be served, `TooLong` where
    shorter motions can be; what no cut helps is raised as it is. shortest: frames that the model needs."""
    clips = _clips(request)
    telling = request.output == "text"
    if not clips or any(clip.features is None for clip in clips) or (telling and len(clips) > 1):
        return Asked(request, (request,))
    try:
        check(request)
    except TooLong as error:
        longest = max(len(clip.features) for clip in clips) - 1
        if not telling:
            longest = min(longest, round(NEAREST_SECONDS * representation.fps))
        cut = _parts if telling else partial(_ends, representation=representation)
        frames = _most(lambda size: _taken(cut(request, size).parts, check), shortest, longest)
        if not frames:
            least = None if telling else cut(request, shortest).parts[0]
            raise _unmade(request, least, check, error) from error
        return cut(request, frames)
    return Asked(request, (request,))


def _parts(request: Request, most: int) -> Asked:
    """The motion in parts of at most so many frames, equal to a frame."""
    (clip,) = _clips(request)
    frames = len(clip.features)
    count = -(-frames // most)
    cuts = [round(frames * number / count) for number in range(count + 1)]
    spans = tuple(zip(cuts, cuts[1:]))
    return Asked(request, tuple(_replaced(request, [_cut(clip, *span)]) for span in spans), spans)


def _ends(request: Request, most: int, representation: Representation) -> Asked:
    """The last frames of the first motion, and the first ones of the second, at most so many of each."""
    clips = _in_one_world(_clips(request), representation)
    first = max(0, len(clips[0].features) - most)
    spans = [(first, len(clips[0].features)), *((0, min(most, len(clip.features))) for clip in clips[1:])]
    lost = first + sum(len(clip.features) - stop for clip, (_, stop) in zip(clips, spans))
    part = _replaced(request, [_cut(clip, *span) for clip, span in zip(clips, spans)])
    frames = None if request.num_frames is None else request.num_frames - lost
    return Asked(request, (dataclasses.replace(part, num_frames=frames),), tuple(spans))


def _unmade(request: Request, least: Request | None, check: Callable[[Request], None], error: TooLong) -> RequestError:
    """What to say where no cut helps. least: the request with as few given frames as can be."""
    if least is None or (made := _made(least)) < 1:
        return error
    most = _most(lambda frames: _taken([_making(least, frames)], check), 1, made)
    if not most:
        return error
    if len(_clips(request)) > 1:
        return RequestError(f"{made} frames lie between the two motions, this model fills at most about {most}")
    total = request.num_frames - made + most
    return RequestError(
        f"{request.num_frames} frames are wanted, this model makes at most about {total}, those given included"
    )


def _made(request: Request) -> int:
    """Frames that are wanted after the given ones, or between them; 0 where that is open."""
    first, *others = _clips(request)
    whole = others[0].start - first.start if others else request.num_frames
    return 0 if whole is None else whole - len(first.features)


def _making(request: Request, frames: int) -> Request:
    """The same with another number of frames to be made."""
    first, *others = _clips(request)
    end = len(first.features) + frames
    if not others:
        return dataclasses.replace(request, num_frames=end)
    tail = dataclasses.replace(others[0], start=first.start + end)
    return dataclasses.replace(_replaced(request, [first, tail]), num_frames=None)


def _most(fits: Callable[[int], bool], least: int, most: int) -> int:
    """The largest number for which `fits` holds, which holds for all below it; 0 for none."""
    if most < least or not fits(least):
        return 0
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if fits(middle) else (least, middle - 1)
    return least


def _taken(parts: Sequence[Request], check: Callable[[Request], None]) -> bool:
    """Whether a model takes the longest of the parts."""
    try:
        check(max(parts, key=lambda part: sum(len(clip.features) for clip in _clips(part))))
    except TooLong:
        return False
    return True


def _clips(request: Request) -> list[Clip]:
    return [part for part in request.prompt if isinstance(part, Clip)]


def _in_one_world(clips: Sequence[Clip], representation: Representation) -> list[Clip]:
    """The clips with joints in one world."""
    places = joints_in_one_world(clips, representation)
    return [dataclasses.replace(clip, joints=joints) for clip, joints in zip(clips, places)]


def _cut(clip: Clip, start: int, stop: int) -> Clip:
    joints = None if clip.joints is None else clip.joints[start:stop]
    return dataclasses.replace(clip, features=clip.features[start:stop], joints=joints, start=clip.start + start)


def _replaced(request: Request, clips: Sequence[Clip]) -> Request:
    """The request with other clips in the places of its own."""
    others = iter(clips)
    prompt: tuple[Segment, ...] = tuple(next(others) if isinstance(part, Clip) else part for part in request.prompt)
    return dataclasses.replace(request, prompt=prompt)
