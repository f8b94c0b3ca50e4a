"""What the settings of a run allow to be scored: scorers of both columns."""

from __future__ import annotations

from mld.evaluation.suites.mbench.judged import JudgedScorer
from mld.evaluation.suites.mbench.pose import PoseScorer
from mld.evaluation.suites.mbench.scoring import JointScorer, JudgeScorer, PoseDimensions, Scorer
from mld.evaluation.suites.mbench.settings import COLUMNS, MBenchSettings
from mld.metrics.mode import Mode


def open_scorers(settings: MBenchSettings) -> dict[Mode, list[Scorer]]:
    """Scorers by column. `MldError` for a judge, weights or body models that are named and are none."""
    from mld.evaluation.judge import open_judge

    judge = open_judge(settings.judge, settings.device) if settings.judge else None
    found: dict[Mode, list[Scorer]] = {}
    for mode in COLUMNS:
        pose = PoseScorer(settings.body_models, settings.nrdf, mode, settings.device, settings.cache / "poses",
                          settings.fit)  # fmt: skip
        judged = JudgedScorer(judge, mode, settings.seed, settings.cache / "judged")
        found[mode] = [JointScorer(mode), PoseDimensions(pose), JudgeScorer(judged)]
    return found
