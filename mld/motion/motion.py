"""`Motion`, the noun that everything else takes: joint positions over time, in metres, y up.

Files open and close by their suffix (`mld.motion.formats`). Editing is in `mld.motion.edit`, features are in
`mld.motion.representations`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mld.errors import DataError
from mld.motion.skeletons import Skeleton, get_skeleton

_notebook: dict[str, Callable[[Motion], str]] = {}  # filled by mld.view, which stands above


def show_in_notebooks(show: Callable[[Motion], str]) -> None:
    """Let notebooks show motions by `show`, which gives HTML."""
    _notebook["show"] = show


@dataclass(frozen=True, eq=False, repr=False)
class Motion:
    """Joint positions `joints` (T, J, 3) float32, metres, y up, at `fps` frames per second.

    rotations (T, J, 3, 3): local joint rotations relative to the parent, the root's relative to the world, where a
    source has them; translation (T, 3): root translation in metres that goes with them. Arrays are taken as well as
    tensors. Raises `DataError` when the shapes do not fit the skeleton.
    """

    joints: Tensor
    fps: float
    skeleton: Skeleton = dataclasses.field(default_factory=lambda: get_skeleton("smpl22"))
    rotations: Tensor | None = None
    translation: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("joints", "rotations", "translation"):
            value = getattr(self, name)
            if value is not None:
                try:
                    object.__setattr__(self, name, torch.as_tensor(value, dtype=torch.float32))
                except (TypeError, ValueError, RuntimeError) as error:
                    kind = type(value).__name__
                    raise DataError(f"motion: {name} have to be numbers in an array, not {kind}") from error
        if self.joints is None or self.joints.ndim == 0:
            raise DataError("motion: joints have to be an array (frames, joints, 3)")
        frames, count = self.joints.shape[0], self.skeleton.num_joints
        wanted = {"joints": (frames, count, 3), "rotations": (frames, count, 3, 3), "translation": (frames, 3)}
        for name, shape in wanted.items():
            value = getattr(self, name)
            if value is not None and tuple(value.shape) != shape:
                raise DataError(
                    f"motion: {name} have the shape {tuple(value.shape)}, "
                    f"the skeleton '{self.skeleton.name}' needs {shape}"
                )
        if frames == 0:
            raise DataError("motion: it has no frames")
        if isinstance(self.fps, bool) or not isinstance(self.fps, (int, float)) or not self.fps > 0:
            raise DataError(f"motion: the frame rate is {self.fps}, it has to be above 0")

    def __repr__(self) -> str:
        """One line: an array of a hundred frames says nothing to a reader."""
        turned = "" if self.rotations is None else ", with rotations"
        return (
            f"<Motion: {self.duration:.2f} s, {self.num_frames} frames at {self.fps:g} fps, skeleton "
            f"'{self.skeleton.name}'{turned}>"
        )

    def _repr_html_(self) -> str | None:
        """What a notebook shows: the 3D viewer where `mld.view` is imported, as `mld.Motion` does; else the line."""
        return show(self) if (show := _notebook.get("show")) else None

    @property
    def num_frames(self) -> int:
        return self.joints.shape[0]

    @property
    def duration(self) -> float:
        """Seconds, each frame lasting 1 / fps."""
        return self.num_frames / self.fps

    @classmethod
    def load(cls, path: str | Path, fps: float | None = None, clip: str | int | None = None) -> Motion:
        """Open a motion file. `fps` is for formats that do not hold it (`.npy`); by default the rate that the data
        comes in: 20 for 22 joints, 12.5 for KIT, 30 for features of 272 columns.
        `clip`: the name or number, from 1, of one of several motions in a file (the first).
        Raises `MotionFormatError` for a bad file; what is odd for a person is logged as a warning."""
        from mld.motion.importing import load

        return load(_a_path(path), fps, clip)

    def save(self, path: str | Path, **options: Any) -> Path:
        """Write a motion file in the format that the suffix names; an existing file is replaced whole or not at all.

        `options` are those of the format's `write` function, such as `names="mixamo"` of BVH and glTF.
        """
        from mld.motion.formats import write

        return write(self, _a_path(path), **options)

    def crop(self, start: int, stop: int | None = None) -> Motion:
        """Frames start..stop-1 (Python slice rules); `DataError` when nothing is left."""
        part = slice(start, stop)
        if len(range(*part.indices(self.num_frames))) == 0:
            raise DataError(f"crop {start}:{stop} leaves nothing of a motion of {self.num_frames} frames")
        return dataclasses.replace(
            self,
            joints=self.joints[part],
            rotations=None if self.rotations is None else self.rotations[part],
            translation=None if self.translation is None else self.translation[part],
        )


def _a_path(path: Any) -> Path:
    """What a file can be called; `DataError` for anything else."""
    if not isinstance(path, (str, os.PathLike)):
        raise DataError(f"the path of a motion file is needed, not {type(path).__name__}")
    return Path(path)
