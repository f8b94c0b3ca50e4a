"""Composed clips: two or three clips one after the other as one, with sentences that say the order.

Whole clips are joined, since their words are true of the whole; short ones are preferred, and those that go over into
each other (`mld/data/seams.py`). Which ones follows from `compose_seed` and the number of the clip alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from hashlib import blake2b

import numpy as np

from mld.data.balance import JOINED, draw_weights, kinds_of
from mld.data.clips import ClipSource, duration, fingerprint, noted
from mld.data.config import DataConfig
from mld.data.seams import FRAMES, Seams
from mld.data.sequence_captions import in_order
from mld.data.sources.joined import JoinedClips
from mld.data.sources.joints_captions import encode_motions
from mld.data.sources.pairs import Composed, Composing
from mld.example import Caption, CaptionedClip
from mld.motion.joining import behind
from mld.motion.representations.registry import get_representation

THREE = 0.35  # share of three clips among the composed ones
WORDINGS = 4  # of a composed clip
PREFERENCE = 1.0  # a clip is taken in inverse proportion to its length to the power of this
TRIES = 96
CANDIDATES = 12  # of those that fit, so many are compared by their seams
SMOOTH = 0.6  # metres: the first one below it is taken, else the best


@dataclass(frozen=True)
class Sequence:
    """Clips of the source in their order, and the row at which each begins."""

    clips: tuple[int, ...]
    starts: tuple[int, ...]
    rows: int


class ComposedSource(JoinedClips):
    """The clips of `source`, and after them the composed ones; alone: these and not the source's."""

    def __init__(self, source: ClipSource, cfg: DataConfig, alone: bool = False) -> None:
        self.sequences = draw_sequences(source, cfg)
        self._seed = cfg.compose_seed
        super().__init__(source, [each.rows for each in self.sequences], alone)
        if alone:
            self.name = "composed"

    def _told(self, number: int) -> tuple[Caption, ...]:
        sentences = [[caption.text for caption in self.source.captions(i)] for i in self.sequences[number].clips]
        rng = np.random.default_rng([self._seed, number, 1])
        return tuple(Caption(text) for text in in_order(rng, sentences, WORDINGS))

    @property
    def fingerprint(self) -> str | None:
        """Of the clips of the source and of how they are joined."""
        own = fingerprint(self.source)
        told = (own, self._seed, self.first, self.sequences)
        return own and blake2b(repr(told).encode(), digest_size=16).hexdigest()

    def kinds(self, by: str) -> list[str]:
        """Those of the source's clips; the composed ones are of one kind."""
        own = list(kinds_of(self.source, by)) if self.first else []
        return own + [JOINED] * len(self.sequences)

    def composed(self) -> list[Composed]:
        """What the source knows of, and the composed clips: their last part has words of its own."""
        known = self.source.composed() if self.first and isinstance(self.source, Composing) else []
        return known + [
            Composed(self.first + number, each.starts[-1], self.source.captions(each.clips[-1]))
            for number, each in enumerate(self.sequences)
        ]

    def report(self) -> str:
        if not self.first:
            return f"{self.name}: {len(self):,} clips, {duration(self.lengths, self.fps)}"
        note = f"{len(self.sequences):,} composed clips, {duration(self.lengths[self.first :], self.fps)}"
        return noted(self.source.report(), note)

    def _make(self, numbers: range) -> Iterator[CaptionedClip]:
        clips = [[self.source[i] for i in self.sequences[number].clips] for number in numbers]
        motions = [reduce(behind, [self._motion(clip.features) for clip in parts]) for parts in clips]
        for number, parts, rows in zip(numbers, clips, encode_motions(motions, self._features), strict=True):
            labels = [clip.label for clip in parts]
            shares = [clip.text_share for clip in parts if clip.text_share is not None]
            counted = [clip.supervised for clip in parts if clip.supervised is not None]
            yield CaptionedClip(
                name=f"composed_{number:05d}_" + "_".join(clip.name.replace("/", "-") for clip in parts),
                features=rows,
                captions=tuple(caption.text for caption in self._told(number)),
                fps=self.fps,
                label=", then ".join(labels) if all(labels) else "",
                text_share=min(shares, default=None),
                supervised=frozenset.intersection(*counted) if counted else None,
            )


def with_composed(source: ClipSource, cfg: DataConfig, split: str) -> ClipSource:
    """The source, of the train split with composed clips where `cfg.compose` asks for them."""
    return ComposedSource(source, cfg) if cfg.compose and split == "train" else source


def draw_sequences(source: ClipSource, cfg: DataConfig) -> list[Sequence]:
    """Sequences that make up a share of `cfg.compose` of all clips; none where clips are too long to be joined."""
    lengths, rows_of = source.lengths, get_representation(source.representation).rows
    possible = np.flatnonzero((lengths <= cfg.max_frames - lengths.min()) & (lengths >= FRAMES))
    if len(possible) < 2:
        return []
    seams = Seams(source, possible.tolist())
    weights = draw_weights(source, cfg.balance)[possible] / lengths[possible] ** PREFERENCE
    weights = weights / weights.sum()
    found = []
    for number in range(round(len(source) * cfg.compose / (1 - cfg.compose))):
        rng = np.random.default_rng([cfg.compose_seed, number])
        parts = 3 if rng.random() < THREE else 2
        drawn = possible[rng.choice(len(possible), size=(TRIES, 3), p=weights)]
        one = _smoothest(drawn[:, :parts], lengths, cfg.max_frames, seams)
        one = _smoothest(drawn[:, :2], lengths, cfg.max_frames, seams) if one is None else one
        if one is not None:
            ends = np.cumsum(lengths[list(one)]).tolist()
            found.append(Sequence(one, (0, *ends[:-1]), rows_of(ends[-1])))
    return found


def _smoothest(drawn: np.ndarray, lengths: np.ndarray, longest: int, seams: Seams) -> tuple[int, ...] | None:
    """Of the rows that fit, the first whose seams are smooth, else the best of them; none where none fits."""
    fitting = [row.tolist() for row in drawn if lengths[row].sum() <= longest and len(set(row.tolist())) == len(row)]
    best: tuple[float, tuple[int, ...]] | None = None
    for row in fitting[:CANDIDATES]:
        cost = seams.cost(row)
        if best is None or cost < best[0]:
            best = cost, tuple(row)
        if cost < SMOOTH:
            break
    return best and best[1]
