"""Lengths of time in words, said and read."""

import pytest

from mld.durations import spoken


@pytest.mark.parametrize(
    ("seconds", "digits", "words"),
    [(0.1, "0.5 seconds", "half a second"), (1.1, "1 second", "one second"), (1.74, "1.5 seconds",
     "one and a half seconds"), (3.93, "4 seconds", "four seconds"), (4.25, "4.5 seconds", "four and a half seconds"),
     (20.2, "20 seconds", "twenty seconds"), (21.0, "21 seconds", "21 seconds")],
)  # fmt: skip
def test_seconds_are_said_to_the_nearest_half(seconds: float, digits: str, words: str) -> None:
    assert (spoken(seconds), spoken(seconds, words=True)) == (digits, words)
