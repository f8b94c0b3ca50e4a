"""The protocol of an evaluation: which clips count, which caption and crop each replication takes, what numbers mean.

A replication is drawn from its seed and the clip's name alone: order, batches and processes change nothing, and the
real motions, the model's and the controls see the same captions, crops and groups (evaluation spec 7).
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mld.data.cropping import coin_flip_crop
from mld.example import Caption, CaptionedClip
from mld.metrics.joints import Mode

GROUP = 32  # clips in a batch of the published loaders
MULTIMODALITY_SEED = 100_000  # added to the base seed
UNIT = 4  # frames


@dataclass(frozen=True)
class Protocol:
    """captions: a random one of each clip or the first. crop: "coin", to a multiple of four frames, in one of three
    cases four frames less, starting anywhere; or "whole". min_frames, max_frames: clips outside are left out.
    length: "given", a model is told how long the motion is to be where it can be; or "model", it decides. matches:
    "item", only a clip's own caption is right; or "label", that of every clip of its label. seed: replication r has
    seed + r."""

    mode: Mode = "strict"
    captions: Literal["random", "first"] = "random"
    crop: Literal["coin", "whole"] = "coin"
    min_frames: int = 40
    max_frames: int = 199
    length: Literal["given", "model"] = "given"
    matches: Literal["item", "label"] = "item"
    seed: int = 0

    def identity(self, what: str, evaluator: str = "") -> str:
        """One line that says what a number of `what` means. evaluator: name, statistics and fingerprint."""
        crop = f"coin{UNIT}" if self.crop == "coin" else self.crop
        parts = [what, self.mode, f"captions={self.captions}", f"crop={crop}",
                 f"frames={self.min_frames}-{self.max_frames}", f"length={self.length}"]  # fmt: skip
        return "/".join([*parts, f"matches={self.matches}", evaluator] if evaluator else parts)

    def replication_seed(self, replication: int) -> int:
        return self.seed + replication


def split_identity(identity: str) -> tuple[str, str]:
    """A protocol's line as what is measured and how: numbers with the same second part may stand in one table."""
    found = re.search(r"/(?=(strict|upstream)/captions=)", identity)
    return (identity[: found.start()], identity[found.end() :]) if found else (identity, "")


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


@dataclass(frozen=True, eq=False)
class ClipSet:
    """The clips that count, with their numbers in the split, and what was left out: reason -> names."""

    clips: tuple[tuple[int, CaptionedClip], ...]
    left_out: dict[str, list[str]]

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def data_hash(self) -> str:
        """SHA-256 over names and features, first 16 hexadecimal digits."""
        digest = hashlib.sha256()
        for number, clip in self.clips:
            digest.update(f"{number}\n{clip.name}\n{clip.num_frames}\n".encode())
            digest.update(clip.features.contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    @property
    def captions_hash(self) -> str:
        """SHA-256 over captions, their tokens and labels, first 16 hexadecimal digits."""
        digest = hashlib.sha256()
        for _, clip in self.clips:
            for caption in captions_of(clip):
                digest.update(f"{caption.text}#{' '.join(caption.tokens)}\n".encode())
            digest.update(f"{clip.label}\n\n".encode())
        return digest.hexdigest()[:16]

    def captions(self) -> list[Caption]:
        """All captions, each once."""
        return list(dict.fromkeys(caption for _, clip in self.clips for caption in captions_of(clip)))

    @property
    def labelled(self) -> bool:
        return any(clip.label for _, clip in self.clips)

    def same(self, matches: str) -> Tensor:
        """Numbers (N,) that are equal where clips match each other; a clip without label matches itself only."""
        names = [clip.label if matches == "label" and clip.label else f"\0{number}" for number, clip in self.clips]
        place = {name: i for i, name in enumerate(dict.fromkeys(names))}
        return torch.tensor([place[name] for name in names])


def usable(clips: Sequence[CaptionedClip], protocol: Protocol) -> ClipSet:
    """The clips that can be measured: of the protocol's lengths, finite, with a caption that is not empty."""
    kept, left_out = [], {}
    for number, clip in enumerate(clips):
        reason = _unusable(clip, protocol)
        if reason:
            left_out.setdefault(reason, []).append(clip.name)
        else:
            kept.append((number, _without_empty(clip)))
    return ClipSet(tuple(kept), left_out)


def draw(clips: ClipSet, protocol: Protocol, seed: int) -> list[Item]:
    """The items of the replication with this seed, in the order of the split."""
    return [_item(number, clip, protocol, seed) for number, clip in clips.clips]


def by_length(items: Sequence[Item]) -> list[int]:
    """Places of the items, shortest first: neighbours make batches without much padding."""
    return sorted(range(len(items)), key=lambda i: (items[i].clip.num_frames, i))


def item_seed(seed: int, name: str, repeat: int = 0) -> int:
    """What a model answers by: depends on the replication's seed and the clip, not on its place."""
    return zlib.crc32(f"{seed}/{repeat}/{name}".encode())


def captions_of(clip: CaptionedClip) -> list[Caption]:
    tokens = clip.caption_tokens or ((),) * len(clip.captions)
    return [Caption(text, words) for text, words in zip(clip.captions, tokens)]


def _item(number: int, clip: CaptionedClip, protocol: Protocol, seed: int) -> Item:
    rng = np.random.default_rng([seed, zlib.crc32(clip.name.encode())])
    choices = captions_of(clip)
    caption = choices[int(rng.integers(len(choices)))] if protocol.captions == "random" else choices[0]
    start, stop = 0, clip.num_frames
    if protocol.crop == "coin":
        start, stop = coin_flip_crop(clip.num_frames, UNIT, rng)
    cropped = replace(clip, features=clip.features[start:stop], tokens=None)
    return Item(number, cropped, caption, item_seed(seed, clip.name), start)


def _unusable(clip: CaptionedClip, protocol: Protocol) -> str:
    if not protocol.min_frames <= clip.num_frames <= protocol.max_frames:
        return f"not {protocol.min_frames} to {protocol.max_frames} frames long"
    if not clip.features.isfinite().all():
        return "with NaN or infinite features"
    if not any(_has_words(caption) for caption in captions_of(clip)):
        return "without a caption"
    return ""


def _without_empty(clip: CaptionedClip) -> CaptionedClip:
    kept = [caption for caption in captions_of(clip) if _has_words(caption)]
    tokens = tuple(caption.tokens for caption in kept) if clip.caption_tokens else ()
    return replace(clip, captions=tuple(caption.text for caption in kept), caption_tokens=tokens)


def _has_words(caption: Caption) -> bool:
    return bool(caption.text.strip() or caption.tokens)
