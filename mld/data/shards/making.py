"""One shard out of clips: a function of its arguments alone, which a process of any pool can run."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch

from mld.data.clips import ClipSource
from mld.data.shards.layout import (
    CENTRE,
    Layout,
    arrow,
    features_sum,
    head_sum,
    metadata,
    read_about,
    shard_schema,
    text_bytes,
)
from mld.errors import DataError, one_line
from mld.example import CaptionedClip
from mld.files import atomically
from mld.motion.normalizer import Moments

TOGETHER = 256  # clips whose frames are summed at once; the first so many are those of the centre
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
    """A shard that is there. content: SHA-256 of what its clips are. head: CRC-32 of its metadata. missing, left_out:
    problems, and at most `SHOWN` of them. skipped: what the source's gates left out, by reason."""

    path: Path
    clips: int
    missing: int
    content: str
    head: int
    left_out: tuple[str, ...] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)

    @property
    def row(self) -> dict[str, Any]:
        """A line of the index."""
        return {"file": self.path.name, "clips": self.clips, "bytes": self.path.stat().st_size,
                "content": self.content, "head": self.head}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Row:
    """A clip as it is stored: its texts, and its features as `Layout.pack` gives them. reference: of a motion of its
    own, flat."""

    name: str
    captions: tuple[str, ...]
    words: tuple[tuple[str, ...], ...]
    label: str
    history: int
    frames: int
    plain: np.ndarray
    exact: np.ndarray
    conditions: str = ""
    reference: np.ndarray | None = None

    @property
    def text(self) -> bytes:
        return text_bytes(self.name, self.captions, self.words, self.label, self.history, self.conditions)

    @property
    def stored(self) -> np.ndarray:
        """All of its numbers in float32."""
        return self.exact if self.reference is None else np.concatenate([self.exact, self.reference])


def write_shard(
    source: ClipSource, job: Job, before: Sequence[str] = (), skipped: Mapping[str, int] | None = None
) -> Done:
    """Make a shard and put it in its place, whole or not at all. Clips that cannot be stored are left out. before: why
    others were. skipped: what gates left out, by reason.

    `DataError` when the disk is full."""
    left_out = list(before)
    clips = _clips(source, job, left_out)
    first = list(itertools.islice(clips, TOGETHER))
    centre = job.layout.centre([features for _, _, features in first])
    rows = []
    for index, clip, features in itertools.chain(first, clips):
        try:
            rows.append(row_of(clip, features, job.layout, centre))
        except DataError as error:
            left_out.append(one_line(f"clip {index}: {error}"))
    told = {"split": job.split, "number": job.number, "key": job.key, "missing": len(left_out)}
    told |= {"skipped": dict(sorted(skipped.items()))} if skipped else {}
    put(*make_shard(rows, job.layout, centre, {**told, "left_out": left_out[:SHOWN]}), job.path)
    found = finished(job)
    if found is None:
        raise DataError(f"{job.path}: not what was written; is the disk in order?")
    return found


def _clips(source: ClipSource, job: Job, left_out: list[str]) -> Iterator[tuple[int, CaptionedClip, np.ndarray]]:
    """The clips of a job that can be read, their numbers and features; of the others it is told why."""
    for index in range(job.first, job.last):
        try:
            clip = source[index]
            features = job.layout.check(clip.features)
        except DataError as error:
            left_out.append(one_line(f"clip {index}: {error}"))
        else:
            yield index, clip, features


