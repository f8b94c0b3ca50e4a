"""A folder of shards out of any clip source, by several processes, and again from where it was interrupted.

Which clips a shard holds follows from their lengths alone, and a shard from its clips: the files are the same whatever
the number of processes. Every shard appears whole or not at all; the index comes last, so a split without one is not
ready.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from tqdm import tqdm

from mld.data.clips import ClipSource, conditioned, is_encoded
from mld.data.shards.index import open_index, write_index
from mld.data.shards.layout import FORMAT, INDEX, Dtype, Layout, arrow
from mld.data.shards.making import SHOWN, Done, Job, finished, write_shard
from mld.data.shards.reading import Shard
from mld.errors import DataError
from mld.jobs import Failed, run_jobs

SHARD_BYTES = 128 * 2**20  # of features
TEXT_BYTES = 400  # of a clip, about
_FILE = re.compile(r"\d{5,}\.arrow")


@dataclass(frozen=True)
class Written:
    """One split. shards, kept: those of it, and how many of them were there. missing, left_out: problems, and some of
    them. skipped: what the gates of the source left out, by reason, where it does not report that itself."""

    folder: Path
    clips: int
    shards: int
    kept: int
    missing: int
    left_out: tuple[str, ...]
    skipped: Mapping[str, int] = field(default_factory=dict)

    def lines(self) -> list[str]:
        kept = f", {self.kept:,} of them from before" if self.kept else ""
        lines = [f"{self.folder}: {self.clips:,} clips in {self.shards:,} shard{'s' * (self.shards != 1)}{kept}"]
        if self.skipped:
            lines += [f"{self.folder}: left out: {_listed(self.skipped)}"]
        if self.missing:
            lines += [f"{self.folder}: {self.missing:,} problems, what has them could not be stored and is left out:"]
            lines += [f"  {line}" for line in self.left_out[:SHOWN]]
            lines += ["  ..."] if self.missing > SHOWN else []
        return lines


def write_shards(
    source: ClipSource, split: str, out: Path, dtype: Dtype = "float16", workers: int = 1, size: int = SHARD_BYTES,
    engine: str = "processes",
) -> Written:  # fmt: skip
    """Write a split into `out`/`split` and its index. workers, engine: as of `run_jobs`; each process opens the source
    for itself. size: bytes of features of a shard, about.

    Shards of the same clips that are there are kept. `DataError` where the folder holds another set, the disk is too
    small, or no clip can be stored."""
    arrow()
    layout, folder = Layout(source.representation, float(source.fps), dtype, conditioned(source)), Path(out) / split
    jobs = plan(source, split, folder, layout, size)

    def made(todo: Sequence[Job], failed: list[Failed]) -> Iterator[Done]:
        _check_room(source, todo, layout)
        answers = run_jobs(
            Storing(source), todo, engine=engine, workers=workers, title=f"{split} shards", unit="clip",
            size=lambda job: job.last - job.first, name=lambda job: str(job.path), failed=failed,
        )  # fmt: skip
        yield from (one for _, one in answers)

    kept, problems = (lambda job: _kept(source, job)), tuple(map(str, source.problems))
    return write_split(split, folder, layout, jobs, kept, made, problems, is_encoded(source))


def write_split(
    split: str, folder: Path, layout: Layout, jobs: Sequence[Job], kept: Callable[[Job], Done | None],
    made: Callable[[Sequence[Job], list[Failed]], Iterator[Done]], problems: tuple[str, ...] = (),
    encoded: bool = True,
) -> Written:  # fmt: skip
    """The shards of a split and their index. kept: what an earlier attempt has done of a job; made: does others.
    problems: of clips that the jobs do not have. encoded: whether features are made here.

    `DataError` where another process writes into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        return _write_split(split, folder, layout, jobs, kept, made, problems, encoded)


