"""How far a long evaluation is: a line that says how long it will take, and a bar where there is a terminal."""

from __future__ import annotations

import sys
import time

from mld.metrics import ranks

LONG = 20.0  # seconds from which on the line is worth its place


class Pace:
    """total: of `unit`s over all processes. show: draw a bar. warm_up: the first so many units are slower than the
    others, the estimate is made from as many after them. Only the first process speaks."""

    def __init__(self, label: str, total: int, unit: str, show: bool, warm_up: int = 0) -> None:
        from tqdm import tqdm

        self.label, self.total, self.unit = label, total, unit
        self._bar = tqdm(total=total, desc=label, unit=unit, disable=not (show and total and ranks.is_first()))
        self._start, self._warm_up = time.monotonic(), warm_up
        self._done = self._skipped = 0
        self._said = not ranks.is_first()

    def update(self, count: int, together: bool = False) -> None:
        """`count` more are done by this process, the others being as fast; or together with the others."""
        count = min(count if together else count * ranks.world(), self.total - self._done)
        self._done += count
        self._bar.update(count)
        if not self._said and self._done - self._skipped == self._warm_up:
            self._start = time.monotonic()
        elif not self._said and self._done - self._skipped >= 2 * self._warm_up:
            self._said = True
            self._say(self._done - self._skipped - self._warm_up)

    def skip(self, count: int) -> None:
        """`count` of the total had been done before."""
        self._skipped += count
        self._done += count
        self._bar.update(count)

    def _say(self, measured: int) -> None:
        left = self.total - self._done
        seconds = (time.monotonic() - self._start) * left / max(measured, 1)
        if seconds >= LONG:
            self._bar.write(f"{self.label}: {left:,} {self.unit}s to go, about {duration(seconds)}", file=sys.stderr)

    def close(self) -> None:
        self._bar.close()


def duration(seconds: float) -> str:
    """"45 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
