"""What a run of MBench is told to do. Plain data, so that a command shows its help without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mld.evaluation.suites.settings import SuiteSettings
from mld.metrics.mode import Mode

Schedule = Literal["lowest", "published"]  # of fitted bodies
COLUMNS: tuple[Mode, Mode] = ("strict", "upstream")


@dataclass(frozen=True, kw_only=True)
class MBenchSettings(SuiteSettings):
    """dimensions: those that are measured, none for all nine. mode: the column that ranks and that clips are sorted by;
    both are always there. text: which of the texts of a prompt a model is told (of results of others: was told). floor,
    partial: of the strict column.

    body_models, nrdf, judge: what pose and judged dimensions need; judge as `mld.evaluation.judge.open_judge` takes it.
    fit: how bodies are fitted, to the lowest loss or by the published schedule, which takes minutes a motion.
    published: also the three JSON files of the published evaluator. clips: worst and best of a dimension on the page.
    """

    dimensions: tuple[str, ...] = ()
    mode: Mode = "strict"
    text: str = "prompt"
    body_models: Path | None = None
    nrdf: Path | None = None
    fit: Schedule = "lowest"
    judge: str = ""
    published: bool = False
    clips: int = 2
    cache: Path = Path("out/cache/mbench")