def _write_split(
    split: str, folder: Path, layout: Layout, jobs: Sequence[Job], kept: Callable[[Job], Done | None],
    made: Callable[[Sequence[Job], list[Failed]], Iterator[Done]], problems: tuple[str, ...], encoded: bool,
) -> Written:  # fmt: skip
    whole = hashlib.sha256("".join(job.key for job in jobs).encode()).hexdigest()
    _refuse_other(folder, whole)
    found = [kept(job) for job in tqdm(jobs, f"looking at {split} shards", leave=False, disable=None)]
    done = {one.path: one for one in found if one is not None}
    todo = [job for job, one in zip(jobs, found) if one is None]
    failed: list[Failed] = []
    if todo:
        (folder / INDEX).unlink(missing_ok=True)  # a split without index is not ready
        done |= {one.path: one for one in made(todo, failed)}
    if failed:
        raise DataError(f"{folder}: {len(failed):,} of {len(jobs):,} shards are missing: {failed[0].reason}; mend this"
                        " and give the same command again, which goes on from here")  # fmt: skip
    order = [done[job.path] for job in jobs]
    missing, clips = len(problems) + sum(one.missing for one in order), sum(one.clips for one in order)
    left_out = (*problems, *(line for one in order for line in one.left_out))
    skipped = sum((Counter(one.skipped) for one in order), Counter[str]())
    if not clips:
        gates = f"{sum(skipped.values()):,} are left out ({_listed(skipped)})" if skipped else ""
        first = f"none of {missing:,} clips could be stored; the first: {left_out[0]}" if left_out else ""
        raise DataError(f"{folder}: no clip can be stored: {'; '.join(filter(None, (first, gates)))}")
    if todo or not (folder / INDEX).is_file():
        write_index(folder, split, whole, layout, order, problems, encoded)
    for path in folder.glob("*.arrow"):  # of a set that was cut otherwise
        if _FILE.fullmatch(path.name) and path not in done:
            path.unlink()
    return Written(folder, clips, len(jobs), len(jobs) - len(todo), missing, left_out, skipped)


def _listed(skipped: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in sorted(skipped.items()))


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes from writing into a folder; the system lets go where a process is killed."""
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise DataError(f"{folder}: another process writes shards there; wait, or name another folder") from error
    try:
        yield
    finally:
        (folder / ".lock").unlink(missing_ok=True)
        lock.release()


def plan(source: ClipSource, split: str, folder: Path, layout: Layout, size: int = SHARD_BYTES) -> list[Job]:
    """The shards of a split: consecutive clips of the source, cut where `size` bytes are reached."""
    ends = np.cumsum(np.asarray(source.lengths, dtype=np.int64) * layout.bytes_per_frame)
    edges = [0]
    while edges[-1] < len(ends):
        before = ends[edges[-1] - 1] if edges[-1] else 0
        edges.append(max(edges[-1] + 1, int(np.searchsorted(ends, before + size, side="right"))))
    jobs = []
    for number, (first, last) in enumerate(zip(edges, edges[1:])):
        known = hashlib.sha256(json.dumps([FORMAT, layout.described(), split, number, first, last]).encode())
        known.update(np.ascontiguousarray(source.lengths[first:last], dtype="<i8"))
        for index in range(first, last):
            known.update(repr(source.captions(index)).encode("utf-8", "backslashreplace"))
            if layout.conditioned:
                known.update(source.conditions(index).encode("utf-8", "backslashreplace"))  # type: ignore[attr-defined]
        jobs.append(Job(split, number, first, last, folder / f"{number:05d}.arrow", layout, known.hexdigest()))
    return jobs


@dataclass(frozen=True, eq=False)
class Storing:
    """The work of a process: a shard of the clips of a source, which travels to it."""

    source: ClipSource

    def __call__(self, job: Job) -> Done:
        return write_shard(self.source, job)


def _kept(source: ClipSource, job: Job) -> Done | None:
    """The shard of an earlier attempt, where it is of these clips: lengths and captions of all are compared (in the
    key), names and features of two."""
    found = finished(job)
    if found is None or not found.clips:
        return None
    try:
        shard = Shard(found.path, job.layout, found.row)
        for index, row in ((job.first, 0), (job.last - 1, len(shard) - 1)) if not found.missing else ():
            clip, stored = source[index], shard.clip(row)
            numbers = job.layout.pack(job.layout.check(clip.features), shard.centre)
            again = job.layout.unpack(*numbers, clip.num_frames, torch.from_numpy(shard.centre))
            same = again.equal(stored.features)
            if not same or clip.name != stored.name:
                return None
    except DataError:
        return None
    return found


def _refuse_other(folder: Path, key: str) -> None:
    """`DataError` where the folder holds a whole set of other clips."""
    if (folder / INDEX).exists():
        try:
            known = open_index(folder).about["key"]
        except DataError:
            return  # damaged, or a shard is missing: made anew
        if known != key:
            raise DataError(f"{folder}: holds shards of other clips or with other settings; name a new folder, or "
                            "remove this one")


def _check_room(source: ClipSource, jobs: Sequence[Job], layout: Layout) -> None:
    clips = sum(job.last - job.first for job in jobs)
    frames = sum(int(source.lengths[job.first : job.last].sum()) for job in jobs)
    size, folder = frames * layout.bytes_per_frame + clips * TEXT_BYTES, jobs[0].path.parent
    free = shutil.disk_usage(folder).free
    if size > 0.95 * free:
        advice = "name another folder with --out" + (", or use --dtype float16" if layout.dtype == "float32" else "")
        raise DataError(f"the shards of {clips:,} clips take {size / 1e9:.1f} GB, {folder} has {free / 1e9:.1f} GB; "
                        f"make room, or {advice}")
