"""What a request means in frames and tokens: pure arithmetic over a token layout, no model.

Tokens of most tokenizers hold a fixed number of frames, given stretches have any length. A stretch that is followed by
generated frames is encoded up to its end (its first frames may fall out), one that follows them is encoded from its
start: index i of the decoded motion is frame i + `skipped`. Where a clip of any length is a few tokens, what follows a
given motion is a clip of its own (`before`), and what lies between two is the middle of a clip as long as the whole.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from mld.engine.checks import check_length, check_request
from mld.engine.request import Request
from mld.errors import RequestError
from mld.example import Clip, Segment
from mld.models.contracts.tokens import TokenLayout
from mld.motion.representations.base import Representation

MOST_CLIPS = 2  # motions that an answer can keep: how it begins and how it ends


@dataclass(frozen=True)
class Timeline:
    """num_frames: length of the whole motion, None where the model decides. prompt: the request's, with clips as they
    are to be encoded. given: the request's own clips that the answer keeps. count: tokens of the answer, None to leave
    it open. skipped: frames before the first encoded one. hidden: tokens between two given clips. before: given frames
    that the tokens do not stand for, as they go on after them. whole: the answer's tokens also stand for the given
    clips."""

    num_frames: int | None
    prompt: tuple[Segment, ...]
    given: tuple[Clip, ...] = ()
    count: int | None = None
    skipped: int = 0
    hidden: int = 0
    before: int = 0
    whole: bool = True

    @property
    def made(self) -> int | None:
        """Frames that are decoded, None where that is open."""
        return None if self.num_frames is None else self.num_frames - self.before - self.skipped

    @property
    def clips(self) -> list[Clip]:
        """The clips of the prompt."""
        return [part for part in self.prompt if isinstance(part, Clip)]

    def lasting(self, num_frames: int, layout: TokenLayout) -> Timeline:
        """The same with its length decided."""
        decided = dataclasses.replace(self, num_frames=num_frames)
        return dataclasses.replace(decided, count=layout.needed(decided.made))


def make_timeline(
    request: Request, layout: TokenLayout, representation: Representation, at_once: bool = False,
    keeps_given: bool = True,
) -> Timeline:  # fmt: skip
    """The time line of a request; `RequestError` in one line for what no model could serve.

    at_once: all tokens of the motion are made at once, those of given frames included. keeps_given: a motion that goes
    on from given frames keeps them."""
    clips = check_request(request, representation, layout)
    if request.output == "motion" and len(clips) > MOST_CLIPS:
        raise RequestError(f"{len(clips)} motions are given; one (to go on from) or two (to fill between) can be used")
    frames = request.num_frames if request.output == "text" else _whole(request, clips, layout)
    for clip in clips:
        check_length(clip, layout)
    if request.output == "text":
        return Timeline(frames, request.prompt)
    whole = Timeline(frames, request.prompt, clips)
    if layout.frames_per_token:
        made = _framewise(whole, layout, at_once)
    else:
        made = _clipwise(whole, layout, keeps_given)
    return made if made.num_frames is None else made.lasting(made.num_frames, layout) if at_once else made


def kept_frames(clip: Clip, layout: TokenLayout) -> int:
    """Frames that are given and kept."""
    if clip.joints is not None:
        return len(clip.joints)
    return len(clip.features) if clip.features is not None else layout.frames(len(clip.tokens))


def num_tokens(clip: Clip, layout: TokenLayout) -> int:
    """Tokens of a clip."""
    return layout.count(len(clip.features)) if clip.tokens is None else len(clip.tokens)


def _whole(request: Request, given: tuple[Clip, ...], layout: TokenLayout) -> int | None:
    """Frames of the whole motion, None where that is open."""
    if not given:
        return request.num_frames
    head, kept, wanted = given[0], kept_frames(given[0], layout), request.num_frames
    if len(given) == 1:
        if wanted is not None and wanted <= kept:
            raise RequestError(f"{wanted} frames are wanted and {kept} are given; the length is that of the whole "
                               "motion")
        return wanted
    start = given[1].start - head.start
    if start <= kept:
        raise RequestError(f"the second motion starts at frame {start} and the first one has {kept}: no gap to fill")
    return start + kept_frames(given[1], layout)


def _framewise(line: Timeline, layout: TokenLayout, at_once: bool) -> Timeline:
    """Tokens stand for frames."""
    if not line.given:
        return dataclasses.replace(line, count=None if line.num_frames is None else layout.needed(line.num_frames))
    head, (encoded, skipped) = line.given[0], _at_its_end(line.given[0], layout)
    before, step = num_tokens(encoded, layout), layout.frames_per_token
    if len(line.given) == 1:
        rest = None if line.num_frames is None else layout.needed(line.num_frames - skipped - step * before)
        prompt = _replaced(line.prompt, {id(head): encoded})
        return dataclasses.replace(line, prompt=prompt, count=rest, skipped=skipped, whole=at_once)
    tail = line.given[1]
    hidden = layout.needed(tail.start - head.start - skipped - step * before)
    placed = dataclasses.replace(tail, start=step * (before + hidden))
    prompt = _replaced(line.prompt, {id(head): encoded, id(tail): placed})
    count = before + hidden + num_tokens(tail, layout)
    return dataclasses.replace(line, prompt=prompt, count=count, skipped=skipped, hidden=hidden)


def _clipwise(line: Timeline, layout: TokenLayout, keeps_given: bool) -> Timeline:
    """A clip of any length is a few tokens."""
    if any(clip.features is None for clip in line.given):
        raise RequestError("a motion that is to be kept needs its features, not latents alone")
    apart = len(line.given) == 1 and keeps_given
    before = len(line.given[0].features) if apart else 0
    return dataclasses.replace(line, count=layout.tokens_per_clip, before=before, whole=not apart)


def _at_its_end(clip: Clip, layout: TokenLayout) -> tuple[Clip, int]:
    """The clip cut so that tokens end with its last row of features, and how many rows fell out at the start."""
    if clip.tokens is not None:
        return dataclasses.replace(clip, start=0), 0
    skipped = len(clip.features) % layout.frames_per_token
    joints = None if clip.joints is None else clip.joints[skipped:]
    return Clip(features=clip.features[skipped:], start=0, joints=joints), skipped


def _replaced(prompt: tuple[Segment, ...], clips: dict[int, Clip]) -> tuple[Segment, ...]:
    """The prompt with other clips in it, by the `id` of those they replace."""
    return tuple(clips.get(id(part), part) for part in prompt)
