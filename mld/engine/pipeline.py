"""`Pipeline`: a model ready to answer requests. `mld.load(folder)` gives one.

Requests are planned, their motions encoded, grouped by kind and length, sampled in batches and decoded. Answers come in
the order of the requests and do not depend on how they were grouped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mld.data.example import Clip, Text
from mld.engine.given import GAP_SECONDS, after, given
from mld.engine.plan import Plan, assemble, make_plan
from mld.engine.request import Answer, Request
from mld.engine.sampling import Sampled, sample
from mld.errors import CheckpointError, RequestError
from mld.models.base import MotionModel
from mld.motion.motion import Motion
from mld.motion.representations.base import get_representation


@dataclass(frozen=True)
class _Job:
    """A planned request with the ids of its prompt and the codes of its clips."""

    request: Request
    plan: Plan
    prompt: list[int]
    codes: list[Tensor]


class Pipeline:
    """model: a `MotionModel` with weights; it is put into eval mode while it answers."""

    def __init__(self, model: MotionModel) -> None:
        self.model = model
        self.representation = get_representation(model.representation)

    @classmethod
    def load(cls, path_or_hub_id: str | Path, device: str = "cpu") -> Pipeline:
        """Open a model folder or hub id; `CheckpointError` when it is none, or holds only a tokenizer."""
        from mld.checkpoint import load_model

        network = load_model(path_or_hub_id)
        if not isinstance(network, MotionModel):
            raise CheckpointError(f"{path_or_hub_id} holds a {network.kind}; a model with a language part is needed")
        return cls(network.to(device))

    def generate(self, text: str, seconds: float | None = None, seed: int = 0) -> Motion:
        """Text to motion; the model decides the length when `seconds` is None."""
        return self._one(Request((Text(text),), "motion", self._frames(seconds), seed)).motion

    def describe(self, motion: Motion, seed: int = 0) -> str:
        """Motion to text."""
        return self._one(Request((self.clip(motion),), "text", seed=seed)).text

    def predict(self, head: Motion, seconds: float | None = None, seed: int = 0) -> Motion:
        """`head`, unchanged, and how it may go on; `seconds` is the length of the whole."""
        return self._one(Request((self.clip(head),), "motion", self._frames(seconds), seed)).motion

    def inbetween(self, head: Motion, tail: Motion, seconds: float | None = None, seed: int = 0) -> Motion:
        """`head` and `tail`, unchanged, with what may lie between; `seconds` is the length of the whole.

        The two share one world. Two motions that both start at the origin do not: then the tail is moved to where the
        head was going."""
        first, second = self.clip(head), self.clip(tail)
        gap = self._frames(GAP_SECONDS)
        if seconds is not None:
            gap = self._frames(seconds) - len(first.joints) - len(second.joints)
        if gap < 1:
            lengths = f"{head.duration:g} and {tail.duration:g} s"
            raise RequestError(f"{seconds:g} s leave no room between motions of {lengths}")
        return self._one(Request((first, after(first, second, gap)), "motion", seed=seed)).motion

    def clip(self, motion: Motion) -> Clip:
        """A motion as part of a prompt, at the model's frame rate; see `mld.engine.given.given`."""
        return given(motion, self.representation)

    def check(self, request: Request) -> None:
        """`RequestError` when the request cannot be served (its prompt's length is only known when it is run)."""
        make_plan(request, self.model, self.representation)

    @torch.no_grad()
    def run(self, requests: Sequence[Request], batch_size: int = 32, progress: bool = False) -> list[Answer]:
        """Answers in the order of the requests. progress shows a bar. A request that cannot be served raises
        `RequestError`, which names it, before any work is done."""
        from tqdm import tqdm

        was_training = self.model.training
        self.model.eval()
        try:
            jobs = self._prepare(requests, batch_size)
            answers: dict[int, Answer] = {}
            with tqdm(total=len(jobs), unit="answer", disable=not progress) as bar:
                for places in _batches(jobs, batch_size):
                    batch = [jobs[place] for place in places]
                    answers.update(zip(places, map(self._answer, batch, self._sample(batch, bar.update))))
        finally:
            self.model.train(was_training)
        return [answers[place] for place in range(len(jobs))]

    def _one(self, request: Request) -> Answer:
        return self.run([request])[0]

    def _frames(self, seconds: float | None) -> int | None:
        return None if seconds is None else max(1, round(seconds * self.representation.fps))

    def _prepare(self, requests: Sequence[Request], batch_size: int) -> list[_Job]:
        plans = [_named(request, make_plan, request, self.model, self.representation) for request in requests]
        clips = [[part for part in plan.prompt if isinstance(part, Clip)] for plan in plans]
        codes = iter(self._encode([clip for row in clips for clip in row], batch_size))
        return [
            _named(request, self._job, request, plan, [next(codes) for _ in row])
            for request, plan, row in zip(requests, plans, clips)
        ]

    def _encode(self, clips: Sequence[Clip], batch_size: int) -> list[Tensor]:
        """Codes of every clip, clips of similar length together."""
        order = sorted(range(len(clips)), key=lambda i: 0 if clips[i].features is None else len(clips[i].features))
        found: dict[int, Tensor] = {}
        for first in range(0, len(order), batch_size):
            places = order[first : first + batch_size]
            found.update(zip(places, self.model.tokenize([clips[place] for place in places])))
        return [found[place] for place in range(len(clips))]

    def _job(self, request: Request, plan: Plan, codes: list[Tensor]) -> _Job:
        encoded = iter(codes)
        parts = [
            Clip(tokens=next(encoded), start=part.start) if isinstance(part, Clip) else part for part in plan.prompt
        ]
        prompt = self.model.prompt(parts, request.output, plan.num_frames)
        longest, limit = self.model.config.lm.max_length, self.model.settings(request.output).max_length
        if len(prompt) > longest:
            raise RequestError(f"the prompt has {len(prompt)} tokens, this model reads at most {longest}")
        if plan.num_codes is not None and plan.num_codes + 2 > limit:
            frames = (limit - 2) * self.model.tokenizer.frames_per_token
            raise RequestError(f"{plan.num_frames} frames are wanted, this model makes at most about {frames} at once")
        return _Job(request, plan, prompt, codes)

    def _sample(self, batch: Sequence[_Job], on_step) -> list[Sampled]:
        output = batch[0].request.output
        return sample(
            self.model.start([job.prompt for job in batch]),
            [self.model.grammar(output, job.plan.num_codes) for job in batch],
            [job.request.seed for job in batch],
            self.model.settings(output),
            on_step,
        )

    def _answer(self, job: _Job, sampled: Sampled) -> Answer:
        if job.request.output == "text":
            return Answer(job.request, text=self.model.read_text(sampled.ids), complete=sampled.complete)
        notes = []
        codes = self.model.read_motion(sampled.ids)
        if not len(codes):
            codes, notes = torch.zeros(1, dtype=torch.long), ["the model wrote no motion: code 0 is shown"]
        if job.plan.num_codes is not None and len(codes) < job.plan.num_codes:
            notes.append(f"{job.plan.num_codes} codes were wanted, the model wrote {len(codes)}; the last is repeated")
            codes = torch.cat((codes, codes[-1:].expand(job.plan.num_codes - len(codes))))
        features, joints = assemble(job.plan, codes, job.codes, self.model, self.representation)
        motion = Motion(joints, self.representation.fps, self.representation.skeleton)
        return Answer(
            job.request, motion, features=features, tokens=codes, complete=sampled.complete, notes=tuple(notes)
        )


def _batches(jobs: Sequence[_Job], size: int) -> Iterator[list[int]]:
    """Places of jobs that are served together: the same output, similar lengths of answer and prompt."""

    def kind(place: int) -> tuple:
        job = jobs[place]
        return job.request.output, job.plan.num_codes or 0, len(job.prompt)

    order = sorted(range(len(jobs)), key=kind)
    for output in ("motion", "text"):
        places = [place for place in order if jobs[place].request.output == output]
        yield from (places[first : first + size] for first in range(0, len(places), size))


def _named(request: Request, function, *args):
    """Call a function; its `RequestError` gets the request's name in front."""
    try:
        return function(*args)
    except RequestError as error:
        raise RequestError(f"{request.name}: {error}" if request.name else str(error)) from error
