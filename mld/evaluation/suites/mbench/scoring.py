"""Dimensions of one clip in one column: joints by formulas, poses by `PoseScorer`, motion and words by a judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from mld.evaluation.suites.mbench.dimensions import CONSISTENCY, DIMENSIONS, JOINT, JUDGED, POSE
from mld.evaluation.suites.mbench.judged import Judged, JudgedScorer
from mld.evaluation.suites.mbench.prompts import Prompt
from mld.evaluation.suites.mbench.reading import Clip
from mld.evaluation.suites.mbench.records import Result
from mld.metrics.mbench import motion_quality
from mld.metrics.mode import Mode
from mld.motion.skeletons import get_skeleton

HEIGHT = {"strict": 1, "upstream": 2}  # the axis that is taken as height; joints are y up
UP = {"x": 0, "y": 1, "z": 2}


class Scorer(Protocol):
    """needs: which dimensions it gives. by: its identity, kept with values."""

    needs: str
    by: str

    def reasons(self) -> Mapping[str, str]:
        """Why dimensions cannot be found; none for those that can."""
        ...

    def scores(self, clip: Clip, prompt: Prompt, dimensions: Sequence[str]) -> dict[str, Result]: ...


class JointScorer:
    """The five joint dimensions. upstream: of the joints as they stand in the file, height along index 2."""

    needs, by = JOINT, ""

    def __init__(self, mode: Mode) -> None:
        self.mode = mode

    def reasons(self) -> Mapping[str, str]:
        return {}

    def scores(self, clip: Clip, prompt: Prompt, dimensions: Sequence[str]) -> dict[str, Result]:
        joints = clip.raw if self.mode == "upstream" else clip.motion.joints
        values = motion_quality(joints, HEIGHT[self.mode])
        short = f"{len(joints)} frames are too few" if len(joints) < 3 else ""
        return {name: Result.of(values[name], short) for name in dimensions}


class JudgeScorer:
    """The two dimensions of a judge, whose scorer is of the mode."""

    needs = JUDGED

    def __init__(self, scorer: JudgedScorer) -> None:
        self.scorer, self.by = scorer, scorer.identity

    def reasons(self) -> Mapping[str, str]:
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
    known: Callable[[str, str], bool],
) -> dict[str, Result]:  # fmt: skip
    """Results of the dimensions that are not known yet. clip: opened where it is needed. known: (dimension, by)."""
    found: dict[str, Result] = {}
    for scorer in scorers:
        reasons = scorer.reasons()
        names = [name for name in dimensions if DIMENSIONS[name].needs == scorer.needs and not known(name, scorer.by)]
        found |= {name: Result(None, reasons[name]) for name in names if name in reasons}
        open_ones = [name for name in names if name not in reasons]
        if open_ones:
            given = scorer.scores(clip(), prompt, open_ones)
            found |= {name: _with(result, scorer.by) for name, result in given.items()}
    return found


def _with(result: Result, by: str) -> Result:
    from dataclasses import replace

    return replace(result, by=by)
