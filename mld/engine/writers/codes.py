"""Motion as codes, one after the other, in a grammar that fixes their number.

Codes hold a fixed number of frames, given stretches have any length. A stretch that is followed by generated frames is
encoded up to its end (its first frames may fall out), one that follows them is encoded from its start. Index i of the
decoded motion is frame i + `skipped` of the request's time line. The model gives `grammar("motion", num_codes)` and
`read_motion(ids)`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mld.engine.plan import Plan, kept_frames, num_codes
from mld.engine.request import Answer
from mld.engine.sampling import Sampled, sample
from mld.engine.writers.base import Job, Writer
from mld.errors import RequestError
from mld.example import Clip
from mld.motion import stitch
from mld.motion.motion import Motion


@dataclass(frozen=True)
class CodePlan(Plan):
    """num_codes: codes of the answer, None to leave it open. skipped: frames before the first encoded one. hidden:
    codes between head and tail."""

    num_codes: int | None = None
    skipped: int = 0
    hidden: int = 0


class CodeWriter(Writer):
    """Motions of models with a codebook."""

    @property
    def step(self) -> int:
        return self.model.tokenizer.layout.frames_per_token

    def plan(self, plan: Plan) -> CodePlan:
        made = {"t2m": self._from_text, "pred": self._prediction, "inbetween": self._between}[plan.task](plan)
        limit = self.model.settings("motion").max_length
        if made.num_codes is not None and made.num_codes + 2 > limit:
            frames = (limit - 2) * self.step
            raise RequestError(f"{plan.num_frames} frames are wanted, this model makes at most about {frames} at once")
        return made

    def size(self, plan: CodePlan) -> int:
        return plan.num_codes or 0

    def write(self, jobs: Sequence[Job], done: Callable[[int], None]) -> list[Answer]:
        sampled = sample(
            self.model.start([job.prompt for job in jobs]),
            [self.model.grammar("motion", job.plan.num_codes) for job in jobs],
            [job.plan.request.seed for job in jobs],
            self.model.settings("motion"),
            done,
        )
        return [self._answer(job, answer) for job, answer in zip(jobs, sampled, strict=True)]

    # planning

    def _from_text(self, plan: Plan) -> CodePlan:
        return _with(plan, num_codes=None if plan.num_frames is None else -(-plan.num_frames // self.step))

    def _prediction(self, plan: Plan) -> CodePlan:
        (head,) = plan.given
        encoded, skipped = self._at_its_end(head)
        codes = None
        if plan.num_frames is not None:
            rest = plan.num_frames - skipped - self.step * num_codes(encoded, self.model.tokenizer)
            codes = -(-rest // self.step)
        return _with(_replaced(plan, {id(head): encoded}), num_codes=codes, skipped=skipped)

    def _between(self, plan: Plan) -> CodePlan:
        head, tail = plan.given
        encoded, skipped = self._at_its_end(head)
        before = num_codes(encoded, self.model.tokenizer)
        hidden = -(-(tail.start - head.start - skipped - self.step * before) // self.step)
        placed = dataclasses.replace(tail, start=self.step * (before + hidden))
        codes = before + hidden + num_codes(tail, self.model.tokenizer)
        replaced = _replaced(plan, {id(head): encoded, id(tail): placed})
        return _with(replaced, num_codes=codes, skipped=skipped, hidden=hidden)

    def _at_its_end(self, clip: Clip) -> tuple[Clip, int]:
        """The clip cut so that codes end with its last row of features, and how many rows fell out at the start."""
        if clip.tokens is not None:
            return dataclasses.replace(clip, start=0), 0
        skipped = len(clip.features) % self.step
        return Clip(features=clip.features[skipped:], start=0), skipped

    # answers

    def _answer(self, job: Job, sampled: Sampled) -> Answer:
        notes, wanted = [], job.plan.num_codes
        codes = self.model.read_motion(sampled.ids)
        if not len(codes):
            codes, notes = torch.zeros(1, dtype=torch.long), ["the model wrote no motion: code 0 is shown"]
        if wanted is not None and len(codes) < wanted:
            notes.append(f"{wanted} codes were wanted, the model wrote {len(codes)}; the last is repeated")
            codes = torch.cat((codes, codes[-1:].expand(wanted - len(codes))))
        features, joints = self._assemble(job, codes)
        motion = Motion(joints, self.representation.fps, self.representation.skeleton)
        return Answer(
            job.plan.request, motion, features=features, tokens=codes, complete=sampled.complete, notes=tuple(notes)
        )

    def _assemble(self, job: Job, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Features (T, D) and world joints (T, J, 3) in metres of the whole motion; given frames are kept exactly.

        codes: the answer's (L,)."""
        plan, skeleton = job.plan, self.representation.skeleton
        if plan.task == "t2m":
            features = self._decode(codes)[: plan.num_frames]
            return features, self.representation.decode(features).joints
        head = plan.given[0]
        kept = kept_frames(head, self.model.tokenizer)
        middle = codes[len(job.tokens[0]) :][: plan.hidden] if plan.task == "inbetween" else codes
        features = self._decode(torch.cat((job.tokens[0], middle, *job.tokens[1:])))
        decoded = self.representation.decode(features).joints
        first, before = kept - plan.skipped, self._own_joints(head, job.tokens[0])
        if plan.task == "pred":
            rest = decoded[first:] if plan.num_frames is None else decoded[first : plan.num_frames - plan.skipped]
            return features, stitch.extend(before, rest, skeleton, reference=decoded[first - 1])
        tail = plan.given[1]
        gap = tail.start - head.start - kept
        after = self._own_joints(tail, job.tokens[1])
        if tail.joints is None:
            after = stitch.place_after(before, after, gap)
        joints = stitch.bridge(
            before, decoded[first : first + gap], after, skeleton,
            head_reference=decoded[first - 1], tail_reference=decoded[first + gap],
        )  # fmt: skip
        return features, joints

    def _own_joints(self, clip: Clip, codes: Tensor) -> Tensor:
        """Joints (T, J, 3) of the given frames: those the clip brings, else those its features or codes decode to."""
        if clip.joints is not None:
            return clip.joints.detach().cpu().float()
        features = self._decode(codes) if clip.features is None else clip.features
        return self.representation.decode(features).joints

    def _decode(self, codes: Tensor) -> Tensor:
        """Codes (L,) -> raw features (T, D) on the CPU."""
        tokens = codes[None].to(next(self.model.parameters()).device)
        return self.model.tokenizer.decode(tokens, torch.ones_like(tokens, dtype=torch.bool))[0].float().cpu()


def _replaced(plan: Plan, clips: dict[int, Clip]) -> Plan:
    """The plan with other clips in its prompt, by the `id` of those they replace."""
    return dataclasses.replace(plan, prompt=tuple(clips.get(id(part), part) for part in plan.prompt))


def _with(plan: Plan, **more: int | None) -> CodePlan:
    return CodePlan(**vars(plan), **more)
