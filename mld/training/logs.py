"""`metrics.csv`, one row per logged step, which continues after an interruption; and a quiet TensorBoard."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from mld.files import write_text

COLUMN = re.compile(r"[\w./ @%+-]+", re.ASCII)
STEP = re.compile(r"\d{1,18}", re.ASCII)


class MetricsFile(Logger):
    """A CSV file with a column per metric. Rows are appended; the file is written anew only for a new column.

    start: the last saved step. Rows of later steps, which an interruption undid, are cut off when the first row comes,
    and so is the rest of a row that a kill left unfinished."""

    def __init__(self, path: Path, start: int = 0) -> None:
        super().__init__()
        self.path, self.start = path, start
        self.columns: list[str] | None = None  # none: not looked at yet
        self._row: dict[str, Any] = {}  # the last one
        self._place = 0  # where in the file it begins

    @property
    def name(self) -> str:
        return "metrics"

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """The config is in the run folder already."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if self.columns is None or not self.path.is_file():
            self._open()
        # Lightning numbers steps from 0 and adds the epoch, which an endless loader never changes.
        number = str((step or 0) + 1)
        values = {name: f"{value:.6g}" for name, value in metrics.items() if name != "epoch"}
        if self._row.get("step") == number:
            row = self._row | values
            if row == self._row:
                return
        else:
            row, self._place = {"step": number, **values}, self.path.stat().st_size if self.columns else 0
        self._row = row
        if new := [name for name in row if name not in self.columns]:
            self._widen(new)
        self._put(_line(row, self.columns))

    def _open(self) -> None:
        """Keep the rows up to `start`."""
        rows = self._mended()
        kept = [row for row in rows if int(row["step"]) <= self.start]
        self.columns = list(rows[0]) if kept else []
        self._row = kept[-1] if kept else {}
        if self.path.is_file():
            self._rewrite(kept)

    def _mended(self) -> list[dict[str, str]]:
        """The rows of the file; lines that are none are left out and told of, a file without a heading is set aside."""
        rows, bad = read_metrics(self.path), damaged_lines(self.path)
        if bad and not rows:
            aside = self.path.with_suffix(f"{self.path.suffix}.damaged")
            os.replace(self.path, aside)
            print(f"{self.path}: damaged; kept as {aside.name}, and begun anew", file=sys.stderr)
        elif bad:
            print(f"{self.path}: {bad} damaged line{'s' * (bad > 1)} left out", file=sys.stderr)
        return rows

    def _widen(self, new: Sequence[str]) -> None:
        """The rows so far, with empty places for new columns."""
        rows = read_metrics(self.path)
        if rows and rows[-1]["step"] == self._row["step"]:
            rows.pop()
        self.columns += new
        self._rewrite(rows)
        self._place = self.path.stat().st_size

    def _rewrite(self, rows: Sequence[Mapping[str, Any]]) -> None:
        lines = [_line({name: name for name in self.columns}, self.columns)] if self.columns else []
        lines += [_line(row, self.columns) for row in rows]
        write_text(self.path, "".join(lines))
        self._place = sum(len(line.encode()) for line in lines[:-1])

    def _put(self, line: str) -> None:
        with open(self.path, "r+b") as file:
            file.seek(self._place)
            file.write(line.encode())
            file.truncate()


def read_metrics(path: Path) -> list[dict[str, str]]:
    """The whole rows of a metrics file; a last one without its end is left out, and so is what is no row."""
    return [row for row in _lines(path) if row is not None]


def damaged_lines(path: Path) -> int:
    """How many lines of a metrics file cannot be read."""
    return sum(row is None for row in _lines(path))


def _lines(path: Path) -> list[dict[str, str] | None]:
    """The rows of a metrics file, none for a line that is not a step with numbers for all columns."""
    if not path.is_file():
        return []
    heading, *lines = path.read_bytes().decode("utf-8", "replace").split("\n")[:-1] or [""]
    columns = heading.split(",")
    if columns[0] != "step" or len(set(columns)) < len(columns) or not all(map(COLUMN.fullmatch, columns)):
        return [None] * bool(heading or lines)
    rows = [line.split(",") for line in lines]
    return [dict(zip(columns, row)) if _is_row(row, len(columns)) else None for row in rows]


def _is_row(row: Sequence[str], width: int) -> bool:
    step, *values = row
    return len(row) == width and bool(STEP.fullmatch(step)) and all(not value or _is_number(value) for value in values)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _line(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    text = io.StringIO()
    csv.DictWriter(text, columns, restval="", lineterminator="\n").writerow(row)
    return text.getvalue()


@contextlib.contextmanager
def board_errors_once() -> Iterator[None]:
    """Within the block the thread that writes for TensorBoard prints no error: it hands it to the trainer as well."""
    before = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        if not isinstance(args.exc_value, OSError):
            before(args)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before
