"""The index of one split: names and lengths of all clips, and which shards there are. It opens by memory map.

Arrow like the shards, one record batch with a row per clip: `name`, `frames`, `history`. Metadata: the layout, a line
per shard, how many clips were left out, the moments of all frames, and `fingerprint`, a hash of all that the set holds,
which follows from the content hashes of the shards.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from mld.data.shards.layout import (
    INDEX,
    SUM,
    Layout,
    arrow,
    forget,
    head_sum,
    index_schema,
    layout_of,
    metadata,
    read_about,
    read_batch,
    read_moments,
    view,
)
from mld.data.shards.making import SHOWN, Done, put
from mld.errors import DataError
from mld.motion.normalizer import Moments

AGAIN = "give the command that wrote the shards again, which makes what is missing"
KEYS = {"split": str, "key": str, "fingerprint": str, "missing": int, "left_out": list, "shards": list}
SHARD_KEYS = {"file": str, "clips": int, "bytes": int, "content": str, "head": int}


@dataclass(frozen=True, eq=False)
class Index:
    """An open index. frames, history: (N,) int32, views of the file. first: the first clip of each of the S
    shards, and N. shards: `file`, `clips`, `bytes`, `content` and `head` (checksum of the metadata) of each."""

    path: Path
    layout: Layout
    about: dict[str, Any]
    moments: Moments
    frames: np.ndarray
    history: np.ndarray
    first: list[int]
    _names: Any

    @property
    def shards(self) -> list[dict[str, Any]]:
        return self.about["shards"]

    @property
    def fingerprint(self) -> str:
        return self.about["fingerprint"]

    def __len__(self) -> int:
        return len(self.frames)

    def name(self, clip: int) -> str:
        return self._names[clip].as_py()

    def place(self, clip: int) -> tuple[int, int]:
        """The shard of a clip and its row in it."""
        shard = bisect_right(self.first, clip) - 1
        return shard, clip - self.first[shard]


def write_index(
    folder: Path, split: str, key: str, layout: Layout, done: Sequence[Done], problems: Sequence[str] = (),
    encoded: bool = True,
) -> Path:  # fmt: skip
    """Gather the index of the shards of a folder. problems: those that the source had beside the shards'. encoded:
    whether features were made here."""
    pa = arrow()
    parts, moments = [], Moments.none(layout.width)
    for one in done:
        with pa.memory_map(str(one.path)) as file:
            reader = pa.ipc.open_file(file)
            parts.append(reader.get_batch(0).select(["name", "frames", "history"]))
            moments = moments.and_those(read_moments(reader.schema.metadata, layout.width, one.path))
    table = pa.Table.from_batches([part.replace_schema_metadata(None) for part in parts])
    (batch,) = table.combine_chunks().to_batches()
    shards = [one.row for one in done]
    print_of = hashlib.sha256(json.dumps([layout.described(), [one.content for one in done]]).encode())
    told = {"split": split, "key": key, "shards": shards, "missing": len(problems) + sum(one.missing for one in done),
            "left_out": [*problems, *(line for one in done for line in one.left_out)][:SHOWN], "encoded": encoded,
            "fingerprint": print_of.hexdigest()}  # fmt: skip
    known = metadata({**layout.described(), **told}, moments)
    put(batch, {**known, SUM: str(_sum(batch, known)).encode()}, folder / INDEX)
    return folder / INDEX


def open_index(folder: Path) -> Index:
    """The index in a folder and whether its shards are there; `DataError` says which file is missing or damaged."""
    path = folder / INDEX
    if not path.exists():
        raise DataError(f"no {path}; write it with 'python -m prepare.data shards', or let that command end")
    memory, batch = read_batch(path, index_schema())
    about = read_about(batch.schema.metadata, path)
    if not _has(about, KEYS) or any(not _has(shard, SHARD_KEYS) for shard in about["shards"]) or (
        bool(about["missing"]) != bool(about["left_out"])
    ):
        raise DataError(f"{path}: not the index of a split; name the folder that 'python -m prepare.data shards' wrote")
    if str(_sum(batch, batch.schema.metadata)).encode() != batch.schema.metadata.get(SUM):
        raise DataError(f"{path}: has changed since it was written; remove it, then {AGAIN}")
    layout = layout_of(about)
    first = list(accumulate((shard["clips"] for shard in about["shards"]), initial=0))
    if first[-1] != batch.num_rows:
        raise DataError(f"{path}: {batch.num_rows:,} clips, its shards have {first[-1]:,}; {AGAIN}")
    frames, history = (view(batch.column(name), "<i4") for name in ("frames", "history"))
    moments = read_moments(batch.schema.metadata, layout.width, path)
    found = Index(path, layout, about, moments, frames, history, first, batch.column("name"))
    _check_files(found)
    forget(memory)
    return found


def _sum(batch: Any, known: dict[bytes, bytes]) -> int:
    """CRC-32 of all that an index says."""
    found = head_sum(known)
    for column in batch.columns:
        for buffer in column.buffers()[1:]:
            found = crc32(buffer, found)
    return found


def _has(about: Any, keys: dict[str, type]) -> bool:
    return isinstance(about, dict) and all(isinstance(about.get(name), kind) for name, kind in keys.items())


def _check_files(index: Index) -> None:
    for shard in index.shards:
        path = index.path.parent / shard["file"]
        try:
            size = path.stat().st_size
        except OSError as error:
            raise DataError(f"{path}: missing ({error.strerror}); {AGAIN}") from error
        if size != shard["bytes"]:
            raise DataError(f"{path}: {size:,} bytes, it had {shard['bytes']:,}; remove it, then {AGAIN}")
