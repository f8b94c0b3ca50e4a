"""What a shard looks like: an Arrow IPC file with one record batch, a row per clip.

Columns: `name`, `frames` (T), `history`, `label`, `captions` (list of text), `words` (per caption its `word/POS`
tokens), `features` and `exact` (lists of numbers, row by row of a clip), `sum_features`, `sum_text` (CRC-32). Metadata
`mld`: JSON, what `Layout.described` says and what the writer knows; `moments`: for the statistics of a set.

With float16 the columns of a representation's root stay float32, in `exact`: where the body goes is a sum of them over
all frames, and errors would add up. Of the other columns the difference from a `centre` is stored, which is in the
metadata of the shard (docs/shards.md has the errors).

A set whose clips say how they condition an answer (`CaptionedClip.text_share` and what is beside it) has the column
`conditions`, too, JSON or nothing, and a reference motion of a clip behind its numbers in `exact`.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from mld.errors import DataError, missing_extra, shown
from mld.files import parse_json
from mld.motion.normalizer import Moments
from mld.motion.representations.registry import get_representation

FORMAT = 1
INDEX = "index.arrow"
CURE = "remove it and give the command that wrote the shards again"
DTYPES = ("float16", "float32")
ABOUT, MOMENTS, CENTRE, SUM = b"mld", b"moments", b"centre", b"sum"
Dtype = Literal["float16", "float32"]


def arrow() -> Any:
    """The package `pyarrow`; one clear line where it is not installed."""
    try:
        import pyarrow
        import pyarrow.ipc  # noqa: F401
    except ImportError as error:
        raise missing_extra("pyarrow", "shards") from error
    return pyarrow


@dataclass(frozen=True)
class Layout:
    """How the features of a set are stored. fps: of every clip. conditioned: whether there are `conditions`."""

    representation: str
    fps: float
    dtype: Dtype = "float16"
    conditioned: bool = False

    @cached_property
    def width(self) -> int:
        return get_representation(self.representation).width

    @cached_property
    def runs(self) -> tuple[list[slice], list[slice]]:
        """Stretches of columns that are stored in `dtype`, and of those in float32."""
        root = get_representation(self.representation).columns("root") if self.dtype == "float16" else []
        exact = np.zeros(self.width, dtype=bool)
        exact[root] = True
        edges = [0, *(np.flatnonzero(np.diff(exact)) + 1).tolist(), self.width]
        parts = [slice(a, b) for a, b in zip(edges, edges[1:])]
        return [part for part in parts if not exact[part.start]], [part for part in parts if exact[part.start]]

    @cached_property
    def columns(self) -> tuple[int, int]:
        """How many columns are stored in `dtype`, and how many in float32."""
        plain, exact = (sum(run.stop - run.start for run in runs) for runs in self.runs)
        return plain, exact

    @property
    def bytes_per_frame(self) -> int:
        plain, exact = self.columns
        return plain * np.dtype(self.dtype).itemsize + exact * 4

    @property
    def exact_values(self) -> list[int]:
        """Columns that are not stored as differences: those of float32, and contacts, which are 0 or 1."""
        representation = get_representation(self.representation)
        return representation.columns("root", "contacts") if self.dtype == "float16" else list(range(self.width))

    def check(self, features: Tensor) -> np.ndarray:
        """Features (T, D) as float32; `DataError` where they are not such of the representation."""
        if features.ndim != 2 or features.shape[1] != self.width:
            raise DataError(f"features {tuple(features.shape)}, expected (T, {self.width}) of '{self.representation}'")
        rows = np.ascontiguousarray(features.numpy(), dtype=np.float32)
        if not np.isfinite(rows).all():
            raise DataError("NaN or infinity in the features")
        return rows

    def centre(self, clips: Sequence[np.ndarray]) -> np.ndarray:
        """What is taken off from all features of a shard before they are rounded (D,) float32: the median of the means
        of clips (T, D) of it. A column that stays near 1 would lose most of what changes in it."""
        if not len(clips):
            return np.zeros(self.width, dtype=np.float32)
        means = np.stack([rows.mean(axis=0, dtype=np.float64) for rows in clips])
        centre = np.median(means, axis=0).astype(np.float32)  # a clip of huge numbers is not to spoil the others
        centre[self.exact_values] = 0.0
        return centre

    def pack(self, rows: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features (T, D) float32 -> numbers in `dtype` and in float32, flat. `DataError` where they do not fit."""
        rows = rows if self.dtype == "float32" else rows - centre
        plain, exact = (
            np.concatenate([rows[:, run] for run in runs], axis=1) if runs else rows[:, :0] for runs in self.runs
        )
        with np.errstate(over="ignore"):
            stored = plain.astype(self.dtype)
        if not np.isfinite(stored).all():
            raise DataError(f"numbers up to {np.abs(plain).max():.3g}, too large for float16; use --dtype float32")
        return stored.ravel(), exact.ravel()

    def unpack(self, plain: np.ndarray, exact: np.ndarray, frames: int, centre: Tensor) -> Tensor:
        """The inverse of `pack`: (T, D) float32, memory of its own. centre: (D,), or (T, D) where rows are of several
        shards."""
        numbers = torch.from_numpy(plain.copy()).view(frames, -1)
        if self.dtype == "float32":
            return numbers
        features = torch.empty(frames, self.width)
        for runs, values in zip(self.runs, (numbers, torch.from_numpy(exact.copy()).view(frames, -1))):
            first = 0
            for run in runs:
                last = first + run.stop - run.start
                features[:, run] = values[:, first:last]
                first = last
        return features.add_(centre)

    def described(self) -> dict[str, Any]:
        more = {"conditioned": True} if self.conditioned else {}
        return {"format": FORMAT, "representation": self.representation, "width": self.width, "fps": self.fps,
                "dtype": self.dtype, **more}  # fmt: skip


