"""Runs damaged cases by the thousand: each is used, or ends in an error of the product, in bounded time and memory.

A kind is a function that prepares good files in a folder and gives a function that runs one case, damaged as a
`random.Random` says. Anything but `MldError` is a finding, as are more than `SECONDS` or `MEMORY`, and lines on stderr
that are long or cannot be printed.

    python -m tests.wild.fuzz --cases 2000 [KIND ...]
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import re
import shutil
import signal
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mld.errors import LONGEST, MldError

SECONDS, MEMORY = 10.0, 1 << 30  # of processor time, bytes
ASLEEP, TICK = 60.0, 5.0  # seconds by the clock, in ticks, of a case that waits for what never comes
OURS = re.compile(r"/(mld|commands|prepare|tasks)/(?!.*site-packages)")
Case = Callable[[random.Random, Path], object]
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Hang(BaseException):
    """Raised into code that takes too long; no handler of errors catches it."""


class NotRefused(Exception):
    """For cases to say that something came out that should have been refused."""


@dataclass
class Report:
    """findings: by what they are, the number of one such case, how often it came and how it ended."""

    kind: str
    cases: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    bytes: int = 0
    findings: dict[str, list] = field(default_factory=dict)

    def __str__(self) -> str:
        outcomes = ", ".join(f"{self.counts[name]:,} {name}" for name in sorted(self.counts))
        return (f"{self.kind}: {self.cases:,} cases ({outcomes}), {len(self.findings)} kinds of findings, at most "
                f"{self.seconds:.1f} s and {self.bytes >> 20} MB")  # fmt: skip


def explore(kind: str, case: Case, work: Path, cases: int, seed: int = 0, only: int | None = None) -> Report:
    """Run cases in `work`, a folder that is emptied after each. only: the number of one of them."""
    report = Report(kind)
    for number in range(cases) if only is None else [only]:
        folder = work / "case"
        folder.mkdir()
        found = _run(case, random.Random(f"{kind}/{seed}/{number}"), folder, report)
        report.cases += 1
        if found:
            entry = report.findings.setdefault(found[0], [number, 0, found[1]])
            entry[1] += 1
        shutil.rmtree(folder, ignore_errors=True)
    return report


def _run(case: Case, chance: random.Random, folder: Path, report: Report) -> tuple[str, str] | None:
    said = io.StringIO()
    begin, outcome, found = time.process_time(), "used", None
    try:
        with (measured() as used, contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()),
              warnings.catch_warnings()):  # fmt: skip
            warnings.simplefilter("ignore")
            try:
                case(chance, folder)
            except MldError as error:
                outcome = "refused"
                said.write(f"{error}\n")
            except OSError as error:  # of which commands make one line, with the file
                if error.filename is None or not error.strerror:
                    raise
                outcome = "told by the system"
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        outcome, found = "findings", (_name(error), _short(error))
    seconds = time.process_time() - begin
    report.counts[outcome] += 1
    report.seconds, report.bytes = max(report.seconds, seconds), max(report.bytes, used[0])
    if found is None:
        found = _too_much(seconds, used[0]) or _bad_line(said.getvalue(), folder)
    return found


def _name(error: BaseException) -> str:
    """An error by its class and the last place of ours that it came through."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if OURS.search(frame.filename)]
    place = f"{Path(own[-1].filename).name}:{own[-1].lineno} {own[-1].name}" if own else "?"
    return f"{type(error).__name__} at {place}"


def _short(error: BaseException) -> str:
    """The last places of a traceback, and what the error says."""
    places = [f"    {frame.filename.removeprefix(os.getcwd())}:{frame.lineno} {frame.line}"
              for frame in traceback.extract_tb(error.__traceback__)[-6:]]  # fmt: skip
    return "\n".join([*places, f"    {type(error).__name__}: {str(error)[:300]}"])


def _too_much(seconds: float, used: int) -> tuple[str, str] | None:
    if seconds > SECONDS:
        return "slow", f"{seconds:.1f} s"
    return ("memory", f"{used >> 20} MB") if used > MEMORY else None


def _bad_line(said: str, folder: Path) -> tuple[str, str] | None:
    """A line of stderr that is longer than a message may be, apart from progress bars."""
    for line in said.split("\n"):
        line = line.rsplit("\r", 1)[-1]
        if len(line.replace(str(folder), "")) > LONGEST or not line.isprintable():
            return f"line {re.sub('[^a-z ]', '', line[:40].lower())}", line[:2000]
    return None


@contextlib.contextmanager
def measured() -> Iterator[list[int]]:
    """`Hang` after `SECONDS` of processor time or `ASLEEP`; gives a list whose first number is the bytes of memory that
    the body took, in the end. A machine that stood still gives one tick, however long it stood."""
    used, ticks = [0], [0]

    def tick(*_: object) -> None:
        ticks[0] += 1
        if ticks[0] * TICK >= ASLEEP:
            _too_long()

    before = _resident("VmRSS")
    if _CLEAR.exists():
        _CLEAR.write_text("5")  # the peak starts anew
    old = [signal.signal(signal.SIGPROF, _too_long), signal.signal(signal.SIGALRM, tick)]
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, TICK, TICK)
    try:
        yield used
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGPROF, old[0])
        signal.signal(signal.SIGALRM, old[1])
        used[0] = max(0, _resident("VmHWM") - before)


def _too_long(*_: object) -> None:
    raise Hang(f"more than {SECONDS:g} s of processor time, or {ASLEEP:g} s of waiting")


def _resident(key: str) -> int:
    """Resident memory of this process in bytes: now ("VmRSS") or at its peak ("VmHWM"); 0 where it is not told."""
    if not _STATUS.exists():
        return 0
    return 1024 * int(re.search(rf"{key}:\s+(\d+)", _STATUS.read_text()).group(1))
