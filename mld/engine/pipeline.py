"""`Pipeline`: a model ready to answer requests. `mld.load(folder)` gives one.

Requests are planned, their motions encoded, grouped by kind and length and answered in batches by the writers of the
model's family. Answers come in the order of the requests and do not depend on how they were grouped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from mld.engine.given import GAP_SECONDS, after, given
from mld.engine.plan import Plan, blank_tokens, make_plan
from mld.engine.request import Answer, Request, named
from mld.engine.writers import Job, writers
from mld.errors import CheckpointError, RequestError
from mld.example import Clip, Text
from mld.models.contracts.generator import MotionGenerator
from mld.motion.motion import Motion
from mld.motion.representations.registry import get_representation


class Pipeline:
    """model: a `MotionGenerator` with weights; it is put into eval mode while it answers."""

    def __init__(self, model: MotionGenerator) -> None:
        self.model = model
        self.representation = get_representation(model.representation)
        self.writers = writers(model, self.representation)

    @classmethod
    def load(cls, path_or_hub_id: str | Path, device: str = "cpu") -> Pipeline:
        """Open a model folder or hub id; `CheckpointError` when it is none, or holds only a tokenizer."""
        from mld.checkpoint import load_model

        network = load_model(path_or_hub_id)
        if not isinstance(network, MotionGenerator):
            raise CheckpointError(f"{path_or_hub_id} holds a {network.kind}; a model with a language part is needed")
        return cls(network.to(device))

    def generate(self, text: str, seconds: float | None = None, seed: int = 0) -> Motion:
        """Text to motion; the model decides the length when `seconds` is None."""
        return self._one(Request((Text(text),), "motion", self.frames(seconds), seed)).motion

    def describe(self, motion: Motion, seed: int = 0) -> str:
        """Motion to text."""
        return self._one(Request((self.clip(motion),), "text", seed=seed)).text

    def predict(self, head: Motion, seconds: float | None = None, seed: int = 0) -> Motion:
        """`head`, unchanged, and how it may go on; `seconds` is the length of the whole."""
        return self._one(Request((self.clip(head),), "motion", self.frames(seconds), seed)).motion

    def inbetween(self, head: Motion, tail: Motion, seconds: float | None = None, seed: int = 0) -> Motion:
        """`head` and `tail`, unchanged, with what may lie between; `seconds` is the length of the whole.

        The two share one world. Two motions that both start at the origin do not: then the tail is moved to where the
        head was going."""
        return self._one(Request(self.ends(head, tail, seconds), "motion", seed=seed)).motion

    def ends(self, head: Motion, tail: Motion, seconds: float | None = None) -> tuple[Clip, Clip]:
        """Two motions as the ends of a whole of `seconds`; see `inbetween`."""
        first, second = self.clip(head), self.clip(tail)
        gap = self.frames(GAP_SECONDS)
        if seconds is not None:
            gap = self.frames(seconds) - len(first.joints) - len(second.joints)
        if gap < 1:
            lengths = f"{head.duration:g} and {tail.duration:g} s"
            raise RequestError(f"{seconds:g} s leave no room between motions of {lengths}")
        return first, after(first, second, gap)

    def clip(self, motion: Motion) -> Clip:
        """A motion as part of a prompt, at the model's frame rate; see `mld.engine.given.given`."""
        return given(motion, self.representation)

    def answer(self, text: str, seed: int = 0) -> str:
        """Text to text: what the model says to a question or an instruction."""
        return self._one(Request((Text(text, verbatim=True),), "text", seed=seed)).text

    def check(self, request: Request) -> None:
        """`RequestError` when the request cannot be served. Nothing is encoded, so this is quick."""
        plan = self._plan(request)
        self.writers[request.output].job(plan, [blank_tokens(clip, self.model.tokenizer) for clip in _clips(plan)])

    @torch.no_grad()
    def run(
        self, requests: Sequence[Request], batch_size: int = 32, progress: bool = False,
        on_step: Callable[[int], None] | None = None,
    ) -> list[Answer]:  # fmt: skip
        """Answers in the order of the requests. progress shows a bar. on_step is told after every step how many more
        answers are finished; what it raises ends the work. A request that cannot be served raises `RequestError`,
        which names it, before any work is done."""
        from tqdm import tqdm

        was_training = self.model.training
        self.model.eval()
        try:
            jobs = self._prepare(requests, batch_size)
            answers: dict[int, Answer] = {}
            with tqdm(total=len(jobs), unit="answer", disable=not progress) as bar:

                def done(count: int) -> None:
                    bar.update(count)
                    if on_step is not None:
                        on_step(count)

                for output, places in self._batches(jobs, batch_size):
                    batch = [jobs[place] for place in places]
                    answers.update(zip(places, self.writers[output].write(batch, done)))
        finally:
            self.model.train(was_training)
        return [answers[place] for place in range(len(jobs))]

    def _one(self, request: Request) -> Answer:
        return self.run([request])[0]

    def frames(self, seconds: float | None) -> int | None:
        """Frames of the model in so many seconds, at least one; None for None."""
        return None if seconds is None else max(1, round(seconds * self.representation.fps))

    def _plan(self, request: Request) -> Plan:
        return self.writers[request.output].plan(make_plan(request, self.model, self.representation))

    def _prepare(self, requests: Sequence[Request], batch_size: int) -> list[Job]:
        plans = [named(request, self._plan, request) for request in requests]
        clips = [_clips(plan) for plan in plans]
        tokens = iter(self._encode([clip for row in clips for clip in row], batch_size))
        return [
            named(request, self.writers[request.output].job, plan, [next(tokens) for _ in row])
            for request, plan, row in zip(requests, plans, clips)
        ]

    def _encode(self, clips: Sequence[Clip], batch_size: int) -> list[Tensor]:
        """Tokens of every clip, clips of similar length together."""
        order = sorted(range(len(clips)), key=lambda i: 0 if clips[i].features is None else len(clips[i].features))
        found: dict[int, Tensor] = {}
        for first in range(0, len(order), batch_size):
            places = order[first : first + batch_size]
            found.update(zip(places, self.model.tokenize([clips[place] for place in places])))
        return [found[place] for place in range(len(clips))]

    def _batches(self, jobs: Sequence[Job], size: int) -> Iterator[tuple[str, list[int]]]:
        """Outputs and places of jobs that are served together: similar lengths of answer and prompt."""
        for output, writer in self.writers.items():
            places = [place for place, job in enumerate(jobs) if job.plan.request.output == output]
            places.sort(key=lambda place: (writer.size(jobs[place].plan), len(jobs[place].prompt)))
            yield from ((output, places[first : first + size]) for first in range(0, len(places), size))


def _clips(plan: Plan) -> list[Clip]:
    return [part for part in plan.prompt if isinstance(part, Clip)]
