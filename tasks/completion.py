"""Scores of motions that complete given frames, shared by prediction and in-between."""

from __future__ import annotations

import torch

from mld.engine.request import Answer
from mld.evaluation.task import Scores
from mld.example import CaptionedClip
from mld.metrics.completion import CompletionErrors
from mld.metrics.means import NamedMeans
from mld.metrics.results import Score
from mld.motion.representations.base import Representation
from tasks.clips import fitted


class CompletionScores(Scores):
    """ADE and FDE in metres on world joints. An answer that ends early stands still up to the length of the clip."""

    def __init__(self, kind: str, representation: Representation) -> None:
        self.representation = representation
        self.errors = CompletionErrors(kind)
        self.early = NamedMeans({"ended_early": "%"})

    def update(self, clip: CaptionedClip, answer: Answer, number: int | None = None) -> None:
        reference = self.representation.decode(clip.features).joints
        predicted = fitted(answer.motion.joints, len(reference))
        ids = None if number is None else [number]
        self.errors.update(predicted[None], reference[None], torch.ones(1, len(reference), dtype=torch.bool), ids)
        self.early.update([100.0 * (answer.motion.num_frames < len(reference))], ids)

    def compute(self, draws: int = 0, seed: int = 0) -> dict[str, Score]:
        return self.errors.scores(draws, seed) | self.early.scores(draws, seed)
