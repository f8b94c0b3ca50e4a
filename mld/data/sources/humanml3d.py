"""The HumanML3D and KIT layout: `<split>.txt`, `new_joint_vecs/<id>.npy`, `texts/<id>.txt` (spec motiongpt 1.1-1.3).

Of 272 columns the folder is `motion_data`; or, in sets of a million clips, `motion_data/vector_272` (spec motionmillion
4), whose split files name more than anybody may hand on: what is not there is counted and told, and is no problem.

Every file is read once when the source is opened, so that a bad one is known by name before training starts; features
are read again when a clip is used. Nothing is cached on disk.
"""

from __future__ import annotations

import itertools
import math
import os
import string
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from mld.data.clips import Problem, dataset_root, read_split, refuse_empty, summary
from mld.data.config import DataConfig
from mld.errors import DataError, shown
from mld.example import Caption, CaptionedClip
from mld.motion.formats.array_header import read_array
from mld.reading import check_file, gone_wrong, read_text

FEATURES_FOLDER, TEXTS_FOLDER = "new_joint_vecs", "texts"
MOTIONS_FOLDER = "motion_data"  # in its place, in folders of 272 columns
NOT_THERE, NO_TEXT, NO_CAPTION = "not in the folder", "without a text file", "without a caption"  # of a part of a set
HELD = "; it is "
LARGEST = 1e5  # of a column, be it in metres or millimetres
READERS = 8
MANY = 500
LONGEST_TIME = 1e6  # seconds


@dataclass(frozen=True)
class TimedCaption:
    """A line of a caption file. start, stop: seconds of the clip it describes, both 0 for the whole clip."""

    text: str
    tokens: tuple[str, ...]
    start: float
    stop: float

    @property
    def whole(self) -> bool:
        return self.start == 0 and self.stop == 0


@dataclass(frozen=True)
class Sample:
    """Frames [start, stop) of a file's features and the captions that describe them."""

    name: str
    file: str
    start: int
    stop: int
    captions: tuple[TimedCaption, ...]


