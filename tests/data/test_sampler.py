"""Batches: complete, shuffled, bucketed, fair to every rank, and the same after an interruption."""

import hashlib
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
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


def test_the_order_of_one_source_is_that_of_all_earlier_versions() -> None:
    """A change here would make old runs go on with other clips."""
    sampler = BatchSampler(LENGTHS, 4, 1, True, 1, 2)
    sampler.set_epoch(2)
    both = (sampler, BatchSampler(LENGTHS, 4, 1, False, 1, 2))
    hashes = [hashlib.sha256(repr(list(each)).encode()).hexdigest()[:16] for each in both]
    assert hashes == ["449688bcad4b0694", "4f82348210e63ee5"]


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


def _stream(sampler: BatchSampler, batches: int) -> list[list[tuple[int, int]]]:
    """So many batches, epoch after epoch."""
    found = []
    while True:
        for batch in sampler:
            if len(found) == batches:
                return found
            found.append(batch)
        sampler.set_epoch(sampler.epoch + 1)


def _sampler(lengths, batch_size: int, world_size: int = 1, rank: int = 0, order=None) -> BatchSampler:
    return BatchSampler(lengths, batch_size, 1, True, rank, world_size, order)


def _resumed(sampler: BatchSampler, used: int, batch_size: int, world_size: int) -> list[BatchSampler]:
    """The samplers of all ranks that go on with other batches where `sampler` stands after `used` batches."""
    ranks = [_sampler(sampler.lengths, batch_size, world_size, rank, sampler.order) for rank in range(world_size)]
    for each in ranks:
        each.load_state_dict(sampler.state_dict(used))
    return ranks


@pytest.mark.parametrize(("batch_size", "world_size"), [(8, 1), (4, 2), (4, 1), (16, 1), (8, 3), (1, 4), (48, 1)])
def test_a_run_goes_on_with_another_batch_size_or_number_of_devices(batch_size: int, world_size: int) -> None:
    """240 clips, so that every batch size divides what is left: each clip of the epoch comes exactly once."""
    sampler = _sampler(np.resize(LENGTHS, 240), 8)
    sampler.set_epoch(2)
    before = list(sampler)[:12]
    ranks = _resumed(sampler, 12, batch_size, world_size)
    assert all(each.epoch == 2 for each in ranks)
    rest = [list(each) for each in ranks]
    assert len({len(part) for part in rest}) == 1 and all(len(batch) == batch_size for part in rest for batch in part)
    served = _indices(before) + [index for part in rest for index in _indices(part)]
    assert sorted(served) == list(range(240))
    ranks[0].set_epoch(3)
    fresh = _sampler(sampler.lengths, batch_size, world_size)
    fresh.set_epoch(3)
    assert list(ranks[0]) == list(fresh), "and the next epoch is that of a run that always had these batches"


def test_devices_that_share_the_same_batch_change_nothing() -> None:
    alone = _sampler(LENGTHS, 8)
    used = list(alone)[7:]
    two = _resumed(alone, 7, 4, 2)
    assert [sorted(a + b) for a, b in zip(*map(list, two))] == [sorted(batch) for batch in used]


SIZES = st.tuples(st.integers(1, 9), st.integers(1, 3), st.integers(0, 9))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 150), st.lists(SIZES, min_size=1, max_size=4))
def test_no_clip_of_an_epoch_is_served_twice_or_left_out_however_often_batches_change(clips: int, runs: list) -> None:
    sampler, served, step = _sampler(LENGTHS[:clips], 4), [], 4
    for batch_size, world_size, used in runs:
        ranks = _resumed(sampler, 0, batch_size, world_size)
        step = batch_size * world_size
        used = min(used, len(list(ranks[0])))
        served += [index for each in ranks for index in _indices(list(each)[:used])]
        sampler = ranks[0]
        sampler.load_state_dict(sampler.state_dict(used))
    rest = _resumed(sampler, 0, sampler.batch_size, sampler.world_size)
    served += [index for each in rest for index in _indices(list(each))]
    if clips >= max(4, *(batch_size * world_size for batch_size, world_size, _ in runs)):
        assert len(set(served)) == len(served)
        assert clips - len(served) < step, "but for the last, incomplete batch"


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 60))
def test_positions_add_up(clips: int, first: int, second: int) -> None:
    sampler = _sampler(LENGTHS[:clips], 4)
    whole = _stream(_sampler(LENGTHS[:clips], 4), first + second)
    again = _sampler(LENGTHS[:clips], 4)
    again.position = sampler.after(first)
    assert again.position.served == 4 * first
    assert _stream(again, second) == whole[first:]
    again.position = sampler.after(first)
    assert again.after(second).served == sampler.after(first + second).served


def test_a_million_clips_are_shuffled_at_once_and_cut_when_asked() -> None:
    lengths = np.resize(LENGTHS, 1_000_000)
    start = time.perf_counter()
    tracemalloc.start()
    batches = iter(_sampler(lengths, 32))
    first = next(batches)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(first) == 32 and peak < 200e6
    assert time.perf_counter() - start < 5  # 0.3 s on a slow core that does nothing else
