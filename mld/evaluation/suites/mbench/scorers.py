"""What the settings of a run allow to be scored: scorers of both columns."""

from __future__ import annotations

from mld.evaluation.suites.mbench.judged import JudgedScorer
from mld.evaluation.suites.mbench.scoring import JointScorer, JudgeScorer, Scorer
from mld.evaluation.suites.mbench.settings import COLUMNS, MBenchSettings
from mld.metrics.mode import Mode


def open_scorers(settings: MBenchSettings) -> dict[Mode, list[Scorer]]:
    """Scorers by column. `MldError` for a judge, weights or body models that are named and are none."""
    from mld.evaluation.judge import open_judge

    judge = open_judge(settings.judge, settings.device) if settings.judge else None
    answers = settings.cache / "judged"
    return {
        mode: [JointScorer(mode), JudgeScorer(JudgedScorer(judge, mode, settings.seed, answers))] for mode in COLUMNS
    }
