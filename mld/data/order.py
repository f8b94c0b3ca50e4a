"""Which clips an epoch of training draws, before they are put into batches.

`EveryClip`: all clips of one source, shuffled anew each time. `ByShare`: a mixture, an endless row of clips in which
each source comes as often as its share says and is walked in permutations of its own: every clip of it once before any
comes again. An epoch is a stretch of that row. The sampler joins clips of similar length out of 16 batches; beyond
them it keeps the row. `Balanced` does the same with kinds of clips in the place of sources. All follow from a seed and
a position alone, and nothing is remembered between epochs.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from fractions import Fraction
from math import floor
from typing import Protocol

import numpy as np

POOL_BATCHES = 16  # out of so many batches, clips of similar length are joined
WALK_BLOCK = 2**13  # a source of fewer clips walks through as many laps at a time as make up this number


class Order(Protocol):
    """What the sampler asks. names: of the sources of a mixture, empty for one source; part_of: (N,) which of them
    each clip is from. whole: items of an epoch as planned when it began; items: those of it that were served."""

    size: int
    names: tuple[str, ...]
    part_of: np.ndarray

    def end(self, whole: int, items: int, step: int) -> int:
        """How many items the epoch has when it goes on after `items` in batches of `step`; `whole` if it began so."""
        ...

    def draw(self, seed: int, rng: np.random.Generator, start: int, whole: int, end: int) -> np.ndarray:
        """Indices of clips, at least `end`. The first `whole` are the epoch as planned, the others what it takes
        besides when the batch size changed on the way. start: items of all epochs before."""
        ...

    def shuffle(self, rng: np.random.Generator, batches: int) -> np.ndarray:
        """The order in which so many batches of an epoch are served."""
        ...

    def counts(self, items: int) -> list[int]:
        """How many of the first `items` of a training are from each of `names`."""
        ...


class EveryClip:
    """All clips once an epoch but for the last, incomplete batch; a set smaller than a batch is repeated to fill it."""

    names: tuple[str, ...] = ()

    def __init__(self, size: int) -> None:
        self.size = size
        self.part_of = np.zeros(size, dtype=np.int64)

    def end(self, whole: int, items: int, step: int) -> int:
        return items + (max(self.size, whole) - items) // step * step

    def draw(self, seed: int, rng: np.random.Generator, start: int, whole: int, end: int) -> np.ndarray:
        return np.resize(rng.permutation(self.size), max(self.size, whole))

    def shuffle(self, rng: np.random.Generator, batches: int) -> np.ndarray:
        return rng.permutation(batches)

    def counts(self, items: int) -> list[int]:
        return []


class Balanced:
    """Sources drawn by share, and within each its kinds of clips by shares of their own. part_of, kind_of: (N,) the
    source and the kind of each clip, kinds of two sources have two numbers; kind_shares: (K,) of all that is drawn."""

    def __init__(
        self, names: Sequence[str], part_of: np.ndarray, kind_of: np.ndarray, kind_shares: np.ndarray
    ) -> None:
        self.names, self.part_of, self.size = tuple(names), np.asarray(part_of), len(part_of)
        there, kind_of = np.unique(kind_of, return_inverse=True)  # a kind of which no clip is used has no share
        self._kinds = ByShare([f"kind {kind}" for kind in there], kind_shares[there].tolist(), kind_of)
        first = np.unique(kind_of, return_index=True)[1]
        self._part_of_kind = self.part_of[first]

    def end(self, whole: int, items: int, step: int) -> int:
        return self._kinds.end(whole, items, step)

    def draw(self, seed: int, rng: np.random.Generator, start: int, whole: int, end: int) -> np.ndarray:
        return self._kinds.draw(seed, rng, start, whole, end)

    def shuffle(self, rng: np.random.Generator, batches: int) -> np.ndarray:
        return self._kinds.shuffle(rng, batches)

    def counts(self, items: int) -> list[int]:
        if not self.names:
            return []
        return np.bincount(self._part_of_kind, self._kinds.counts(items), len(self.names)).astype(int).tolist()


class ByShare:
    """Sources drawn by share. names, shares: of each source. part_of: (N,) the source of each clip."""

    def __init__(self, names: Sequence[str], shares: Sequence[float], part_of: np.ndarray) -> None:
        self.size = len(part_of)
        self.names = tuple(names)
        self.part_of = np.asarray(part_of)
        self._clips = [np.flatnonzero(self.part_of == part) for part in range(len(self.names))]
        exact = [Fraction(share) for share in shares]
        self._shares = [share / sum(exact) for share in exact]

    def end(self, whole: int, items: int, step: int) -> int:
        return items + -(-max(0, whole - items) // step) * step

    def draw(self, seed: int, rng: np.random.Generator, start: int, whole: int, end: int) -> np.ndarray:
        return np.concatenate([self._row(seed, start, start + whole), self._row(seed, start + whole, start + end)])

    def shuffle(self, rng: np.random.Generator, batches: int) -> np.ndarray:
        return np.argsort(np.arange(batches) // POOL_BATCHES + rng.random(batches))

    def counts(self, items: int) -> list[int]:
        """How many of the first `items` are from each source: item i of a source is due at (i - 1/2) / share, and
        items come as they are due (Webster's apportionment). It never falls as items grow, and sums to `items`."""
        half = Fraction(1, 2)
        counts = [floor(share * max(0, items - len(self._shares)) + half) for share in self._shares]
        while sum(counts) < items:
            due = [(count + half) / share for count, share in zip(counts, self._shares)]
            counts[due.index(min(due))] += 1
        return counts

    def _row(self, seed: int, start: int, stop: int) -> np.ndarray:
        """The items from `start` to `stop` (not in it) of the training."""
        ranges = list(zip(self.counts(start), self.counts(stop)))
        due = [(np.arange(*span) + 0.5) / float(share) for span, share in zip(ranges, self._shares)]
        walks = [self._walk(seed, part, *span) for part, span in enumerate(ranges)]
        return np.concatenate(walks)[np.argsort(np.concatenate(due), kind="stable")]

    def _walk(self, seed: int, part: int, first: int, last: int) -> np.ndarray:
        """Items `first` to `last` of one source's endless walk of permutations. Laps of a small source are drawn many
        at a time."""
        clips = self._clips[part]
        laps = max(1, WALK_BLOCK // len(clips))
        block = laps * len(clips)
        drawn = [np.empty(0, dtype=np.int64)]
        for number in range(first // block, -(-last // block)):
            rng = np.random.default_rng([seed, number, zlib.crc32(self.names[part].encode()), 1])
            walk = rng.permuted(np.broadcast_to(clips, (laps, len(clips))), axis=1).ravel()
            drawn.append(walk[max(0, first - number * block) : last - number * block])
        return np.concatenate(drawn)
