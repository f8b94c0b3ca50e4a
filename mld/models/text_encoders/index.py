"""Where the features of each text are: file and row by the hash of the text, sorted, in a memory map.

A hash is 128 bits, as two int64. Opening reads nothing but the names of the files; a search touches some pages.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mld.files import atomically, write_tensors
from mld.reading import check_file


def key_of(text: str) -> bytes:
    """16 bytes of the text's SHA-256."""
    return hashlib.sha256(text.encode()).digest()[:16]


def as_tensor(keys: Iterable[bytes]) -> Tensor:
    """Keys -> (N, 2) int64."""
    return torch.from_numpy(np.frombuffer(b"".join(keys), ">i8").reshape(-1, 2).astype(np.int64))


@dataclass(frozen=True)
class Index:
    """files: their names. keys (N, 2) int64 by rising first column, file and row (N,) int32 of each.

    Two texts whose hashes agree in the first 64 bits: the second is not found, and computed again."""

    files: tuple[str, ...]
    high: Tensor
    low: Tensor
    file: Tensor
    row: Tensor

    @classmethod
    def empty(cls) -> Index:
        return cls((), *(torch.zeros(0, dtype=kind) for kind in (torch.int64, torch.int64, torch.int32, torch.int32)))

    @classmethod
    def read(cls, path: Path) -> Index:
        """The index in a file; an empty one when there is none that can be read, as it can be made anew."""
        try:
            check_file(path)
            with safe_open(path, framework="pt") as stored:
                files = json.loads(stored.metadata()["files"])
                made = cls(tuple(files), *(stored.get_tensor(name) for name in ("high", "low", "file", "row")))
            return made if made._holds() else cls.empty()
        except (SafetensorError, OSError, KeyError, TypeError, ValueError):
            return cls.empty()

    def _holds(self) -> bool:
        """Whether its parts fit each other, as those of a damaged file may not."""
        parts, blank = (self.high, self.low, self.file, self.row), Index.empty()
        kinds = (blank.high, blank.low, blank.file, blank.row)
        shape = (len(self.high),) if self.high.ndim == 1 else None
        if any(part.dtype != kind.dtype or part.shape != shape for part, kind in zip(parts, kinds)):
            return False
        named = all(isinstance(name, str) for name in self.files)
        return named and bool(((self.file >= 0) & (self.file < len(self.files)) & (self.row >= 0)).all())

    def write(self, path: Path) -> None:
        tensors = {"high": self.high, "low": self.low, "file": self.file, "row": self.row}
        with atomically(path) as new:
            write_tensors(new, tensors, {"files": json.dumps(self.files)})

    def find(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Keys (N, 2) -> file and row (N,) int32 of each, -1 where it is not known."""
        if not len(self.high):
            nothing = torch.full((len(keys),), -1, dtype=torch.int32)
            return nothing, nothing
        high, low = keys[:, 0].contiguous(), keys[:, 1]
        at = torch.searchsorted(self.high, high).clamp(max=len(self.high) - 1)
        known = (self.high[at] == high) & (self.low[at] == low)
        return self.file[at].where(known, -1), self.row[at].where(known, -1)

    def with_files(self, files: Sequence[tuple[str, Tensor]]) -> Index:
        """With more files, each with its keys (N, 2) in the order of its rows."""
        if not files:
            return self
        first = len(self.files)
        lengths = torch.tensor([len(keys) for _, keys in files])
        file = torch.arange(first, first + len(files), dtype=torch.int32).repeat_interleave(lengths)
        row = torch.cat([torch.arange(length, dtype=torch.int32) for length in lengths.tolist()])
        keys = torch.cat([keys for _, keys in files])
        high, order = torch.cat([self.high, keys[:, 0]]).sort(stable=True)
        rest = (torch.cat(pair)[order] for pair in ((self.low, keys[:, 1]), (self.file, file), (self.row, row)))
        return Index((*self.files, *(name for name, _ in files)), high, *rest)

    def without(self, names: set[str]) -> Index:
        """Without what some files hold."""
        gone = torch.tensor([name in names for name in self.files], dtype=torch.bool)
        if not gone.any():
            return self
        kept = tuple(name for name in self.files if name not in names)
        number = (~gone).cumsum(0).int() - 1
        stay = ~gone[self.file.long()]
        return Index(kept, self.high[stay], self.low[stay], number[self.file[stay].long()], self.row[stay])
