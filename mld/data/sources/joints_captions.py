"""The joints + captions layout: `clips.jsonl` (a clip per line), `trials.npz` (joints per trial), `splits/<split>.txt`.

Features are computed when the source is opened, all clips in batches (seconds for some hundred clips), so there is no
cache that could be stale. The extraction centres a clip, turns it to face +z and puts it on the floor.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from mld.data.clips import Problem, dataset_root, read_split, refuse_empty, sentences, summary
from mld.data.config import DataConfig
from mld.data.mirroring import MIRROR_PREFIX, mirror_caption
from mld.errors import DataError, shown
from mld.example import Caption, CaptionedClip
from mld.files import parse_json
from mld.motion.edit import mirror, resample
from mld.motion.formats.archives import DAMAGE, member
from mld.motion.motion import Motion
from mld.motion.plausibility import impossible
from mld.motion.representations.base import Representation
from mld.motion.representations.body import BodyRepresentation
from mld.motion.representations.registry import get_representation
from mld.motion.skeletons import Skeleton
from mld.reading import check_file, read_text

CLIPS_FILE, TRIALS_FILE, SPLITS_FOLDER = "clips.jsonl", "trials.npz", "splits"
BATCH = 64
SHOWN = 200  # clips whose encoding is shown on a bar
SMALLEST_BODY = 0.1  # metres
LARGEST_FRAME = 10**9


@dataclass(frozen=True)
class ClipRow:
    """A line of clips.jsonl: frames [start, end) of `trial` with their sentences."""

    id: str
    trial: str
    start: int
    end: int
    captions: tuple[str, ...]
    label: str = ""
    group: str = ""
    quality: str = "good"
    line: int = 0


class JointsCaptionsSource:
    """A split of the joints + captions layout, with mirrored twins in the train split if `cfg.mirror`. part: one of
    `parts`, of which it may have no clip at all."""

    ADVICE = "Check the split file, data.quality and data.min_frames, or run 'python -m prepare.data doctor'"

    def __init__(self, cfg: DataConfig, split: str, part: Any = None) -> None:
        representation = get_representation(cfg.representation)
        root = dataset_root(cfg)
        self.name = f"{root.resolve().name} {split}"
        self.representation = cfg.representation
        self.fps = float(representation.fps)
        self.problems: list[Problem] = []
        self._skipped: Counter[str] = Counter()
        self._part = part
        rows = self._select(cfg, root, split)
        twins = cfg.mirror and split == "train"
        self._groups: list[str] = []
        self._clips = list(self._encode(cfg, root, rows, representation, twins))
        self.lengths = np.array([clip.num_frames for clip in self._clips], dtype=np.int64)
        if part is None:
            refuse_empty(self, self.lengths, self._skipped, root, self.ADVICE)

    @classmethod
    def pieces(cls, cfg: DataConfig, split: str, size: int) -> list[tuple[Any, str]]:
        """A split in parts of `size` clips, in order, each with what tells whether its files have changed."""
        root = dataset_root(cfg)
        ids = read_split(root / (cfg.splits or SPLITS_FOLDER), split)
        known = repr([state(root / name) for name in (CLIPS_FILE, TRIALS_FILE)])
        return [(ids[start : start + size], known) for start in range(0, len(ids), size)]

    @property
    def skipped(self) -> Mapping[str, int]:
        """How many clips are left out by their length or quality, by reason."""
        return self._skipped

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> CaptionedClip:
        return self._clips[index]

    def num_frames(self, index: int) -> int:
        return int(self.lengths[index])

    def captions(self, index: int) -> tuple[Caption, ...]:
        return sentences(self._clips[index])

    def kinds(self, by: str) -> list[str]:
        """The "label" or "group" of every clip, for a balance of the two; sides make no two kinds."""
        if by == "group":
            return self._groups
        return [min(clip.label, mirror_caption(clip.label)) for clip in self._clips]

    def report(self) -> str:
        return summary(self, self.lengths, self._skipped)

    def _select(self, cfg: DataConfig, root: Path, split: str) -> list[ClipRow]:
        folder = root / (cfg.splits or SPLITS_FOLDER)
        ids = self._part or read_split(folder, split)
        rows, problems = read_clips(root)
        if problems and (self._part is None or ids[:1] == read_split(folder, split)[:1]):  # each is told by one part
            self.problems += problems
        chosen = []
        for name in ids:
            if name not in rows:
                self.problems.append(Problem(f"{split}.txt", 0, f"clip '{name}' is not in {CLIPS_FILE}"))
            elif rows[name].quality not in cfg.quality:
                self._skipped[f"of quality {rows[name].quality}"] += 1
            else:
                chosen.append(rows[name])
        return chosen

    def _encode(self, cfg, root: Path, rows: list[ClipRow], representation, twins: bool) -> Iterator[CaptionedClip]:
        kept, motions = [], []
        for row, motion in self._read(cfg, root, rows, representation.skeleton):
            kept.append(row)
            motions.append(motion)
        features = encode_motions(motions, representation)
        mirrored = _mirrored(motions, features, representation) if twins else []
        for i, row in enumerate(kept):
            clip = CaptionedClip(row.id, features[i][: cfg.max_frames], row.captions, self.fps, label=row.label)
            if clip.num_frames < cfg.shortest():
                self._skipped[f"shorter than {cfg.shortest()} frames"] += 1
                continue
            self._groups += [row.group] * (2 if twins else 1)
            yield clip
            if twins:
                yield replace(
                    clip,
                    name=MIRROR_PREFIX + row.id,
                    features=mirrored[i][: cfg.max_frames],
                    captions=tuple(mirror_caption(text) for text in row.captions),
                    label=mirror_caption(row.label),
                )

    def _read(self, cfg, root: Path, rows: list[ClipRow], skeleton: Skeleton) -> Iterator[tuple[ClipRow, Motion]]:
        trials: dict[str, np.ndarray | None] = {}
        with open_trials(root) as store:
            for row in rows:
                if row.trial not in trials:
                    trials[row.trial] = self._trial(store, row.trial, skeleton.num_joints)
                trial = trials[row.trial]
                if trial is None:
                    continue
                clip = trial[row.start : row.end]
                if len(clip) < row.end - row.start:
                    self._reject(row, f"clip '{row.id}' ends at frame {row.end}, its trial has {len(trial)}")
                elif not np.isfinite(clip).all():
                    self._reject(row, f"clip '{row.id}' has NaN or infinite joints")
                elif np.ptp(clip, axis=1).max(axis=1).min(initial=np.inf) < SMALLEST_BODY:
                    self._reject(row, f"clip '{row.id}' has frames in which all joints lie in one place")
                elif len(clip) and (reason := impossible(torch.from_numpy(clip))):
                    self._reject(row, f"clip '{row.id}': {reason}")
                elif len(clip) < 2:
                    self._skipped[f"shorter than {cfg.shortest()} frames"] += 1
                else:
                    yield row, Motion(torch.from_numpy(clip), cfg.fps or skeleton.fps, skeleton)

    def _reject(self, row: ClipRow, message: str) -> None:
        self.problems.append(Problem(CLIPS_FILE, row.line, message))

    def _trial(self, store, name: str, num_joints: int) -> np.ndarray | None:
        try:
            trial = np.array(member(store, f"{name}.npy"))
        except KeyError:
            message = f"no trial '{name}'; its clips are left out"
        except DAMAGE as error:
            message = f"trial '{name}' cannot be read ({error}); its clips are left out"
        else:
            if trial.ndim == 3 and trial.shape[1:] == (num_joints, 3) and trial.dtype.kind == "f":
                return trial.astype(np.float32, copy=False)
            message = f"trial '{name}' has shape {trial.shape} {trial.dtype}, expected float (T, {num_joints}, 3)"
        self.problems.append(Problem(TRIALS_FILE, 0, message))
        return None


def state(path: Path) -> tuple[int, int]:
    """Size and time of a file; others where it was written anew."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def read_clips(root: Path) -> tuple[dict[str, ClipRow], list[Problem]]:
    """The lines of clips.jsonl by id, and the lines that cannot be used."""
    path = root / CLIPS_FILE
    if not path.is_file():
        raise DataError(f"no {CLIPS_FILE} in {root}; this layout needs {CLIPS_FILE}, {TRIALS_FILE} and split files")
    rows: dict[str, ClipRow] = {}
    problems = []
    for number, line in enumerate(read_text(path, errors="replace").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = _parse(parse_json(line), number)
            if row.id in rows:
                raise ValueError(f"clip {shown(row.id)} was already given in line {rows[row.id].line}")
            rows[row.id] = row
        except (ValueError, KeyError) as error:
            message = f"no key {error}" if isinstance(error, KeyError) else str(error)
            problems.append(Problem(CLIPS_FILE, number, message))
    return rows, problems


def open_trials(root: Path) -> zipfile.ZipFile:
    """The npz file of trials, open for reading arrays by trial name."""
    path = root / TRIALS_FILE
    if not path.is_file():
        raise DataError(f"no {TRIALS_FILE} in {root}; this layout needs {CLIPS_FILE}, {TRIALS_FILE} and split files")
    try:
        check_file(path)
        return zipfile.ZipFile(path)
    except DAMAGE as error:
        with open(path, "rb") as stream:
            if stream.read(6) == b"\x93NUMPY":
                raise DataError(f"{path} holds one array, not named trials; save it with numpy.savez") from error
        raise DataError(f"{path} is not a readable npz file ({error}); copy it again") from error


def encode_motions(motions: Sequence[Motion], representation: Representation) -> list[Tensor]:
    """Features (`representation.rows(T)`, D) of every motion, those of one frame rate. Where columns hold rotations of
    a body, they are those of the motion; a motion without gets such that lead to its joints."""
    turned = [motion.rotations is not None and isinstance(representation, BodyRepresentation) for motion in motions]
    bare = [motion for motion, known in zip(motions, turned) if not known]
    rest = iter(encode_clips([each.joints.numpy() for each in bare], representation, bare[0].fps) if bare else ())
    return [representation.encode(motion) if known else next(rest) for motion, known in zip(motions, turned)]


def encode_clips(joints: list[np.ndarray], representation: Representation, fps: float) -> list[Tensor]:
    """Features (`representation.rows(T)`, D) of every clip (T, J, 3) in metres, extracted in padded batches of clips of
    similar length. fps: of the joints."""
    if fps != representation.fps:
        joints = [_resampled(clip, fps, representation) for clip in joints]
    order = sorted(range(len(joints)), key=lambda i: len(joints[i]))
    features: dict[int, Tensor] = {}
    few = len(joints) < SHOWN
    for first in tqdm(range(0, len(order), BATCH), "encoding clips", unit_scale=BATCH, unit=" clips", leave=False,
                      disable=few or None):  # fmt: skip
        part = order[first : first + BATCH]
        longest = len(joints[part[-1]])
        lengths = torch.tensor([len(joints[i]) for i in part])
        padded = np.stack([_pad(joints[i], longest) for i in part])
        mask = torch.arange(longest) < lengths[:, None]
        metres = torch.from_numpy(padded)
        encoded = representation.encode_joints(metres / representation.skeleton.metres_per_unit, mask)
        features.update({i: encoded[k, : representation.rows(len(joints[i]))].clone() for k, i in enumerate(part)})
    return [features[i] for i in range(len(joints))]


def _mirrored(motions: list[Motion], features: list[Tensor], representation: Representation) -> list[Tensor]:
    """Features of the mirrored motions, out of the features where that is the same."""
    if representation.mirrors_joints:
        return [representation.mirror(rows) for rows in features]
    return encode_motions([mirror(motion) for motion in motions], representation)


def _pad(clip: np.ndarray, length: int) -> np.ndarray:
    return np.concatenate([clip, np.repeat(clip[-1:], length - len(clip), axis=0)])


def _resampled(clip: np.ndarray, fps: float, representation: Representation) -> np.ndarray:
    motion = Motion(torch.from_numpy(clip), fps, representation.skeleton)
    return np.asarray(resample(motion, representation.fps).joints)


def _parse(data: dict, line: int) -> ClipRow:
    if not isinstance(data, dict):
        raise ValueError("not a JSON object")
    captions = data["captions"]
    if not isinstance(captions, list) or not all(isinstance(text, str) for text in captions):
        raise ValueError("'captions' is not a list of sentences")
    captions = tuple(text.strip() for text in captions if text.strip())
    texts = {key: data[key] for key in ("id", "trial", "label", "group", "quality") if key in ("id", "trial", *data)}
    for key, text in texts.items():
        if isinstance(text, (bool, float)) or not isinstance(text, (str, int)):
            raise ValueError(f"'{key}' is {shown(text)}, expected text")
        texts[key] = str(text)
    for text in (*captions, *texts.values()):
        if not text.isprintable() and any(0xD800 <= ord(letter) < 0xE000 for letter in text):
            raise ValueError(f"{shown(text)} holds half a character; write UTF-8")
    if not captions:
        raise ValueError(f"clip {shown(texts['id'])} has no caption")
    start, end = (_frame(data[key], key) for key in ("start", "end"))
    if not 0 <= start < end:
        raise ValueError(f"clip {shown(texts['id'])} has frames {start} to {end}")
    return ClipRow(start=start, end=end, captions=captions, line=line, **texts)


def _frame(value: object, key: str) -> int:
    """A number of a frame, which may be written as 3.0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) >= LARGEST_FRAME:
        raise ValueError(f"'{key}' is {shown(value)}, expected the number of a frame")
    return int(value)
