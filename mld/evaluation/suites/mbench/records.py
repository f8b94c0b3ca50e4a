"""Records of a run: a file per prompt with the value of every dimension in both columns, or why there is none.

A value is kept with the file it is of and with who gave it (a judge, weights), so that a second run asks only what is
missing or has changed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mld.evaluation.suites.mbench.settings import COLUMNS
from mld.files import parse_json, write_json
from mld.reading import read_text

LARGEST = 10_000_000  # bytes of a file


@dataclass(frozen=True)
class Result:
    """value: None where there is none, and `reason` says why. file: that it is of, within its folder; hash: of its
    content. by: who gave it, "" for a formula. failed: there should be a value. said: of a judge, its answer, what was
    taken from it and from which labels."""

    value: float | None
    reason: str = ""
    file: str = ""
    hash: str = ""
    by: str = ""
    failed: bool = False
    said: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, value: float | None, reason: str = "", **about: Any) -> Result:
        """Without a value that is not a number."""
        if value is not None and not math.isfinite(value):
            return cls(None, reason or "too short, or not a finite number", **about)
        return cls(value, reason, **about)

    def holds(self, hash: str, by: str | None) -> bool:
        """Whether it need not be found again. by: None for anybody."""
        return self.value is not None and self.hash == hash and by in (None, self.by)


class Record:
    """What is known of one prompt: results by column and dimension."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path, self.name = folder / f"{name}.json", name
        self.results: dict[str, dict[str, Result]] = {column: {} for column in COLUMNS}
        self.frames: int | None = None  # of the motion at 20 fps
        self._read()

    def get(self, column: str, dimension: str) -> Result | None:
        return self.results[column].get(dimension)

    def put(self, column: str, dimension: str, result: Result) -> None:
        self.results[column][dimension] = result

    def scored(self, dimensions: Iterable[str]) -> bool:
        """Whether one of the dimensions has a value in one of the columns."""
        found = [self.get(column, name) for column in COLUMNS for name in dimensions]
        return self.frames is not None and any(one is not None and one.value is not None for one in found)

    def save(self) -> None:
        write_json(self.path, {"id": self.name, "frames": self.frames, **{
            column: {name: asdict(result) for name, result in found.items()} for column, found in self.results.items()
        }})  # fmt: skip

    def _read(self) -> None:
        """What an earlier run has found; a damaged file holds nothing."""
        try:
            content = parse_json(read_text(self.path, LARGEST))
            found = {c: {name: Result(**fields) for name, fields in content[c].items()} for c in COLUMNS}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return
        self.frames = content.get("frames") if isinstance(content.get("frames"), int) else None
        for column, results in found.items():
            values = (one.value for one in results.values())
            if all(value is None or type(value) in (int, float) for value in values):
                self.results[column] = results