class HumanML3DSource:
    """A split of a HumanML3D or KIT folder.

    A clip counts if it passes the length gate; then it is a sample if it has a caption for all of it, and each of its
    timed captions makes a sample of its own, gated again. Such a sample is named by the number of the timed caption in
    its file: `A_<id>`, `B_<id>`, ... Samples are sorted by length.
    """

    encoded = False

    def __init__(self, cfg: DataConfig, split: str) -> None:
        from mld.motion.representations.registry import get_representation

        self._root = dataset_root(cfg)
        representation = get_representation(cfg.representation)
        self._cfg, self._width = cfg, representation.width
        self.name = f"{self._root.resolve().name} {split}"
        self.representation = cfg.representation
        self.fps = float(cfg.fps or representation.fps)
        self.problems: list[Problem] = []
        self._skipped: Counter[str] = Counter()
        self._part_of_set = check_folders(self._root, self._width)
        names = read_split(self._root / cfg.splits, split)
        self._samples = sorted(self._read_all(names), key=lambda sample: (sample.stop - sample.start, sample.name))
        self.lengths = np.array([sample.stop - sample.start for sample in self._samples], dtype=np.int64)
        advice = f"A folder needs {FEATURES_FOLDER}/<id>.npy of width {self._width} and {TEXTS_FOLDER}/<id>.txt"
        if self.problems and HELD in self.problems[0].message:  # again at the end, as the middle of long lines is cut
            advice = f"It is {self.problems[0].message.partition(HELD)[2]}"
        refuse_empty(self, self.lengths, self._skipped, self._root, advice)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> CaptionedClip:
        sample = self._samples[index]
        place = features_folder(self._root, self._width) / f"{sample.file}.npy"
        try:
            features = read_features(self._root, sample.file, self._width)[sample.start : sample.stop]
        except DataError as error:
            raise DataError(f"{place}: {error}; it was whole when the data set was opened") from error
        if len(features) < sample.stop - sample.start:
            had = f"the {sample.stop} that it had when the data set was opened"
            raise DataError(f"{place}: {sample.start + len(features)} frames, less than {had}; put the file back")
        captions = tuple(caption.text for caption in sample.captions)
        tokens = tuple(caption.tokens for caption in sample.captions)
        return CaptionedClip(sample.name, torch.from_numpy(features), captions, self.fps, tokens)

    def num_frames(self, index: int) -> int:
        return int(self.lengths[index])

    def captions(self, index: int) -> tuple[Caption, ...]:
        return tuple(Caption(caption.text, caption.tokens) for caption in self._samples[index].captions)

    def sample(self, index: int) -> Sample:
        """From which file and which of its frames clip `index` comes."""
        return self._samples[index]

    def recordings(self) -> Iterator[torch.Tensor]:
        """Features (T, D) of every file that is used, once: timed captions are stretches of the same frames."""
        for file in dict.fromkeys(sample.file for sample in self._samples):
            yield torch.from_numpy(read_features(self._root, file, self._width))

    def report(self) -> str:
        return summary(self, self.lengths, self._skipped)

    def _read_all(self, names: list[str]) -> Iterator[Sample]:
        with ThreadPoolExecutor(READERS) as pool:
            found = tqdm(pool.map(self._read, names), self.name, len(names), disable=len(names) < MANY, leave=False)
            for samples, problems, skipped in found:
                self.problems += problems
                self._skipped += skipped
                yield from samples

    def _read(self, name: str) -> tuple[list[Sample], list[Problem], Counter[str]]:
        if self._part_of_set and (reason := self._lacks(name)):
            return [], [], Counter({reason: 1})
        try:
            frames = len(read_features(self._root, name, self._width))
            captions, problems = read_captions(self._root, name)
        except DataError as error:
            folder = features_folder(self._root, self._width).relative_to(self._root).as_posix()
            return [], [Problem(f"{folder}/{name}.npy", 0, str(error))], Counter()
        reason = self._gate(frames)
        if not reason and self._part_of_set and not captions and not problems:
            reason = NO_CAPTION
        if reason:
            return [], problems, Counter({reason: 1})
        if not captions:
            return [], problems or [Problem(f"{TEXTS_FOLDER}/{name}.txt", 0, "no caption")], Counter()
        samples, skipped = [], Counter()
        whole = tuple(caption for caption in captions if caption.whole)
        if whole:
            samples.append(Sample(name, name, 0, frames, whole))
        for letter, caption in zip(_letters(), (c for c in captions if not c.whole)):
            start, stop = int(caption.start * self.fps), min(int(caption.stop * self.fps), frames)
            reason = self._gate(stop - start, self._timed_least())
            if reason:
                skipped[f"timed captions {reason}"] += 1
            else:
                samples.append(Sample(f"{letter}_{name}", name, start, stop, (caption,)))
        return samples, problems, skipped

    def _lacks(self, name: str) -> str:
        """Why a name of a split file is none of the part of a set that lies here; "" where it is."""
        if leads_out(name):
            return ""  # told as what it is by `read_features`
        if not (features_folder(self._root, self._width) / f"{name}.npy").exists():
            return NOT_THERE
        return "" if (self._root / TEXTS_FOLDER / f"{name}.txt").exists() else NO_TEXT

    def _timed_least(self) -> int | None:
        """Fewest frames of a timed stretch, never less than a token."""
        least = self._cfg.timed_min_frames
        return None if least is None else max(least, self._cfg.unit_length)

    def _gate(self, frames: int, least: int | None = None) -> str:
        least = self._cfg.shortest() if least is None else least
        if frames < least:
            return f"shorter than {least} frames"
        return f"longer than {self._cfg.max_frames} frames" if frames > self._cfg.max_frames else ""


def check_folders(root: Path, width: int) -> bool:
    """Whether it may be a part of a set, of which not all that is named is there; `DataError` if the folders of the
    layout are missing."""
    features = features_folder(root, width)
    for folder in (features, root / TEXTS_FOLDER):
        if not folder.is_dir():
            found = ", ".join(sorted(p.name for p in root.iterdir())[:12]) or "nothing"
            raise DataError(f"no folder {folder.name} in {root} (it holds {found}); is this a HumanML3D or KIT folder?")
    return features.parent.name == MOTIONS_FOLDER


def features_folder(root: Path, width: int) -> Path:
    """Where the feature files of a folder lie, or would lie."""
    places = (root / FEATURES_FOLDER, root / MOTIONS_FOLDER / f"vector_{width}", root / MOTIONS_FOLDER)
    return next((place for place in places if place.is_dir()), places[0])


def leads_out(name: str) -> bool:
    """Whether a clip's name, which may have folders, is a path that leaves the data set."""
    return name.startswith("/") or ".." in name.split("/")


