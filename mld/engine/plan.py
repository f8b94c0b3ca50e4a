"""What one request needs: which frames are encoded, how many codes are wanted, how answer and given frames are joined.

Codes hold a fixed number of frames, given stretches have any length. A stretch that is followed by generated frames is
encoded up to its end (its first frames may fall out), one that follows them is encoded from its start. Index i of the
decoded motion is frame i + `skipped` of the request's time line.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from mld.data.example import Clip, Segment, Text
from mld.engine.request import Request
from mld.errors import RequestError
from mld.models.base import MotionModel
from mld.motion import stitch
from mld.motion.representations.base import Representation

Span = tuple[Clip, Clip]


@dataclass(frozen=True)
class Plan:
    """prompt: the request's prompt with clips cut for encoding. task: which of the model's tasks it is. num_frames:
    length of the whole motion, None to leave it open. num_codes: codes of the answer. given: the request's own clips
    that the answer keeps. skipped: frames before the first encoded one. hidden: codes between head and tail."""

    prompt: tuple[Segment, ...]
    task: str
    num_frames: int | None = None
    num_codes: int | None = None
    given: tuple[Clip, ...] = ()
    skipped: int = 0
    hidden: int = 0


def make_plan(request: Request, model: MotionModel, representation: Representation) -> Plan:
    """The plan of a request; `RequestError` in one line for what cannot be served."""
    clips = tuple(part for part in request.prompt if isinstance(part, Clip))
    if not clips and not any(part.text.strip() for part in request.prompt if isinstance(part, Text)):
        raise RequestError("the prompt is empty; give a text or a motion")
    if request.num_frames is not None and request.num_frames < 1:
        raise RequestError(f"{request.num_frames} frames are wanted; at least 1 is needed")
    step = model.tokenizer.frames_per_token
    for clip in clips:
        _check_clip(clip, representation, step)
    if request.output == "text":
        plan = Plan(request.prompt, "m2t")
    elif not clips:
        codes = None if request.num_frames is None else -(-request.num_frames // step)
        plan = Plan(request.prompt, "t2m", request.num_frames, codes)
    elif len(clips) == 1:
        plan = _prediction(request, clips[0], step)
    elif len(clips) == 2:
        plan = _between(request, clips, step)
    else:
        raise RequestError(f"{len(clips)} motions are given; one (to go on from) or two (to fill between) can be used")
    if plan.task not in model.tasks:
        raise RequestError(f"this model cannot do '{plan.task}'; it can: {', '.join(sorted(model.tasks))}")
    return plan


def _check_clip(clip: Clip, representation: Representation, step: int) -> None:
    if clip.features is None and clip.tokens is None:
        raise RequestError("a motion of the prompt has neither features nor tokens")
    if clip.features is not None:
        if clip.features.ndim != 2 or clip.features.shape[1] != representation.width:
            raise RequestError(
                f"the model reads '{representation.name}' features (T, {representation.width}), "
                f"the motion has {tuple(clip.features.shape)}"
            )
        if not torch.isfinite(clip.features).all():
            raise RequestError("the motion holds NaN or infinity")
    if _codes(clip, step) < 1:
        raise RequestError(f"the motion has {_frames(clip, step)} frames; at least {step} are needed")
    if clip.joints is not None and not torch.isfinite(clip.joints).all():
        raise RequestError("the motion holds NaN or infinity")


def _codes(clip: Clip, step: int) -> int:
    return len(clip.features) // step if clip.tokens is None else len(clip.tokens)


def _frames(clip: Clip, step: int) -> int:
    """Frames that are given and kept."""
    if clip.joints is not None:
        return len(clip.joints)
    return step * len(clip.tokens) if clip.features is None else len(clip.features)


def _at_its_end(clip: Clip, step: int) -> tuple[Clip, int]:
    """The clip cut so that codes end with its last row of features, and how many rows fell out at the start."""
    if clip.tokens is not None:
        return dataclasses.replace(clip, start=0), 0
    skipped = len(clip.features) % step
    return Clip(features=clip.features[skipped:], start=0), skipped


def _prediction(request: Request, head: Clip, step: int) -> Plan:
    encoded, skipped = _at_its_end(head, step)
    kept, wanted = _frames(head, step), request.num_frames
    if wanted is not None and wanted <= kept:
        raise RequestError(f"{wanted} frames are wanted and {kept} are given; the length is that of the whole motion")
    codes = None if wanted is None else -(-(wanted - skipped - step * _codes(encoded, step)) // step)
    prompt = tuple(encoded if part is head else part for part in request.prompt)
    return Plan(prompt, "pred", wanted, codes, (head,), skipped)


def _between(request: Request, clips: tuple[Clip, ...], step: int) -> Plan:
    head, tail = clips
    encoded, skipped = _at_its_end(head, step)
    before, kept = _codes(encoded, step), _frames(head, step)
    start = tail.start - head.start
    if start <= kept:
        raise RequestError(f"the second motion starts at frame {start} and the first one has {kept}: no gap to fill")
    hidden = -(-(start - skipped - step * before) // step)
    placed = dataclasses.replace(tail, start=step * (before + hidden))
    prompt = tuple({id(head): encoded, id(tail): placed}.get(id(part), part) for part in request.prompt)
    whole = start + _frames(tail, step)
    return Plan(prompt, "inbetween", whole, before + hidden + _codes(tail, step), clips, skipped, hidden)


@torch.no_grad()
def assemble(
    plan: Plan, codes: Tensor, given_codes: list[Tensor], model: MotionModel, representation: Representation
) -> tuple[Tensor, Tensor]:
    """Features (T, D) and world joints (T, J, 3) in metres of the whole motion.

    codes: the answer's (L,); given_codes: those of the plan's clips. Given frames are kept exactly."""
    step, skeleton = model.tokenizer.frames_per_token, representation.skeleton
    if plan.task == "t2m":
        features = _decode(codes, model)[: plan.num_frames]
        return features, representation.decode(features).joints
    head = plan.given[0]
    kept = _frames(head, step)
    middle = codes[len(given_codes[0]) :][: plan.hidden] if plan.task == "inbetween" else codes
    features = _decode(torch.cat((given_codes[0], middle, *given_codes[1:])), model)
    decoded = representation.decode(features).joints
    first, before = kept - plan.skipped, _own_joints(head, given_codes[0], model, representation)
    if plan.task == "pred":
        rest = decoded[first:] if plan.num_frames is None else decoded[first : plan.num_frames - plan.skipped]
        return features, stitch.extend(before, rest, skeleton, reference=decoded[first - 1])
    tail = plan.given[1]
    gap = tail.start - head.start - kept
    after = _own_joints(tail, given_codes[1], model, representation)
    if tail.joints is None:
        after = stitch.place_after(before, after, gap)
    joints = stitch.bridge(
        before, decoded[first : first + gap], after, skeleton,
        head_reference=decoded[first - 1], tail_reference=decoded[first + gap],
    )  # fmt: skip
    return features, joints


def _own_joints(clip: Clip, codes: Tensor, model: MotionModel, representation: Representation) -> Tensor:
    """Joints (T, J, 3) of the given frames: those the clip brings, else those its features or codes decode to."""
    if clip.joints is not None:
        return clip.joints.detach().cpu().float()
    features = _decode(codes, model) if clip.features is None else clip.features
    return representation.decode(features).joints


def _decode(codes: Tensor, model: MotionModel) -> Tensor:
    """Codes (L,) -> raw features (T, D) on the CPU."""
    tokens = codes[None].to(next(model.parameters()).device)
    return model.tokenizer.decode(tokens, torch.ones_like(tokens, dtype=torch.bool))[0].float().cpu()
