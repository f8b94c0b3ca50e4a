"""How far a long evaluation is: a line that says how long it will take, and a bar where there is a terminal."""

from __future__ import annotations

import sys
import time

from mld.metrics import ranks

LONG = 20.0  # seconds from which on the line is worth its place


class Pace:
    """total: of `unit`s over all processes. show: draw a bar. Only the first process speaks."""

    def __init__(self, label: str, total: int, unit: str, show: bool) -> None:
        from tqdm import tqdm

        self.label, self.total, self.unit = label, total, unit
        self._bar = tqdm(total=total, desc=label, unit=unit, disable=not (show and total and ranks.is_first()))
        self._start = time.monotonic()
        self._done = self._skipped = 0
        self._said = not ranks.is_first()

    def update(self, count: int) -> None:
        """`count` more are done by this process; the others are taken to be as fast."""
        count = min(count * ranks.world(), self.total - self._done)
        self._done += count
        self._bar.update(count)
        if not self._said:
            self._said = True
            left = self.total - self._skipped
            seconds = (time.monotonic() - self._start) * left / max(count, 1)
            if seconds >= LONG:
                text = f"{self.label}: {left:,} {self.unit}s to go, about {duration(seconds)}"
                self._bar.write(text, file=sys.stderr)

    def skip(self, count: int) -> None:
        """`count` of the total had been done before."""
        self._skipped += count
        self._done += count
        self._bar.update(count)

    def close(self) -> None:
        self._bar.close()


def duration(seconds: float) -> str:
    """"45 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
