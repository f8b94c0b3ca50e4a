"""What a run of any suite is told to do. Plain data, so that a command shows its help without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

FPS = 20.0  # of all motions that are scored
JOINTS = 22  # of SMPL
Floor = Literal["zero", "lowest"]


@dataclass(frozen=True, kw_only=True)
class SuiteSettings:
    """limit: only the first so many prompts of each group. seed: of the answers.

    fps, up: of arrays of joints of others, which do not say it themselves. floor: "lowest" puts the lowest joint of a
    motion at 0. partial: numbers over what there is, also where prompts have no motion."""

    limit: int | None = None
    seed: int = 0
    fps: float = FPS
    up: str = "y"
    floor: Floor = "zero"
    partial: bool = False
    device: str = "cpu"
    batch_size: int = 8
    out: Path | None = None
    restart: bool = False
    progress: bool = False
