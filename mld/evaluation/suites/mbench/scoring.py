"""Dimensions of one clip in one column: joints by formulas, poses by `PoseScorer`, motion and words by a judge."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from torch import Tensor

from mld.errors import MldError
from mld.evaluation.suites.mbench.dimensions import CONSISTENCY, DIMENSIONS, JOINT, JUDGED, POSE
from mld.evaluation.suites.mbench.judged import Judged, JudgedScorer
from mld.evaluation.suites.mbench.pose import PoseScorer
from mld.evaluation.suites.mbench.prompts import Prompt
from mld.evaluation.suites.mbench.records import Result
from mld.evaluation.suites.reading import Clip
from mld.metrics.mbench import mean_depth, motion_quality
from mld.metrics.mode import Mode

PENETRATION, ALL_FRAMES = "Ground_Penetration", "over_all_frames"
HEIGHT = {"strict": 1, "upstream": 2}  # the axis that is taken as height; joints are y up


class Scorer(Protocol):
    """needs: which dimensions it gives. by: its identity, kept with values. broken: dimensions that it cannot give
    though what they need was named."""

    needs: str
    by: str
    broken: frozenset[str]

    def reasons(self, clip: Callable[[], Clip]) -> Mapping[str, str]:
        """Why dimensions cannot be found; none for those that can. clip: opened where it matters."""
        ...

    def scores(self, clip: Clip, prompt: Prompt, dimensions: Sequence[str]) -> dict[str, Result]: ...


def can_fit(scorers: Sequence[Scorer]) -> bool:
    """Whether there is something to score that bodies are fitted for."""
    return any(isinstance(scorer, PoseDimensions) and scorer.can_fit for scorer in scorers)


def fit_together(scorers: Sequence[Scorer], clips: Sequence[Clip]) -> None:
    """Fit bodies to clips that are scored soon, together, which is faster than one after the other. Where one of them
    spoils the others each is fitted when it is scored, which tells what is wrong."""
    for scorer in scorers:
        if isinstance(scorer, PoseDimensions) and scorer.can_fit:
            with contextlib.suppress(MldError):
                scorer.scorer.fit_all([clip.motion.joints for clip in clips])


class JointScorer:
    """The five joint dimensions. upstream: of the joints as they stand in the file, height along index 2."""

    needs, by, broken = JOINT, "", frozenset[str]()

    def __init__(self, mode: Mode) -> None:
        self.mode = mode

    def reasons(self, clip: Callable[[], Clip]) -> Mapping[str, str]:
        return {}

    def scores(self, clip: Clip, prompt: Prompt, dimensions: Sequence[str]) -> dict[str, Result]:
        joints = clip.raw if self.mode == "upstream" else clip.motion.joints
        values = motion_quality(joints, HEIGHT[self.mode])
        short = f"{len(joints)} frames are too few" if len(joints) < 3 else ""
        found = {n: Result.of(values[n], short, failed=not math.isfinite(values[n])) for n in dimensions}
        if PENETRATION in found:  # the dimension is of the samples in the ground alone
            depth = mean_depth(joints, HEIGHT[self.mode])
            found[PENETRATION] = replace(found[PENETRATION], said={ALL_FRAMES: depth})
        return found


class PoseDimensions:
    """The two pose dimensions; poses that published tools fitted count in the upstream column alone."""

    needs = POSE

    def __init__(self, scorer: PoseScorer) -> None:
        self.scorer, self.by, self.broken = scorer, scorer.identity, scorer.broken

    def reasons(self, clip: Callable[[], Clip]) -> Mapping[str, str]:
        found = self.scorer.reasons()
        if found and self.scorer.mode == "upstream":
            try:
                found = self.scorer.reasons(*self._fitted(clip()))
            except MldError:
                return {}  # what is wrong with the file is told where it is scored
        return found

    @property
    def can_fit(self) -> bool:
        return self.scorer.cache is not None and len(self.scorer.reasons()) < 2

    def scores(self, clip: Clip, prompt: Prompt, dimensions: Sequence[str]) -> dict[str, Result]:
        return {name: self._score(clip, name) for name in dimensions}

    def _score(self, clip: Clip, name: str) -> Result:
        try:
            value = self.scorer.scores(clip.motion.joints, *self._fitted(clip), names=[name])[name]
        except MldError as error:  # of poses alone, or of vertices alone: the other dimension has its value
            return Result(None, str(error), failed=True)
        return Result.of(value, failed=not math.isfinite(value))

    def _fitted(self, clip: Clip) -> tuple[Tensor | None, Tensor | None]:
        return (clip.pose, clip.vertices) if self.scorer.mode == "upstream" else (None, None)


class JudgeScorer:
    """The two dimensions of a judge, whose scorer is of the mode."""

    needs = JUDGED

    def __init__(self, scorer: JudgedScorer) -> None:
        self.scorer, self.by = scorer, scorer.identity
        self.broken = frozenset(scorer.reasons() if scorer.named else ())

    def reasons(self, clip: Callable[[], Clip]) -> Mapping[str, str]:
        return self.scorer.reasons()

    def scores(self, clip: Clip, prompt: Prompt, dimensions: Sequence[str]) -> dict[str, Result]:
        return {name: _judged(self._ask(clip, prompt, name)) for name in dimensions}

    def _ask(self, clip: Clip, prompt: Prompt, name: str) -> Judged:
        if name == CONSISTENCY:
            return self.scorer.consistency(clip.motion, prompt.prompt, prompt.others)
        return self.scorer.generalizability(clip.motion, prompt.prompt)


def _judged(found: Judged) -> Result:
    said: dict[str, Any] = {
        "prediction": found.prediction, "raw": found.raw, "candidates": list(found.candidates),
        "published": found.published, "robust": found.robust,
    }  # fmt: skip
    return Result.of(found.value, found.reason, failed=found.value is None, said=said)


def find(
    scorers: Sequence[Scorer], prompt: Prompt, dimensions: Sequence[str], clip: Callable[[], Clip],
    known: Callable[[str, str | None], bool],
) -> dict[str, Result]:  # fmt: skip
    """Results of the dimensions that are not known yet. clip: opened where it is needed. known: whether there is a
    value of a dimension by a scorer, or, where it cannot be found now (None), by any."""
    found: dict[str, Result] = {}
    for scorer in scorers:
        names = [name for name in dimensions if DIMENSIONS[name].needs == scorer.needs]
        if not names:
            continue
        reasons = scorer.reasons(clip)
        found |= {
            n: Result(None, reasons[n], failed=n in scorer.broken)
            for n in names if n in reasons and not known(n, None)
        }  # fmt: skip
        names = [name for name in names if name not in reasons and not known(name, scorer.by)]
        if names:
            try:
                given = scorer.scores(clip(), prompt, names)
            except MldError as error:
                given = {name: Result(None, str(error), failed=True) for name in names}
            found |= {name: replace(result, by=scorer.by) for name, result in given.items()}
    return found
