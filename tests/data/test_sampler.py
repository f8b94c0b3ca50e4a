"""Batches: complete, shuffled, bucketed, fair to every rank, and the same after an interruption."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mld.data.sampler import BatchSampler
from mld.errors import DataError

LENGTHS = np.random.default_rng(0).integers(40, 200, size=203).tolist()


def _indices(batches: list) -> list[int]:
    return [index for batch in batches for index, _ in batch]


def test_an_epoch_is_shuffled_and_repeats_no_clip() -> None:
    sampler = BatchSampler(LENGTHS, 8, seed=1)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 25 and all(len(batch) == 8 for batch in batches)
    assert len(set(_indices(batches))) == 200
    assert _indices(batches) != sorted(_indices(batches))


def test_epochs_and_seeds_differ_and_are_repeatable() -> None:
    sampler, again, other = (BatchSampler(LENGTHS, 8, seed) for seed in (1, 1, 2))
    first = list(sampler)
    assert first == list(again) == list(sampler) and first != list(other)
    sampler.set_epoch(1)
    assert list(sampler) != first
    seeds = [seed for batch in first for _, seed in batch]
    assert len(set(seeds)) == len(seeds)


def test_batches_join_clips_of_similar_length() -> None:
    spread = [np.ptp([LENGTHS[index] for index, _ in batch]) for batch in BatchSampler(LENGTHS, 8, seed=0)]
    assert np.mean(spread) < 25


def test_a_small_set_is_repeated_to_fill_one_batch() -> None:
    (batch,) = BatchSampler([50, 60, 70], 8, seed=0)
    assert len(batch) == 8 and set(_indices([batch])) == {0, 1, 2}


@given(st.integers(1, 60), st.integers(1, 7), st.integers(1, 5), st.booleans())
def test_ranks_share_an_epoch(clips: int, batch_size: int, world_size: int, train: bool) -> None:
    ranks = [BatchSampler(LENGTHS[:clips], batch_size, 3, train, rank, world_size) for rank in range(world_size)]
    batches = [list(sampler) for sampler in ranks]
    assert {len(part) for part in batches} == {len(ranks[0])}
    assert all(len(batch) <= batch_size for part in batches for batch in part)
    drawn = [index for part in batches for index in _indices(part)]
    if not train:
        assert sorted(drawn) == list(range(clips))
    elif clips >= batch_size * world_size:
        assert len(set(drawn)) == len(drawn) == len(ranks[0]) * batch_size * world_size


def test_evaluation_keeps_the_order_and_is_the_same_every_epoch() -> None:
    sampler = BatchSampler(LENGTHS, 10, seed=0, train=False)
    first = list(sampler)
    assert _indices(first) == list(range(203))
    sampler.set_epoch(5)
    assert list(sampler) == first


@pytest.mark.parametrize("consumed", [0, 1, 24, 25])
def test_an_interrupted_epoch_goes_on_where_it_stopped(consumed: int) -> None:
    sampler = BatchSampler(LENGTHS, 8, seed=1)
    sampler.set_epoch(3)
    whole = list(sampler)
    resumed = BatchSampler(LENGTHS, 8, seed=99)
    resumed.load_state_dict(sampler.state_dict(consumed))
    resumed.set_epoch(3)
    assert list(resumed) == whole[consumed:] and len(resumed) == 25
    resumed.set_epoch(4)
    sampler.set_epoch(4)
    assert list(resumed) == list(sampler)


def test_nothing_to_sample_is_an_error() -> None:
    with pytest.raises(DataError, match="no clip"):
        BatchSampler([], 8, seed=0)