def shard_schema(layout: Layout) -> Any:
    """Names and types of the columns of a shard."""
    pa = arrow()
    number = pa.float16() if layout.dtype == "float16" else pa.float32()
    sentences = pa.list_(pa.string())
    return pa.schema([
        ("name", pa.string()), ("frames", pa.int32()), ("history", pa.int32()), ("label", pa.string()),
        ("captions", sentences), ("words", pa.list_(sentences)), ("features", pa.list_(number)),
        ("exact", pa.list_(pa.float32())), ("sum_features", pa.uint32()), ("sum_text", pa.uint32()),
        *([("conditions", pa.string())] if layout.conditioned else []),
    ])  # fmt: skip


def index_schema() -> Any:
    """Names and types of the columns of an index."""
    pa = arrow()
    return pa.schema([("name", pa.string()), ("frames", pa.int32()), ("history", pa.int32())])


def read_batch(path: Path, schema: Any, check: bool = True) -> tuple[mmap.mmap, Any]:
    """The map of a file and its record batch, with metadata; check: look at all of its offsets and texts, so that
    damage to them cannot lead out of the file. `DataError` where it is not of that schema."""
    pa = arrow()
    try:
        memory = mapped(path)
        reader = pa.ipc.open_file(pa.BufferReader(memory))
        read_about(reader.schema.metadata, path)
        if not reader.schema.equals(schema):
            raise DataError(f"{path}: damaged or of something else (other columns); {CURE}")
        batch = reader.get_batch(0)
        if check:
            batch.validate(full=True)
            forget(memory)
        if any(column.null_count for column in batch.columns):
            raise ValueError("empty entries")
    except FileNotFoundError as error:
        raise DataError(f"{path}: missing; {CURE}") from error
    except (OSError, ValueError, LookupError, pa.ArrowException) as error:
        raise DataError(f"{path}: damaged ({error}); {CURE}") from error
    return memory, batch


