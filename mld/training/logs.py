"""Where numbers go: `metrics.csv` (one row per logged step) and TensorBoard. Both continue after an interruption."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only


class MetricsFile(Logger):
    """A CSV file with a column per metric, written anew (to a temporary file, then renamed) whenever a row is added
    `every` times or the run ends. Rows later than `start` are of steps that an interruption undid; they are dropped."""

    def __init__(self, path: Path, start: int = 0, every: int = 10) -> None:
        super().__init__()
        self.path, self.every = path, every
        self.rows: dict[int, dict[str, Any]] = {}
        self._unwritten = 0
        if path.is_file():
            with open(path, newline="", encoding="utf-8") as file:
                self.rows = {int(row["step"]): row for row in csv.DictReader(file) if int(row["step"]) <= start}

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
        # Lightning numbers steps from 0 and adds the epoch, which an endless loader never changes.
        row = self.rows.setdefault((step or 0) + 1, {"step": (step or 0) + 1})
        row.update({name: f"{value:.6g}" for name, value in metrics.items() if name != "epoch"})
        self._unwritten += 1
        if self._unwritten >= self.every or any(name.startswith("val/") for name in metrics):
            self.save()

    @rank_zero_only
    def save(self) -> None:
        if not self.rows:
            return
        columns = list(dict.fromkeys(name for row in self.rows.values() for name in row))
        partial = self.path.with_name(self.path.name + ".partial")
        with open(partial, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(row for _, row in sorted(self.rows.items()))
        os.replace(partial, self.path)
        self._unwritten = 0

    def finalize(self, status: str) -> None:
        self.save()


def make_loggers(folder: Path, start: int) -> list[Logger]:
    """The loggers of a run whose last saved step is `start` (0: it begins)."""
    board = TensorBoardLogger(folder, name="", version="tensorboard", purge_step=start or None)
    return [MetricsFile(folder / "metrics.csv", start), board]
