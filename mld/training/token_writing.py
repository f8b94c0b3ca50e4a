"""A token store in the making: a folder `.partial` with the array of all tokens and a log of the groups that are done.

A line of the log is written when the tokens of its group are: its number, their checksum, the names of its clips. After
a kill, groups are done that the log names and whose tokens have that checksum. Which groups there are, and so all bits,
follows from the clips alone.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from mld.errors import CheckpointError, DataError, one_line
from mld.files import file_hash, parse_json, write_array, write_json, write_text
from mld.jobs import Failed, Work, run_jobs
from mld.models.contracts.tokens import TokenLayout
from mld.reading import check_file
from mld.training.token_encoding import Group
from mld.training.token_plan import Plan

GROUP = 256  # clips held in memory at once
VALUES, OFFSETS, NAMES, ABOUT, SUMS, DONE = "values.npy", "offsets.npy", "names", "about.json", "sha256", "groups_done"
FILES = (VALUES, OFFSETS, NAMES, ABOUT)
# What NumPy says about a file that is not an array of its own.
DAMAGE = (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, SyntaxError, OverflowError,
          tokenize.TokenError)  # fmt: skip


@dataclass(frozen=True)
class Processes:
    """Where groups are encoded. work: none for the tokenizer and clips of this process."""

    work: Work | None = None
    engine: str = "processes"
    workers: int = 1
    one_thread: bool = False


def write_store(
    made: Path, plan: Plan, layout: TokenLayout, lengths: np.ndarray, about: dict[str, Any], work: Work,
    processes: Processes,
) -> None:  # fmt: skip
    """Encode all stretches, clips of similar length together, each read once; the store `made` when all is done.

    `DataError` where clips cannot be encoded, after all others are."""
    partial, offsets = made.with_name(f"{made.name}.partial"), plan.offsets(layout)
    order = np.argsort(lengths, kind="stable")
    groups = [order[start : start + GROUP] for start in range(0, len(order), GROUP)]
    store = _Partial(partial, plan, layout, offsets)
    store.resume(groups)
    left = [number for number in range(len(groups)) if number not in store.names]
    jobs = _Jobs(plan, [groups[number] for number in left])
    failed: list[Failed] = []
    for job, tokens in run_jobs(
        processes.work or work, jobs, engine=processes.engine, workers=processes.workers, title="motion to tokens",
        unit="clip", size=lambda group: len(group.numbers), name=_name, failed=failed, one_thread=processes.one_thread,
    ):  # fmt: skip
        store.put(left[job], jobs[job].numbers, tokens.rows, tokens.names)
    if failed:
        raise DataError(f"{len(failed):,} of {len(groups):,} groups of clips have no tokens: {failed[0].reason}; mend"
                        " this and give the same command again: what is done stays")  # fmt: skip
    store.finish(made, groups, about)


def is_whole(made: Path) -> bool:
    """Whether a store is as it was written. Reads all of it."""
    try:
        lines = (made / SUMS).read_text(encoding="utf-8").split("\n")
        for name in FILES:
            size = check_file(made / name)
            known = next((line.split() for line in lines if line.endswith(f" {size} {name}")), None)
            if known is None or file_hash(made / name) != known[0]:
                return False
    except (OSError, ValueError):
        return False
    return True


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


class _Jobs(Sequence[Group]):
    """Groups of clips with their stretches, which are told when they are asked for."""

    def __init__(self, plan: Plan, groups: list[np.ndarray]) -> None:
        self._plan, self._groups = plan, groups

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, number: int) -> Group:  # type: ignore[override]
        numbers = self._groups[number]
        return Group(numbers, [self._plan.stretches(index) for index in numbers.tolist()])


def _name(group: Group) -> str:
    return f"clips {group.numbers.min()} to {group.numbers.max()}"


class _Partial:
    """names: of the clips, by number of the groups that are done."""

    def __init__(self, folder: Path, plan: Plan, layout: TokenLayout, offsets: np.ndarray) -> None:
        self.folder, self.plan, self.layout, self.offsets = folder, plan, layout, offsets
        self.names: dict[int, list[str]] = {}
        self._values: np.ndarray | None = None

    def resume(self, groups: Sequence[np.ndarray]) -> None:
        """Take over what an earlier attempt has done, as far as it holds; else begin anew."""
        try:
            check_file(self.folder / VALUES)
            values = np.lib.format.open_memmap(self.folder / VALUES, "r+")
            if len(values) != self.offsets[-1]:
                raise ValueError("of another store")
            lines = []
            for number, total, names in _log(self.folder / DONE):
                if len(names) == len(groups[number]) and _sum(values[self._rows(groups[number])]) == total:
                    self.names[number] = names
                    lines.append(_line(number, total, names))
            if not lines:
                raise ValueError("nothing is done")
            write_text(self.folder / DONE, "".join(lines))
            self._values = values
        except DAMAGE:
            self.names = {}
            if self.folder.exists() or self.folder.is_symlink():
                remove(self.folder)

    def put(self, number: int, clips: np.ndarray, rows: np.ndarray, names: list[str]) -> None:
        """Keep the tokens of a group."""
        if self._values is None:
            self._values = self._allocate(rows)
        places = self._rows(clips)
        if len(places) != len(rows) or rows.shape[1:] != self._values.shape[1:]:
            raise CheckpointError(
                f"the tokenizer gives {rows.shape} for {len(places):,} tokens; its layout tells other lengths"
            )
        self._values[places] = rows
        self._values.flush()
        with open(self.folder / DONE, "ab") as log:
            log.write(_line(number, _sum(rows), names).encode())
        self.names[number] = names

    def finish(self, made: Path, groups: Sequence[np.ndarray], about: dict[str, Any]) -> None:
        values, self._values = self._values, None
        try:
            _check(values, self.layout, len(self.plan))
        except CheckpointError:
            del values
            shutil.rmtree(self.folder)
            raise
        del values
        names = [""] * len(self.plan)
        for number, clips in enumerate(groups):
            for index, name in zip(clips.tolist(), self.names[number], strict=True):
                names[index] = name
        write_array(self.folder / OFFSETS, self.offsets)
        write_text(self.folder / NAMES, "".join(f"{json.dumps(name)}\n" for name in names))
        write_json(self.folder / ABOUT, about)
        paths = [self.folder / name for name in FILES]
        write_text(self.folder / SUMS, "".join(f"{file_hash(path)} {check_file(path)} {path.name}\n" for path in paths))
        (self.folder / DONE).unlink()
        os.replace(self.folder, made)

    def _rows(self, clips: np.ndarray) -> np.ndarray:
        """The places of all tokens of some clips, clip after clip."""
        begins = self.offsets[self.plan.first[clips]]
        counts = self.offsets[self.plan.first[clips + 1]] - begins
        return np.repeat(begins - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts) + np.arange(counts.sum())

    def _allocate(self, rows: np.ndarray) -> np.ndarray:
        """The array of all tokens, on disk; the first ones say what shape one has."""
        shape, folder = (int(self.offsets[-1]), *rows.shape[1:]), self.folder
        size, free = rows.dtype.itemsize * int(np.prod(shape)), shutil.disk_usage(folder.parent).free
        if size > 0.95 * free:
            raise DataError(
                f"the tokens of {len(self.plan):,} clips take {size / 1e9:.1f} GB, {folder.parent} has"
                f" {free / 1e9:.1f} GB; make room, or, for latents, set training.cache_latents=false (slower)"
            )
        folder.mkdir(exist_ok=True)
        (folder / DONE).unlink(missing_ok=True)
        values = np.lib.format.open_memmap(folder / VALUES, "w+", rows.dtype, shape)
        if hasattr(os, "posix_fallocate"):  # a mapped file that finds no room when it is written ends the process
            with open(folder / VALUES, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
        return values


def _line(number: int, total: int, names: list[str]) -> str:
    return json.dumps([number, total, names]) + "\n"


def _log(path: Path) -> Iterator[tuple[int, int, list[str]]]:
    """Number, checksum and names of each group; a last line that was cut off is none."""
    check_file(path)
    for line in path.read_bytes().split(b"\n"):
        if line:
            try:
                number, total, names = parse_json(line)
            except (ValueError, TypeError):
                print(one_line(f"{path}: damaged; what it does not tell is made anew"), file=sys.stderr)
                return
            if not isinstance(number, int) or number < 0 or not all(isinstance(name, str) for name in names):
                raise ValueError("no line of a log")
            yield number, total, names


def _sum(rows: np.ndarray) -> int:
    return crc32(np.ascontiguousarray(rows)) if rows.size else 0


def _check(values: np.ndarray, layout: TokenLayout, clips: int) -> None:
    """`CheckpointError` when tokens are not finite or, over a sample of latents, all the same."""
    if layout.codebook_size:
        if clips > 1 and layout.codebook_size > 1 and values.min() == values.max():
            raise CheckpointError("the tokenizer gives the same token for every frame of every clip; train it first")
        return
    rows = np.asarray(values[:: max(1, len(values) // 1000)])
    means = rows[:, 0] if rows.ndim == 3 else rows
    if not np.isfinite(means).all():
        raise CheckpointError("the tokenizer gives latents that are not finite; its weights are damaged")
    if len(means) > 1 and means.std(axis=0).max() < 1e-4:
        raise CheckpointError("the tokenizer gives the same latent for every clip; train it first")
