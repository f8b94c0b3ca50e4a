"""Several motions in one file: what they are called, and which one is meant."""

from __future__ import annotations

from collections.abc import Sequence

from mld.motion.formats.limits import shown

_LONGEST_NAME, _MOST_LISTED = 60, 12
_SEVERAL = "the file holds"
Clip = tuple[int, str]  # place in the file, from 0, and name


def named(said: Sequence[str]) -> list[Clip]:
    """A name for each motion: what the file says, or its number, from 1, where that is nothing or the name of another
    too."""
    names = [shown(name, _LONGEST_NAME).strip() for name in said]
    return [(place, name if name and names.count(name) == 1 else str(place + 1)) for place, name in enumerate(names)]


def listed(clips: Sequence[Clip]) -> str:
    """Numbers and names in one line."""
    words = [name if name == str(place + 1) else f"{place + 1} {name}" for place, name in clips[:_MOST_LISTED]]
    return ", ".join(words) + (", ..." if len(clips) > _MOST_LISTED else "")


def place_of(clips: Sequence[Clip], wanted: str | int) -> int | None:
    """The place of the motion that is asked for by name or number, from 1; None where there is none."""
    by_name = [place for place, name in clips if str(wanted) == name]
    return next(iter([*by_name, *(place for place, _ in clips if str(wanted) == str(place + 1))]), None)


def taken_note(clips: Sequence[Clip], place: int, kind: str) -> list[str]:
    """A sentence on the motion that was taken where a file holds several and none was asked for; kind: "motions"."""
    if len(clips) < 2:
        return []
    return [f"{_SEVERAL} {len(clips)} {kind} ({listed(clips)}); number {place + 1} was taken"]


def is_taken_note(note: str) -> bool:
    """Whether a note is one of `taken_note`."""
    return note.startswith(_SEVERAL)
