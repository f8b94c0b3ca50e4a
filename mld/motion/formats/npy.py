"""`.npy`: joints (T, 22, 3) or (T, 21, 3), or features of 263, 251, 272 or 276 columns, told apart by their shape.

Joints are in metres, y up. KIT joints (T, 21, 3) in millimetres, as published, are recognised by the size of the body.
The file holds no frame rate: the reader is told, or takes that of the skeleton or the features. Features of 272 and 276
columns give rotations, too.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch

from mld.errors import DataError, MotionFormatError
from mld.motion.edit import check_finite
from mld.motion.formats.array_header import read_array
from mld.motion.formats.limits import shown
from mld.motion.motion import Motion
from mld.motion.representations.base import Representation
from mld.motion.representations.registry import get_representation, representation_names, representation_of_width
from mld.motion.skeletons import Skeleton, skeleton_with

_LARGEST_BODY = 10.0  # metres between two joints of one pose; more means another unit


def read(path: Path, fps: float | None = None) -> Motion:
    """Open joints or features; `MotionFormatError` for a wrong shape, NaN, no frames, pickled objects, other files."""
    return motion_of(path, open_array(path), fps)


def motion_of(path: Path, array: np.ndarray, fps: float | None) -> Motion:
    """The motion of an array that was in `path`, float32: joints or features, told apart by the shape."""
    if array.ndim == 3 and array.shape[2] == 3 and (skeleton := skeleton_with(array.shape[1])):
        return _joints(path, array, fps, skeleton)
    if array.ndim == 2 and (representation := representation_of_width(array.shape[1])):
        return features_of(path, array, fps, representation)
    widths = [f"(T, {get_representation(name).width})" for name in representation_names()]
    raise MotionFormatError(f"{path}: the array has the shape {array.shape}; a motion file holds joints (T, 22, 3) or "
                            f"(T, 21, 3), or features {' or '.join(widths)}")


def write(motion: Motion, path: Path) -> None:
    """Write the joints (T, J, 3) float32, metres. Frame rate and rotations are not part of the format."""
    check_finite(motion)
    with open(path, "wb") as file:
        np.save(file, motion.joints.numpy(), allow_pickle=False)


def open_array(path: Path) -> np.ndarray:
    """The array of the file as float32. Pickles are not opened; a lying header cannot ask for memory."""
    try:
        with open(path, "rb") as file:
            array = read_array(file, path.stat().st_size)
    except ValueError as error:
        raise MotionFormatError(f"{path}: not a readable .npy array ({shown(str(error), 100)}); save it with "
                                "numpy.save(path, joints)") from error
    if array.dtype.kind not in "fiu":
        raise MotionFormatError(f"{path}: does not hold one array of numbers")
    if array.size == 0:
        raise MotionFormatError(f"{path}: the array is empty (shape {array.shape})")
    with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold becomes infinity, which is refused
        return np.array(array, dtype=np.float32)


def _joints(path: Path, array: np.ndarray, fps: float | None, skeleton: Skeleton) -> Motion:
    _refuse_nan(path, array)
    extent = float((array.max(1) - array.min(1)).max())
    if extent > _LARGEST_BODY:
        if extent * skeleton.metres_per_unit > _LARGEST_BODY:
            raise MotionFormatError(f"{path}: a pose is {extent:.0f} units across; joints have to be in metres")
        array = array * skeleton.metres_per_unit
    return _checked(path, torch.from_numpy(array), fps or skeleton.fps, skeleton)


def features_of(path: Path, array: np.ndarray, fps: float | None, representation: Representation) -> Motion:
    """The motion of raw features (T, D) of a representation that were in `path`."""
    _refuse_nan(path, array)
    try:
        motion = check_finite(representation.decode(torch.from_numpy(array)))
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
