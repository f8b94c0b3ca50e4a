"""One shard out of clips: a function of its arguments alone, which a process of any pool can run."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch

from mld.data.clips import ClipSource
from mld.data.shards.layout import Layout, arrow, features_sum, metadata, read_about, text_bytes
from mld.errors import DataError, one_line
from mld.example import CaptionedClip
from mld.files import atomically
from mld.motion.normalizer import Moments

TOGETHER = 256  # clips whose frames are summed at once
SHOWN = 20  # clips that were left out and are told by name


@dataclass(frozen=True)
class Job:
    """Clips [first, last) of a split as the file `path`. key: a hash of what they are known by, without features."""

    split: str
    number: int
    first: int
    last: int
    path: Path
    layout: Layout
    key: str


@dataclass(frozen=True)
class Done:
    """A shard that is there. content: SHA-256 of what its clips are. left_out: why, of at most `SHOWN` clips."""

    path: Path
    clips: int
    missing: int
    content: str
    left_out: tuple[str, ...] = ()

    @property
    def row(self) -> dict[str, Any]:
        """A line of the index."""
        return {"file": self.path.name, "clips": self.clips, "bytes": self.path.stat().st_size, "content": self.content}


def write_shard(source: ClipSource, job: Job, before: Sequence[str] = ()) -> Done:
    """Make a shard and put it in its place, whole or not at all. Clips that cannot be stored are left out. before: why
    others were.

    `DataError` when the disk is full."""
    clips: list[CaptionedClip] = []
    left_out = list(before)
    for index in range(job.first, job.last):
        try:
            clips.append(checked(source[index], job.layout))
        except DataError as error:
            left_out.append(one_line(f"clip {index}: {error}"))
    told = {"split": job.split, "number": job.number, "key": job.key, "missing": len(left_out)}
    buffer = make_shard(clips, job.layout, {**told, "left_out": left_out[:SHOWN]})
    put(buffer, job.path)
    found = finished(job)
    if found is None:
        raise DataError(f"{job.path}: not what was written; is the disk in order?")
    return found


def put(buffer: Any, path: Path) -> None:
    """Write a file, whole or not at all; `DataError` when the disk is full."""
    try:
        with atomically(path) as new, open(new, "wb") as file:
            file.write(buffer)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        told = "make room and give the same command again, which goes on from here"
        raise DataError(f"{path}: the disk is full; {told}") from error


def finished(job: Job) -> Done | None:
    """The shard of a job that was made before; none where there is no such file or it is another one's."""
    pa = arrow()
    try:
        with pa.memory_map(str(job.path)) as file:
            about = read_about(pa.ipc.open_file(file).schema.metadata, job.path)
    except (OSError, DataError, pa.ArrowInvalid):
        return None
    if about.get("key") != job.key or about.get("number") != job.number:
        return None
    return Done(job.path, about["clips"], about["missing"], about["content"], tuple(about["left_out"]))


def checked(clip: CaptionedClip, layout: Layout) -> CaptionedClip:
    """The clip; `DataError` where it is none that a shard can hold."""
    if clip.fps != layout.fps:
        raise DataError(f"{clip.name}: {clip.fps:g} frames per second, the set has {layout.fps:g}")
    if clip.tokens is not None:
        raise DataError(f"{clip.name}: motion tokens are not kept in shards")
    if not clip.captions or not clip.num_frames:
        raise DataError(f"{clip.name}: no caption" if clip.num_frames else f"{clip.name}: no frames")
    try:
        "".join((clip.name, clip.label, *clip.captions, *(word for words in clip.caption_tokens for word in words))
                ).encode()
        layout.pack(clip.features)
    except UnicodeEncodeError as error:
        raise DataError(f"{clip.name}: bytes that are no text in its name or a caption") from error
    except DataError as error:
        raise DataError(f"{clip.name}: {error}") from error
    return clip


def make_shard(clips: Sequence[CaptionedClip], layout: Layout, told: dict[str, Any]) -> Any:
    """The bytes of a shard (a buffer of Arrow). clips: such as `checked` gives. told: what its metadata says besides.

    The same bytes for the same arguments."""
    pa = arrow()
    packed = [layout.pack(clip.features) for clip in clips]
    texts = [
        text_bytes(clip.name, clip.captions, clip.caption_tokens, clip.label, clip.history) for clip in clips
    ]
    frames = np.array([clip.num_frames for clip in clips], dtype=np.int32)
    columns = {
        "name": pa.array([clip.name for clip in clips], pa.string()),
        "frames": pa.array(frames),
        "history": pa.array(np.array([clip.history for clip in clips], dtype=np.int32)),
        "label": pa.array([clip.label for clip in clips], pa.string()),
        "captions": pa.array([clip.captions for clip in clips], pa.list_(pa.string())),
        "words": pa.array([clip.caption_tokens for clip in clips], pa.list_(pa.list_(pa.string()))),
        "features": _numbers([plain for plain, _ in packed], layout.dtype),
        "exact": _numbers([exact for _, exact in packed], "float32"),
        "sum_features": pa.array(np.array([features_sum(*one) for one in packed], dtype=np.uint32)),
        "sum_text": pa.array(np.array([crc32(text) for text in texts], dtype=np.uint32)),
    }
    batch = pa.record_batch(columns)
    about = {**layout.described(), **told, "clips": len(clips), "frames": int(frames.sum()),
             "content": content_of((text, *one) for text, one in zip(texts, packed))}  # fmt: skip
    return as_file(batch, metadata(about, _moments(clips, packed, layout)))


def as_file(batch: Any, told: dict[bytes, bytes]) -> Any:
    """The bytes of an Arrow file of one record batch. told: its metadata."""
    pa = arrow()
    batch = batch.replace_schema_metadata(told)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def content_of(rows: Iterable[tuple[bytes, np.ndarray, np.ndarray]]) -> str:
    """SHA-256, hexadecimal, of what clips are: their `text_bytes` and the numbers that are stored of them."""
    digest = hashlib.sha256()
    for text, plain, exact in rows:
        for part in (text, plain.data, exact.data):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
    return digest.hexdigest()


def _numbers(parts: list[np.ndarray], dtype: str) -> Any:
    """A column of lists of numbers, one list per clip."""
    pa = arrow()
    offsets = np.cumsum([0, *map(len, parts)])
    flat = np.concatenate([np.empty(0, dtype=dtype), *parts])
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(flat))


def _moments(clips: Sequence[CaptionedClip], packed: list[tuple[np.ndarray, np.ndarray]], layout: Layout) -> Moments:
    """Of all frames as they are stored; some hundred clips at a time, in their order."""
    found = Moments.none(layout.width)
    for first in range(0, len(clips), TOGETHER):
        part = slice(first, first + TOGETHER)
        rows = [layout.unpack(*one, clip.num_frames) for one, clip in zip(packed[part], clips[part])]
        found = found.and_of(torch.cat(rows).double().numpy())
    return found
