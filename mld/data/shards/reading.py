"""Clips out of one shard, by row. The file is mapped: what is read are the pages that hold the clip."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch

from mld.data.shards.layout import Layout, arrow, features_sum, mapped, read_about, read_centre, text_bytes, view
from mld.data.shards.making import content_of
from mld.errors import DataError
from mld.example import Caption, CaptionedClip

CURE = "remove it and give the command that wrote the shards again"


class Shard:
    """An open shard. content: what the index says of it. check: look at all offsets and texts once, so that damage to
    them cannot lead out of the file; its features are compared with their checksum clip by clip."""

    def __init__(self, path: Path, layout: Layout, content: str, check: bool = True) -> None:
        pa = arrow()
        self.path, self.layout = path, layout
        try:
            self._map = mapped(path)
            reader = pa.ipc.open_file(pa.BufferReader(self._map))
            about = read_about(reader.schema.metadata, path)
            batch = reader.get_batch(0)
            self.centre = read_centre(reader.schema.metadata, layout.width)
            if check:
                batch.validate(full=True)
        except FileNotFoundError as error:
            raise DataError(f"{path}: missing; {CURE}") from error
        except (OSError, ValueError, LookupError, pa.ArrowException) as error:
            raise DataError(f"{path}: damaged ({error}); {CURE}") from error
        if about.get("content") != content:
            raise DataError(f"{path}: a shard of another set than its index; {CURE}")
        self._origin = torch.from_numpy(self.centre)
        self._frames = view(batch.column("frames"), "<i4")
        self._sums = [view(batch.column(name), "<u4") for name in ("sum_features", "sum_text")]
        self._numbers = [
            _flat(batch.column(name), dtype) for name, dtype in (("features", layout.dtype), ("exact", "float32"))
        ]
        self._texts = [batch.column(name) for name in ("name", "captions", "words", "label", "history")]

    def __len__(self) -> int:
        return len(self._frames)

    def forget(self) -> None:
        """Let the system have the memory that was read; the file stays open."""
        if hasattr(self._map, "madvise"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def clip(self, row: int) -> CaptionedClip:
        """The clip of a row with its features (T, D) float32; `DataError` where it is not as it was written."""
        plain, exact = (values[offsets[row] : offsets[row + 1]] for offsets, values in self._numbers)
        if features_sum(plain, exact) != self._sums[0][row]:
            raise DataError(f"{self.path}: the features of clip {row} have changed since they were written; {CURE}")
        text = self._text(row)
        name, captions, words, label, history = text
        features = self.layout.unpack(plain, exact, int(self._frames[row]), self._origin)
        return CaptionedClip(name, features, captions, self.layout.fps, words, label, history=history)

    def captions(self, row: int) -> tuple[Caption, ...]:
        """The sentences of a row; its features are not touched."""
        _, captions, words, _, _ = self._text(row)
        return tuple(map(Caption, captions, words or ((),) * len(captions)))

    def content(self) -> str:
        """The hash of what is there, to be compared with that of the index."""
        rows = range(len(self))
        parts = ([values[offsets[row] : offsets[row + 1]] for offsets, values in self._numbers] for row in rows)
        return content_of(self.centre, ((text_bytes(*self._read(row)), *part) for row, part in zip(rows, parts)))

    def _text(self, row: int) -> tuple[str, tuple[str, ...], tuple[tuple[str, ...], ...], str, int]:
        found = self._read(row)
        if crc32(text_bytes(*found)) != self._sums[1][row]:
            raise DataError(f"{self.path}: the texts of clip {row} have changed since they were written; {CURE}")
        return found

    def _read(self, row: int) -> tuple[str, tuple[str, ...], tuple[tuple[str, ...], ...], str, int]:
        name, captions, words, label, history = (column[row].as_py() for column in self._texts)
        return name, tuple(captions), tuple(map(tuple, words)), label, history


def _flat(column: Any, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (N + 1,) and numbers of a column of lists, views of the file."""
    return view(column.offsets, "<i4"), view(column.values, dtype)
