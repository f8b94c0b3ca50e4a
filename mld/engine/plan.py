"""What a request asks for: which of the model's tasks it is, which motions it gives, how long the whole is to be.

Everything is checked here that does not depend on how a family writes motion; its writer takes the plan from there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mld.engine.given import SHORTEST
from mld.engine.request import Request
from mld.errors import RequestError
from mld.example import Clip, Segment, Text
from mld.models.contracts.generator import MotionGenerator
from mld.models.contracts.tokenizer import MotionTokenizer
from mld.motion.representations.base import Representation

MOTION_TASKS = ("t2m", "pred", "inbetween")  # by the number of motions that are given


@dataclass(frozen=True)
class Plan:
    """prompt: the request's prompt with clips as they are to be encoded. num_frames: length of the whole motion, None
    to leave it open. given: the request's own clips that the answer keeps."""

    request: Request
    task: str
    prompt: tuple[Segment, ...]
    num_frames: int | None = None
    given: tuple[Clip, ...] = ()


def make_plan(request: Request, model: MotionGenerator, representation: Representation) -> Plan:
    """The plan of a request; `RequestError` in one line for what cannot be served."""
    clips = tuple(part for part in request.prompt if isinstance(part, Clip))
    if not clips and not any(part.text.strip() for part in request.prompt if isinstance(part, Text)):
        raise RequestError("the prompt is empty; give a text or a motion")
    if request.num_frames is not None and request.num_frames < 1:
        raise RequestError(f"{request.num_frames} frames are wanted; at least 1 is needed")
    for clip in clips:
        check_clip(clip, representation, model.tokenizer)
    task = _task(request, len(clips))
    given = clips if request.output == "motion" else ()
    plan = Plan(request, task, request.prompt, _whole(request, given, model.tokenizer), given)
    if task not in model.tasks:
        raise RequestError(f"this model cannot do '{task}'; it can: {', '.join(sorted(model.tasks))}")
    return plan


def check_clip(clip: Clip, representation: Representation, tokenizer: MotionTokenizer) -> None:
    """`RequestError` for a clip that the tokenizer cannot read: another width, NaN, too short, too long."""
    if clip.features is None and clip.tokens is None:
        raise RequestError("a motion of the prompt has neither features nor tokens")
    if clip.features is not None and (clip.features.ndim != 2 or clip.features.shape[1] != representation.width):
        raise RequestError(
            f"the model reads '{representation.name}' features (T, {representation.width}), "
            f"the motion has {tuple(clip.features.shape)}"
        )
    if any(values is not None and not torch.isfinite(values).all() for values in (clip.features, clip.joints)):
        raise RequestError("the motion holds NaN or infinity")
    least = tokenizer.layout.frames_per_token or SHORTEST
    if clip.tokens is None and len(clip.features) < least:
        raise RequestError(f"the motion has {kept_frames(clip, tokenizer)} frames; at least {least} are needed")
    longest = tokenizer.layout.longest
    if clip.tokens is None and 0 < longest < len(clip.features):
        raise RequestError(f"the motion has {len(clip.features)} frames; this model reads at most {longest}")
    if clip.tokens is not None and not len(clip.tokens):
        raise RequestError("a motion of the prompt has no tokens")


def blank_tokens(clip: Clip, tokenizer: MotionTokenizer) -> Tensor:
    """Zeros in the shape of the clip's tokens: enough to measure a prompt with."""
    if not tokenizer.layout.codebook_size:
        return torch.zeros(tokenizer.layout.tokens_per_clip, tokenizer.layout.channels)
    return torch.zeros(num_codes(clip, tokenizer), dtype=torch.long)


def num_codes(clip: Clip, tokenizer: MotionTokenizer) -> int:
    """Tokens of a clip, for a tokenizer with a fixed number of frames in each."""
    return len(clip.features) // tokenizer.layout.frames_per_token if clip.tokens is None else len(clip.tokens)


def kept_frames(clip: Clip, tokenizer: MotionTokenizer) -> int:
    """Frames that are given and kept."""
    if clip.joints is not None:
        return len(clip.joints)
    return len(clip.features) if clip.features is not None else tokenizer.layout.frames_per_token * len(clip.tokens)


def _task(request: Request, clips: int) -> str:
    if request.output == "text":
        return "m2t" if clips else "t2t"
    if clips >= len(MOTION_TASKS):
        raise RequestError(f"{clips} motions are given; one (to go on from) or two (to fill between) can be used")
    return MOTION_TASKS[clips]


def _whole(request: Request, given: tuple[Clip, ...], tokenizer: MotionTokenizer) -> int | None:
    """Frames of the whole motion, None where that is open."""
    if not given:
        return request.num_frames
    head, kept, wanted = given[0], kept_frames(given[0], tokenizer), request.num_frames
    if len(given) == 1:
        if wanted is not None and wanted <= kept:
            raise RequestError(f"{wanted} frames are wanted and {kept} are given; the length is that of the whole "
                               "motion")
        return wanted
    start = given[1].start - head.start
    if start <= kept:
        raise RequestError(f"the second motion starts at frame {start} and the first one has {kept}: no gap to fill")
    return start + kept_frames(given[1], tokenizer)
