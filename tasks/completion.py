"""Scores of motions that complete given frames, shared by prediction and in-between."""

from __future__ import annotations

import torch

from mld.data.example import CaptionedClip
from mld.engine.request import Answer
from mld.metrics.completion import CompletionErrors
from mld.metrics.results import Score
from mld.motion.representations.base import Representation
from tasks.base import NO_EVALUATOR, Scores, fitted


class CompletionScores(Scores):
    """ADE and FDE in metres on world joints. An answer that ends early stands still up to the length of the clip."""

    def __init__(self, kind: str, representation: Representation) -> None:
        self.representation = representation
        self.errors = CompletionErrors(kind)
        self.clips = self.early = 0

    def update(self, clip: CaptionedClip, answer: Answer) -> None:
        reference = self.representation.decode(clip.features).joints
        predicted = fitted(answer.motion.joints, len(reference))
        self.errors.update(predicted[None], reference[None], torch.ones(1, len(reference), dtype=torch.bool))
        self.clips += 1
        self.early += answer.motion.num_frames < len(reference)

    def compute(self) -> dict[str, Score]:
        found = self.errors.scores()
        found["ended_early"] = Score(100 * self.early / self.clips, "%", self.clips)
        return found | {name: Score(None, reason=NO_EVALUATOR) for name in ("FID", "Diversity")}
