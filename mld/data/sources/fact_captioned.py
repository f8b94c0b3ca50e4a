"""Clips with sentences of what was measured beside those that they have (`mld/data/fact_captions.py`)."""

from __future__ import annotations

import math
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from mld.data.clips import ClipSource, fingerprint, noted
from mld.data.config import DataConfig
from mld.example import Caption, CaptionedClip

MOST = 16  # different sentences of facts of a clip


class FactCaptionedSource:
    """The clips of `source`, as they are but for their captions: a share of `cfg.fact_captions` of them tells facts.

    So whoever draws a caption draws one of facts that often. A clip's own sentences are repeated where a small share
    asks for it. What else the source knows, as kinds or composed clips, is known here."""

    def __init__(self, source: ClipSource, cfg: DataConfig) -> None:
        from mld.data.fact_cache import measured  # SciPy takes a while to import

        self.source, self.share, self.seed = source, cfg.fact_captions, cfg.fact_seed
        self.name, self.representation, self.fps = source.name, source.representation, source.fps
        self.lengths = source.lengths
        self._measured = measured(source, Path(cfg.fact_cache).expanduser() if cfg.fact_cache else None)
        self._captions: dict[int, tuple[Caption, ...]] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "source":  # not there while an object is being unpickled
            raise AttributeError(name)
        return getattr(self.source, name)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> CaptionedClip:
        clip, told = self.source[index], self.captions(index)
        tokens = tuple(caption.tokens for caption in told) if clip.caption_tokens else ()
        return replace(clip, captions=tuple(caption.text for caption in told), caption_tokens=tokens)

    def num_frames(self, index: int) -> int:
        return int(self.lengths[index])

    def captions(self, index: int) -> tuple[Caption, ...]:
        """The clip's own, then those of facts."""
        index %= len(self)
        if index not in self._captions:
            own = self.source.captions(index)
            facts = self.facts(index)
            self._captions[index] = mixed(own, facts, self.share)
        return self._captions[index]

    def facts(self, index: int) -> tuple[str, ...]:
        """The sentences of facts of clip `index`; none where nothing is beyond doubt."""
        from mld.data.fact_captions import fact_sentences

        own = [caption.text for caption in self.source.captions(index)]
        wanted = MOST if self.share >= 1 else min(MOST, max(1, round(len(own) * self.share / (1 - self.share))))
        return fact_sentences(np.random.default_rng([self.seed, index]), self._measured[index], own, wanted)

    @property
    def fingerprint(self) -> str | None:
        """Of the clips and of how their sentences are made."""
        own = fingerprint(self.source)
        return own and blake2b(repr((own, self.share, self.seed)).encode(), digest_size=16).hexdigest()

    def report(self) -> str:
        told = sum(bool(self.facts(index)) for index in range(len(self)))
        return noted(self.source.report(), f"{told:,} with sentences of facts")


def mixed(own: tuple[Caption, ...], facts: tuple[str, ...], share: float) -> tuple[Caption, ...]:
    """Own sentences and those of facts, each repeated as often as makes `share` of all those of facts."""
    told = tuple(map(Caption, facts))
    if not told or share <= 0:
        return own
    if share >= 1:
        return told
    laps = max(1, math.ceil((1 - share) / share / len(own)))
    wanted = max(1, round(laps * len(own) * share / (1 - share)))
    return own * laps + tuple(told[number % len(told)] for number in range(wanted))


def with_facts(source: ClipSource, cfg: DataConfig, split: str) -> ClipSource:
    """The source, of the train split with sentences of facts where `cfg.fact_captions` asks for them."""
    return FactCaptionedSource(source, cfg) if cfg.fact_captions and split == "train" else source
