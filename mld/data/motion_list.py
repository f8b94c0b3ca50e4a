"""The layout of one JSON list and a folder of feature files, as ViMoGen-228K has it (spec vimogen 5.1-5.3).

An entry is `{"id", "subset", "split", "motion_path", texts ...}`; texts may be absent or null, ids numbers or words. A
list is read once; of the files it names none is opened here.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from mld.data.clips import SPLITS, Problem
from mld.data.config import DataConfig
from mld.errors import DataError, nearest, shown
from mld.files import parse_json
from mld.motion.representations.base import Representation
from mld.reading import read_text

NAMES = ("sample_id", "test_sample_id", "id", "global_id")  # where an entry says what it is called, in this order
MOTION, REFERENCE, SUBSET, SPLIT = "motion_path", "ref_motion_path", "subset", "split"
SPELLED = {"validation": "val", "valid": "val", "dev": "val", "training": "train", "testing": "test"}
HELD_OUT = 0.01  # of the motions, for a split that no entry is in
LARGEST_LIST = 1 << 32  # bytes
# compat: which captions and which columns the published training trusts less, by words in the path of a motion
NOISY_PATHS, NOISY_SHARE, LOCAL_PATHS = ("motion31", "mogen_db"), 0.4, ("mogen_db", "vigen")


@dataclass(frozen=True)
class ListedClip:
    """An entry, or one of several motions of it. motion, reference: paths as the list has them. captions: at least one,
    "" where the entry has no text."""

    name: str
    motion: str
    captions: tuple[str, ...]
    subset: str = ""
    split: str = ""
    reference: str = ""
    number: int = 0

    @property
    def told(self) -> bool:
        return any(self.captions)


@dataclass
class MotionList:
    """The clips of a list by split, and what was wrong with it. held_out: splits that no entry names, and how many
    clips of train they were given."""

    path: Path
    clips: dict[str, list[ListedClip]]
    problems: list[Problem]
    subsets: Counter[str]
    held_out: dict[str, int] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.path.parent


def list_file(root: str) -> Path:
    """The list of a data set: `root` itself, or the one JSON file in it; `DataError` where there is none or several."""
    path = Path(root).expanduser()
    if path.is_file():
        return path
    if not path.is_dir():
        raise DataError(f"no dataset folder or list '{root}' (in {Path.cwd()}); set data.root to a JSON list of clips")
    found = sorted(path.glob("*.json"))
    if len(found) != 1:
        names = ", ".join(each.name for each in found[:6]) or "no JSON file"
        example = found[0].name if found else "LIST.json"
        raise DataError(f"{path}: holds {names}; say which list: data.root={path / example}")
    return found[0]


def read_list(path: Path, text_keys: Sequence[str], subsets: Sequence[str] = ()) -> MotionList:
    """A list, of it the entries of `subsets` if there are any. text_keys: whose texts are captions; `a|b` is b where an
    entry has no a. `DataError` for a file that is no list, and for subsets that are not in it."""
    problems: list[Problem] = []
    entries = read_entries(path)
    counts = Counter(str(entry.get(SUBSET) or "") for _, entry in _objects(path, entries, problems))
    for subset in subsets:
        if subset not in counts:
            raise DataError(f"{path}: no entry is of the subset '{subset}'; {nearest(subset, counts)} (data.subsets)")
    _refuse_keys(path, text_keys, entries)
    clips: dict[str, ListedClip] = {}
    for number, entry in _objects(path, entries, []):
        if subsets and str(entry.get(SUBSET) or "") not in subsets:
            continue
        try:
            found = list(_clips_of(number, entry, text_keys))
        except ValueError as error:
            problems.append(Problem(path.name, 0, f"entry {number}: {error}"))
            continue
        for clip in found:
            if clip.name in clips:
                first = clips[clip.name].number
                problems.append(Problem(path.name, 0, f"entry {number}: the id '{clip.name}' is that of entry {first}"))
            clips.setdefault(clip.name, clip)
    return _by_split(path, list(clips.values()), problems, counts)


def read_entries(path: Path) -> list[Any]:
    """The entries of a JSON list; `DataError` where the file is none."""
    try:
        entries = parse_json(read_text(path, LARGEST_LIST))
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: not a readable JSON list ({error})") from error
    if not isinstance(entries, list) or not any(isinstance(entry, dict) for entry in entries):
        raise DataError(f"{path}: not a list of clips, which begins '[{{\"{MOTION}\": ...'; set data.root to the list")
    return entries


def name_of(entry: Mapping[str, Any], number: int) -> str:
    """What an entry is called; its number in the list where it says nothing. `ValueError` for what is no name."""
    for key in NAMES:
        value = entry.get(key)
        if value is None or value == "":
            continue
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise ValueError(f"'{key}' is {shown(value)}, neither a number nor a word")
        return str(value).strip()
    return str(number)


def texts_of(entry: Mapping[str, Any], keys: Iterable[str]) -> tuple[str, ...]:
    """The texts of an entry that `keys` ask for, each once."""
    found: dict[str, None] = {}
    for key in keys:
        for either in key.split("|"):
            value = entry.get(either.strip())
            texts = [text.strip() for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]
            if any(texts):
                found |= dict.fromkeys(filter(None, texts))
                break
    return tuple(found)


def place_of(folder: Path, text: str) -> Path:
    """The file that a list in `folder` names. A list that was prepared elsewhere has other folders in front; as much of
    the end of its path is taken as leads to a file. Nothing outside the folder is looked at."""
    parts = [part for part in PurePosixPath(text.replace("\\", "/")).parts if part not in ("/", ".")]
    if ".." in parts or not parts:
        raise DataError(f"{shown(text)}: a path that leads out of the folder")
    tails = [folder.joinpath(*parts[first:]) for first in range(len(parts))]
    return next((tail for tail in tails if os.path.isfile(tail)), tails[0])  # of a path too long `Path.is_file` raises


@dataclass(frozen=True)
class Trust:
    """How far the captions and columns of a clip are trusted, as `CaptionedClip` has it."""

    text_share: float | None = None
    supervised: frozenset[str] | None = None

    @classmethod
    def of(cls, clip: ListedClip, cfg: DataConfig, representation: Representation) -> Trust:
        """By the clip's subset; with `cfg.path_rules` by its path, as published."""
        if cfg.path_rules:
            share = NOISY_SHARE if any(word in clip.motion for word in NOISY_PATHS) else None
            roles = ["rotations"] if any(word in clip.motion for word in LOCAL_PATHS) else None
        else:
            share, roles = cfg.text_shares.get(clip.subset), cfg.supervised.get(clip.subset)
        if roles is None:
            return cls(share)
        return cls(share, frozenset(name for role in roles for name in representation.roles.get(role, ())))


