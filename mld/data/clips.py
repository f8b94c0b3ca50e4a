"""The clip interface in which every data source ends, and the problems a source met.

A source holds the usable clips of one split, whole and uncropped. What it could not use it keeps in `problems`, and
`report()` says in one line what it holds and what it left out: nothing is dropped silently.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from mld.data.config import DataConfig
from mld.errors import DataError, one_line
from mld.example import Caption, CaptionedClip
from mld.motion.normalizer import Moments, Rows
from mld.reading import read_text

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Problem:
    """Something unusable in a dataset: the file, the line (0: the whole file) and what is wrong with it."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return one_line(f"{self.file}:{self.line}: {self.message}" if self.line else f"{self.file}: {self.message}")


@runtime_checkable
class ClipSource(Protocol):
    """Captioned clips of one split. `representation` is the name of a registered representation. `lengths`: T of every
    clip, (N,) whole numbers, known without loading one. One that knows a hash of its clips without reading them has it
    as `fingerprint`, and of how many frames of each are given as `histories` (N,). One that hands on the features of
    files as they are has False as `encoded`."""

    name: str
    representation: str
    fps: float
    problems: list[Problem]
    lengths: np.ndarray

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> CaptionedClip:
        """The whole clip `index` with its raw features (T, D)."""
        ...

    def num_frames(self, index: int) -> int:
        """T of clip `index`: `lengths[index]`."""
        ...

    def captions(self, index: int) -> tuple[Caption, ...]:
        """The sentences of clip `index`, at least one, without loading its features."""
        ...

    def report(self) -> str:
        """One line: clips, hours, what was left out and why. A source of several adds a line for each."""
        ...


def recordings(source: ClipSource) -> Iterator[Tensor]:
    """The frames of a source (T, D), each once, for statistics: its clips, or its files where clips may overlap.

    Of a mixture those of its parts."""
    parts = getattr(source, "parts", None)
    if parts is not None:
        yield from (features for part in parts for features in recordings(part.source))
    elif (whole := getattr(source, "recordings", None)) is not None:
        yield from whole()
    else:
        yield from (source[index].features for index in range(len(source)))


def fingerprint(source: ClipSource) -> str | None:
    """A hash of all that clips hold, where a source knows it without reading them."""
    return getattr(source, "fingerprint", None)


def is_encoded(source: ClipSource) -> bool:
    """Whether features are made from motion; of others they are those of files."""
    return getattr(source, "encoded", True)


def conditioned(source: ClipSource) -> bool:
    """Whether clips say more of how they condition an answer than their captions. Such a source tells it of each clip
    without reading it, as text (`conditions`)."""
    return getattr(source, "conditioned", False)


def histories(source: ClipSource) -> np.ndarray:
    """How many leading frames of each clip are given (N,); clips are read where their source does not know it."""
    known = getattr(source, "histories", None)
    found = (source[index].history for index in range(len(source))) if known is None else known
    return np.fromiter(found, dtype=np.int64, count=len(source))


def rows_of(source: ClipSource) -> Rows:
    """For statistics: what a source knows of all its frames, or its recordings to be read."""
    known: Moments | None = getattr(source, "moments", None)
    return known or recordings(source)


def dataset_root(cfg: DataConfig) -> Path:
    """`cfg.root` as a folder that exists."""
    root = Path(cfg.root).expanduser()
    if not root.is_dir():
        raise DataError(f"no dataset folder '{cfg.root}' (in {Path.cwd()}); set data.root to where the data lies")
    return root


def read_split(folder: Path, split: str) -> list[str]:
    """The ids of `<folder>/<split>.txt`, in order, without repeats and blank lines."""
    path = folder / f"{split}.txt"
    if not path.is_file():
        found = ", ".join(sorted(p.name for p in folder.glob("*.txt"))) or "no .txt file"
        below = [each.parent.name for each in sorted(folder.glob(f"*/{split}.txt"))]
        advice = f"Set data.splits={below[0]} (--splits of prepare.data)" if below else "Write one clip id per line"
        raise DataError(f"no split file {path}; the folder holds {found}. {advice}")
    lines = read_text(path, errors="replace").split("\n")
    return list(dict.fromkeys(line.strip() for line in lines if line.strip()))


def sentences(clip: CaptionedClip) -> tuple[Caption, ...]:
    """The captions of a clip with their tokens, where the data set has them."""
    tokens = clip.caption_tokens or ((),) * len(clip.captions)
    return tuple(Caption(text, words) for text, words in zip(clip.captions, tokens, strict=True))


def noted(report: str, note: str) -> str:
    """A report with a note at the end of its first line."""
    first, *rest = report.split("\n")
    return "\n".join([f"{first}; {note}", *rest])


def summary(source: ClipSource, frames: Sequence[int], skipped: Counter[str]) -> str:
    """The line of `ClipSource.report`. frames: length of every clip; skipped: count by reason."""
    text = f"{source.name}: {len(frames):,} clips, {duration(frames, source.fps)}"
    if skipped:
        text += "; left out: " + ", ".join(f"{count:,} {reason}" for reason, count in sorted(skipped.items()))
    if source.problems:
        text += f"; {len(source.problems):,} problems, the first: {source.problems[0]}"
    return text


def duration(frames: Sequence[int], fps: float) -> str:
    """How long clips are in all, in minutes or hours."""
    minutes = float(np.sum(frames)) / fps / 60
    return f"{minutes / 60:.2f} h" if minutes > 6 else f"{minutes:.1f} min"


def refuse_empty(source: ClipSource, frames: Sequence[int], skipped: Counter[str], root: Path, advice: str) -> None:
    """`DataError` that says what was found when a source has no usable clip."""
    if not len(frames):
        raise DataError(f"no usable clip in {root}: {summary(source, frames, skipped)}. {advice}")
