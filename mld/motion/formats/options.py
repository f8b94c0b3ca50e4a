"""What a user may tell a reader when the file does not say it, or says it wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mld.errors import DataError

LOWEST_FPS, HIGHEST_FPS = 0.5, 10_000.0


@dataclass(frozen=True)
class ReadOptions:
    """Each None lets the reader find out. fps: frames per second; unit: metres per unit of length in the file; up: the
    axis that points up, "x", "y", "z" or "-x" ...; skeleton: the ASF file of an AMC file; clip: the name or number,
    from 1, of one of several animations in a file."""

    fps: float | None = None
    unit: float | None = None
    up: str | None = None
    skeleton: Path | None = None
    clip: str | int | None = None

    def __post_init__(self) -> None:
        if self.fps is not None and not LOWEST_FPS <= self.fps <= HIGHEST_FPS:
            raise DataError(f"{self.fps} is not a frame rate between {LOWEST_FPS} and {HIGHEST_FPS:g}")
        if self.unit is not None and not 1e-6 <= self.unit <= 1e6:
            raise DataError(f"{self.unit} metres per unit is not a unit of length")
        if self.up is not None and self.up.lstrip("+-").lower() not in ("x", "y", "z"):
            raise DataError(f"'{self.up}' is not an axis; say x, y or z, with a minus where it points down")
