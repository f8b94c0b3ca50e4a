"""`.npy`: joints (T, 22, 3) or (T, 21, 3), or features of 263, 251, 272 or 276 columns, told apart by their shape.

Joints are in metres, y up, unless the reader is told otherwise; centimetres and millimetres, as KIT joints (T, 21, 3)
are published in, are recognised by the size of the body.
The file holds no frame rate: the reader is told, or takes that of the skeleton or the features. Features of 272 and 276
columns give rotations, too.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch

from mld.errors import DataError, MotionFormatError
from mld.files import write_array
from mld.motion.edit import check_finite
from mld.motion.formats.array_header import PickledError, read_array
from mld.motion.formats.limits import shown
from mld.motion.formats.options import ReadOptions
from mld.motion.formats.pickled import read_pickle
from mld.motion.formats.placing import guess_metres, told
from mld.motion.formats.shapes import of_results, one_motion
from mld.motion.motion import Motion
from mld.motion.plausibility import check_possible, looks_normalised
from mld.motion.representations.base import Representation
from mld.motion.representations.registry import get_representation, representation_names, representation_of_width
from mld.motion.skeletons import Skeleton, skeleton_with


def read_noted(path: Path, options: ReadOptions) -> tuple[Motion, list[str]]:
    """Open joints or features, and notes on them; `MotionFormatError` for a wrong shape, NaN, no frames, pickled
    objects, other files."""
    array, notes = _open_noted(path)
    motion, more = noted_motion_of(path, array, options)
    return motion, notes + more


def motion_of(path: Path, array: np.ndarray, fps: float | None) -> Motion:
    """The motion of an array that was in `path`, float32: joints or features, told apart by the shape."""
    return noted_motion_of(path, array, ReadOptions(fps))[0]


def noted_motion_of(path: Path, array: np.ndarray, options: ReadOptions) -> tuple[Motion, list[str]]:
    """The motion of an array that was in `path`, float32, and notes. Unit and axis are those of joints; features have
    their own, and `MotionFormatError` says so."""
    array, notes = one_motion(path, array)
    if array.ndim == 3 and array.shape[2] == 3 and (skeleton := skeleton_with(array.shape[1])):
        motion, more = _joints(path, array, options, skeleton)
        return motion, notes + more
    if array.ndim == 2 and (representation := representation_of_width(array.shape[1])):
        if options.unit is not None or options.up is not None:
            raise MotionFormatError(f"{path}: features of {array.shape[1]} columns have a unit and a vertical axis of "
                                    "their own; leave out what was given for them")
        return features_of(path, array, options.fps, representation), notes
    widths = [f"(T, {get_representation(name).width})" for name in representation_names()]
    raise MotionFormatError(f"{path}: the array has the shape {array.shape}; a motion file holds joints (T, 22, 3) or "
                            f"(T, 21, 3), or features {' or '.join(widths)}")


def write(motion: Motion, path: Path) -> None:
    """Write the joints (T, J, 3) float32, metres. Frame rate and rotations are not part of the format."""
    check_finite(motion)
    write_array(path, motion.joints.numpy())


def open_array(path: Path) -> np.ndarray:
    """The array of the file as float32. No code of a pickle is run; a lying header cannot ask for memory."""
    return _open_noted(path)[0]


def _open_noted(path: Path) -> tuple[np.ndarray, list[str]]:
    notes: list[str] = []
    try:
        with open(path, "rb") as file:
            try:
                array = read_array(file, path.stat().st_size)
            except PickledError:
                array, notes = of_results(path, read_pickle(file.read()))
    except ValueError as error:
        raise MotionFormatError(f"{path}: not a readable .npy array ({shown(str(error), 100)}); save it with "
                                "numpy.save(path, joints)") from error
    if array.dtype.kind not in "fiu":
        raise MotionFormatError(f"{path}: does not hold one array of numbers")
    if array.size == 0:
        raise MotionFormatError(f"{path}: the array is empty (shape {array.shape})")
    with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold becomes infinity, which is refused
        return np.array(array, dtype=np.float32), notes


def _joints(path: Path, array: np.ndarray, options: ReadOptions, skeleton: Skeleton) -> tuple[Motion, list[str]]:
    _refuse_nan(path, array)
    joints = torch.from_numpy(array)
    unit, note = (1.0, "") if options.unit is not None else guess_metres(joints)
    motion = _checked(path, joints * unit, options.fps or skeleton.fps, skeleton)
    return told(motion, options), [note] if note else []


def features_of(path: Path, array: np.ndarray, fps: float | None, representation: Representation) -> Motion:
    """The motion of raw features (T, D) of a representation that were in `path`; normalised ones are refused."""
    _refuse_nan(path, array)
    features = torch.from_numpy(array)
    if looks_normalised(features, representation):
        raise MotionFormatError(f"{path}: these look like normalised features (mean 0, std 1); raw ones are read: "
                                "multiply by the std they were divided by and add the mean")
    try:
        motion = check_possible(check_finite(representation.decode(features)))
    except DataError as error:
        raise MotionFormatError(f"{path}: {error}") from error
    return dataclasses.replace(motion, fps=float(fps or representation.fps))


def _refuse_nan(path: Path, array: np.ndarray) -> None:
    bad = ~np.isfinite(array.reshape(len(array), -1)).all(1)
    if bad.any():
        first, count = int(bad.argmax()), int(bad.sum())
        raise MotionFormatError(f"{path}: NaN or infinity in {count} frames, first at frame {first}")


def _checked(path: Path, joints: torch.Tensor, fps: float, skeleton: Skeleton) -> Motion:
    try:
        return check_finite(Motion(joints, fps, skeleton))
    except DataError as error:
        raise MotionFormatError(f"{path}: {error}") from error
