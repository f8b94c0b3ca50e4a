"""Motion as latents of a whole clip, sampled at once and decoded at a length (MotionGPT3 spec 3.6).

What follows a given motion is a clip of its own and is joined to it; what lies between two is the middle of a clip
that is as long as the whole. The model gives `condition(prompts)`, `denoise(condition, seeds, on_step)`,
`frames(prompts, condition, seeds)` for a length that the request leaves open, and `config.compat_prediction`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mld.engine.given import SHORTEST
from mld.engine.plan import Plan
from mld.engine.request import Answer
from mld.engine.writers.base import Job, Writer
from mld.errors import RequestError
from mld.example import Clip
from mld.motion import kinematics, stitch
from mld.motion.motion import Motion


@dataclass(frozen=True)
class LatentPlan(Plan):
    """before: given frames that the latents do not stand for, as they go on after them."""

    before: int = 0

    @property
    def made(self) -> int | None:
        """Frames that are decoded, None where that is open."""
        return None if self.num_frames is None else self.num_frames - self.before


class LatentWriter(Writer):
    """Motions of models with a continuous tokenizer for clips of any length."""

    def plan(self, plan: Plan) -> LatentPlan:
        if any(clip.features is None for clip in plan.given):
            raise RequestError("a motion that is to be kept needs its features, not latents alone")
        apart = plan.task == "pred" and not self.model.config.compat_prediction
        planned = LatentPlan(**vars(plan), before=len(plan.given[0].features) if apart else 0)
        longest = self.model.tokenizer.layout.longest
        if planned.made is not None and 0 < longest < planned.made:
            most = longest + planned.before
            raise RequestError(f"{plan.num_frames} frames are wanted, this model makes at most about {most} at once")
        return planned

    def size(self, plan: LatentPlan) -> int:
        return plan.made or 0

    def write(self, jobs: Sequence[Job], done: Callable[[int], None]) -> list[Answer]:
        prompts, seeds = [job.prompt for job in jobs], [job.plan.request.seed for job in jobs]
        condition = self.model.condition(prompts)
        lengths, notes = self._lengths(jobs, condition)
        latents = self.model.denoise(condition, seeds, lambda *_: done(0))
        rows = self._decode(latents, lengths)
        done(len(jobs))
        return [
            self._answer(job, row, own.cpu(), notes.get(place, ()))
            for place, (job, row, own) in enumerate(zip(jobs, rows, latents, strict=True))
        ]

    def _lengths(self, jobs: Sequence[Job], condition: Tensor) -> tuple[list[int], dict[int, tuple[str, ...]]]:
        """Frames to decode for each job, and notes by job. Where a length is open the model says how long the whole
        motion is; its prompt may name one that cannot be made."""
        lengths, notes = [job.plan.made for job in jobs], {}
        undecided = [place for place, length in enumerate(lengths) if length is None]
        if undecided:
            open_jobs = [jobs[place] for place in undecided]
            seeds = [job.plan.request.seed for job in open_jobs]
            found = self.model.frames([job.prompt for job in open_jobs], condition[undecided], seeds)
            for place, job, whole in zip(undecided, open_jobs, found, strict=True):
                wanted = whole - job.plan.before
                longest = self.model.tokenizer.layout.longest
                lengths[place] = min(max(wanted, SHORTEST), longest or max(wanted, SHORTEST))
                if lengths[place] != wanted:
                    made = lengths[place] + job.plan.before
                    notes[place] = (f"{whole} frames were to be made in all, the motion has {made}",)
        return lengths, notes

    def _decode(self, latents: Tensor, lengths: Sequence[int]) -> list[Tensor]:
        """Latents (B, S, C) -> raw features (T, D) of each row on the CPU."""
        counts = torch.tensor(lengths, device=latents.device)
        frames = torch.arange(max(lengths), device=latents.device) < counts[:, None]
        mask = torch.ones(latents.shape[:2], dtype=torch.bool, device=latents.device)
        decoded = self.model.tokenizer.decode(latents, mask, frames).float().cpu()
        return [row[:length] for row, length in zip(decoded, lengths)]

    def _answer(self, job: Job, features: Tensor, latents: Tensor, notes: tuple[str, ...]) -> Answer:
        features, joints = self._assemble(job.plan, features)
        motion = Motion(joints, self.representation.fps, self.representation.skeleton)
        return Answer(job.plan.request, motion, features=features, tokens=latents, notes=notes)

    def _assemble(self, plan: LatentPlan, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features (T, D) and world joints (T, J, 3) in metres of the whole motion. Given frames are kept exactly, the
        bones of generated ones keep their lengths.

        Compat: with `compat_prediction` the latents of the rest are shown over the whole length, nothing is kept."""
        decoded = kinematics.rigid(self.representation.decode(features).joints, self.representation.skeleton)
        if plan.task == "t2m" or (plan.task == "pred" and not plan.before):
            return features, decoded
        skeleton, head = self.representation.skeleton, plan.given[0]
        before = self._own_joints(head)
        if plan.task == "pred":
            return torch.cat((head.features.cpu(), features)), stitch.extend(before, decoded, skeleton)
        tail = plan.given[1]
        kept, start = len(before), tail.start - head.start
        after = self._own_joints(tail)
        if tail.joints is None:
            after = stitch.place_after(before, after, start - kept)
        joints = stitch.bridge(
            before, decoded[kept:start], after, skeleton,
            head_reference=decoded[kept - 1], tail_reference=decoded[start],
        )  # fmt: skip
        return features, joints

    def _own_joints(self, clip: Clip) -> Tensor:
        """Joints (T, J, 3) of the given frames: those the clip brings, else those its features decode to."""
        return self.representation.decode(clip.features).joints if clip.joints is None else clip.joints.cpu().float()
