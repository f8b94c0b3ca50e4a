"""Pairs of motions: one that is given, and what follows on it with its words. Training of streams needs them.

Beside the clips of a source there are clips that begin with another motion (`CaptionedClip.history`). A source may know
such stretches of its own clips (`composed`: two actions in a row, of which the second has words of its own); the other
pairs are joined: a stretch of one clip, unchanged, and all of another, placed behind it and blended, rotations
included (`mld/motion/joining`). Which clips, and where they are cut, follows from `pair_seed` and the number of the
pair alone; they are joined when they are first asked for, and kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Protocol, runtime_checkable

import numpy as np

from mld.data.balance import JOINED, kinds_of
from mld.data.clips import ClipSource, duration, fingerprint, histories, noted
from mld.data.config import DataConfig
from mld.data.sources.joined import JoinedClips
from mld.data.sources.joints_captions import encode_motions
from mld.example import Caption, CaptionedClip
from mld.motion.joining import behind
from mld.motion.motion import Motion
from mld.motion.representations.registry import get_representation

TO_THE_END = 0.5  # share of given motions that last to the end of their clip; the others stop anywhere


@dataclass(frozen=True)
class Composed:
    """A clip of a source in which one thing follows another: from frame `switch` on it is told by `captions`."""

    index: int
    switch: int
    captions: tuple[Caption, ...]
    label: str = ""


@runtime_checkable
class Composing(Protocol):
    """A source that knows of clips with a second part."""

    def composed(self) -> list[Composed]: ...


@dataclass(frozen=True)
class Pair:
    """Frames [start, stop) of clip `given`, then clip `index`: all of it, or where both are the same what is left."""

    given: int
    start: int
    stop: int
    index: int
    own: Composed | None = None

    @property
    def history(self) -> int:
        return self.stop - self.start


class PairedSource(JoinedClips):
    """The clips of `source`, and after them the pairs. Of a split that is trained on."""

    def __init__(self, source: ClipSource, cfg: DataConfig) -> None:
        self.pairs = list(draw_pairs(source, cfg))
        super().__init__(source, [_rows(pair, source) for pair in self.pairs])

    def _told(self, number: int) -> tuple[Caption, ...]:
        pair = self.pairs[number]
        return pair.own.captions if pair.own else self.source.captions(pair.index)

    @property
    def fingerprint(self) -> str | None:
        """Of the clips of the source and of how they are joined."""
        own = fingerprint(self.source)
        return own and blake2b(repr((own, self.pairs)).encode(), digest_size=16).hexdigest()

    @property
    def histories(self) -> np.ndarray:
        return np.concatenate([histories(self.source), [pair.history for pair in self.pairs]]).astype(np.int64)

    def kinds(self, by: str) -> list[str]:
        """Those of the source's clips; the pairs are of one kind."""
        return [*kinds_of(self.source, by), *[JOINED] * len(self.pairs)]

    def report(self) -> str:
        known = sum(pair.own is not None for pair in self.pairs)
        frames = self.lengths[self.first :]
        note = f"{len(self.pairs):,} pairs, {duration(frames, self.fps)}: {known:,} as they are, the others joined"
        return noted(self.source.report(), note)

    def _make(self, numbers: range) -> Iterator[CaptionedClip]:
        joined = [number for number in numbers if self.pairs[number].own is None]
        rows = dict(zip(joined, encode_motions([self._joined(self.pairs[n]) for n in joined], self._features)))
        for number in numbers:
            pair = self.pairs[number]
            after, name = self.source[pair.index], self.source[pair.given].name
            told = self._told(number)
            yield replace(
                after,
                name=f"pair_{number:05d}_{name}" + ("" if pair.own else f"_{after.name}"),
                features=after.features[pair.start :] if pair.own else rows[number],
                captions=tuple(caption.text for caption in told),
                caption_tokens=tuple(caption.tokens for caption in told) if told[0].tokens else (),
                label=pair.own.label if pair.own else after.label,
                history=pair.history,
                reference=None,
            )

    def _joined(self, pair: Pair) -> Motion:
        """With the rotations of both clips, where both have such."""
        before, after = self.source[pair.given].features[pair.start : pair.stop], self.source[pair.index].features
        return behind(self._motion(before), self._motion(after))


def with_pairs(source: ClipSource, cfg: DataConfig, split: str) -> ClipSource:
    """The source, of the train split with pairs where `cfg.pairs` asks for them."""
    return PairedSource(source, cfg) if cfg.pairs and split == "train" else source


def draw_pairs(source: ClipSource, cfg: DataConfig) -> Iterator[Pair]:
    """Pairs that make up a share of `cfg.pairs` of all clips, the source's own first. Fewer where clips are too long
    or too short to be joined."""
    wanted, unit = round(len(source) * cfg.pairs / (1 - cfg.pairs)), cfg.unit_length
    least, most = (frames // unit * unit for frames in cfg.pair_frames)
    least = max(least, unit)
    lengths = source.lengths
    own = [pair for pair in _own(source, unit, least, most) if lengths[pair.index] - pair.start <= cfg.max_frames]
    rng = np.random.default_rng([cfg.pair_seed, len(own)])
    yield from (own[i] for i in np.sort(rng.permutation(len(own))[:wanted]))
    before = np.flatnonzero(lengths >= least)
    after = np.flatnonzero((lengths <= cfg.max_frames - least) & (lengths >= unit))
    if not len(before) or not len(after):
        return
    for number in range(wanted - len(own)):
        rng = np.random.default_rng([cfg.pair_seed, len(own), number])
        given, index = int(rng.choice(before)), int(rng.choice(after))
        longest = min(most, cfg.max_frames - int(lengths[index]), int(lengths[given]))
        history = int(rng.integers(least // unit, longest // unit + 1)) * unit
        spare = int(lengths[given]) - history
        start = spare if rng.random() < TO_THE_END else int(rng.integers(spare + 1))
        yield Pair(given, start, start + history, index)


def _rows(pair: Pair, source: ClipSource) -> int:
    if pair.own:
        return int(source.lengths[pair.index]) - pair.start
    return get_representation(source.representation).rows(pair.history + int(source.lengths[pair.index]))


def _own(source: ClipSource, unit: int, least: int, most: int) -> Iterator[Pair]:
    """The pairs that the clips of a source are, the given motion cut to its last `most` frames."""
    for composed in source.composed() if isinstance(source, Composing) else ():
        stop = composed.switch // unit * unit
        start = max(0, stop - most)
        if stop - start >= least and source.lengths[composed.index] - stop >= unit:
            yield Pair(composed.index, start, stop, composed.index, composed)
