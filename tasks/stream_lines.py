"""Lines of timed prompts: `0s a person walks | 4s they turn left | 8s they sit down`, with `| 12s end` or `#12s` for
the whole length."""

from __future__ import annotations

import re

from mld.errors import RequestError, shown
from tasks.lines import check_line

LAST_SECONDS = 4.0  # of the last prompt where no length is given
LONGEST_SECONDS = 600.0
END = "end"
TIMED = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(?:s|sec|seconds)\s+(\S.*)", re.IGNORECASE | re.DOTALL)
LENGTH = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(?:s|sec|seconds)", re.IGNORECASE)
EXAMPLE = "write for example: 0s a person walks | 4s they turn left | 8s end"

Timed = tuple[tuple[float, str], ...]


def read_timed(line: str, seconds: float | None = None) -> tuple[Timed, float]:
    """((second, words), ...) and the whole length in seconds. seconds: the length where the line names none.

    `RequestError` in one line for times that are none, or not in order, and for prompts without words."""
    text, given = _length(check_line(line))
    said = [_part(part) for part in text.split("|")]
    if said[-1][1].lower() == END:
        if given is not None:
            raise RequestError(f"two lengths are given, {said[-1][0]:g}s end and #{given:g}s; one is enough")
        given = said.pop()[0]
        if not said:
            raise RequestError(f"there are no words before the end; {EXAMPLE}")
    times = [second for second, _ in said]
    if times[0]:
        raise RequestError(f"the first words are at {times[0]:g}s; a motion begins at 0s")
    for before, after in zip(times, times[1:]):
        if after <= before:
            raise RequestError(f"{after:g}s comes after {before:g}s; times go up from prompt to prompt")
    length = given if given is not None else seconds if seconds is not None else times[-1] + LAST_SECONDS
    if length <= times[-1]:
        raise RequestError(f"the whole lasts {length:g} s and the last words are at {times[-1]:g}s; make it longer")
    if length > LONGEST_SECONDS:
        raise RequestError(f"a length of {length:g} s; at most {LONGEST_SECONDS:g} s are made at once")
    return tuple(said), length


def _part(part: str) -> tuple[float, str]:
    """(second, words) of a part between bars."""
    found = TIMED.fullmatch(part.strip())
    if found:
        return float(found[1]), " ".join(found[2].split())
    if not part.strip():
        raise RequestError(f"a part between bars is empty; {EXAMPLE}")
    if LENGTH.fullmatch(part.strip()):
        raise RequestError(f"{shown(part.strip(), 40)} has no words; {EXAMPLE}")
    raise RequestError(f"{shown(part.strip(), 40)} does not begin with a time in seconds; {EXAMPLE}")


def _length(line: str) -> tuple[str, float | None]:
    """The line without the length at its end, and that length."""
    text, mark, last = line.rpartition("#")
    if not mark:
        return line, None
    found = LENGTH.fullmatch(last.strip())
    if not found:
        raise RequestError(f"{shown('#' + last.strip(), 40)} is no length; write #12s for the whole, or no #")
    return text, float(found[1])
