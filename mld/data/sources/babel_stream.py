"""The BABEL stream layout: `<split>_stream/seq_<n>.npy` and `<split>_stream_text/seq_<n>.txt`, pairs of one motion and
the next (MotionStreamer spec 6.4, supplement 3).

A line of a text file tells the parts of a sequence, `A...*B...#boundary`: before the first `#` of a part is its
caption, after the last one of a later part the frame at which it begins. What is between them is not read, so
`A*B#len` will do. Of more than two parts each one after the first is a clip, with all before it given. Where several
lines tell of a part, the last one says where it begins. There is no test split: it is that of val.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from mld.data.clips import Problem, dataset_root, refuse_empty, summary
from mld.data.config import DataConfig
from mld.data.sources.humanml3d import read_array_file
from mld.errors import DataError, shown
from mld.example import Caption, CaptionedClip
from mld.reading import read_text

TRANSITION = "transition"
_NAME = re.compile(r"seq_?(\d+)")
_MANY = 500


@dataclass(frozen=True)
class Part:
    """A later part of a sequence: what is told of it, where it begins and where the next one does (-1: the end)."""

    captions: tuple[str, ...]
    start: int
    stop: int = -1


@dataclass(frozen=True)
class Sequel:
    """Frames [0, stop) of a file; those before `history` are given."""

    name: str
    path: Path
    history: int
    stop: int
    captions: tuple[str, ...]


class BabelStreamSource:
    """A split of the layout; sequences by number, `seq1` and `seq_1` alike. What misses its other file is a problem."""

    encoded = False

    def __init__(self, cfg: DataConfig, split: str) -> None:
        from mld.motion.representations.registry import get_representation

        representation = get_representation(cfg.representation)
        self._root, self._cfg, self._split, self._width = dataset_root(cfg), cfg, split, representation.width
        self.name = f"{self._root.resolve().name} {split}"
        self.representation, self.fps = cfg.representation, float(cfg.fps or representation.fps)
        self.problems: list[Problem] = []
        self._skipped: Counter[str] = Counter()
        folders = stream_folders(self._root, split)
        motions, texts = (numbered(folder, end) for folder, end in zip(folders, (".npy", ".txt")))
        self._sequels = list(self._read_all(folders, motions, texts))
        self.lengths = np.array([sequel.stop for sequel in self._sequels], dtype=np.int64)
        advice = "It needs <split>_stream/seq_<n>.npy and <split>_stream_text/seq_<n>.txt"
        refuse_empty(self, self.lengths, self._skipped, self._root, advice)

    def __len__(self) -> int:
        return len(self._sequels)

    def __getitem__(self, index: int) -> CaptionedClip:
        sequel = self._sequels[index]
        try:
            features = read_array_file(sequel.path, self._width)
        except DataError as error:
            raise DataError(f"{sequel.path}: {error}; it was whole when the data set was opened") from error
        if len(features) < sequel.stop:
            had = f"the {sequel.stop} that it had when the data set was opened"
            raise DataError(f"{sequel.path}: {len(features)} frames, less than {had}; put the file back")
        rows = torch.from_numpy(features[: sequel.stop])
        return CaptionedClip(sequel.name, rows, sequel.captions, self.fps, history=sequel.history)

    def num_frames(self, index: int) -> int:
        return int(self.lengths[index])

    def captions(self, index: int) -> tuple[Caption, ...]:
        return tuple(map(Caption, self._sequels[index].captions))

    def recordings(self) -> Iterator[torch.Tensor]:
        """Features (T, D) of every file that is used, once."""
        for path in dict.fromkeys(sequel.path for sequel in self._sequels):
            yield torch.from_numpy(read_array_file(path, self._width))

    def report(self) -> str:
        return summary(self, self.lengths, self._skipped)

    def _read_all(self, folders: tuple[Path, Path], motions: dict[int, Path], texts: dict[int, Path]):
        numbers = sorted(motions.keys() | texts.keys())
        for number in tqdm(numbers, self.name, disable=len(numbers) < _MANY, leave=False):
            if number not in motions or number not in texts:
                folder, end = (folders[0], ".npy") if number not in motions else (folders[1], ".txt")
                self.problems.append(Problem(f"{folder.name}/seq_{number}{end}", 0, "missing"))
                continue
            try:
                frames = len(read_array_file(motions[number], self._width))
                parts, problems = read_parts(texts[number])
            except DataError as error:
                self.problems.append(Problem(f"{folders[0].name}/{motions[number].name}", 0, str(error)))
                continue
            self.problems += problems
            for place, part in sorted(parts.items()):
                name = f"seq_{number}" if place == 1 else f"seq_{number}_{place}"
                stop = frames if part.stop < 0 else min(part.stop, frames)
                captions = self._told(part.captions)
                if reason := self._gate(captions, part.start, stop):
                    self._skipped[reason] += 1
                else:
                    yield Sequel(name, motions[number], part.start, stop, captions)

    def _told(self, captions: tuple[str, ...]) -> tuple[str, ...]:
        """The captions; where matches of motion and text are scored, "transition" is none."""
        return captions if self._split == "train" else tuple(one for one in captions if one.lower() != TRANSITION)

    def _gate(self, captions: tuple[str, ...], start: int, stop: int) -> str:
        unit = self._cfg.unit_length
        if not captions:
            return f'only called "{TRANSITION}"'
        if stop // unit <= start // unit or stop < self._cfg.shortest():
            return "with nothing behind what is given" if stop // unit <= start // unit else "too short"
        return f"longer than {self._cfg.max_frames} frames" if stop > self._cfg.max_frames else ""


def stream_folders(root: Path, split: str) -> tuple[Path, Path]:
    """The folders of motions and of texts of a split; `DataError` if one is not there."""
    stem = "val" if split == "test" else split
    folders = root / f"{stem}_stream", root / f"{stem}_stream_text"
    for folder in folders:
        if not folder.is_dir():
            found = ", ".join(sorted(p.name for p in root.iterdir())[:12]) or "nothing"
            raise DataError(f"no folder {folder.name} in {root} (it holds {found}); is this a babel_272_stream folder?")
    return folders


def numbered(folder: Path, end: str) -> dict[int, Path]:
    """Files `seq_<n>` or `seq<n>` of a folder by number."""
    found = ((_NAME.fullmatch(path.stem), path) for path in sorted(folder.iterdir()) if path.suffix == end)
    return {int(match.group(1)): path for match, path in found if match}


def read_parts(path: Path) -> tuple[dict[int, Part], list[Problem]]:
    """The later parts of a sequence by place (1: the second), and the lines that cannot be used."""
    file = f"{path.parent.name}/{path.name}"
    try:
        text = read_text(path, errors="replace")
    except OSError as error:
        return {}, [Problem(file, 0, f"cannot be opened ({error.strerror})")]
    parts: dict[int, Part] = {}
    problems = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            found = parse_parts(line)
        except ValueError as error:
            problems.append(Problem(file, number, str(error)))
            continue
        for place, part in found.items():
            before = parts[place].captions if place in parts else ()
            parts[place] = Part(tuple(dict.fromkeys((*before, *part.captions))), part.start, part.stop)
    return parts, problems


def parse_parts(line: str) -> dict[int, Part]:
    """The later parts of one line that have a caption, by place. `ValueError` says what is malformed."""
    pieces = line.strip().split("*")
    if len(pieces) < 2:
        raise ValueError("no second part; a line is 'A*B#frame at which B begins'")
    fields = [piece.split("#") for piece in pieces[1:]]
    starts = [_frame(one[-1] if len(one) > 1 else "") for one in fields]
    if sorted(set(starts)) != starts:
        raise ValueError(f"parts begin at frames {starts}, which do not rise")
    stops = [*starts[1:], -1]
    told = [one[0].strip() for one in fields]
    if not any(told):
        raise ValueError("no caption of the second part")
    return {place: Part((told[place - 1],), starts[place - 1], stops[place - 1])
            for place in range(1, len(pieces)) if told[place - 1]}  # fmt: skip


def _frame(text: str) -> int:
    try:
        value = float(text)
        if not 0 <= value < 1e9 or value != int(value):
            raise ValueError
    except ValueError:
        raise ValueError(f"{shown(text.strip())} is no frame at which a part begins") from None
    return int(value)
