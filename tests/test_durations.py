"""Lengths of time in words, said and read."""

import pytest

from mld.durations import spoken, told


@pytest.mark.parametrize(
    ("seconds", "digits", "words"),
    [(0.1, "0.5 seconds", "half a second"), (1.1, "1 second", "one second"), (1.74, "1.5 seconds",
     "one and a half seconds"), (3.93, "4 seconds", "four seconds"), (4.25, "4.5 seconds", "four and a half seconds"),
     (20.2, "20 seconds", "twenty seconds"), (21.0, "21 seconds", "21 seconds")],
)  # fmt: skip
def test_seconds_are_said_to_the_nearest_half(seconds: float, digits: str, words: str) -> None:
    assert (spoken(seconds), spoken(seconds, words=True)) == (digits, words)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("a person walks forward for four seconds", 4.0), ("Walks forward for 4 seconds.", 4.0),
     ("someone sits down in 2.5 seconds", 2.5), ("a man runs for two and a half seconds", 2.5),
     ("a man waves  for twenty sec", 20.0), ("a person jumps up and down for about 3 seconds!", 3.0),
     ("someone kicks in half a second", 0.5), ("a person walks while waving for one second", 1.0)],
)  # fmt: skip
def test_a_text_tells_how_long_it_lasts(text: str, seconds: float) -> None:
    assert told(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["a person walks forward", "for four seconds", "walks for 4 seconds then sits down",
     "walks, then sits for 4 seconds",
     "walks to a chair and sits for two seconds", "walks for 2 seconds, waves for 3 seconds",
     "for 3 seconds a man runs",
     "a person starts to run in 3 seconds", "a person waits for a second", "runs for some seconds", "runs 4 seconds",
     "walks forward for four meters", "walks for 0 seconds", "walks for thirty seconds", "walks for 1.2.3 seconds",
     "stands after 3 seconds", "a person walks. A person sits for 3 seconds", "walks for -3 seconds", ""],
)  # fmt: skip
def test_what_may_mean_something_else_tells_nothing(text: str) -> None:
    assert told(text) is None
