"""From tokens to a motion: the one place that decodes, and that joins what was made to what was given."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mld.engine.timeline import Timeline, kept_frames
from mld.example import Clip
from mld.models.contracts.tokenizer import MotionTokenizer
from mld.models.contracts.tokens import TokenLayout
from mld.motion import stitch
from mld.motion.representations.base import Representation
from mld.padding import mask_of


def decode(tokenizer: MotionTokenizer, tokens: Sequence[Tensor], frames: Sequence[int | None]) -> list[Tensor]:
    """Tokens (L,) or (L, C) of motions -> their raw features (T, D) on the CPU, at most `frames` of each."""
    device = tokenizer.device
    if tokenizer.layout.frames_per_token:
        rows = [row[None].to(device) for row in tokens]
        masks = [torch.ones(row.shape[:2], dtype=torch.bool, device=device) for row in rows]
        return [tokenizer.decode(*pair)[0].float().cpu()[:most] for pair, most in zip(zip(rows, masks), frames)]
    together = torch.stack(list(tokens)).to(device)
    mask = torch.ones(together.shape[:2], dtype=torch.bool, device=device)
    decoded = tokenizer.decode(together, mask, mask_of(frames).to(device)).float().cpu()
    return [row[:most] for row, most in zip(decoded, frames)]


def sequence(timeline: Timeline, layout: TokenLayout, tokens: Tensor, given: Sequence[Tensor]) -> Tensor:
    """What is to be decoded: the answer's tokens with those of the given clips in their places. Tokens of whole clips
    are decoded as they are."""
    if not given or not layout.frames_per_token:
        return tokens
    if not timeline.whole:
        return torch.cat((given[0].to(tokens), tokens))
    middle = tokens[len(given[0]) :]
    if len(given) == 1:
        return torch.cat((given[0].to(tokens), middle))
    return torch.cat((given[0].to(tokens), middle[: timeline.hidden], given[1].to(tokens)))


def assemble(
    timeline: Timeline, decoded: Tensor, tokenizer: MotionTokenizer, representation: Representation,
    keeps_given: bool = True,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Features (T, D) and world joints (T, J, 3) in metres of the whole motion; given frames are kept exactly.

    decoded: features (T, D) of `sequence`. Bones are as long as the network makes them, so that what is measured is
    the network; one body for all is a later step (`mld.engine.body`)."""
    skeleton = representation.skeleton
    joints = representation.decode(decoded).joints
    if not timeline.given or not keeps_given:
        return decoded[: timeline.num_frames], joints[: timeline.num_frames]
    head = timeline.given[0]
    kept, offset = kept_frames(head, tokenizer.layout), timeline.skipped + timeline.before
    before, first = own_joints(head, tokenizer, representation), kept - offset
    reference = joints[first - 1] if first > 0 else None
    if len(timeline.given) == 1:
        last = None if timeline.num_frames is None else timeline.num_frames - offset
        features = torch.cat((head.features.cpu(), decoded)) if timeline.before else decoded
        return features, stitch.extend(before, joints[first:last], skeleton, reference=reference)
    tail = timeline.given[1]
    gap, after = tail.start - head.start - kept, own_joints(tail, tokenizer, representation)
    if tail.joints is None:
        after = stitch.place_after(before, after, gap)
    return decoded, stitch.bridge(
        before, joints[first : first + gap], after, skeleton, head_reference=reference,
        tail_reference=joints[first + gap],
    )  # fmt: skip


def own_joints(clip: Clip, tokenizer: MotionTokenizer, representation: Representation) -> Tensor:
    """Joints (T, J, 3) of the given frames: those the clip brings, else those its features or tokens decode to."""
    if clip.joints is not None:
        return clip.joints.detach().cpu().float()
    features = decode(tokenizer, [clip.tokens], [None])[0] if clip.features is None else clip.features
    return representation.decode(features).joints
