"""Which frames the tokens of an answer cover, by what was given."""

import pytest
import torch

from mld.engine.request import Answer, Request
from mld.engine.token_spans import token_spans
from mld.example import Text
from mld.models.contracts.tokens import TokenLayout
from mld.motion.motion import Motion
from tests.walking import walker

FOURS = TokenLayout(codebook_size=8, frames_per_token=4)


def answer(frames: int, first: int, tokens: torch.Tensor) -> Answer:
    return Answer(Request((Text("walk"),), "motion"), Motion(walker(frames), 20.0), tokens=tokens, first_frame=first)


@pytest.mark.parametrize(
    ("start", "first", "last"), [(0, (0, 4, "0"), (8, 10, "2")), (3, (3, 7, "0"), (7, 10, "1"))]
)
def test_tokens_start_where_frames_were_made(start, first, last):
    spans = token_spans(answer(10, start, torch.arange(5)), FOURS)
    assert (spans[0], spans[-1]) == (first, last)


def test_fewer_tokens_than_frames():
    assert token_spans(answer(10, 0, torch.tensor([7])), FOURS) == [(0, 4, "7")]


def test_latents_are_numbered():
    assert [label for *_, label in token_spans(answer(8, 0, torch.zeros(2, 16)), FOURS)] == ["z0", "z1"]


def test_words_have_no_spans():
    assert token_spans(Answer(Request((Text("hm"),), "text"), text="a person"), FOURS) == []
