"""A mixture is drawn by share; each source is walked to its end before it begins again, whatever the batches."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mld.data.order import POOL_BATCHES, ByShare
from mld.data.sampler import BatchSampler

SIZES, SHARES = (40, 13, 7), (0.5, 0.3, 0.2)
PART_OF = np.repeat([0, 1, 2], SIZES)
LENGTHS = np.random.default_rng(0).integers(40, 200, size=60)


def _mixture(batch_size: int = 4, rank: int = 0, world_size: int = 1, seed: int = 1, shares=SHARES) -> BatchSampler:
    order = ByShare(["real", "made", "own"], shares, PART_OF)
    return BatchSampler(LENGTHS, batch_size, seed, True, rank, world_size, order)


def _stream(sampler: BatchSampler):
    while True:
        yield from sampler
        sampler.set_epoch(sampler.epoch + 1)


def _indices(batches) -> list[int]:
    return [index for batch in batches for index, _ in batch]


def test_sources_are_drawn_by_share() -> None:
    sampler = _mixture()
    drawn = Counter(PART_OF[_indices(islice(_stream(sampler), 500))].tolist())
    assert [drawn[part] for part in range(3)] == pytest.approx([1000, 600, 400], abs=4 * POOL_BATCHES)
    epoch = Counter(PART_OF[_indices(_mixture())].tolist())
    assert epoch == {0: 30, 1: 18, 2: 12}, "an epoch has as many items as there are clips, its shares are exact"


@pytest.mark.parametrize("batch_size", [1, 4, 7])
def test_every_clip_of_a_source_comes_once_before_any_comes_again(batch_size: int) -> None:
    """Up to the pool of 16 batches that joins clips of similar length, also over the ends of epochs."""
    sampler = _mixture(batch_size)
    whole = len(sampler) * batch_size
    stream = _indices(islice(_stream(sampler), 40 * len(sampler)))
    counts = np.zeros(60, dtype=int)
    for epoch in range(0, len(stream), whole):
        for pool in range(epoch, epoch + whole, POOL_BATCHES * batch_size):
            counts += np.bincount(stream[pool : min(pool + POOL_BATCHES * batch_size, epoch + whole)], minlength=60)
            assert all(np.ptp(counts[part == PART_OF]) <= 1 for part in range(3))


def test_order_and_seeds_follow_from_seed_and_epoch_alone() -> None:
    first, again, other = _mixture(), _mixture(), _mixture(seed=2)
    list(first)
    for each in (first, again, other):
        each.set_epoch(3)
    assert list(first) == list(again) != list(other)
    ranks = [_mixture(2, rank, 2) for rank in range(2)]
    assert [a + b for a, b in zip(*ranks)] == [batch[::2] + batch[1::2] for batch in _mixture(4)]
    spread = [np.ptp(LENGTHS[[index for index, _ in batch]]) for batch in first]
    assert np.mean(spread) < 80, "batches join clips of similar length"


@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=4),
    st.lists(st.floats(0.01, 9), min_size=4, max_size=4),
    st.integers(0, 5000),
)
def test_counts_grow_one_by_one_and_keep_to_the_shares(sizes: list[int], weights: list[float], items: int) -> None:
    weights = weights[: len(sizes)]
    order = ByShare([str(i) for i in range(len(sizes))], weights, np.repeat(np.arange(len(sizes)), sizes))
    now, then = order.counts(items), order.counts(items + 1)
    assert sum(now) == items
    assert sorted(b - a for a, b in zip(now, then)) == [0] * (len(sizes) - 1) + [1]
    shares = np.array(weights) / sum(weights)
    assert np.abs(np.array(now) - shares * items).max() <= len(sizes)


RUNS = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 3), st.integers(0, 30)), min_size=1, max_size=5)


@settings(deadline=None, max_examples=40)
@given(RUNS)
def test_a_mixture_goes_on_with_other_batches_without_a_clip_too_many_or_too_few(runs: list) -> None:
    """After all these runs the clips of a source that were served differ by at most one time, and the sampler tells
    how many there were of each source."""
    counts, state = np.zeros(60, dtype=int), None
    for batch_size, world_size, used in runs:
        ranks = [_mixture(batch_size, rank, world_size) for rank in range(world_size)]
        for each in ranks:
            if state:
                each.load_state_dict(state)
        state = ranks[0].state_dict(used)
        position = ranks[0].after(used)
        for each in ranks:
            served = _indices(islice(_stream(each), used))
            counts += np.bincount(np.asarray(served, dtype=int), minlength=60)
    assert counts.sum() == position.served == sum(size * world * used for size, world, used in runs)
    assert _mixture().served(position) == {
        name: counts[part == PART_OF].sum() for part, name in enumerate(("real", "made", "own"))
    }
    last = _mixture(1)
    last.load_state_dict(state)
    counts += np.bincount(np.asarray(_indices(last), dtype=int), minlength=60)  # to the end of the epoch
    assert all(np.ptp(counts[part == PART_OF]) <= 1 for part in range(3))


def test_a_share_of_one_clip_is_repeated() -> None:
    order = ByShare(["many", "one"], [0.5, 0.5], np.array([0] * 9 + [1]))
    drawn = Counter(_indices(BatchSampler(np.ones(10), 2, 0, order=order)))
    assert drawn[9] == 5 and all(drawn[index] <= 1 for index in range(9))
