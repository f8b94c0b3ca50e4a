"""What a dataset folder holds, split by split: the members of its split files and measurements of its usable clips."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tqdm import tqdm

from mld.data.clips import SPLITS, ClipSource, Problem, dataset_root, read_split
from mld.data.config import DataConfig
from mld.data.mirroring import original_of
from mld.data.motion_list import list_file, read_list
from mld.data.sources.joints_captions import SPLITS_FOLDER, ClipRow, read_clips
from mld.data.sources.opening import build_source
from mld.errors import DataError
from mld.example import CaptionedClip
from mld.motion.motion import Motion
from mld.motion.plausibility import impossible, looks_normalised, remarks
from mld.motion.representations.base import Representation
from mld.motion.representations.registry import get_representation
from mld.reading import read_text

MANY = 2000


@dataclass
class SplitSurvey:
    """One split. members: recording (trial, or clip without mirroring) by clip id of the split file. Per usable clip:
    frames, captions, the highest joint speed (m/s, 95th percentile over frames) and the median root height (m).
    motions: clip name by fingerprint of its features; doubles: pairs of clips with the same features; odd: what is
    strange about a clip, by its name; normalised: clips whose features do not look raw."""

    source: ClipSource | None
    members: dict[str, str]
    repeated: list[str]
    error: str = ""
    frames: list[int] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    speeds: list[float] = field(default_factory=list)
    heights: list[float] = field(default_factory=list)
    motions: dict[bytes, str] = field(default_factory=dict)
    doubles: list[tuple[str, str]] = field(default_factory=list)
    groups: Counter[str] = field(default_factory=Counter)
    odd: dict[str, str] = field(default_factory=dict)
    normalised: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[Problem]:
        return self.source.problems if self.source else []


@dataclass
class Survey:
    """A dataset folder. missing: splits without a split file. unsplit: clips that are in no split file."""

    cfg: DataConfig
    root: Path
    representation: Representation
    splits: dict[str, SplitSurvey]
    missing: list[str]
    unsplit: int


def survey(cfg: DataConfig) -> Survey:
    """Look at every split of a folder; `DataError` if the folder or all of its split files are missing."""
    representation = get_representation(cfg.representation)
    if cfg.source == "json":
        return _survey_list(cfg, representation)
    root = dataset_root(cfg)
    folder = _splits_folder(cfg, root)
    present = [split for split in SPLITS if (folder / f"{split}.txt").is_file()]
    if not present:
        read_split(folder, SPLITS[0])
    rows = read_clips(root)[0] if cfg.source == "joints" else {}
    ids = {split: read_split(folder, split) for split in present}
    names = {name for members in ids.values() for name in members}
    splits = {}
    for split in present:
        members = {name: _recording(name, rows, names) for name in ids[split]}
        splits[split] = _look(cfg, split, members, _repeated(folder / f"{split}.txt"), rows, representation)
    missing = [split for split in SPLITS if split not in present]
    return Survey(cfg, root, representation, splits, missing, len(rows.keys() - names))


def _survey_list(cfg: DataConfig, representation: Representation) -> Survey:
    """Of a JSON list: recordings are its motion files, groups its subsets."""
    listed = read_list(list_file(cfg.root), cfg.text_keys, cfg.subsets)
    rows = {
        clip.name: ClipRow(clip.name, clip.motion, 0, 0, clip.captions, group=clip.subset)
        for clips in listed.clips.values()
        for clip in clips
    }
    splits = {}
    for split, clips in listed.clips.items():
        if clips:
            members = {clip.name: clip.motion for clip in clips}
            splits[split] = _look(cfg, split, members, [], rows, representation)
    return Survey(cfg, listed.folder, representation, splits, [], 0)


def _look(cfg, split: str, members, repeated, rows: dict[str, ClipRow], representation) -> SplitSurvey:
    try:
        source = build_source(cfg, split)
    except DataError as error:
        return SplitSurvey(None, members, repeated, error=str(error))
    found = SplitSurvey(source, members, repeated)
    for index in tqdm(range(len(source)), split, disable=len(source) < MANY, leave=False):
        clip = source[index]
        found.frames.append(clip.num_frames)
        found.captions += clip.captions
        if clip.name in rows and rows[clip.name].group:
            found.groups[rows[clip.name].group] += 1
        _measure(found, clip, representation)
        print_of = hashlib.sha1(clip.features.numpy().tobytes()).digest()
        if print_of in found.motions:
            found.doubles.append((found.motions[print_of], clip.name))
        found.motions.setdefault(print_of, clip.name)
    return found


def _measure(found: SplitSurvey, clip: CaptionedClip, representation: Representation) -> None:
    joints = representation.decode_joints(clip.features) * representation.skeleton.metres_per_unit
    if len(joints) > 1:
        fastest = (joints[1:] - joints[:-1]).norm(dim=-1).amax(dim=-1) * found.source.fps
        found.speeds.append(float(torch.quantile(fastest, 0.95)))
    found.heights.append(float(joints[:, 0, 1].median()))
    if looks_normalised(clip.features, representation):
        found.normalised.append(clip.name)
        return
    motion = Motion(joints, found.source.fps, representation.skeleton)
    strange = impossible(motion.joints) or "; ".join(remarks(motion))
    if strange:
        found.odd[clip.name] = strange


def _recording(name: str, rows: dict[str, ClipRow], names: set[str]) -> str:
    if name in rows:
        return rows[name].trial
    return original_of(name, names)


def _repeated(path: Path) -> list[str]:
    lines = [line.strip() for line in read_text(path, errors="replace").split("\n")]
    return [name for name, count in Counter(filter(None, lines)).items() if count > 1]


def _splits_folder(cfg: DataConfig, root: Path) -> Path:
    return root / (cfg.splits or (SPLITS_FOLDER if cfg.source == "joints" else ""))
