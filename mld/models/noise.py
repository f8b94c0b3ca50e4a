"""Random numbers for the rows of a batch: a generator per row, so that no answer depends on the rows beside it."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import torch
from torch import Tensor

from mld.padding import padded

FIRST = 64  # uniform numbers drawn at first


class RowNoise:
    """seeds: one per row. A draw depends on the row's seed and on the number of the draw alone."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self.seeds = tuple(seeds)
        self._uniform = torch.empty(len(self.seeds), 0, dtype=torch.float64)

    def uniform(self, number: int) -> Tensor:
        """Draw `number` (from 0) of every row: (B,) float64 in [0, 1)."""
        if number >= self._uniform.shape[1]:
            count = max(FIRST, 2 * number)  # a longer draw begins with the shorter one's numbers
            rows = [torch.rand(count, generator=_generator(seed), dtype=torch.float64) for seed in self.seeds]
            self._uniform = torch.stack(rows)
        return self._uniform[:, number]

    def normal(self, number: int | Sequence[int], shape: Sequence[int]) -> Tensor:
        """Standard normal numbers (B, *shape) float32 of draw `number` of every row, or of a number for each."""
        numbers = [number] * len(self.seeds) if isinstance(number, int) else number
        pairs = zip(self.seeds, numbers, strict=True)
        return torch.stack([torch.randn(*shape, generator=_generator(seed, draw)) for seed, draw in pairs])

    def normal_rows(self, number: int, counts: Sequence[int], width: int) -> Tensor:
        """As `normal`, but row i has `counts[i]` vectors: (B, L, width) float32, zeros behind the end of a row."""
        rows = zip(self.seeds, counts, strict=True)
        return padded([torch.randn(count, width, generator=_generator(seed, number)) for seed, count in rows])[0]

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows alone."""
        self.seeds = tuple(self.seeds[row] for row in rows.tolist())
        self._uniform = self._uniform[rows.cpu()]


def _generator(seed: int, number: int = 0) -> torch.Generator:
    """The row's own generator for draw 0, one that follows from both numbers for any later draw."""
    if number:
        digest = blake2b(f"{seed}/{number}".encode(), digest_size=8).digest()
        seed = int.from_bytes(digest, "little") >> 1
    return torch.Generator().manual_seed(seed)
