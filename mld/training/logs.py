"""Where numbers go: `metrics.csv` (one row per logged step) and TensorBoard. Both continue after an interruption."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from mld.files import write_text


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
        rows = read_metrics(self.path)
        kept = [row for row in rows if int(row["step"]) <= self.start]
        self.columns = list(rows[0]) if kept else []
        self._row = kept[-1] if kept else {}
        if self.path.is_file():
            self._rewrite(kept)

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
    """The whole rows of a metrics file; a last one without its end is left out."""
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        lines = file.read().split("\n")[:-1]
    return [row for row in csv.DictReader(lines) if None not in row.values()]


def _line(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    text = io.StringIO()
    csv.DictWriter(text, columns, restval="", lineterminator="\n").writerow(row)
    return text.getvalue()


def make_loggers(folder: Path, start: int) -> list[Logger]:
    """The loggers of a run whose last saved step is `start` (0: it begins)."""
    board = TensorBoardLogger(folder, name="", version="tensorboard", purge_step=start or None)
    return [MetricsFile(folder / "metrics.csv", start), board]
