"""Motions whose tokens are all made at once: one run of a head over latents of whole clips, or over all frames."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mld.engine.assembly import assemble, decode, sequence
from mld.engine.request import Answer
from mld.engine.sampling.job import Done, Job
from mld.engine.timeline import Timeline, kept_frames
from mld.models.contracts.generator import MotionGenerator
from mld.models.noise import RowNoise
from mld.motion.motion import Motion
from mld.motion.representations.base import Representation
from mld.padding import mask_of


@torch.no_grad()
def write_motions(
    model: MotionGenerator, representation: Representation, jobs: Sequence[Job], done: Done
) -> list[Answer]:
    """Motions; each depends on its own job alone."""
    tokenizer, layout = model.tokenizer, model.tokenizer.layout
    noise = RowNoise([job.request.seed for job in jobs])
    denoising = model.denoise([job.prompt for job in jobs])
    decided = [job.timeline.num_frames is not None for job in jobs]
    lengths = [0] * len(jobs) if all(decided) else denoising.lengths(noise)
    pairs = [_decided(job.timeline, length, model) for job, length in zip(jobs, lengths, strict=True)]
    lines, counts = [line for line, _ in pairs], [line.count for line, _ in pairs]
    mask = mask_of(counts).to(model.device)
    made = denoising.sample(mask, noise, lambda *_: done(0)).cpu()
    tokens = [row[:count] for row, count in zip(made, counts, strict=True)]
    rows = [sequence(line, layout, own, job.tokens) for line, own, job in zip(lines, tokens, jobs)]
    decoded = decode(tokenizer, rows, [line.made for line in lines])
    done(len(jobs))
    return [
        _answer(model, representation, job, line, features, own, notes)
        for job, (line, notes), features, own in zip(jobs, pairs, decoded, tokens, strict=True)
    ]


def _answer(
    model: MotionGenerator, representation: Representation, job: Job, line: Timeline, decoded: Tensor, tokens: Tensor,
    notes: tuple[str, ...],
) -> Answer:  # fmt: skip
    features, joints = assemble(line, decoded, model.tokenizer, representation, model.keeps_given)
    motion = Motion(joints, representation.fps, representation.skeleton)
    first = line.before + line.skipped
    return Answer(job.request, motion, features=features, tokens=tokens, first_frame=first, notes=notes)


def _decided(line: Timeline, length: int, model: MotionGenerator) -> tuple[Timeline, tuple[str, ...]]:
    """The time line with its length, and a note where that of the model, or of the prompt, cannot be made."""
    if line.num_frames is not None:
        return line, ()
    layout = model.tokenizer.layout
    kept = sum(kept_frames(clip, layout) for clip in line.given) if model.keeps_given else 0
    frames = max(length, kept + layout.shortest)
    if layout.longest:
        frames = min(frames, layout.longest + line.before)
    notes = () if frames == length else (f"{length} frames were to be made in all, the motion has {frames}",)
    return line.lasting(frames, layout), notes
