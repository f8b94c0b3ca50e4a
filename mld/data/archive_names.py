"""Which clip of a set a file of an archive is, where the path in the archive is not quite the name in the split files.

Archives leave out the folder that they lie in, and some repeat a folder (MotionMillion spec 4.2). A file is taken for
the one name whose path fits, folders and letters as they are; its own name alone never decides, as it is not unique.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

AMBIGUOUS = ""


class ArchiveNames:
    """names: those of the split files, with folders."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = set(names)
        self.sources = {name.split("/", 1)[0] for name in self.names if "/" in name}
        self._by_last: dict[str, list[str]] = {}
        for name in self.names:
            self._by_last.setdefault(name.rsplit("/", 1)[-1], []).append(name)

    def __len__(self) -> int:
        return len(self.names)

    def find(self, inner: tuple[str, ...], outer: tuple[str, ...] = ()) -> str | None:
        """The name of a file; None where no name fits, `AMBIGUOUS` where several do. inner: its path in the archive,
        without the suffix; outer: folders that the archive lies in, and what the archive is called."""
        source = next((folder for folder in outer if folder in self.sources), None)
        heads = list(_heads(outer))
        for head in heads:
            whole = "/".join((*head, *inner))
            if whole in self.names and (source is None or whole.split("/", 1)[0] == source):
                return whole
        found = [name for name in self._by_last.get(inner[-1], ()) if _fits(name, inner, heads, source)]
        return None if not found else found[0] if len(found) == 1 else AMBIGUOUS

    def case_twins(self) -> list[str]:
        """All but the first of the names that differ in the case of letters only."""
        seen: dict[str, str] = {}
        return [name for name in sorted(self.names) if seen.setdefault(name.casefold(), name) != name]


def safe_parts(path: str) -> tuple[str, ...] | None:
    """A path in an archive, or a name in a split file, as folders and a file; None for one that leads elsewhere or is
    no path."""
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if not parts or path.startswith("/") or ".." in parts or any(not part.isprintable() for part in parts):
        return None
    return None if "\\" in path or ":" in parts[0] or any(len(os.fsencode(part)) > 240 for part in parts) else parts


def _heads(outer: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Folders that may stand before a path in an archive: all of them, some, none."""
    for start in range(len(outer) + 1):
        for stop in range(len(outer), start, -1):
            yield outer[start:stop]
    yield ()


def _fits(name: str, inner: tuple[str, ...], heads: list[tuple[str, ...]], source: str | None) -> bool:
    parts, tail = _without_repeats(tuple(name.split("/"))), _without_repeats(inner)
    if source is not None and parts[0] != source:
        return False  # of the source that the archive does not belong to, such as the mirrored one
    if len(parts) > 1 and any(_ends(_without_repeats((*head, *tail)), parts) for head in heads):
        return True
    return any(len(longer) > 1 and _ends(parts, longer) for longer in (_without_repeats((*h, *tail)) for h in heads))


def _ends(whole: tuple[str, ...], end: tuple[str, ...]) -> bool:
    return len(end) <= len(whole) and whole[len(whole) - len(end) :] == end


def _without_repeats(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Folders that follow themselves once; the file stays."""
    *folders, last = parts
    kept = [folder for i, folder in enumerate(folders) if i == 0 or folder != folders[i - 1]]
    return (*kept, last)
