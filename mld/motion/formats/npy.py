"""`.npy`: joints (T, 22, 3) or (T, 21, 3), features of 263, 251, 272 or 276 columns, or SMPL parameters of 85 or 322,
told apart by their shape; one motion, a batch of them, or the results of MDM.

Joints are in metres, y up, unless the reader is told otherwise; other units, such as the millimetres that KIT joints
(T, 21, 3) are published in, are recognised by the length of the legs.
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
from mld.motion.formats.shapes import Motions, body_of, motions_of, of_results
from mld.motion.formats.smpl_columns import WIDTHS, smpl_motion
from mld.motion.motion import Motion
from mld.motion.plausibility import check_possible, looks_normalised
from mld.motion.representations.base import Representation
from mld.motion.representations.registry import (
    get_representation,
    representation_names,
    representation_of_rows,
    representation_of_width,
)
from mld.motion.rig.rig import RigMotion
from mld.motion.skeletons import Skeleton, skeleton_with


def read_noted(path: Path, options: ReadOptions) -> tuple[Motion | RigMotion, list[str]]:
    """Open joints, features or SMPL columns, and notes on them; `MotionFormatError` for a wrong shape, NaN, no frames,
    pickled objects, other files."""
    return read_motions(_open(path), options)


def clip_names(path: Path) -> tuple[str, ...]:
    """Names of the motions of a file that holds several; empty for others."""
    return _open(path).names


def read_motions(
    motions: Motions, options: ReadOptions, fps: float | None = None, notes: list[str] | None = None
) -> tuple[Motion | RigMotion, list[str]]:
    """The motion that is asked for, and `notes` with more; fps: what the file says."""
    array, more = motions.chosen(options.clip)
    options = dataclasses.replace(options, fps=options.fps or fps)
    motion, last = noted_motion_of(motions.path, np.asarray(array), options)
    return motion, [*(notes or []), *more, *last]


def motion_of(path: Path, array: np.ndarray, fps: float | None) -> Motion:
    """The motion of joints (T, J, 3), or of a batch of one, that were in `path`."""
    options = ReadOptions(fps)
    motion, _ = read_motions(motions_of(path, array), options)
    if isinstance(motion, RigMotion):
        raise MotionFormatError(f"{path}: the array has the shape {array.shape}; joints are (T, J, 3)")
    return motion


def noted_motion_of(path: Path, array: np.ndarray, options: ReadOptions) -> tuple[Motion | RigMotion, list[str]]:
    """The motion of an array (T, J, 3) or (T, D) that was in `path`, and notes. Unit and axis are those of joints;
    features have their own, and `MotionFormatError` says so."""
    if array.size == 0:
        raise MotionFormatError(f"{path}: the array is empty (shape {array.shape})")
    array, notes = body_of(array)
    if array.ndim == 2 and array.shape[1] in WIDTHS:
        return smpl_motion(path, array, options)
    with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold becomes infinity, which is refused
        array = np.array(array, dtype=np.float32)
    if array.ndim == 3 and array.shape[2] == 3 and (skeleton := skeleton_with(array.shape[1])):
        motion, more = _joints(path, array, options, skeleton)
        return motion, notes + more
    if array.ndim == 2 and (representation := representation_of_width(array.shape[1])):
        if options.unit is not None or options.up is not None:
            raise MotionFormatError(
                f"{path}: features of {array.shape[1]} columns have a unit and a vertical axis of "
                "their own; leave out what was given for them"
            )
        return features_of(path, array, options.fps, representation), notes
    if array.ndim == 2 and (older := representation_of_rows(torch.from_numpy(array))):
        representation, features = older
        notes.append(wider_note(array.shape[1], representation))
        return features_of(path, features.contiguous().numpy(), options.fps, representation), notes
    widths = [f"(T, {get_representation(name).width})" for name in representation_names()]
    raise MotionFormatError(
        f"{path}: the array has the shape {array.shape}; a motion file holds joints (T, 22, 3) or "
        f"(T, 21, 3), or features {' or '.join(widths)}"
    )


def write(motion: Motion, path: Path) -> None:
    """Write the joints (T, J, 3) float32, metres. Frame rate and rotations are not part of the format."""
    check_finite(motion)
    write_array(path, motion.joints.numpy())


def open_array(path: Path) -> np.ndarray:
    """The array of the first motion of the file as float32. No code of a pickle is run; a lying header cannot ask for
    memory."""
    array, _ = _open(path).chosen(None)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.array(array, dtype=np.float32)


def _open(path: Path) -> Motions:
    """The motions of the file, of numbers of any kind, with at least one number."""
    try:
        with open(path, "rb") as file:
            try:
                array = read_array(file, path.stat().st_size)
            except PickledError:
                motions = of_results(path, read_pickle(file.read()))
            else:
                motions = motions_of(path, array)
    except ValueError as error:
        raise MotionFormatError(
            f"{path}: not a readable .npy array ({shown(str(error), 100)}); save it with numpy.save(path, joints)"
        ) from error
    if motions.arrays[0].dtype.kind not in "fiu":
        raise MotionFormatError(f"{path}: does not hold one array of numbers")
    if any(array.size == 0 for array in motions.arrays):
        raise MotionFormatError(f"{path}: the array is empty (shape {motions.arrays[0].shape})")
    return motions


def _joints(path: Path, array: np.ndarray, options: ReadOptions, skeleton: Skeleton) -> tuple[Motion, list[str]]:
    _refuse_nan(path, array)
    joints = torch.from_numpy(array)
    unit, note = (1.0, "") if options.unit is not None else guess_metres(joints, skeleton)
    motion = _checked(path, joints * unit, options.fps or skeleton.fps, skeleton)
    return told(motion, options), [note] if note else []


def wider_note(columns: int, representation: Representation) -> str:
    return f"{columns} columns of an older form of '{representation.name}'; the first {representation.width} were taken"


def features_of(path: Path, array: np.ndarray, fps: float | None, representation: Representation) -> Motion:
    """The motion of raw features (T, D) of a representation that were in `path`; normalised ones are refused."""
    _refuse_nan(path, array)
    features = torch.from_numpy(array)
    if looks_normalised(features, representation):
        raise MotionFormatError(
            f"{path}: these look like normalised features (mean 0, std 1); raw ones are read: "
            "multiply by the std they were divided by and add the mean"
        )
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
