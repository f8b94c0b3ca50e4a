"""Clips out of one shard, by row. The file is mapped: what is looked at are the pages that hold it.

Features are read past the map where the system can: it would map up to 2 MB around each clip, and a file that is cut
off meanwhile would end the process instead of being told."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch

from mld.data.shards.layout import (
    CURE,
    Layout,
    features_sum,
    forget,
    head_sum,
    read_about,
    read_batch,
    read_centre,
    shard_schema,
    text_bytes,
    view,
)
from mld.data.shards.making import content_of
from mld.errors import DataError
from mld.example import Caption, CaptionedClip

# Name, captions, their words, label, history and conditions of a clip.
Texts = tuple[str, tuple[str, ...], tuple[tuple[str, ...], ...], str, int, str]


class Shard:
    """An open shard. known: what the index says of it. check: look at all offsets and texts once, so that damage to
    them cannot lead out of the file; its features are compared with their checksum clip by clip."""

    def __init__(self, path: Path, layout: Layout, known: dict[str, Any], check: bool = True) -> None:
        self.path, self.layout = path, layout
        self._map, batch = read_batch(path, shard_schema(layout), check)
        metadata = batch.schema.metadata
        about = read_about(metadata, path)
        if about.get("content") != known["content"]:
            raise DataError(f"{path}: a shard of another set than its index; {CURE}")
        if head_sum(metadata) != known["head"] or len(batch) != known["clips"]:
            raise DataError(f"{path}: damaged (its head has changed); {CURE}")
        try:
            self.centre = read_centre(metadata, layout.width)
            self._frames = view(batch.column("frames"), "<i4")
            self._sums = [view(batch.column(name), "<u4").copy() for name in ("sum_features", "sum_text")]
            kinds = (("features", layout.dtype), ("exact", "float32"))
            self._numbers = [_flat(batch.column(name), dtype) for name, dtype in kinds]
        except (ValueError, LookupError) as error:
            raise DataError(f"{path}: damaged ({error}); {CURE}") from error
        self.origin = torch.from_numpy(self.centre)
        self._file = open(path, "rb") if hasattr(os, "pread") else None  # noqa: SIM115  (as long as the shard)
        self._start = np.frombuffer(self._map, np.uint8).ctypes.data
        names = ("name", "captions", "words", "label", "history", *(["conditions"] if layout.conditioned else []))
        self._texts = [batch.column(name) for name in names]

    def __len__(self) -> int:
        return len(self._frames)

    def forget(self) -> None:
        """Let the system have the memory that was read; the file stays open."""
        forget(self._map)

    def clip(self, row: int) -> CaptionedClip:
        """The clip of a row with its features (T, D) float32; `DataError` where it is not as it was written."""
        plain, exact, more = self._stored(row)
        name, captions, words, label, history, conditions = self._text(row)
        frames = int(self._frames[row])
        features = self.layout.unpack(plain, exact, frames, self.origin)
        reference = torch.from_numpy(more.copy()).view(frames, -1) if len(more) else None
        told = json.loads(conditions or "{}")
        supervised = frozenset(told["supervised"]) if "supervised" in told else None
        return CaptionedClip(name, features, captions, self.layout.fps, words, label, history=history,
                             reference=reference, text_share=told.get("text_share"), supervised=supervised)  # fmt: skip

    def numbers(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """The features of a row as they are stored; `DataError` where they have changed."""
        plain, exact, _ = self._stored(row)
        return plain, exact

    def _stored(self, row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All numbers of a row: of its features, and behind them those of its reference, if it has one."""
        plain, exact = (self._row(values[offsets[row] : offsets[row + 1]]) for offsets, values in self._numbers)
        frames, (few, many) = int(self._frames[row]), self.layout.columns
        sizes = {frames * many, *([frames * (many + self.layout.width)] if self.layout.conditioned else [])}
        if features_sum(plain, exact) != self._sums[0][row] or len(plain) != frames * few or len(exact) not in sizes:
            raise DataError(f"{self.path}: the features of clip {row} have changed since they were written; {CURE}")
        return plain, exact[: frames * many], exact[frames * many :]

    def _row(self, mapped: np.ndarray) -> np.ndarray:
        """Numbers that are mapped, read without the map."""
        if self._file is None or not mapped.nbytes:
            return mapped
        read = os.pread(self._file.fileno(), mapped.nbytes, mapped.ctypes.data - self._start)
        return np.frombuffer(read[: len(read) // mapped.itemsize * mapped.itemsize], mapped.dtype)

    def captions(self, row: int) -> tuple[Caption, ...]:
        """The sentences of a row; its features are not touched."""
        _, captions, words, *_ = self._text(row)
        return tuple(map(Caption, captions, words or ((),) * len(captions)))

    def content(self) -> str:
        """The hash of what is there, to be compared with that of the index."""
        rows = range(len(self))
        return content_of(self.centre, ((text_bytes(*self._read(row)), *self._whole(row)) for row in rows))

    def _whole(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        plain, exact, more = self._stored(row)
        return plain, np.concatenate([exact, more])

    def _text(self, row: int) -> Texts:
        found = self._read(row)
        if crc32(text_bytes(*found)) != self._sums[1][row]:
            raise DataError(f"{self.path}: the texts of clip {row} have changed since they were written; {CURE}")
        return found

    def _read(self, row: int) -> Texts:
        name, captions, words, label, history, *more = (column[row].as_py() for column in self._texts)
        return name, tuple(captions), tuple(map(tuple, words)), label, history, more[0] if more else ""


def _flat(column: Any, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (N + 1,), in memory, and numbers of a column of lists, a view of the file."""
    return view(column.offsets, "<i4").copy(), view(column.values, dtype)
