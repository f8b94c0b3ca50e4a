"""Scores of motions that are told other words on the way, without an evaluator: physical sanity of the parts and how
smooth the changes are, beside real motion."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from mld.engine.request import Answer
from mld.evaluation.task import Change, SequenceScores
from mld.example import CaptionedClip
from mld.metrics.physical import PhysicalSanity
from mld.metrics.results import Score
from mld.metrics.transitions import TransitionJerk
from mld.motion.representations.base import Representation


class TransitionScores(SequenceScores):
    """skating, jerk, penetration, floating, bone_drift, bone_spread of the parts; peak_jerk and area_under_jerk of
    windows around changes, peak_jerk_inside where words hold; each with `_real`. The area is that between the curve and
    the mean jerk of the real clips (per frame)."""

    def __init__(self, representation: Representation) -> None:
        self.representation = representation
        self.generated, self.real = (PhysicalSanity(representation.skeleton, representation.fps) for _ in range(2))
        self.around, self.inside, self.real_windows = (TransitionJerk(None) for _ in range(3))

    def update(self, clip: CaptionedClip, answer: Answer, number: int | None = None) -> None:
        ids = None if number is None else [number]
        self.generated.update([answer.motion.joints], ids)
        self.real.update([self.representation.decode(clip.features).joints], ids)

    def change(self, number: int, change: Change) -> None:
        pairs = ((self.around, change.around), (self.inside, change.inside), (self.real_windows, change.real))
        for metric, window in pairs:
            metric.update(window[None], torch.tensor([len(window)]), [number])

    def compute(self, draws: int = 0, seed: int = 0) -> dict[str, Score]:
        usual = self._usual_jerk()
        self.around.real = self.real_windows.real = usual
        found: dict[str, Score] = {}
        for suffix, sanity, smoothness in (("", self.generated, self.around), ("_real", self.real, self.real_windows)):
            scores = sanity.scores(draws, seed) | smoothness.scores(draws, seed)
            found |= {name + suffix: score for name, score in scores.items()}
            if usual is not None:
                area, note = f"area_under_jerk{suffix}", f"mean jerk of the real clips: {usual:.6f} m/frame^3"
                found[area] = replace(found[area], note=note)
        return found | {"peak_jerk_inside": self.inside.scores(draws, seed)["peak_jerk"]}

    def _usual_jerk(self) -> float | None:
        """Mean over all frames of the real clips, metres per frame cubed; None where none is long enough."""
        items = self.real.items()
        if not len(items):
            return None
        frames: Tensor = (items["frames"] - 3).clamp(min=0).double()
        total = float(frames.sum())
        return float((self.real.per_item(items)["jerk"].totals * frames).sum() / total / 1000) if total else None
