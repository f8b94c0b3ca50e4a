"""A folder of motion files as a source: BVH, ASF/AMC, SMPL npz, glTF, with captions in text files beside them.

Every start reads the files anew, a second or so each. `python -m prepare.data cmu` writes the same clips into a folder
of the joints + captions layout, which opens at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mld.data.clips import Problem, dataset_root, read_split
from mld.data.config import DataConfig
from mld.data.own_motions import (
    SHORTEST_TRIAL,
    SUFFIXES,
    Outcome,
    captions_of,
    find_motions,
    read_captions,
    split_trials,
    trial_motion,
    trial_rows,
)
from mld.data.sources.joints_captions import SPLITS_FOLDER, ClipRow, JointsCaptionsSource, state
from mld.errors import ConfigError, DataError, MotionFormatError
from mld.motion.motion import Motion
from mld.motion.representations.registry import get_representation
from mld.motion.skeletons import Skeleton

CAPTIONS_FILE = "captions.csv"


@dataclass(frozen=True)
class Part:
    """files: by motion name. sentences: of captions.csv. missing: names of the split that have no file."""

    files: Mapping[str, Path]
    sentences: Mapping[str, list[str]]
    missing: tuple[str, ...] = ()


class FilesSource(JointsCaptionsSource):
    """The motion files below a folder, cut into clips of at most 9.8 s.

    Captions of a motion: the lines 'name,sentence' of `captions.csv`, else those of the .txt file beside it, else its
    file name (quality fair). Splits: `splits/<split>.txt` with a motion name per line, else a tenth of the files,
    chosen by name, is for test and half as many for validation. Rotations of the files are kept where the
    representation has those of a body. Raises `ConfigError` for a representation of another
    skeleton than the 22 joints."""

    ADVICE = "Check data.quality and data.min_frames; a folder of less than three files has no val and test split"

    def __init__(self, cfg: DataConfig, split: str, part: Part | None = None) -> None:
        if get_representation(cfg.representation).skeleton.name != "smpl22":
            raise ConfigError(f"data.representation: motion files cannot be written as '{cfg.representation}'")
        self._file_fps = cfg.fps
        self._trials: dict[str, Motion] = {}
        super().__init__(replace(cfg, fps=None), split, part)
        self._trials.clear()  # they are features now

    def _select(self, cfg: DataConfig, root: Path, split: str) -> list[ClipRow]:
        part = self._part or self._whole(cfg, split)
        files, sentences = part.files, part.sentences
        self.problems += [Problem(f"{split}.txt", 0, f"there is no motion file '{name}'") for name in part.missing]
        chosen = []
        for name in tqdm(files, self.name, disable=None if self._part is None else True, leave=False):
            motion = self._import(files[name], root)
            if motion is None:
                continue
            texts, written = captions_of(name, files[name], sentences)
            self._trials[name] = motion
            for row in trial_rows(name, motion.joints.numpy(), self.fps, texts, written):
                if row["quality"] in cfg.quality:
                    chosen.append(ClipRow(**{**row, "captions": tuple(row["captions"])}))
                else:
                    self._skipped[f"of quality {row['quality']}"] += 1
        return chosen

    @staticmethod
    def _whole(cfg: DataConfig, split: str) -> Part:
        """All files of a split."""
        root = dataset_root(cfg)
        files = find_motions(root, Outcome())
        if not files:
            raise DataError(f"no motion file ({', '.join(SUFFIXES)}) in {root}")
        sentences = read_captions(root / CAPTIONS_FILE) if (root / CAPTIONS_FILE).is_file() else {}
        folder = root / (cfg.splits or SPLITS_FOLDER)
        own = bool(cfg.splits) or folder.is_dir()
        names = read_split(folder, split) if own else split_trials(list(files))[split]
        missing = tuple(name for name in names if name not in files)
        return Part({name: files[name] for name in names if name in files}, sentences, missing)

    @classmethod
    def pieces(cls, cfg: DataConfig, split: str, size: int) -> list[tuple[Any, str]]:
        whole, found = cls._whole(cfg, split), []
        names = list(whole.files)
        for start in range(0, len(names), size):
            files = {name: whole.files[name] for name in names[start : start + size]}
            keys = {key for name, path in files.items() for key in (name, path.stem)} & set(whole.sentences)
            sentences = {key: whole.sentences[key] for key in sorted(keys)}
            beside = [path.with_suffix(".txt") for path in files.values()]
            known = [state(path) for path in (*files.values(), *filter(Path.is_file, beside))]
            found.append((Part(files, sentences, whole.missing if not start else ()), repr((known, sentences))))
        return found

    def _import(self, path: Path, root: Path) -> Motion | None:
        try:
            motion = trial_motion(path, self.fps, self._file_fps)
        except MotionFormatError as error:
            self.problems.append(Problem(str(path.relative_to(root)), 0, str(error).removeprefix(f"{path}: ")))
            return None
        if motion.duration < SHORTEST_TRIAL:
            self._skipped[f"files shorter than {SHORTEST_TRIAL:g} s"] += 1
            return None
        return motion

    def _read(self, cfg, root: Path, rows: list[ClipRow], skeleton: Skeleton) -> Iterator[tuple[ClipRow, Motion]]:
        for row in rows:
            yield row, self._trials[row.trial].crop(row.start, row.end)
