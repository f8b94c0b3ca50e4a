"""Shards out of raw motion: BVH, ASF/AMC, SMPL npz, glTF, or joints with captions.

Reading such files takes longer than all the rest, so it is done where a shard is made: a shard is of some files, and
what a process does with them is what `data.source=files` or `joints` does with a small folder. Which files a shard is
of follows from the folder alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mld.data.config import DataConfig
from mld.data.shards.layout import FORMAT, Dtype, Layout, arrow
from mld.data.shards.making import Done, Job, finished, write_shard
from mld.data.shards.writing import Written, write_split
from mld.data.sources.files import FilesSource
from mld.data.sources.joints_captions import JointsCaptionsSource
from mld.errors import DataError
from mld.jobs import Failed, run_jobs
from mld.motion.representations.registry import get_representation

RAW = {"files": FilesSource, "joints": JointsCaptionsSource}
TOGETHER = 64  # files, or clips of joints, of a shard
# Settings on which the clips of a shard depend.
SETTINGS = ("source", "representation", "fps", "min_frames", "max_frames", "mirror", "quality")


@dataclass(frozen=True)
class RawJob:
    """A shard and the part of its source that it is made of."""

    job: Job
    part: Any


@dataclass(frozen=True)
class Converting:
    """The work of a process: files to the shard of their clips."""

    cfg: DataConfig

    def __call__(self, raw: RawJob) -> Done:
        source = RAW[self.cfg.source](self.cfg, raw.job.split, raw.part)
        return write_shard(source, replace(raw.job, last=len(source)), list(map(str, source.problems)), source.skipped)


def write_raw(
    cfg: DataConfig, split: str, out: Path, dtype: Dtype = "float16", workers: int = 1, engine: str = "processes"
) -> Written:
    """As `write_shards`, of a source of `RAW`, which is not opened here."""
    arrow()
    representation = get_representation(cfg.representation)
    layout, folder = Layout(cfg.representation, float(representation.fps), dtype), Path(out) / split
    raw = [
        RawJob(Job(split, number, 0, 0, folder / f"{number:05d}.arrow", layout, _key(cfg, layout, split, part, known)),
               part)  # fmt: skip
        for number, (part, known) in enumerate(RAW[cfg.source].pieces(cfg, split, TOGETHER))
    ]
    if not raw:
        raise DataError(f"{cfg.root}: no motion in its split '{split}'")

    def made(todo: Sequence[Job], failed: list[Failed]) -> Iterator[Done]:
        left = [raw[job.number] for job in todo]
        answers = run_jobs(
            Converting(cfg), left, engine=engine, workers=workers, title=f"{split} shards", unit="file", size=_size,
            name=lambda one: str(one.job.path), failed=failed,
        )  # fmt: skip
        yield from (one for _, one in answers)

    return write_split(split, folder, layout, [one.job for one in raw], finished, made)


def _size(raw: RawJob) -> int:
    return len(raw.part) if isinstance(raw.part, list) else len(raw.part.files)


def _key(cfg: DataConfig, layout: Layout, split: str, part: Any, known: str) -> str:
    settings = {name: value for name, value in asdict(cfg).items() if name in SETTINGS}
    names = part if isinstance(part, list) else list(part.files)
    told = repr((FORMAT, layout.described(), split, settings, names, known))
    return hashlib.sha256(told.encode("utf-8", "backslashreplace")).hexdigest()
