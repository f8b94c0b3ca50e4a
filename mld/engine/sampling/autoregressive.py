"""Answers made token after token: text, and the motion of families whose tokens come in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mld.engine.assembly import assemble, decode, sequence
from mld.engine.request import Answer
from mld.engine.sampling.job import Done, Job
from mld.models.contracts.generator import MotionGenerator
from mld.models.contracts.sampling import Decoding
from mld.models.noise import RowNoise
from mld.motion.motion import Motion
from mld.motion.representations.base import Representation


@dataclass(frozen=True, eq=False)
class Sampled:
    """tokens (L,) or (L, C) of one answer on the CPU, without the one that ended it. complete: it was ended by such a
    token, not by the limit."""

    tokens: Tensor
    complete: bool


@torch.no_grad()
def sample(decoding: Decoding, seeds: Sequence[int], on_step: Done | None = None) -> list[Sampled]:
    """Continue every row of `decoding` until it ends, or has `longest` tokens; finished rows leave the batch.

    on_step is told how many answers were finished by each step."""
    noise = RowNoise(seeds)
    made: list[list[Tensor]] = [[] for _ in seeds]
    complete = [False] * len(seeds)
    rows = list(range(len(seeds)))  # the answers still being made, in the order of the decoding's rows
    tokens = last = None
    for _ in range(decoding.longest):
        last, ended = decoding.draw(decoding.step(tokens), noise)
        going = []
        for place, (row, end) in enumerate(zip(rows, ended.tolist(), strict=True)):
            if end:
                complete[row] = True
                continue
            made[row].append(last[place])
            going.append(place)
        if on_step is not None:
            on_step(len(rows) - len(going))
        if not going:
            break
        tokens = last
        if len(going) < len(rows):
            keep = torch.tensor(going, device=last.device)
            decoding.keep(keep)
            noise.keep(keep)
            tokens, rows = last[keep], [rows[place] for place in going]
    nothing = last.new_zeros(0, *last.shape[1:])
    return [
        Sampled(torch.stack(row).cpu() if row else nothing.cpu(), end) for row, end in zip(made, complete, strict=True)
    ]


def write_texts(model: MotionGenerator, jobs: Sequence[Job], done: Done) -> list[Answer]:
    """Captions, and answers to questions."""
    decoding = model.start([job.prompt for job in jobs], "text", [None] * len(jobs))
    sampled = sample(decoding, [job.request.seed for job in jobs], done)
    return [
        Answer(job.request, text=model.read_text(one.tokens), complete=one.complete)
        for job, one in zip(jobs, sampled, strict=True)
    ]


def write_motions(
    model: MotionGenerator, representation: Representation, jobs: Sequence[Job], done: Done
) -> list[Answer]:
    """Motions; each depends on its own job alone."""
    decoding = model.start([job.prompt for job in jobs], "motion", [job.timeline.count for job in jobs])
    sampled = sample(decoding, [job.request.seed for job in jobs], done)
    return [_answer(model, representation, job, one) for job, one in zip(jobs, sampled, strict=True)]


def _answer(model: MotionGenerator, representation: Representation, job: Job, sampled: Sampled) -> Answer:
    line, layout, notes = job.timeline, model.tokenizer.layout, []
    tokens = model.read_motion(sampled.tokens)
    if not len(tokens):
        tokens, notes = layout.blank(layout.shortest), ["the model wrote no motion: one token of zeros is shown"]
    if line.count is not None and len(tokens) < line.count:
        notes.append(f"{line.count} tokens were wanted, the model wrote {len(tokens)}; the last is repeated")
        tokens = torch.cat((tokens, tokens[-1:].expand(line.count - len(tokens), *tokens.shape[1:])))
    (decoded,) = decode(model.tokenizer, [sequence(line, layout, tokens, job.tokens)], [None])
    features, joints = assemble(line, decoded, model.tokenizer, representation)
    return Answer(
        job.request, Motion(joints, representation.fps, representation.skeleton), features=features, tokens=tokens,
        first_frame=line.skipped + (0 if line.whole else layout.frames(len(job.tokens[0]))),
        complete=sampled.complete, notes=tuple(notes),
    )  # fmt: skip
