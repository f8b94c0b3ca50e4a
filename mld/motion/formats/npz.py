"""`.npz`: SMPL parameters (`smpl_npz`), motions of other generators (`generated`), or joints and features as in
`.npy` under a name such as `joints`."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path

import numpy as np

from mld.errors import MotionFormatError
from mld.motion.formats import generated, smpl_npz
from mld.motion.formats.archives import open_arrays
from mld.motion.formats.npy import read_motions
from mld.motion.formats.options import ReadOptions
from mld.motion.formats.shapes import BODY, Motions, motions_of
from mld.motion.motion import Motion
from mld.motion.rig.rig import RigMotion

_ARRAYS = ("motion", "joints", "features", "arr_0")  # names of one array that is a motion by itself
_PLACE = "transl"
_LARGEST = 1e8  # units of length, which may be millimetres


def read_noted(path: Path, options: ReadOptions) -> tuple[Motion | RigMotion, list[str]]:
    """The motion of a file and notes; `MotionFormatError` names the array that is damaged, or those that are there."""
    wanted = {*smpl_npz.NAMES, *_ARRAYS, *generated.TURNS, generated.POSED, generated.KEYPOINTS}
    arrays, present = open_arrays(path, wanted, smpl_npz.LEFT_ASIDE)
    joints = _which(arrays)
    if joints is None:
        if options.clip is not None:
            raise MotionFormatError(f"{path}: the file holds one motion, so there is no motion '{options.clip}'")
        return smpl_npz.rig_of(path, arrays, present, options), []
    if joints in _ARRAYS:
        return read_motions(_motions(path, joints, arrays), options, smpl_npz.rate_of(path, arrays))
    return _generated(path, joints, arrays, options)


def clip_names(path: Path) -> tuple[str, ...]:
    """Names of the motions of a file that holds several; empty for others."""
    _, present = open_arrays(path, ())
    name = _which(present)
    if name is None:
        return ()
    return _motions(path, name, open_arrays(path, (name,))[0]).names


def _which(present: Collection[str]) -> str | None:
    """The array that is a motion by itself among those that a file holds; None where SMPL parameters are the motion."""
    if joints := [name for name in (generated.POSED, generated.KEYPOINTS) if name in present]:
        return joints[0]
    return None if smpl_npz.has_poses(present) else next((name for name in _ARRAYS if name in present), None)


def _motions(path: Path, name: str, arrays: dict[str, np.ndarray]) -> Motions:
    return motions_of(path, smpl_npz.numbers(path, name, arrays[name], _LARGEST))


def _generated(
    path: Path, name: str, arrays: dict[str, np.ndarray], options: ReadOptions
) -> tuple[Motion | RigMotion, list[str]]:
    said = smpl_npz.rate_of(path, arrays)
    fps = options.fps or said or generated.FPS
    notes = [] if options.fps or said else [f"the file says no frame rate; {fps:g} frames per second were taken"]
    motions = _motions(path, name, arrays)
    joints, more = motions.chosen(options.clip)
    place = motions.place(options.clip)
    notes += more
    if name == generated.KEYPOINTS:
        joints = generated.in_the_world(joints, _one(path, _PLACE, arrays, place, 2))
    elif joints.ndim == 3 and joints.shape[2] == 3 and joints.shape[1] != BODY and len(joints):
        local, world = (_one(path, turns, arrays, place, 4) for turns in generated.TURNS)
        if local is None or world is None:
            raise MotionFormatError(
                f"{path}: '{name}' has {joints.shape[1]} joints and needs the arrays {' and '.join(generated.TURNS)}"
            )
        return generated.soma_motion(path, joints * (options.unit or 1.0), local, world, fps), notes
    return read_motions(motions_of(path, joints), dataclasses.replace(options, clip=None), fps, notes)


def _one(path: Path, name: str, arrays: dict[str, np.ndarray], place: int, ndim: int) -> np.ndarray | None:
    """What belongs to one motion in an array with `ndim` dimensions, or one more where it is a batch."""
    if name not in arrays:
        return None
    array = smpl_npz.numbers(path, name, arrays[name], _LARGEST)
    return array[place] if array.ndim == ndim + 1 and place < len(array) else array
