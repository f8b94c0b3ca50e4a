"""Arrays as other systems save them, brought to one motion: joints (T, J, 3) or features (T, D)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mld.errors import MotionFormatError
from mld.motion.skeletons import skeleton_with

BODY = 22  # joints of smpl22, which come first in SMPL, SMPL-H and SMPL-X
_MORE_JOINTS = {24: "SMPL", 45: "SMPL", 52: "SMPL-H", 55: "SMPL-X", 73: "SMPL-H", 127: "SMPL-X", 144: "SMPL-X"}
_KEYS = ("motion", "joints", "features")


def one_motion(path: Path, array: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The array without a batch of one, and without joints that smpl22 has not; what was left out is said.

    `MotionFormatError` for a batch of several motions."""
    notes = []
    batched = array.ndim == 4 or (array.ndim == 3 and array.shape[2] != 3)
    if batched and array.shape[-1] != 0 and array.shape[0] == 1:
        array = array[0]
    elif array.ndim == 4 and array.shape[3] == 3:
        raise MotionFormatError(f"{path}: {array.shape[0]} motions in one array of shape {array.shape}; save each of "
                                "them, array[0] and so on, in a file of its own")
    if array.ndim == 3 and array.shape[2] == 3 and array.shape[1] in _MORE_JOINTS:
        kind = _MORE_JOINTS[array.shape[1]]
        notes.append(f"{array.shape[1]} joints of {kind}; the {BODY} of the body were taken, hands and face left out")
        array = array[:, :BODY]
    return array, notes


def of_results(path: Path, content: Any) -> tuple[np.ndarray, list[str]]:
    """The first motion of a dictionary of generated ones, as MDM saves `results.npy`: `motion` (N, J, 3, T) and
    `lengths` (N,). `MotionFormatError` where there is none."""
    if isinstance(content, list) and len(content) == 1:
        content = content[0]
    found = content if isinstance(content, dict) else {}
    array = next((found[key] for key in _KEYS if isinstance(found.get(key), np.ndarray)), None)
    if array is None:
        raise MotionFormatError(f"{path}: holds pickled objects without an array 'motion'; save joints with "
                                "numpy.save(path, joints)")
    notes = []
    if array.ndim == 4 and array.shape[2] == 3 and skeleton_with(array.shape[1]) and len(array):
        lengths, texts = found.get("lengths"), found.get("text")
        count, frames = len(array), array.shape[3]
        if isinstance(lengths, np.ndarray) and lengths.ndim == 1 and len(lengths) == count:
            frames = max(1, min(frames, int(lengths[0])))
        array = array[0].transpose(2, 0, 1)[:frames]
        said = f" ('{texts[0][:60]}')" if isinstance(texts, list) and texts and isinstance(texts[0], str) else ""
        notes.append(f"motion 1 of {count}{said} of a file of results")
    return array, notes
