"""Clips that are made of those of another source by joining motions; made when first asked for, and kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from mld.data.clips import ClipSource, Problem, recordings
from mld.example import Caption, CaptionedClip
from mld.motion.motion import Motion
from mld.motion.representations.base import Representation
from mld.motion.representations.registry import get_representation

BLOCK = 32  # clips that are joined together


class JoinedClips(ABC):
    """The clips of `source`, and after them those that are joined. alone: these and not the source's.

    A class says which there are (`_rows` of each, (M,)) and makes them (`_make`)."""

    def __init__(self, source: ClipSource, rows: Sequence[int], alone: bool = False) -> None:
        self.source, self.name = source, source.name
        self.representation, self.fps = source.representation, source.fps
        self._features: Representation = get_representation(source.representation)
        self.first = 0 if alone else len(source)
        own = source.lengths[: self.first]
        self.lengths = np.concatenate([own, np.asarray(rows, dtype=np.int64)]).astype(np.int64)
        self._made: dict[int, CaptionedClip] = {}

    @abstractmethod
    def _make(self, numbers: range) -> Iterator[CaptionedClip]:
        """The joined clips of these numbers, counted from the first joined one."""

    @abstractmethod
    def _told(self, number: int) -> tuple[Caption, ...]:
        """The sentences of joined clip `number`."""

    @property
    def problems(self) -> list[Problem]:
        return self.source.problems if self.first else []

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> CaptionedClip:
        number = self._number(index)
        if number < 0:
            return self.source[number + self.first]
        if number not in self._made:
            start = number - number % BLOCK
            block = range(start, min(start + BLOCK, len(self) - self.first))
            self._made.update(zip(block, self._make(block), strict=True))
        return self._made[number]

    def num_frames(self, index: int) -> int:
        return int(self.lengths[index])

    def captions(self, index: int) -> tuple[Caption, ...]:
        number = self._number(index)
        return self.source.captions(number + self.first) if number < 0 else self._told(number)

    def recordings(self) -> Iterator[Tensor]:
        """Those of the source: statistics are not taken of what was joined."""
        return recordings(self.source) if self.first else iter(())

    def _number(self, index: int) -> int:
        """Which joined clip; below 0, one of the source, counted from its end."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)}")
        return index % len(self) - self.first

    def _motion(self, features: Tensor) -> Motion:
        """With rotations where the columns have those of a body."""
        return self._features.decode(features)
