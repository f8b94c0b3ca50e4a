"""Batches of (index, seed): shuffled, of similar length, the same number on every rank, resumable in mid-epoch.

The order and every item's seed follow from (seed, epoch) alone, so batches do not depend on the number of workers, and
an interrupted epoch goes on exactly where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from mld.errors import DataError

Item = tuple[int, int]
POOL_BATCHES = 16
MAX_SEED = 2**62


class BatchSampler(Sampler[list[Item]]):
    """Index batches of one rank.

    lengths: one number per clip; batches of training join clips of similar length (from pools of 16 shuffled batches),
    unless all are alike. Training drops the last incomplete batch of the epoch (a small set is repeated to fill one);
    evaluation (`train=False`) keeps the order of the source and gives every clip to exactly one rank. All ranks get the
    same number of batches, so one of an evaluation rank may be empty when clips are fewer than ranks * batches.
    """

    def __init__(
        self, lengths: Sequence[int], batch_size: int, seed: int, train: bool = True, rank: int = 0, world_size: int = 1
    ) -> None:
        if not len(lengths):
            raise DataError("there is no clip to make batches of")
        self.lengths = np.asarray(lengths)
        self.batch_size, self.seed, self.train = batch_size, seed, train
        self.rank, self.world_size = rank, world_size
        self.epoch = 0
        self._consumed = 0

    def __len__(self) -> int:
        """Batches in a whole epoch, also after resuming in the middle of one."""
        if self.train:
            return max(1, len(self.lengths) // (self.batch_size * self.world_size))
        per_rank = -(-len(self.lengths) // self.world_size)
        return -(-per_rank // self.batch_size)

    def __iter__(self) -> Iterator[list[Item]]:
        batches = self._train_batches() if self.train else self._eval_batches()
        return iter(batches[self._consumed :])

    def set_epoch(self, epoch: int) -> None:
        """Start `epoch` from its first batch; the epoch that was resumed goes on where it stopped."""
        if epoch != self.epoch:
            self.epoch, self._consumed = epoch, 0

    def state_dict(self, consumed: int) -> dict[str, int]:
        """Where training stands after `consumed` batches of the epoch (loaders fetch ahead: the caller counts)."""
        return {"epoch": self.epoch, "consumed": consumed, "seed": self.seed}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from a saved state; the seed is part of it."""
        self.epoch, self._consumed, self.seed = state["epoch"], state["consumed"], state["seed"]

    def _train_batches(self) -> list[list[Item]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        step = self.batch_size * self.world_size
        order = np.resize(rng.permutation(len(self.lengths)), len(self) * step)
        if self.lengths.min() < self.lengths.max():
            pool = step * POOL_BATCHES
            pools = [order[i : i + pool] for i in range(0, len(order), pool)]
            order = np.concatenate([part[np.argsort(self.lengths[part], kind="stable")] for part in pools])
        batches = order.reshape(-1, step)[rng.permutation(len(self))]
        seeds = rng.integers(MAX_SEED, size=batches.shape)
        return [
            list(zip(batch[self.rank :: self.world_size].tolist(), seed[self.rank :: self.world_size].tolist()))
            for batch, seed in zip(batches, seeds)
        ]

    def _eval_batches(self) -> list[list[Item]]:
        seeds = np.random.default_rng([self.seed]).integers(MAX_SEED, size=len(self.lengths))
        mine = np.arange(self.rank, len(self.lengths), self.world_size)
        return [list(zip(part.tolist(), seeds[part].tolist())) for part in np.array_split(mine, len(self))]
