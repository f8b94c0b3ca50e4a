"""Replications: which caption and crop of each clip, in which order and groups.

A replication is drawn from its seed and the clip's name alone: order, batches and processes change nothing, and the
real motions, the model's and the controls see the same captions, crops and groups (evaluation spec 7).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from mld.data.cropping import coin_flip_crop
from mld.evaluation.clips import ClipSet, captions_of
from mld.evaluation.protocol import Protocol
from mld.example import Caption, CaptionedClip
from mld.metrics.embeddings import shuffled

GROUP = 32  # clips in a batch of the published loaders


@dataclass(frozen=True, eq=False)
class Item:
    """One clip in one replication: its number in the split, cropped, with the caption drawn and a seed to answer by.

    start: the first frame of the crop."""

    number: int
    clip: CaptionedClip
    caption: Caption
    seed: int
    start: int = 0

    def prompt(self) -> CaptionedClip:
        """The clip as a model is asked about it: with the drawn caption only."""
        return replace(self.clip, captions=(self.caption.text,), caption_tokens=())

    @property
    def crop(self) -> tuple[int, int, int]:
        """Which frames of which clip it is."""
        return self.number, self.start, self.clip.num_frames


@dataclass(frozen=True, eq=False)
class Replication:
    """One draw of a split."""

    clips: ClipSet
    protocol: Protocol
    seed: int

    @cached_property
    def items(self) -> list[Item]:
        return draw(self.clips, self.protocol, self.seed)

    @cached_property
    def ids(self) -> Tensor:
        """Numbers (N,) of the clips in the split."""
        return torch.tensor([item.number for item in self.items])

    @cached_property
    def labels(self) -> Tensor:
        """Numbers (N,) that are equal where clips match each other."""
        return self.clips.same(self.protocol.matches)

    @cached_property
    def counted(self) -> Tensor:
        """Places (P,) of the items that count in distances between sets: all, or those of whole groups in the order in
        which R-precision groups them."""
        if not self.protocol.whole_groups:
            return torch.arange(len(self.items))
        return shuffled(len(self.items), self.seed)[: len(self.items) // GROUP * GROUP].sort().values

    @property
    def crops(self) -> str:
        """What the crops depend on."""
        return "whole" if self.protocol.crop == "whole" else f"{self.protocol.cropping}/{self.seed}"

    def next(self) -> Replication:
        """The draw of the next seed: the spread of real motions is measured against its crops."""
        return replace(self, seed=self.seed + 1)


def draw(clips: ClipSet, protocol: Protocol, seed: int) -> list[Item]:
    """The items of the replication with this seed, in the order of the split."""
    return [_item(number, clip, protocol, seed) for number, clip in clips.clips]


def by_length(items: Sequence[Item]) -> list[int]:
    """Places of the items, shortest first: neighbours make batches without much padding."""
    return sorted(range(len(items)), key=lambda i: (items[i].clip.num_frames, i))


def item_seed(seed: int, name: str, repeat: int = 0) -> int:
    """What a model answers by: depends on the replication's seed and the clip, not on its place."""
    return zlib.crc32(f"{seed}/{repeat}/{name}".encode())


def _item(number: int, clip: CaptionedClip, protocol: Protocol, seed: int) -> Item:
    rng = np.random.default_rng([seed, zlib.crc32(clip.name.encode())])
    choices = captions_of(clip)
    caption = choices[int(rng.integers(len(choices)))] if protocol.captions == "random" else choices[0]
    start, stop = 0, clip.num_frames
    if protocol.crop == "coin":
        start, stop = coin_flip_crop(clip.num_frames, protocol.unit, rng)
    cropped = replace(clip, features=clip.features[start:stop], tokens=None)
    return Item(number, cropped, caption, item_seed(seed, clip.name), start)
