"""Which clips a run learns from: a table in its folder, so that a run goes on with the data that it began with.

A row per clip: split, name, frames, level, captions (of clips in shards one row for all, with the hash that their index
has). The level is a weighted mean of the features, which follows from
every number and its place. captions: a hash of them. So files may move to another folder, and one that is added,
removed, cut or written anew is noticed. Another machine may encode all clips a little otherwise, as it rounds
otherwise; that is told and changes nothing.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import torch
from tqdm import tqdm

from mld.data.clips import ClipSource, fingerprint
from mld.errors import ConfigError, one_line
from mld.files import write_text

COLUMNS = ("split", "name", "frames", "level", "captions")
# Shares. A joint moved by 1 cm in one frame of 199 changes a level by 6e-7, rounding by 1e-9; a contact that tips over
# by rounding changes it by 1e-3, but then most clips differ in their last digits.
STRICT, ROUNDED = 1e-8, 3e-3
Row = tuple[str, ...]


def check_clips(file: Path, train: ClipSource, val: ClipSource, begun: bool, accept: bool = False) -> None:
    """Write the table of a run that begins, or compare that of one that goes on.

    `ConfigError` where the clips are others; with `accept` that is told, and the table is that of the new ones."""
    rows = [*_rows("train", train), *_rows("val", val)]
    known = read_table(file) if begun and file.is_file() else None
    if known is None and begun and file.is_file():
        print(f"{file}: damaged; whether the data is the same cannot be told; written anew", file=sys.stderr)
    found = difference(known, rows) if known is not None else ""
    if known is not None and not found and known != rows:
        print(f"{file.parent}: the clips are the same but for rounding, as on another machine", file=sys.stderr)
    if found and not accept:
        advice = "put the data back, go on with what is there now (--changed-data), or start anew (--fresh)"
        raise ConfigError(one_line(f"{file.parent}: the data is not what this run began with: {found}; {advice}"))
    if found:
        print(one_line(f"{file.parent}: going on with changed data: {found}"), file=sys.stderr)
    if known is None or found:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
        write_text(file, text.getvalue())


def _rows(split: str, source: ClipSource) -> Iterator[Row]:
    """A row for each clip; one for all of a source that knows a hash of them without reading them."""
    if known := fingerprint(source):
        yield split, f"all {len(source):,} clips", str(int(source.lengths.sum())), "0", known[:32]
        return
    hidden = len(source) < 1000 or not sys.stderr.isatty()
    for index in tqdm(range(len(source)), desc=f"looking at {split} clips", unit="clip", leave=False, disable=hidden):
        clip = source[index]
        captions = blake2b(repr(tuple(clip.captions)).encode("utf-8", "backslashreplace"), digest_size=6).hexdigest()
        name = clip.name.encode("utf-8", "backslashreplace").decode().replace("\r", " ").replace("\0", " ")
        yield split, name, str(clip.num_frames), f"{level(clip.features):.12g}", captions


def level(features: torch.Tensor) -> float:
    """A positive number that follows from every entry of (T, D) and where it is."""
    frames, columns = features.shape
    weights = torch.linspace(1, 2, frames, dtype=torch.float64)[:, None] + torch.linspace(0, 1, columns).double()
    return float(((features.double().abs() + features.double() / 2) * weights).mean())


def read_table(file: Path) -> list[Row] | None:
    """The rows of a table; none where it is damaged."""
    try:
        heading, *rows = csv.reader(io.StringIO(file.read_text(encoding="utf-8"), newline=""))
        for row in rows:
            _, _, frames, number, _ = row
            int(frames), float(number)
    except (OSError, ValueError, csv.Error):
        return None
    return [tuple(row) for row in rows] if tuple(heading) == COLUMNS else None


def difference(known: list[Row], rows: list[Row]) -> str:
    """In a few words, how the clips differ from those of a table; "" where they do not."""
    before, now = ({row[:2]: row for row in table} for table in (known, rows))
    both = [key for key in now if key in before]
    apart = {key: _apart(float(before[key][3]), float(now[key][3])) for key in both}
    limit = ROUNDED if 2 * sum(value > 0 for value in apart.values()) > len(both) else STRICT
    same = {key for key in both if before[key][2::2] == now[key][2::2] and apart[key] <= limit}
    kinds = {
        "added": [key for key in now if key not in before],
        "removed": [key for key in before if key not in now],
        "changed": [key for key in both if key not in same],
    }
    told = [
        f"{len(keys):,} {kind} ({keys[0][1]}{', ...' if len(keys) > 1 else ''})" for kind, keys in kinds.items() if keys
    ]
    if not told and [row[:2] for row in known] != [row[:2] for row in rows]:
        return "its clips stand in another order"
    return "clips " + ", ".join(told) if told else ""


def _apart(one: float, other: float) -> float:
    """How far two levels are from each other, as a share of the larger one."""
    return abs(one - other) / (max(one, other) or 1.0)