def read_features(root: Path, name: str, width: int) -> np.ndarray:
    """Features (T, width) float32 of a clip; `DataError` says what is wrong with the file."""
    if leads_out(name):
        raise DataError("a name that leads out of the folder")
    return read_array_file(features_folder(root, width) / f"{name}.npy", width)


def _other(features: np.ndarray, width: int) -> str:
    """Which representation the file holds, where it is a known one and not the one that is wanted."""
    from mld.motion.representations.registry import representation_of_width

    columns = features.shape[1] if features.ndim == 2 and features.dtype.kind == "f" else width
    held = representation_of_width(columns) if columns != width else None
    return f"{HELD}{held.name}: --representation {held.name}, or data.representation" if held else ""


def read_array_file(path: Path, width: int) -> np.ndarray:
    """Features (T, width) float32 of a file; `DataError` says what is wrong with it."""
    try:
        check_file(path)
        with open(path, "rb") as stream:
            features = read_array(stream, os.fstat(stream.fileno()).st_size)
    except FileNotFoundError as error:
        raise DataError("missing") from error
    except OSError as error:
        raise DataError(f"cannot be opened ({error.strerror})") from error
    except ValueError as error:
        raise DataError(f"not a readable npy file ({_why(path, error)})") from error
    if features.ndim != 2 or features.shape[1] != width or features.dtype.kind != "f":
        found = f"shape {features.shape} {features.dtype}"
        raise DataError(f"{found}, expected float (T, {width}){_other(features, width)}")
    if not np.isfinite(features).all():
        raise DataError(f"NaN or infinity in {int((~np.isfinite(features)).any(1).sum())} of {len(features)} frames")
    large = (np.abs(features) > LARGEST).any(1)
    if large.any():
        raise DataError(f"impossible numbers (above {LARGEST:g}) in {int(large.sum())} of {len(features)} frames, "
                        f"first at frame {int(large.argmax())}")
    return np.array(features, dtype=np.float32, order="C")


def _why(path: Path, error: ValueError) -> str:
    """Why a file is no array: what it is, if that is known."""
    try:
        with open(path, "rb") as stream:
            begin = stream.read(64)
    except (OSError, ValueError):  # a name with a zero byte
        return str(error)
    if told := gone_wrong(path):
        return told.format("an array")
    return "an npz file; save one array with numpy.save" if begin.startswith(b"PK") else str(error)


def read_captions(root: Path, name: str) -> tuple[list[TimedCaption], list[Problem]]:
    """The captions of a clip and the lines that are malformed. In a file without any `#`, as of MotionMillion, every
    line is a caption."""
    file = f"{TEXTS_FOLDER}/{name}.txt"
    try:
        text = read_text(root / file, errors="replace")
    except FileNotFoundError:
        return [], [Problem(file, 0, "missing")]
    except OSError as error:
        return [], [Problem(file, 0, f"cannot be opened ({error.strerror})")]
    captions, problems = [], []
    plain = "#" not in text
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        if plain:
            captions.append(TimedCaption(line.strip(), (), 0.0, 0.0))
            continue
        try:
            captions.append(parse_caption(line))
        except ValueError as error:
            problems.append(Problem(file, number, str(error)))
    return captions, problems


def parse_caption(line: str) -> TimedCaption:
    """`caption#tokens#from#to` with seconds; NaN counts as 0. `ValueError` says what is malformed."""
    parts = line.strip().split("#")
    if len(parts) != 4:
        raise ValueError(f"{len(parts)} fields instead of caption#tokens#from#to")
    text = parts[0].strip()
    if not text:
        raise ValueError("empty caption")
    start, stop = (_seconds(part) for part in parts[2:])
    if (start or stop) and not 0 <= start < stop:
        raise ValueError(f"the caption is for {start:g} to {stop:g} s")
    return TimedCaption(text, tuple(parts[1].split()), start, stop)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{shown(text.strip())} is no time in seconds") from None
    if math.isinf(value):
        raise ValueError("an infinite time")
    if abs(value) > LONGEST_TIME:
        raise ValueError(f"a time of {value:g} s")
    return 0.0 if math.isnan(value) else value


def _letters() -> Iterator[str]:
    """A, B, ..., Z, AA, AB, ..."""
    for size in itertools.count(1):
        yield from map("".join, itertools.product(string.ascii_uppercase, repeat=size))