def mapped(path: Path) -> mmap.mmap:
    """A file as memory. (One of Arrow's own cannot be told to give up what was read.)"""
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def forget(memory: mmap.mmap) -> None:
    """Let the system have back what was read of a map; the file stays open."""
    if hasattr(memory, "madvise"):
        memory.madvise(mmap.MADV_DONTNEED)


def view(column: Any, dtype: str) -> np.ndarray:
    """The numbers of a column (N,), a view of the file. (`to_numpy` of Arrow imports pandas where it is installed.)"""
    buffer = column.buffers()[1]
    return np.empty(0, dtype) if not len(column) else np.frombuffer(buffer, dtype, len(column))


def read_about(metadata: dict[bytes, bytes] | None, path: Path) -> dict[str, Any]:
    """The metadata `mld` of an Arrow file; `DataError` where it is no shard or index of this format."""
    try:
        about = parse_json((metadata or {})[ABOUT])
        form, name, width = about["format"], about["representation"], about["width"]
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path}: not written by 'python -m prepare.data shards'; name the folder it wrote") from error
    if form != FORMAT:
        raise DataError(f"{path}: format {shown(form)} of shards, this version reads {FORMAT}; write the shards anew")
    fps = about.get("fps")
    known = isinstance(name, str) and type(fps) in (int, float) and 0 < fps < 1e6 and about.get("dtype") in DTYPES
    if not known:
        told = ", ".join(f"{key} {shown(about.get(key))}" for key in ("representation", "fps", "dtype"))
        raise DataError(f"{path}: damaged ({told[:120]}); {CURE}")
    if width != get_representation(name).width:
        raise DataError(f"{path}: '{name}' with {shown(width)} columns, it has {get_representation(name).width} now; "
                        "write the shards anew")
    return about


def layout_of(about: dict[str, Any]) -> Layout:
    return Layout(about["representation"], float(about["fps"]), about["dtype"], about.get("conditioned") is True)


def metadata(about: dict[str, Any], moments: Moments) -> dict[bytes, bytes]:
    """What `read_about` and `read_moments` read."""
    text = json.dumps(about, sort_keys=True, ensure_ascii=True)
    numbers = np.concatenate([[moments.count], moments.mean, moments.squares]).astype("<f8")
    return {ABOUT: text.encode(), MOMENTS: numbers.tobytes()}


def head_sum(metadata: dict[bytes, bytes]) -> int:
    """CRC-32 of the metadata but for a sum of its own."""
    found = 0
    for key in (ABOUT, MOMENTS, CENTRE):
        found = crc32(metadata.get(key, b""), found)
    return found


def read_moments(metadata: dict[bytes, bytes], width: int, path: Path) -> Moments:
    numbers = np.frombuffer(metadata.get(MOMENTS, b""), dtype="<f8")
    if len(numbers) != 1 + 2 * width:
        raise DataError(f"{path}: its statistics are damaged; give the command that wrote the shards again")
    return Moments(int(numbers[0]), numbers[1 : 1 + width].copy(), numbers[1 + width :].copy())


def read_centre(metadata: dict[bytes, bytes], width: int) -> np.ndarray:
    """What was taken off (D,) float32; `ValueError` where it is damaged."""
    centre = np.frombuffer(metadata[CENTRE], dtype="<f4")
    if len(centre) != width or not np.isfinite(centre).all():
        raise ValueError("the centre of its features")
    return centre.copy()


def text_bytes(
    name: str, captions: tuple, words: tuple, label: str, history: int, conditions: str = ""
) -> bytes:  # fmt: skip
    """All of a clip but its features, for hashes and checksums."""
    texts: tuple = (name, tuple(captions), tuple(map(tuple, words)), label, int(history))
    texts += (conditions,) if conditions else ()
    return repr(texts).encode("utf-8", "backslashreplace")


def features_sum(plain: np.ndarray, exact: np.ndarray) -> int:
    """CRC-32 of the stored numbers of a clip."""
    return crc32(exact.data, crc32(plain.data))
