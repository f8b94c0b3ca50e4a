"""What a representation is: named feature blocks, joints to features and back.

Slices, widths and statistics follow from the declared block sizes; no other file knows a column number.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from mld.errors import DataError
from mld.motion import edit
from mld.motion.motion import Motion
from mld.motion.skeletons import Skeleton


@dataclass(frozen=True)
class Representation(ABC):
    """A way to write motion as feature rows (T, D).

    Tensor methods (`encode_joints`, `decode_joints`) are batched and work in the unit of the features, metres or for
    KIT millimetres (`skeleton.metres_per_unit`). `encode` and `decode` take and give a `Motion` in metres.
    """

    name: str
    fps: float
    skeleton: Skeleton

    @property
    @abstractmethod
    def block_sizes(self) -> dict[str, int]:
        """Columns of each named block, in order."""

    @abstractmethod
    def encode_joints(
        self, joints: Tensor, mask: Tensor | None = None, retarget: bool = True, compat: bool = False
    ) -> Tensor:
        """Joints (B, T, J, 3) to features (B, T-1, D)."""

    @abstractmethod
    def decode_joints(self, features: Tensor) -> Tensor:
        """Features (..., T, D) to joints (..., T, J, 3)."""

    @abstractmethod
    def mirror(self, features: Tensor) -> Tensor:
        """Features (..., T, D) of the motion with left and right swapped."""

    @cached_property
    def blocks(self) -> dict[str, slice]:
        """Columns of each block by name."""
        ends = list(itertools.accumulate(self.block_sizes.values()))
        return {name: slice(end - size, end) for (name, size), end in zip(self.block_sizes.items(), ends)}

    @property
    def width(self) -> int:
        return sum(self.block_sizes.values())

    def rows(self, frames: int) -> int:
        """Feature rows of a motion of so many frames: rows describe steps, so there is one less."""
        return max(frames - 1, 0)

    def block(self, features: Tensor, name: str) -> Tensor:
        """One block (..., size) of features (..., D)."""
        return features[..., self.blocks[name]]

    def encode(self, motion: Motion, retarget: bool = True, compat: bool = False) -> Tensor:
        """Features (T-1, D) float32 of a motion of T frames, resampled first where its frame rate differs.

        `retarget` and `compat` as for `encode_joints`.

        Raises `DataError` for another skeleton, fewer than two frames, NaN or infinity.
        """
        if motion.skeleton.name != self.skeleton.name:
            raise DataError(f"representation '{self.name}' needs the skeleton '{self.skeleton.name}', "
                            f"the motion has '{motion.skeleton.name}'")
        joints = edit.resample(motion, self.fps).joints / self.skeleton.metres_per_unit
        return self.encode_joints(joints[None], retarget=retarget, compat=compat)[0]

    def decode(self, features: Tensor) -> Motion:
        """The motion, in metres, of raw features (T, D)."""
        features = torch.as_tensor(features)
        if features.ndim != 2:
            raise DataError(f"decode takes the features of one motion (T, {self.width}), got {tuple(features.shape)}")
        joints = self.decode_joints(features.detach().cpu()) * self.skeleton.metres_per_unit
        return Motion(joints, self.fps, self.skeleton)

    def check_width(self, features: Tensor) -> None:
        """Raises `DataError` when the last dimension of features is not this representation's width."""
        if features.ndim < 2 or features.shape[-1] != self.width:
            raise DataError(f"representation '{self.name}' has features (..., T, {self.width}), "
                            f"got {tuple(features.shape)}")
