"""A JSON list of clips and their feature files as a source (`mld/data/motion_list.py`); ViMoGen-228K is one.

Every file is read once when the source is opened, so that lengths are known and a bad file is known by name; features
are read again when a clip is used. A large set opens at once as shards (`python -m prepare.data shards`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from mld.data.clips import Problem, noted, refuse_empty, summary
from mld.data.config import DataConfig
from mld.data.motion_list import ListedClip, MotionList, Trust, list_file, place_of, read_list
from mld.errors import ConfigError, DataError
from mld.example import Caption, CaptionedClip
from mld.motion.formats.feature_rows import read_rows
from mld.motion.representations.registry import get_representation

READERS = 8
MANY = 500


@dataclass(frozen=True)
class _Read:
    """What opening a clip's file showed. reason: why it is left out by its length."""

    frames: int = 0
    note: str = ""
    reason: str = ""
    problem: Problem | None = None


class JsonListSource:
    """A split of a list. Clips outside `min_frames` and `max_frames` are left out, never cut, as published.

    A clip without text has the caption "", which is counted: text encoders take it for no condition. Raises `DataError`
    for a list that cannot be used."""

    encoded = False

    def __init__(self, cfg: DataConfig, split: str) -> None:
        self._features = get_representation(cfg.representation)
        if cfg.fps not in (None, self._features.fps):
            told = f"feature files are not resampled, '{cfg.representation}' is {self._features.fps:g} a second"
            raise ConfigError(f"data.fps: {told}; leave it out")
        listed = read_list(list_file(cfg.root), cfg.text_keys, cfg.subsets)
        self._cfg, self._folder = cfg, listed.folder
        self.name, self.representation = f"{listed.path.stem} {split}", cfg.representation
        self.fps = float(self._features.fps)
        self.problems: list[Problem] = list(listed.problems)
        self._skipped: Counter[str] = Counter()
        self._notes: Counter[str] = Counter()
        self._clips, frames = self._read_all(listed.clips[split])
        self.lengths = np.array(frames, dtype=np.int64)
        self._told = list(self._remarks(listed, split))
        splits = ", ".join(f"{name} {len(clips):,}" for name, clips in listed.clips.items())
        refuse_empty(self, frames, self._skipped, listed.path, f"The list has {splits} (data.subsets, data.min_frames)")

    @property
    def conditioned(self) -> bool:
        """Whether clips say more of conditions than their captions (`CaptionedClip.text_share` and below)."""
        cfg = self._cfg
        return bool(cfg.text_shares or cfg.supervised or cfg.path_rules) or any(clip.reference for clip in self._clips)

    def conditions(self, index: int) -> str:
        """All that a clip says of conditions, without its features."""
        clip = self._clips[index]
        trust = Trust.of(clip, self._cfg, self._features)
        return repr((trust.text_share, sorted(trust.supervised or ()), trust.supervised is None, clip.reference))

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> CaptionedClip:
        clip = self._clips[index]
        features = self._rows(clip.motion)
        if len(features) != self.lengths[index]:
            had = f"not the {self.lengths[index]} that it had when the data set was opened"
            raise DataError(f"{place_of(self._folder, clip.motion)}: {len(features)} frames, {had}; put the file back")
        reference = self._rows(clip.reference) if clip.reference else None
        trust = Trust.of(clip, self._cfg, self._features)
        return CaptionedClip(clip.name, features, clip.captions, self.fps, reference=reference,
                             text_share=trust.text_share, supervised=trust.supervised)  # fmt: skip

    def num_frames(self, index: int) -> int:
        return int(self.lengths[index])

    def captions(self, index: int) -> tuple[Caption, ...]:
        return tuple(map(Caption, self._clips[index].captions))

    def entry(self, index: int) -> ListedClip:
        """What the list says of clip `index`."""
        return self._clips[index]

    def recordings(self) -> Iterator[Tensor]:
        """Features (T, D) of every file that is used, once: several entries may tell of one motion."""
        for motion in dict.fromkeys(clip.motion for clip in self._clips):
            yield self._rows(motion)

    def report(self) -> str:
        text = summary(self, self.lengths.tolist(), self._skipped)
        return noted(text, "; ".join(self._told)) if self._told else text

    def _rows(self, motion: str) -> Tensor:
        return torch.from_numpy(read_rows(place_of(self._folder, motion), self._features)[0])

    def _read_all(self, clips: list[ListedClip]) -> tuple[list[ListedClip], list[int]]:
        kept, frames = [], []
        with ThreadPoolExecutor(READERS) as pool:
            found = tqdm(pool.map(self._look, clips), self.name, len(clips), disable=len(clips) < MANY, leave=False)
            for clip, seen in zip(clips, found):
                if seen.note:
                    self._notes[seen.note] += 1
                if seen.problem is not None:
                    self.problems.append(seen.problem)
                elif seen.reason:
                    self._skipped[seen.reason] += 1
                else:
                    kept.append(clip)
                    frames.append(seen.frames)
        return kept, frames

    def _look(self, clip: ListedClip) -> _Read:
        place = Path(clip.motion)
        try:
            place = place_of(self._folder, clip.motion)
            rows, note = read_rows(place, self._features)
            if clip.reference:
                place = place_of(self._folder, clip.reference)
                reference, _ = read_rows(place, self._features)
                if len(reference) != len(rows):
                    raise DataError(f"{place}: {len(reference)} frames, the motion it stands for has {len(rows)}")
        except DataError as error:
            file = place.relative_to(self._folder) if place.is_relative_to(self._folder) else place
            return _Read(problem=Problem(file.as_posix(), 0, str(error).removeprefix(f"{place}: ")))
        least, most = self._cfg.shortest(), self._cfg.max_frames
        if len(rows) < least:
            return _Read(reason=f"shorter than {least} frames")
        return _Read(len(rows), note, f"longer than {most} frames" if len(rows) > most else "")

    def _remarks(self, listed: MotionList, split: str) -> Iterator[str]:
        """What the report adds: clips without text, wider files, held out clips, subsets that are not there."""
        yield from (f"{count:,} files: {note}" for note, count in self._notes.items())
        if untold := sum(not clip.told for clip in self._clips):
            yield f"{untold:,} clips without text of {', '.join(self._cfg.text_keys)}, taken without words"
        if split in listed.held_out:
            yield f"no entry is of split '{split}', so {listed.held_out[split]:,} clips of train are"
        named = dict.fromkeys((*self._cfg.text_shares, *self._cfg.supervised))
        if absent := [subset for subset in named if subset not in listed.subsets]:
            named_by = "which data.text_shares or data.supervised name"
            yield f"no entry is of subset {', '.join(map(repr, absent))}, {named_by}"
