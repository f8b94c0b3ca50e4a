"""Motion as text: parsing, placeholders, prompts, span corruption (the published cases are in tests/parity)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mld.example import Clip, Text
from mld.models import prompts
from mld.models.families.motiongpt import strings

codes = st.lists(st.integers(0, 31), min_size=1, max_size=40)


@given(codes)
@settings(max_examples=30, deadline=None)
def test_codes_survive_a_string(tokens: list[int]) -> None:
    string = strings.motion_token_to_string(tokens, 32)
    for text in (string, string.replace("><", "> <"), f"so: {string} done"):
        assert strings.motion_string_to_token(text, 32)[0] == tokens


def test_two_halves_make_the_whole() -> None:
    """The published cut loses and doubles nothing."""
    tokens = list(range(30))
    whole = strings.motion_token_to_string(tokens, 32)
    parts = [
        strings.placeholder_fulfill(f"<Motion_Placeholder_{part}>", 120, whole, "", 32) for part in ("s1", "s2")
    ]
    head, rest = (strings.motion_string_to_token(part, 32)[0] for part in parts)
    assert head + rest == tokens and len(head) == 6


@given(st.integers(2, 200), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_span_corruption_can_be_undone(length: int, seed: int) -> None:
    ids = list(range(1000, 1000 + length))
    mask = strings.noise_mask(length, np.random.RandomState(seed))
    assert mask.sum() == np.clip(np.round(length * 0.15), 1, length - 1) and not mask[0]
    shown, told = strings.span_corruption(ids, mask, 99, 1)
    assert shown.pop() == told.pop() == 1
    spans: dict[int, list[int]] = {}
    for token in told:
        spans.setdefault(token, []) if token < 100 else spans[list(spans)[-1]].append(token)
    restored = [back for token in shown for back in (spans[token] if token < 100 else [token])]
    assert restored == ids


CLIP, CAPTION = Clip(), Text("a person walks")
WORDINGS = [
    ((CAPTION,), "motion", None, ["Generate motion: ", "a person walks"]),
    ((CAPTION,), "motion", 80, ["Generate motion with 80 frames: ", "a person walks"]),
    ((CLIP,), "text", None, ["Generate text: ", CLIP]),
    ((CLIP,), "motion", None, ["Predict motion: ", CLIP]),
    ((CLIP,), "motion", 80, ["Predict motion: ", CLIP]),
    ((CLIP, CLIP), "motion", None, ["Complete the masked motion: ", CLIP, CLIP]),
    ((CAPTION, CLIP), "motion", None, ["Predict motion: ", "a person walks", " ", CLIP]),
    ((Text("Dance!", verbatim=True),), "motion", 80, ["Dance!"]),
]


@pytest.mark.parametrize(("prompt", "output", "frames", "wanted"), WORDINGS)
def test_fixed_prompts(prompt, output, frames, wanted) -> None:
    got = prompts.fixed_prompt(prompt, output, frames)
    assert [part.text if isinstance(part, Text) else part for part in got] == wanted
