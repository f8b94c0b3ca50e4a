"""Batches of (index, seed): shuffled, of similar length, the same number on every rank, resumable at any item.

The order and every item's seed follow from (seed, epoch) alone, so batches do not depend on the number of workers. It
is an order of items: a batch of all ranks together is the next stretch of it. So a run that goes on with another batch
size or number of devices serves what is left of its epoch, each clip once, and only the next epoch is put into batches
anew. An epoch is kept as arrays and cut into batches when they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace

import numpy as np
from torch.utils.data import Sampler

from mld.data.order import POOL_BATCHES, EveryClip, Order
from mld.errors import DataError

Item = tuple[int, int]
MAX_SEED = 2**62


@dataclass(frozen=True)
class Position:
    """How far a training is. items: served of this epoch, to all ranks. group: items in a batch of all ranks when the
    epoch began: its order was made for them. start: items of all epochs before."""

    epoch: int = 0
    items: int = 0
    group: int = 0
    start: int = 0

    @property
    def served(self) -> int:
        """Items since the training began."""
        return self.start + self.items


class BatchSampler(Sampler[list[Item]]):
    """Index batches of one rank.

    lengths: one number per clip; batches of training join clips of similar length (from pools of 16 shuffled batches),
    unless all are alike. order: which clips an epoch of training draws; none for every clip. Without it, training drops
    the last incomplete batch of the epoch (a small set is repeated to fill one); with it, what does not fill a batch
    comes first in the next epoch. Evaluation (`train=False`) keeps the order of the source and gives every clip to
    exactly one rank. All ranks get the same number of batches, so one of an evaluation rank may be empty when clips are
    fewer than ranks * batches.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        seed: int,
        train: bool = True,
        rank: int = 0,
        world_size: int = 1,
        order: Order | None = None,
    ) -> None:
        if not len(lengths):
            raise DataError("there is no clip to make batches of")
        self.lengths = np.asarray(lengths)
        self.batch_size, self.seed, self.train = batch_size, seed, train
        self.rank, self.world_size = rank, world_size
        self.order = order or EveryClip(len(self.lengths))
        self.step = batch_size * world_size
        self.position = Position(group=self.step)

    @property
    def epoch(self) -> int:
        return self.position.epoch

    def __len__(self) -> int:
        """Batches in a whole epoch, also after resuming in the middle of one."""
        if self.train:
            return self._planned(self.step) // self.step
        per_rank = -(-len(self.lengths) // self.world_size)
        return -(-per_rank // self.batch_size)

    def __iter__(self) -> Iterator[list[Item]]:
        return self._train_batches(self.position) if self.train else self._eval_batches()

    def set_epoch(self, epoch: int) -> None:
        """Start `epoch` from its first batch; the epoch that was resumed goes on where it stopped."""
        if epoch != self.epoch:
            self.position = self._start_of(epoch)

    def after(self, batches: int) -> Position:
        """Where training stands when so many batches have been used since `position`."""
        position, beyond = self.position, batches - self._left(self.position)
        if beyond > 0:
            epochs = (beyond - 1) // len(self)
            position = self._start_of(position.epoch + 1 + epochs)
            batches = beyond - epochs * len(self)
        return replace(position, items=position.items + batches * self.step)

    def served(self, position: Position) -> dict[str, int]:
        """How many of the items served until `position` are from each source of a mixture; empty for one source."""
        if not self.order.names:
            return {}
        indices, _ = self._sequence(position)
        now = np.bincount(self.order.part_of[indices[: position.items]], minlength=len(self.order.names))
        return dict(zip(self.order.names, (np.asarray(self.order.counts(position.start)) + now).tolist()))

    def state_dict(self, consumed: int) -> dict[str, int]:
        """Where training stands after `consumed` batches since `position`, counted in items (loaders fetch ahead: the
        caller counts the batches)."""
        return {**asdict(self.after(consumed)), "seed": self.seed}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from a saved state; the seed is part of it, batch size and ranks are not."""
        self.seed = state["seed"]
        position = Position(*(state[field.name] for field in fields(Position)))
        self.position = position if position.items else replace(position, group=self.step)

    def _planned(self, group: int) -> int:
        """Items of an epoch that begins with batches of `group`."""
        return max(1, self.order.size // group) * group

    def _end(self, position: Position) -> int:
        """Items of the epoch of `position`, which goes on from there in batches of `step`."""
        return self.order.end(self._planned(position.group), position.items, self.step)

    def _left(self, position: Position) -> int:
        return (self._end(position) - position.items) // self.step

    def _start_of(self, epoch: int) -> Position:
        whole = len(self) * self.step
        if epoch <= self.epoch:
            return Position(epoch, 0, self.step, epoch * whole)
        start = self.position.start + self._end(self.position) + (epoch - self.epoch - 1) * whole
        return Position(epoch, 0, self.step, start)

    def _sequence(self, position: Position) -> tuple[np.ndarray, np.ndarray]:
        """Indices and seeds of all items of the epoch of `position`, those served before included."""
        group, whole, end = position.group, self._planned(position.group), self._end(position)
        rng = np.random.default_rng([self.seed, position.epoch])
        drawn = self.order.draw(self.seed, rng, position.start, whole, end)
        batches = self._bucketed(drawn[:whole], group * POOL_BATCHES).reshape(-1, group)
        batches = batches[self.order.shuffle(rng, len(batches))]
        seeds = rng.integers(MAX_SEED, size=len(drawn))
        return np.concatenate([batches.ravel(), drawn[whole:]])[:end], seeds[:end]

    def _bucketed(self, order: np.ndarray, pool: int) -> np.ndarray:
        """Each `pool` of items sorted by length."""
        if self.lengths.min() == self.lengths.max():
            return order
        full = len(order) // pool * pool
        parts = [part for part in (order[:full].reshape(-1, pool), order[None, full:]) if part.size]
        sorts = [np.argsort(self.lengths[part], axis=1, kind="stable") for part in parts]
        return np.concatenate([np.take_along_axis(part, by, axis=1).ravel() for part, by in zip(parts, sorts)])

    def _train_batches(self, position: Position) -> Iterator[list[Item]]:
        indices, seeds = self._sequence(position)
        for first in range(position.items, len(indices), self.step):
            mine = slice(first + self.rank, first + self.step, self.world_size)
            yield list(zip(indices[mine].tolist(), seeds[mine].tolist()))

    def _eval_batches(self) -> Iterator[list[Item]]:
        seeds = np.random.default_rng([self.seed]).integers(MAX_SEED, size=len(self.lengths))
        mine = np.arange(self.rank, len(self.lengths), self.world_size)
        for part in np.array_split(mine, len(self)):
            yield list(zip(part.tolist(), seeds[part].tolist()))
