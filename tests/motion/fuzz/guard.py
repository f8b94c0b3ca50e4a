"""What every motion file has to end in, however damaged: a `Motion`, or a `MotionFormatError` that names the file.

Anything else fails the test: another exception, more processor time or memory than a file of that size may cost, a file
that appears beside it, a motion with NaN. What happened is counted by format (`COUNTS`).
"""

from __future__ import annotations

import os
import re
import signal
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, settings

from mld.errors import MotionFormatError
from mld.motion.motion import Motion

DEEP = "MLD_FUZZ_EXAMPLES" in os.environ  # examples per test; a deep run also draws other ones every time
EXAMPLES = int(os.environ.get("MLD_FUZZ_EXAMPLES", "30"))
SECONDS = 5.0  # of processor time, whatever else the machine does
FREE, GROWTH = 96 << 20, 100  # bytes a file may cost in any case, and per byte of its size
MOST_MESSAGE = 1500  # characters besides the path
COUNTS: Counter[tuple[str, str]] = Counter()
_LOCATED = re.compile(r"line \d+|offset \d+|\[\d+\]|array '|row \d+|frame \d+")
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")

fuzzed = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=not DEEP, database=None,
    suppress_health_check=list(HealthCheck), print_blob=True,
)  # fmt: skip


class Hang(BaseException):
    """Raised into code that takes too long; no handler of errors catches it."""


def outcome(folder: Path, files: Mapping[str, bytes]) -> Motion | str:
    """Write the files into an empty folder, open the first: the motion, or the message that refuses it."""
    for old in folder.iterdir():
        old.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    path = folder / next(iter(files))
    kind = path.suffix.lstrip(".")
    try:
        with bounded(sum(map(len, files.values()))):
            motion = Motion.load(path)
    except MotionFormatError as error:
        text = str(error)
        assert any(str(folder / name) in text for name in files), f"the message names no file: {text}"
        assert len(text) < MOST_MESSAGE + text.count(str(folder)) * len(str(folder)), f"a long message: {text[:200]}"
        assert text.isprintable(), f"a message of more than a line: {text!r}"
        located = _LOCATED.search(text.replace(str(folder), ""))
        COUNTS[kind, "refused, with line or place" if located else "refused"] += 1
        return text
    finally:
        assert {file.name for file in folder.iterdir()} == set(files), "opening the file made or removed files"
    check(motion)
    COUNTS[kind, "opened"] += 1
    return motion


def check(motion: Motion) -> None:
    """A motion that was opened can be used: finite, of a possible rate, at least one frame."""
    assert motion.num_frames > 0 and 0 < motion.fps <= 1e4
    for name in ("joints", "rotations", "translation"):
        value = getattr(motion, name)
        assert value is None or bool(value.isfinite().all()), f"{name} are not finite"


@contextmanager
def bounded(size: int) -> Iterator[None]:
    """Fail when the body takes more memory or time than a file of `size` bytes may."""
    tracemalloc.start()
    before = _resident("VmRSS")
    if _CLEAR.exists():
        _CLEAR.write_text("5")  # the peak starts anew
    old = signal.signal(signal.SIGPROF, _too_long)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, old)
        used = max(tracemalloc.get_traced_memory()[1], _resident("VmHWM") - before)
        tracemalloc.stop()
        assert used <= FREE + GROWTH * size, f"{used >> 20} MB for a file of {size} bytes"


def _too_long(*_: object) -> None:
    raise Hang(f"more than {SECONDS} s of processor time")


def _resident(key: str) -> int:
    """Resident memory of this process in bytes, tensors included: now ("VmRSS") or at its peak ("VmHWM"); 0 where the
    system does not tell."""
    if not _STATUS.exists():
        return 0
    return 1024 * int(re.search(rf"{key}:\s+(\d+)", _STATUS.read_text()).group(1))
