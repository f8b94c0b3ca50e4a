"""A training folder (joints + captions) from a folder of a user's own motion files, such as CMU's ASF/AMC or BVH.

Trials are put on the floor at the origin facing +z, resampled, and cut into clips of at most 9.8 s. Captions come from
a table of sentences, from text files next to the motions, or from telling file names.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mld.data.clips import Problem
from mld.data.sources.joints_captions import CLIPS_FILE, SPLITS_FOLDER, TRIALS_FILE
from mld.errors import DataError, MotionFormatError
from mld.files import replacing
from mld.motion.carry import on_skeleton
from mld.motion.edit import center, face_forward, resample
from mld.motion.importing import import_report, on_floor
from mld.motion.motion import Motion
from mld.reading import read_text

SUFFIXES = (".amc", ".bvh", ".npz", ".glb", ".gltf", ".vrma")  # the first of several files of one motion is taken
LONGEST_CLIP = 9.8  # seconds, as in HumanML3D
SHORTEST_TRIAL = 1.0  # seconds
FASTEST = 20.0  # metres per second of a joint; more is a glitch of the capture
NO_CAPTION = "a person moves."
_SHARES = {"test": 0.1, "val": 0.05}


@dataclass
class Outcome:
    """What was written: trials, clips by split, seconds, notes by trial, and the files that could not be used."""

    trials: int = 0
    clips: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    without_caption: int = 0
    copies: int = 0
    problems: list[Problem] = field(default_factory=list)

    def lines(self) -> list[str]:
        splits = ", ".join(f"{count} {split}" for split, count in self.clips.items())
        lines = [f"{self.trials} trials, {sum(self.clips.values())} clips ({splits}), {self.seconds / 60:.1f} min"]
        if self.copies:
            lines.append(f"{self.copies} files left out as copies of a motion in another format")
        if self.without_caption:
            lines.append(f"{self.without_caption} trials have no caption and were called '{NO_CAPTION}' (quality fair);"
                         " give them with --captions FILE, lines 'name,sentence'")
        return [*lines, *(f"left out: {problem}" for problem in self.problems)]


def build_folder(source: Path, out: Path, fps: float = 20.0, captions: Path | None = None) -> Outcome:
    """Import every motion file below `source` into the new folder `out`; `DataError` if nothing can be used."""
    if not source.is_dir():
        raise DataError(f"no folder '{source}' (in {Path.cwd()})")
    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        raise DataError(f"{out} is already there and not empty; name a new folder")
    outcome = Outcome()
    sentences = read_captions(captions) if captions else {}
    files = find_motions(source, outcome)
    trials: dict[str, np.ndarray] = {}
    rows: dict[str, list[dict]] = {}
    for name, path in tqdm(files.items(), "import", disable=None):
        try:
            joints = trial_motion(path, fps).joints.numpy()
        except MotionFormatError as error:
            outcome.problems.append(Problem(str(path.relative_to(source)), 0, str(error).removeprefix(f"{path}: ")))
            continue
        if len(joints) < SHORTEST_TRIAL * fps:
            outcome.problems.append(Problem(str(path.relative_to(source)), 0, f"only {len(joints) / fps:.1f} s long"))
            continue
        trials[name] = joints
        texts, written = captions_of(name, path, sentences)
        outcome.without_caption += texts == [NO_CAPTION]
        rows[name] = trial_rows(name, joints, fps, texts, written)
    if not trials:
        first = f"; the first problem: {outcome.problems[0]}" if outcome.problems else ""
        raise DataError(f"no usable motion file ({', '.join(SUFFIXES)}) in {source}{first}")
    with replacing(out) as new:
        _write(new, trials, rows, outcome, fps)
    return outcome


def find_motions(source: Path, outcome: Outcome) -> dict[str, Path]:
    """Motion files by trial name: the file's stem, with its folder where that is needed to tell two files apart."""
    found = sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    by_stem: dict[str, list[Path]] = {}
    for path in found:
        by_stem.setdefault(path.stem, []).append(path)
    files: dict[str, Path] = {}
    for stem, paths in by_stem.items():
        kinds = [path.suffix.lower() for path in paths]
        best = min(kinds, key=SUFFIXES.index)
        chosen = [path for path in paths if path.suffix.lower() == best]
        outcome.copies += len(paths) - len(chosen)
        for path in chosen:
            parts = path.relative_to(source).with_suffix("").parts
            files[stem if len(chosen) == 1 else "_".join(parts)] = path
    return dict(sorted(files.items()))


