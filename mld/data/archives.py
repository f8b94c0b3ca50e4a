"""A set that is handed on as archives (MotionMillion spec 4.2), unpacked to the layout that `HumanML3DSource` reads.

Archives are files of strangers: only plain files are taken out of them, under names that the split files have, so that
no path in an archive says where something is written. What is there already is left, so a stopped run goes on.
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from mld.data.archive_names import AMBIGUOUS, ArchiveNames, safe_parts
from mld.data.clips import Problem
from mld.data.sources.humanml3d import MOTIONS_FOLDER, TEXTS_FOLDER
from mld.errors import DataError
from mld.files import atomically, write_array, write_json
from mld.reading import read_array, read_text

WIDTH = 272
MOTIONS, SPLIT = "motion_272rpr", "split"  # of a download
SUFFIXES = (".tar.gz", ".tgz", ".tar")
STATE = ".unpacked.json"
LARGEST = 50_000_000  # bytes of a file in an archive; ten hours of motion
SPLIT_LARGEST = 200_000_000  # of one of names, as `read_text` reads at most
NO_NAME, SEVERAL, LINKS, TOO_LARGE = (
    "files that no split file names", "files that fit several names", "links, devices and paths that lead elsewhere",
    "files that are too large",
)  # fmt: skip
Place = Callable[[tuple[str, ...]], "Path | None"]


@dataclass
class Unpacked:
    """written, there: files of this run, and of earlier ones. left_out: files by reason. splits: by split file, how
    many names it has, how many motions are there, how many of these with a text. missing: motions by their first
    folder."""

    written: int = 0
    there: int = 0
    earlier: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    splits: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    missing: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def lines(self) -> list[str]:
        lines = [f"{self.written:,} files written, {self.there:,} there already"
                 + (f"; {self.earlier} archives unpacked by an earlier run" if self.earlier else "")]  # fmt: skip
        if self.left_out:
            lines.append("left out: " + ", ".join(f"{count:,} {reason}" for reason, count in self.left_out.items()))
        for name, (named, motions, texts) in self.splits.items():
            lines.append(f"{name}: {named:,} names, {motions:,} motions are there, {texts:,} of them with texts")
        if self.missing:
            most = ", ".join(f"{folder} {count:,}" for folder, count in self.missing.most_common(8))
            lines.append(f"motions that are named and not there: {most}")
        return [*lines, *self.notes, *(f"problem: {problem}" for problem in self.problems)]


def unpack_release(source: Path, out: Path) -> Unpacked:
    """Unpack what is below `source` into the dataset folder `out`; `DataError` where there is no archive or no split
    file. An archive that is damaged is a problem that is told, the rest is done."""
    if not source.is_dir():
        raise DataError(f"no folder '{source}' (in {Path.cwd()}); name the one with split.tar.gz and {MOTIONS}/")
    outcome = Unpacked()

    def split(parts: tuple[str, ...]) -> Path:
        return Path(out, SPLIT, *_below(parts, SPLIT)[:-1], f"{parts[-1]}.txt")

    if (source / SPLIT).is_dir() and not (out / SPLIT).exists():
        shutil.copytree(source / SPLIT, out / SPLIT)
    _unpack_texts_of(source, out, SPLIT, outcome, split)
    names = ArchiveNames(_named(out, outcome))
    if not names:
        raise DataError(f"no names of clips: {source} has no split.tar.gz and {out / SPLIT} no .txt file")
    _statistics(source, out, outcome)
    alike = set(names.case_twins()) if _one_case(out) else set()
    for name in sorted(alike):
        outcome.problems.append(Problem(name, 0, "the disk takes it for a name with other capitals; left out"))

    def text(parts: tuple[str, ...]) -> Path | None:
        return _target(names.find(_below(parts, TEXTS_FOLDER)), out / TEXTS_FOLDER, ".txt", alike, outcome)

    _unpack_texts_of(source, out, TEXTS_FOLDER, outcome, text)
    _unpack_motions(source, out, names, alike, outcome)
    _count(out, outcome)
    for left in [*source.glob("all_data.pkl"), *source.glob("VQVAE_codebook_*")]:
        outcome.notes.append(f"{left.name} is left aside: pickles are not opened; python -m prepare.tokens makes codes")
    return outcome


def _unpack_motions(source: Path, out: Path, names: ArchiveNames, alike: set[str], outcome: Unpacked) -> None:
    top = source / MOTIONS if (source / MOTIONS).is_dir() else source
    beside = {f"{name}{suffix}" for name in (TEXTS_FOLDER, SPLIT) for suffix in SUFFIXES}
    found = sorted(p for p in top.rglob("*") if p.name.endswith(SUFFIXES) and p.is_file() and p.name not in beside)
    state, motions = _State(out, len(names)), out / MOTIONS_FOLDER / f"vector_{WIDTH}"
    for path in tqdm(found, "archives", disable=None):
        label = path.relative_to(source).as_posix()
        if state.has(label, path):
            outcome.earlier += 1
            continue
        outer = (*path.relative_to(top).parts[:-1], _stem(path))

        def motion(parts: tuple[str, ...], outer: tuple[str, ...] = outer) -> Path | None:
            return _target(names.find(parts, outer), motions, ".npy", alike, outcome)

        if _unpack(path, label, ".npy", motion, outcome):
            state.add(label, path)
    if not found and not motions.is_dir():
        outcome.notes.append(f"no archive of motions below {top}: put {MOTIONS}/<source>/<part>.tar.gz there")


def _unpack_texts_of(source: Path, out: Path, name: str, outcome: Unpacked, place: Place) -> None:
    """Unpack `<name>.tar.gz`, where it is there and not unpacked by an earlier run."""
    for path in [source / f"{name}{suffix}" for suffix in SUFFIXES]:
        if path.is_file():
            most = SPLIT_LARGEST if name == SPLIT else LARGEST
            _unpack(path, path.name, ".txt", place, outcome, most)


def _target(name: str | None, folder: Path, suffix: str, alike: set[str], outcome: Unpacked) -> Path | None:
    if name and name not in alike:
        return folder / f"{name}{suffix}"
    outcome.left_out[SEVERAL if name == AMBIGUOUS else NO_NAME] += name not in alike
    return None


def _unpack(
    path: Path, label: str, suffix: str, place: Place, outcome: Unpacked, most: int | None = None
) -> bool:
    """Write the files of an archive that have a place; whether it could be read to its end. most: bytes of a file."""
    try:
        for target, content in _contents(path, suffix, place, outcome, LARGEST if most is None else most):
            with atomically(target) as new:
                new.write_bytes(content)
            outcome.written += 1
    except _Damaged as error:
        outcome.problems.append(Problem(label, 0, f"the archive is damaged ({error}); download it again"))
        return False
    return True


class _Damaged(Exception):
    """An archive cannot be read on."""


def _contents(
    path: Path, suffix: str, place: Place, outcome: Unpacked, most: int
) -> Iterator[tuple[Path, bytes]]:
    """Where the files of an archive go that are not there yet, and what they hold."""
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                target = _wanted(member, suffix, place, outcome, most)
                stream = archive.extractfile(member) if target is not None else None
                if target is not None and stream is not None:
                    content = stream.read()
                    if len(content) < member.size:
                        raise _Damaged(f"{member.name[:60]} is cut off")
                    yield target, content
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        # Those of writing come from outside the generator and are not met here.
        raise _Damaged(" ".join(str(error).split())[:80] or type(error).__name__) from error


def _wanted(member: tarfile.TarInfo, suffix: str, place: Place, outcome: Unpacked, most: int) -> Path | None:
    if member.isdir():
        return None
    parts = safe_parts(member.name)
    if not member.isreg() or parts is None:
        outcome.left_out[LINKS] += 1
        return None
    if not parts[-1].endswith(suffix) or parts[-1].startswith("._"):  # notes that macOS puts beside files
        return None
    target = place((*parts[:-1], parts[-1].removesuffix(suffix)))
    if target is None:
        return None
    if member.size > most:
        outcome.left_out[TOO_LARGE] += 1
        return None
    if target.is_file() and target.stat().st_size == member.size:
        outcome.there += 1
        return None
    return target


def _below(parts: tuple[str, ...], folder: str) -> tuple[str, ...]:
    """What follows a folder in a path; the path where it is not in it."""
    return parts[parts.index(folder) + 1 :] if folder in parts[:-1] else parts


def _named(out: Path, outcome: Unpacked) -> set[str]:
    """The names of all split files. One that leads out of the folder is told once."""
    names: set[str] = set()
    for path in sorted((out / SPLIT).rglob("*.txt")):
        found = {line.strip() for line in read_text(path, errors="replace").split("\n")} - {""}
        bad = {name for name in found if safe_parts(name) != tuple(name.split("/"))}
        if bad:
            label = path.relative_to(out).as_posix()
            outcome.problems.append(Problem(label, 0, f"{len(bad):,} names that are no paths below it: {min(bad)}"))
        names |= found - bad
    return names


def _statistics(source: Path, out: Path, outcome: Unpacked) -> None:
    for name in ("mean", "std"):
        places = [source / "mean_std" / file for file in (f"{name.title()}.npy", f"{name}.npy")]
        found = next((path for path in places if path.is_file()), None)
        if found is None:
            continue
        try:
            values = read_array(found, LARGEST)
            if values.shape != (WIDTH,):
                raise ValueError(f"shape {values.shape}, expected ({WIDTH},)")
        except (OSError, ValueError) as error:
            outcome.problems.append(Problem(f"mean_std/{found.name}", 0, str(error)))
            continue
        with atomically(out / "mean_std" / f"vector_{WIDTH}" / f"{name}.npy") as new:
            write_array(new, values)


def _count(out: Path, outcome: Unpacked) -> None:
    """What the split files name and what of it is there."""
    motions, texts = _files(out / MOTIONS_FOLDER / f"vector_{WIDTH}", ".npy"), _files(out / TEXTS_FOLDER, ".txt")
    missing: set[str] = set()
    for path in sorted((out / SPLIT).rglob("*.txt")):
        names = {line.strip() for line in read_text(path, errors="replace").split("\n")} - {""}
        there = names & motions
        missing |= names - motions
        outcome.splits[path.relative_to(out).as_posix()] = (len(names), len(there), len(there & texts))
    outcome.missing = Counter(name.split("/", 1)[0] for name in missing)


def _files(folder: Path, suffix: str) -> set[str]:
    """Names of the files below a folder, without their suffix."""
    found: set[str] = set()
    for place, _, files in os.walk(folder):
        inside = Path(place).relative_to(folder).as_posix()
        head = "" if inside == "." else f"{inside}/"
        found |= {head + file.removesuffix(suffix) for file in files if file.endswith(suffix)}
    return found


def _one_case(out: Path) -> bool:
    """Whether the disk takes names that differ in capitals for one."""
    return (out / SPLIT).is_dir() and (out / SPLIT.upper()).is_dir()


def _stem(path: Path) -> str:
    suffix = next(suffix for suffix in SUFFIXES if path.name.endswith(suffix))
    return path.name.removesuffix(suffix)


class _State:
    """Which archives an earlier run has finished, with as many names as now."""

    def __init__(self, out: Path, names: int) -> None:
        self._file, self._names = out / STATE, names
        self._done: dict[str, list[int]] = {}
        try:
            known = json.loads(read_text(self._file))
            self._done = known["archives"] if known["names"] == names else {}
        except (OSError, ValueError, KeyError, TypeError):
            pass  # there is none; at worst archives are looked through again

    def has(self, label: str, path: Path) -> bool:
        return self._done.get(label) == _print(path)

    def add(self, label: str, path: Path) -> None:
        self._done[label] = _print(path)
        write_json(self._file, {"names": self._names, "archives": self._done})


def _print(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
