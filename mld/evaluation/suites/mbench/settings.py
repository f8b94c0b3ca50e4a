"""What a run of MBench is told to do. Plain data, so that a command shows its help without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mld.metrics.mode import Mode

Floor = Literal["zero", "lowest"]
Schedule = Literal["lowest", "published"]  # of fitted bodies
COLUMNS: tuple[Mode, Mode] = ("strict", "upstream")


@dataclass(frozen=True)
class MBenchSettings:
    """dimensions: those that are measured, none for all nine; limit: only the first so many prompts of each group.
    mode: the column that ranks and that clips are sorted by; both are always there. text: which of the texts of a
    prompt a model is told (of results of others: was told). seed: of the answers.

    fps, up: of arrays of joints of others, which do not say it themselves. floor: of the strict column; "lowest" puts
    the lowest joint of a motion at 0. partial: means over what there is, also where prompts have no motion.

    body_models, nrdf, judge: what pose and judged dimensions need; judge as `mld.evaluation.judge.open_judge` takes it.
    fit: how bodies are fitted, to the lowest loss or by the published schedule, which takes minutes a motion.
    published: also the three JSON files of the published evaluator. clips: worst and best of a dimension on the page.
    """

    dimensions: tuple[str, ...] = ()
    limit: int | None = None
    mode: Mode = "strict"
    text: str = "prompt"
    seed: int = 0
    fps: float = 20.0
    up: str = "y"
    floor: Floor = "zero"
    partial: bool = False
    body_models: Path | None = None
    nrdf: Path | None = None
    fit: Schedule = "lowest"
    judge: str = ""
    published: bool = False
    clips: int = 2
    device: str = "cpu"
    batch_size: int = 8
    out: Path | None = None
    restart: bool = False
    cache: Path = Path("out/cache/mbench")
    progress: bool = False
