"""The clips that count in an evaluation, what was left out and why, and what makes a set of clips the same set."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from mld.example import Caption, CaptionedClip


@dataclass(frozen=True, eq=False)
class ClipSet:
    """The clips that count, with their numbers in the split, and what was left out: reason -> names."""

    clips: tuple[tuple[int, CaptionedClip], ...]
    left_out: dict[str, list[str]]

    def __len__(self) -> int:
        return len(self.clips)

    @cached_property
    def data_hash(self) -> str:
        """SHA-256 over names and features, first 16 hexadecimal digits."""
        digest = hashlib.sha256()
        for number, clip in self.clips:
            digest.update(f"{number}\n{clip.name}\n{clip.num_frames}\n".encode())
            digest.update(clip.features.contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    @cached_property
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

    def without(self, refused: Callable[[CaptionedClip], str]) -> ClipSet:
        """Without the clips for which `refused` gives a reason."""
        kept, left_out = [], {reason: list(names) for reason, names in self.left_out.items()}
        for number, clip in self.clips:
            reason = refused(clip)
            if reason:
                left_out.setdefault(reason, []).append(clip.name)
            else:
                kept.append((number, clip))
        return ClipSet(tuple(kept), left_out)


def usable(clips: Iterable[CaptionedClip], shortest: int = 40, longest: int = 199) -> ClipSet:
    """The clips that can be measured: of so many frames, finite, with a caption that is not empty."""
    known = ClipSet(tuple(enumerate(clips)), {}).without(lambda clip: _unusable(clip, shortest, longest))
    return replace(known, clips=tuple((number, _without_empty(clip)) for number, clip in known.clips))


def captions_of(clip: CaptionedClip) -> list[Caption]:
    tokens = clip.caption_tokens or ((),) * len(clip.captions)
    return [Caption(text, words) for text, words in zip(clip.captions, tokens)]


def _unusable(clip: CaptionedClip, shortest: int, longest: int) -> str:
    if not shortest <= clip.num_frames <= longest:
        return f"not {shortest} to {longest} frames long"
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