def put(batch: Any, told: dict[bytes, bytes], path: Path) -> None:
    """Write an Arrow file of one record batch, whole or not at all. told: its metadata. `DataError` when the disk is
    full."""
    pa = arrow()
    batch = batch.replace_schema_metadata(told)
    try:
        with atomically(path) as new, pa.OSFile(str(new), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
            writer.write_batch(batch)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        advice = "make room and give the same command again, which goes on from here"
        raise DataError(f"{path}: the disk is full; {advice}") from error


def finished(job: Job) -> Done | None:
    """The shard of a job that was made before; none where there is no such file or it is another one's."""
    pa = arrow()
    try:
        with pa.memory_map(str(job.path)) as file:
            known = pa.ipc.open_file(file).schema.metadata
            about = read_about(known, job.path)
    except (OSError, DataError, pa.ArrowInvalid):
        return None
    if about.get("key") != job.key or about.get("number") != job.number:
        return None
    return Done(job.path, about["clips"], about["missing"], about["content"], head_sum(known), tuple(about["left_out"]),
                about.get("skipped", {}))  # fmt: skip


def row_of(clip: CaptionedClip, features: np.ndarray, layout: Layout, centre: np.ndarray) -> Row:
    """The clip as it is stored, in a shard of that `centre`; `DataError` where it is none that a shard can hold.
    features: as `Layout.check` gave them."""
    if clip.fps != layout.fps:
        raise DataError(f"{clip.name}: {clip.fps:g} frames per second, the set has {layout.fps:g}")
    if clip.tokens is not None:
        raise DataError(f"{clip.name}: motion tokens are not kept in shards")
    if not clip.captions or not clip.num_frames:
        raise DataError(f"{clip.name}: no caption" if clip.num_frames else f"{clip.name}: no frames")
    try:
        numbers = layout.pack(features, centre)
        words = tuple(map(tuple, clip.caption_tokens))
        "".join((clip.name, clip.label, *clip.captions, *(word for each in words for word in each))).encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{clip.name}: bytes that are no text in its name or a caption") from error
    except DataError as error:
        raise DataError(f"{clip.name}: {error}") from error
    conditions, reference = _conditions(clip, layout)
    return Row(clip.name, tuple(clip.captions), words, clip.label, int(clip.history), clip.num_frames, *numbers,
               conditions, reference)  # fmt: skip


def _conditions(clip: CaptionedClip, layout: Layout) -> tuple[str, np.ndarray | None]:
    """What a clip says of how it conditions an answer, as JSON, and its reference; `DataError` where the set has no
    room for it."""
    told: dict[str, Any] = {}
    if clip.text_share is not None:
        told["text_share"] = clip.text_share
    if clip.supervised is not None:
        told["supervised"] = sorted(clip.supervised)
    reference = None if clip.reference is None else layout.check(clip.reference).ravel()
    if not layout.conditioned and (told or reference is not None):
        raise DataError(f"{clip.name}: has conditions, which its source does not say before; they are not stored")
    if reference is not None and len(reference) != clip.num_frames * layout.width:
        raise DataError(f"{clip.name}: its reference has other frames than the clip")
    return json.dumps(told, sort_keys=True) if told else "", reference


def make_shard(
    rows: Sequence[Row], layout: Layout, centre: np.ndarray, told: dict[str, Any]
) -> tuple[Any, dict[bytes, bytes]]:
    """A shard, as a record batch and its metadata. centre: of `row_of`. told: what the metadata says besides.

    The same for the same arguments, to the byte."""
    pa = arrow()
    frames = np.array([row.frames for row in rows], dtype=np.int32)
    columns = {
        "name": pa.array([row.name for row in rows], pa.string()),
        "frames": pa.array(frames),
        "history": pa.array(np.array([row.history for row in rows], dtype=np.int32)),
        "label": pa.array([row.label for row in rows], pa.string()),
        "captions": pa.array([row.captions for row in rows], pa.list_(pa.string())),
        "words": pa.array([row.words for row in rows], pa.list_(pa.list_(pa.string()))),
        "features": _numbers([row.plain for row in rows], layout.dtype),
        "exact": _numbers([row.stored for row in rows], "float32"),
        "sum_features": pa.array(np.array([features_sum(row.plain, row.stored) for row in rows], dtype=np.uint32)),
        "sum_text": pa.array(np.array([crc32(row.text) for row in rows], dtype=np.uint32)),
    }
    if layout.conditioned:
        columns["conditions"] = pa.array([row.conditions for row in rows], pa.string())
    content = content_of(centre, ((row.text, row.plain, row.stored) for row in rows))
    about = {**layout.described(), **told, "clips": len(rows), "frames": int(frames.sum()), "content": content}
    known = metadata(about, _moments(rows, layout, centre))
    batch = pa.record_batch(list(columns.values()), schema=shard_schema(layout))
    return batch, {**known, CENTRE: centre.astype("<f4").tobytes()}


def content_of(centre: np.ndarray, rows: Iterable[tuple[bytes, np.ndarray, np.ndarray]]) -> str:
    """SHA-256, hexadecimal, of what clips are: their `text_bytes` and the numbers that are stored of them."""
    digest = hashlib.sha256(centre.astype("<f4").tobytes())
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


def _moments(rows: Sequence[Row], layout: Layout, centre: np.ndarray) -> Moments:
    """Of all frames as they are stored; some hundred clips at a time, in their order."""
    found = Moments.none(layout.width)
    for first in range(0, len(rows), TOGETHER):
        part, origin = rows[first : first + TOGETHER], torch.from_numpy(centre)
        features = [layout.unpack(row.plain, row.exact, row.frames, origin) for row in part]
        found = found.and_of(torch.cat(features).double().numpy())
    return found