def read_captions(path: Path) -> dict[str, list[str]]:
    """Sentences by motion name from lines 'name,sentence' (comma, tab or blank; a name may come again)."""
    try:
        text = read_text(path, errors="replace")
    except OSError as error:
        raise DataError(f"{path}: the captions cannot be read ({error.strerror})") from error
    sentences: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        delimiter = next((mark for mark in ("\t", ",") if mark in line), None)
        try:
            words = next(csv.reader([line], delimiter=delimiter)) if delimiter else line.split(None, 1)
        except csv.Error as error:
            raise DataError(f"{path}, line {number}: {error}") from error
        if len(words) < 2 or not words[1].strip():
            raise DataError(f"{path}, line {number}: needs a motion name and a sentence, as in '07_01,a person walks'")
        name = Path(words[0].strip())
        stem = name.stem if name.suffix.lower() in SUFFIXES else name.name
        sentences.setdefault(stem, []).append(" ".join(",".join(words[1:]).split()))
    return sentences


def trial_motion(path: Path, fps: float, file_fps: float | None = None) -> Motion:
    """The motion of a file on 22 joints, at `fps`, over the origin; file_fps: its frame rate, where it holds none."""
    motion, _ = import_report(path, file_fps)
    motion, _ = on_floor(face_forward(center(resample(on_skeleton(motion, "smpl22"), fps))))
    return motion


def captions_of(name: str, path: Path, sentences: dict[str, list[str]]) -> tuple[list[str], bool]:
    """Captions of a trial, and whether somebody wrote them."""
    known = sentences.get(name) or sentences.get(path.stem)
    if known:
        return known, True
    beside = path.with_suffix(".txt")
    if beside.is_file():
        lines = read_text(beside, errors="replace").splitlines()
        written = [line.partition("#")[0].strip() for line in lines]
        if any(written):
            return [line for line in written if line], True
    words = [word for word in re.split(r"[\W_\d]+", path.stem) if len(word) > 2]
    return [" ".join(words).lower() + "." if words else NO_CAPTION], False


def trial_rows(name: str, joints: np.ndarray, fps: float, texts: list[str], written: bool) -> list[dict]:
    """The lines of clips.jsonl of a trial, cut into equal clips that are not too long. written: by somebody."""
    speed = float(np.linalg.norm(np.diff(joints, axis=0), axis=-1).max(initial=0.0)) * fps
    quality = "glitch" if speed > FASTEST else "good" if written else "fair"
    count = math.ceil(len(joints) / (LONGEST_CLIP * fps))
    cuts = np.linspace(0, len(joints), count + 1).round().astype(int).tolist()
    return [
        {"id": f"{name}_{number:02d}" if count > 1 else name, "trial": name, "start": start, "end": end,
         "label": texts[0].rstrip("."), "captions": texts, "quality": quality}
        for number, (start, end) in enumerate(zip(cuts, cuts[1:]))
    ]  # fmt: skip


def split_trials(names: Sequence[str]) -> dict[str, list[str]]:
    """Trials by split, the same for the same names whatever their order; val and test have one each from three on."""
    order = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    chosen: dict[str, list[str]] = {}
    for split, share in _SHARES.items():
        count = max(1, round(share * len(names))) if len(names) >= 3 else 0
        chosen[split], order = order[:count], order[count:]
    return {"train": sorted(order), **{split: sorted(chosen[split]) for split in ("val", "test")}}


def _write(out: Path, trials: dict[str, np.ndarray], rows: dict[str, list[dict]], outcome: Outcome, fps: float) -> None:
    (out / SPLITS_FOLDER).mkdir(parents=True)
    lines = []
    for split, names in split_trials(list(trials)).items():
        if not names:
            continue
        ids = [row["id"] for name in names for row in rows[name]]
        (out / SPLITS_FOLDER / f"{split}.txt").write_text("\n".join(ids) + "\n", encoding="utf-8")
        lines += [json.dumps(row | {"split": split}, ensure_ascii=False) for name in names for row in rows[name]]
        outcome.clips[split] = len(ids)
    (out / CLIPS_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    np.savez(out / TRIALS_FILE, **trials)
    outcome.trials = len(trials)
    outcome.seconds = sum(len(joints) for joints in trials.values()) / fps