def _objects(path: Path, entries: list[Any], problems: list[Problem]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, entry in enumerate(entries):
        if isinstance(entry, dict):
            yield number, entry
        else:
            problems.append(Problem(path.name, 0, f"entry {number}: {shown(entry)} is no object"))


def _refuse_keys(path: Path, keys: Sequence[str], entries: list[Any]) -> None:
    """`DataError` for a text that no entry has."""
    known = {name for entry in entries if isinstance(entry, dict) for name in entry}
    for key in keys:
        if not known & {either.strip() for either in key.split("|")}:
            usual = sorted(name for name in known if "text" in name or "prompt" in name or "caption" in name)
            raise DataError(f"{path}: no entry has the text '{key}'; {nearest(key, usual or known)} (data.text_keys)")


def _clips_of(number: int, entry: dict[str, Any], keys: Sequence[str]) -> Iterator[ListedClip]:
    name, paths = name_of(entry, number), entry.get(MOTION)
    paths = paths if isinstance(paths, list) else [paths]
    if not paths or not all(isinstance(path, str) and path.strip() for path in paths):
        raise ValueError(f"'{MOTION}' is {shown(entry.get(MOTION))}, not the path of a file")
    reference = entry.get(REFERENCE) or ""
    if not isinstance(reference, str):
        raise ValueError(f"'{REFERENCE}' is {shown(reference)}, not the path of a file")
    split = str(entry.get(SPLIT) or "").strip().lower()
    captions = texts_of(entry, keys) or ("",)
    subset, split = str(entry.get(SUBSET) or ""), SPELLED.get(split, split)
    clip = ListedClip(name, paths[0], captions, subset, split, reference, number)
    yield clip
    yield from (replace(clip, name=f"{name}#{other + 1}", motion=path) for other, path in enumerate(paths[1:], 1))


def _by_split(path: Path, clips: list[ListedClip], problems: list[Problem], counts: Counter[str]) -> MotionList:
    found: dict[str, list[ListedClip]] = {split: [] for split in SPLITS}
    for clip in clips:
        if clip.split and clip.split not in SPLITS:
            told = f"entry {clip.number}: split '{shown(clip.split)[1:-1]}' is none of {', '.join(SPLITS)}"
            problems.append(Problem(path.name, 0, told))
        else:
            found[clip.split or "train"].append(clip)
    made = MotionList(path, found, problems, counts)
    order = sorted({clip.motion for clip in found["train"]}, key=lambda text: hashlib.sha256(text.encode()).hexdigest())
    if len(order) >= len(SPLITS):
        for split in [split for split in SPLITS[1:] if not found[split]]:
            count = max(1, round(HELD_OUT * len(order)))
            chosen, order = set(order[:count]), order[count:]
            found[split] = [clip for clip in found["train"] if clip.motion in chosen]
            found["train"] = [clip for clip in found["train"] if clip.motion not in chosen]
            made.held_out[split] = len(found[split])
    return made
