"""The coin-flip crop keeps whole units, and gives up one more in a third of the cases."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mld.data.cropping import coin_flip_crop, random_stretch, window_crop


@given(st.integers(1, 300), st.integers(1, 16), st.integers(0, 2**32))
def test_a_crop_lies_inside_and_is_whole_units(frames: int, unit: int, seed: int) -> None:
    start, stop = coin_flip_crop(frames, unit, np.random.default_rng(seed))
    assert 0 <= start < stop <= frames
    if frames < unit:
        assert (start, stop) == (0, frames)
    else:
        assert (stop - start) % unit == 0 and stop - start >= max(unit, frames - 2 * unit + 1 if unit < 10 else 0)


def test_one_third_loses_a_further_unit_and_every_start_occurs() -> None:
    rng = np.random.default_rng(0)
    crops = [coin_flip_crop(43, 4, rng) for _ in range(3000)]
    shorter = sum(stop - start == 36 for start, stop in crops) / len(crops)
    assert abs(shorter - 1 / 3) < 0.03
    assert {start for start, stop in crops if stop - start == 40} == {0, 1, 2, 3}


def test_long_units_are_never_given_up() -> None:
    rng = np.random.default_rng(0)
    assert {stop - start for start, stop in (coin_flip_crop(45, 10, rng) for _ in range(50))} == {40}


def test_a_window_is_random_inside_a_long_clip_and_the_whole_of_a_short_one() -> None:
    rng = np.random.default_rng(0)
    assert {window_crop(66, 64, rng) for _ in range(100)} == {(0, 64), (1, 65), (2, 66)}
    assert window_crop(40, 64, rng) == (0, 40)


def test_a_stretch_is_anywhere_and_of_any_length_that_is_long_enough() -> None:
    rng = np.random.default_rng(0)
    drawn = {random_stretch(6, 4, rng) for _ in range(200)}
    assert drawn == {(0, 4), (1, 5), (2, 6), (0, 5), (1, 6), (0, 6)}
    assert random_stretch(3, 4, rng) == (0, 3)
