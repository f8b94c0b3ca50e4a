"""Texts: token after token, whatever the family."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mld.engine.request import Answer
from mld.engine.sampling import sample
from mld.engine.writers.base import Job, Writer


class TextWriter(Writer):
    """Captions, and answers to questions."""

    def write(self, jobs: Sequence[Job], done: Callable[[int], None]) -> list[Answer]:
        sampled = sample(
            self.model.start([job.prompt for job in jobs]),
            [self.model.grammar("text") for _ in jobs],
            [job.plan.request.seed for job in jobs],
            self.model.settings("text"),
            done,
        )
        return [
            Answer(job.plan.request, text=self.model.read_text(answer.ids), complete=answer.complete)
            for job, answer in zip(jobs, sampled, strict=True)
        ]
