"""Motion files from one representation to another: any file that `Motion.load` opens to feature columns or joints.

A motion is opened, resampled (rotations by slerp, positions on straight lines) and encoded: feature columns themselves
are never resampled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from mld.data.mirroring import MIRROR_PREFIX
from mld.errors import DataError, MotionFormatError
from mld.files import atomically, write_array
from mld.motion import edit
from mld.motion.formats import files_in, npy
from mld.motion.formats.feature_rows import read_rows
from mld.motion.importing import clip_stem, each_clip
from mld.motion.motion import Motion
from mld.motion.plausibility import check_possible
from mld.motion.representations.camera import from_camera
from mld.motion.representations.motion276 import motion276
from mld.motion.representations.registry import get_representation

JOINTS = "joints"
CAMERA = "camera276"  # 276 columns in the axes of a camera, as estimators of motion in videos have them
CAMERAS_FOLDER = "cameras"


@dataclass(frozen=True)
class Converted:
    """What became of one file: the sentence to print, and whether it was left out."""

    line: str
    failed: bool = False


def convert_files(
    named: Sequence[Path], out: Path, to: str, source: str | None = None, fps: float | None = None,
    mirror: bool = False, recovery: str | None = None,
) -> Iterator[Converted]:  # fmt: skip
    """Write every motion file that is named or lies in a named folder as `out/<name>.npy`, float32; of a file with
    several motions each, as `out/<name>_<motion>.npy`.

    to: a representation, or "joints": (T, J, 3), metres, at the rate that such files are opened with. source: what the
    columns of .npy files are, where their number does not tell: a representation, "joints" or "camera276". fps: the
    rate of files that hold none. mirror: write `M<name>.npy`, too. recovery: how 276 columns, which all files then
    have, become a motion (`Motion276.recovered`). Raises `DataError` before anything is written when `out` is not
    empty or two files would get one name; a file that cannot be used is left out.
    """
    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        raise DataError(f"{out} is already there and not empty; name a new folder")
    targets: dict[Path, tuple[Path, str | None]] = {}
    for path, place in _files(named):
        for clip in each_clip(path) if source is None and recovery is None else (None,):
            target = out / place.with_name(clip_stem(place.stem, clip) + ".npy")
            if target in targets:
                raise DataError(f"{targets[target][0]} and {path} would both become {target}; convert them apart")
            targets[target] = path, clip
    for target, (path, clip) in targets.items():
        try:
            motion = _recovered(path, fps, recovery) if recovery else _open(path, source, fps, out, clip)
            rows = _write(motion, target, to)
            if mirror:
                _write(edit.mirror(motion), target.with_name(MIRROR_PREFIX + target.name), to)
        except DataError as error:
            where = "" if str(path) in str(error) else f"{path}: "
            yield Converted(f"left out: {where}{error}", failed=True)
        else:
            own = "rotations of the file" if motion.rotations is not None else "joints alone"
            yield Converted(f"{path} ({motion.num_frames} frames at {motion.fps:g} fps, {own}) -> {target} {rows}")


def _files(named: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """Motion files, and the paths that they have below what was named."""
    for path in named:
        if path.is_dir():
            found = [file for file in files_in(path, below=True) if file.suffix.lower() != ".asf"]
            if not found:
                raise MotionFormatError(f"{path}: no motion file in this folder")
            yield from ((file, file.relative_to(path)) for file in found)
        elif path.is_file():
            yield path, Path(path.name)
        else:
            raise MotionFormatError(f"{path}: there is no such file or folder")


def _open(path: Path, source: str | None, fps: float | None, out: Path, clip: str | None) -> Motion:
    if source is None:
        return Motion.load(path, fps, clip)
    if path.suffix.lower() != ".npy":
        raise MotionFormatError(f"{path}: only the columns of .npy files can be named; leave --from out")
    array = npy.open_array(path)
    if source == JOINTS:
        if array.ndim != 3:
            raise MotionFormatError(f"{path}: joints are (T, J, 3), the array has the shape {array.shape}")
        return npy.motion_of(path, array, fps)
    if source != CAMERA:
        return npy.features_of(path, array, fps, get_representation(source))
    motion276 = get_representation("motion276")
    npy.features_of(path, array, fps, motion276)
    seen = from_camera(torch.from_numpy(array))
    _save(out / CAMERAS_FOLDER / path.name, seen.extrinsic.numpy())
    return npy.features_of(path, seen.features.numpy(), fps, motion276)


def _recovered(path: Path, fps: float | None, recovery: str) -> Motion:
    rows, _ = read_rows(path, get_representation("motion276"))
    motion = motion276().recovered(torch.from_numpy(rows), recovery)  # type: ignore[arg-type]
    return check_possible(edit.check_finite(replace(motion, fps=float(fps or motion.fps))))


def _write(motion: Motion, target: Path, to: str) -> str:
    """The shape of what was written."""
    if to == JOINTS:
        rows = edit.check_finite(edit.resample(motion, motion.skeleton.fps)).joints
    else:
        rows = get_representation(to).encode(motion)
    _save(target, rows.numpy())
    return f"({', '.join(map(str, rows.shape))})"


def _save(target: Path, array: np.ndarray) -> None:
    with atomically(target) as new:
        write_array(new, array.astype(np.float32))
