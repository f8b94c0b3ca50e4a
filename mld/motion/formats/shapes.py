"""Arrays as other systems save them, brought to motions: joints (T, J, 3) or columns (T, D)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mld.errors import MotionFormatError
from mld.motion.formats.clips import Clip, listed, named, place_of, taken_note
from mld.motion.formats.limits import shown
from mld.motion.skeletons import skeleton_with

BODY = 22  # joints of smpl22, which come first in SMPL, SMPL-H and SMPL-X
_MORE_JOINTS = {24: "SMPL", 45: "SMPL", 52: "SMPL-H", 55: "SMPL-X", 73: "SMPL-H", 127: "SMPL-X", 144: "SMPL-X"}
_KEYS = ("motion", "joints", "features")
_MOST_MOTIONS = 10_000


@dataclass(frozen=True)
class Motions:
    """The motions of one file: joints (T, J, 3) or columns (T, D) each, and what they are called."""

    path: Path
    arrays: tuple[np.ndarray, ...]
    clips: tuple[Clip, ...]

    def place(self, clip: str | int | None) -> int:
        """The place of the motion that is asked for by name or number, else of the first. `MotionFormatError` where
        there is no such motion."""
        if clip is None:
            return 0
        place = place_of(self.clips, clip) if len(self.arrays) > 1 else None
        if place is None:
            what = f"it has {listed(self.clips)}" if len(self.arrays) > 1 else "the file holds one motion"
            raise MotionFormatError(f"{self.path}: there is no motion '{shown(str(clip))}'; {what}")
        return place

    def chosen(self, clip: str | int | None) -> tuple[np.ndarray, list[str]]:
        """The motion at that place, and a note where there are several and none was asked for."""
        return self.arrays[self.place(clip)], taken_note(self.clips, 0, "motions") if clip is None else []

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the motions; none where there is one alone, without a name of its own."""
        return tuple(name for _, name in self.clips) if len(self.clips) > 1 else ()


def motions_of(path: Path, array: np.ndarray) -> Motions:
    """The motions of one array: (T, J, 3), (T, D), or a batch of either; joints may have their frames at the end, as
    MDM has them (N, J, 3, T)."""
    return _motions(path, _split(path, array), ())


def of_results(path: Path, content: Any) -> Motions:
    """The motions of a dictionary of generated ones, as MDM saves `results.npy`: `motion` (N, J, 3, T) or features
    (N, D, 1, T), and `lengths` (N,) and `text` (N,) of them. `MotionFormatError` where there are none."""
    if isinstance(content, list) and len(content) == 1:
        content = content[0]
    found = content if isinstance(content, dict) else {}
    array = next((found[key] for key in _KEYS if isinstance(found.get(key), np.ndarray)), None)
    if array is None:
        raise MotionFormatError(
            f"{path}: holds pickled objects without an array 'motion'; save joints with numpy.save(path, joints)"
        )
    arrays = _split(path, array)
    lengths, texts = _row(found.get("lengths"), len(arrays)), _row(found.get("text"), len(arrays))
    if lengths:
        arrays = [motion[: max(1, int(length))] if _is_length(length) else motion
                  for motion, length in zip(arrays, lengths)]  # fmt: skip
    return _motions(path, arrays, [text if isinstance(text, str) else "" for text in texts])


def body_of(array: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Joints (T, J, 3) without those that smpl22 has not, which come behind its own; what was left out is said."""
    if array.ndim == 3 and array.shape[2] == 3 and array.shape[1] in _MORE_JOINTS:
        kind = _MORE_JOINTS[array.shape[1]]
        return array[:, :BODY], [f"{array.shape[1]} joints of {kind}; the {BODY} of the body were taken, hands and "
                                 "face left out"]  # fmt: skip
    return array, []


def _motions(path: Path, arrays: list[np.ndarray], names: Any) -> Motions:
    return Motions(path, tuple(arrays), tuple(named(names or [""] * len(arrays))))


def _split(path: Path, array: np.ndarray) -> list[np.ndarray]:
    """The motions of an array, in a batch or not."""
    while array.ndim > 4 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 4 and array.shape[2] == 3 and array.shape[3] != 3 and skeleton_with(array.shape[1]):
        array = array.transpose(0, 3, 1, 2)
    elif array.ndim == 4 and array.shape[2] == 1 and array.shape[3] != 3:
        array = array[:, :, 0].transpose(0, 2, 1)
    elif array.ndim == 3 and array.shape[1] == 3 and array.shape[2] != 3 and skeleton_with(array.shape[0]):
        array = array.transpose(2, 0, 1)
    batched = array.ndim == 4 or (array.ndim == 3 and array.shape[2] != 3)
    if not batched or 0 in array.shape:
        return [array]
    if len(array) > _MOST_MOTIONS:
        raise MotionFormatError(f"{path}: {len(array)} motions in one array of shape {array.shape}; save them apart")
    return list(array)


def _row(values: Any, count: int) -> list:
    """A value for each of `count` motions; none where there are others."""
    found = values.tolist() if isinstance(values, np.ndarray) else values
    return found if isinstance(found, list) and len(found) == count else []


def _is_length(value: Any) -> bool:
    return isinstance(value, int) and value > 0
