"""Folders of results of other systems: which file holds the motion of a prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from mld.errors import DataError
from mld.motion.formats import readable_suffixes

ARRAYS = (".npy", ".pt")
NAMED = 3


class ResultsFolder:
    """Files `<id>.npy`, `.pt` ..., or in `<id>/`. `DataError` where there is no such folder."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise DataError(f"--results {folder}: no such folder; it holds a file <id>.npy for each prompt")
        self.folder = folder

    def check_ids(self, ids: Sequence[str]) -> None:
        """`DataError` where no file is that of a prompt."""
        if not any(next(self.files(name), None) for name in ids):
            there = sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("."))
            listed = ", ".join(there[:NAMED]) + (", ..." if len(there) > NAMED else "") or "it is empty"
            raise DataError(f"--results {self.folder}: no file of any prompt ({', '.join(ids[:NAMED])}, ...), there is "
                            f"{listed}; files are called <id>.npy or lie in <id>/")  # fmt: skip

    def files(self, name: str) -> Iterator[Path]:
        """Files that may be the motion of the prompt of an id, the one that is taken first."""
        inside = self._top.get(plain_id(name), [])
        yield from sorted(inside, key=lambda path: (path.stem != name, self.rank(path)))
        yield from self.within(self.folder / name)

    def within(self, folder: Path) -> list[Path]:
        """Motion files in the folder of a prompt."""
        if not folder.is_dir():
            return []
        return sorted(filter(is_readable, sorted(folder.iterdir())), key=self.rank)

    @staticmethod
    def rank(path: Path) -> int:
        """Place of a file among those of one name: arrays first."""
        return (*ARRAYS, *readable_suffixes()).index(path.suffix.lower())

    @cached_property
    def _top(self) -> dict[str, list[Path]]:
        """Motion files by their id."""
        found: dict[str, list[Path]] = {}
        for path in sorted(self.folder.iterdir()):
            if is_readable(path):
                found.setdefault(plain_id(path.stem), []).append(path)
        return found


def plain_id(name: str) -> str:
    """A name, or a number without the zeros before it: 7, "7" and "007" are one prompt."""
    return str(int(name)) if name.isdecimal() else name


def is_readable(path: Path) -> bool:
    return path.suffix.lower() in readable_suffixes() and path.is_file() and not path.name.startswith(".")
