"""Which frames the tokens of an answer cover, by what was given."""

import pytest
import torch

from mld.engine.request import Answer, Request
from mld.engine.ruler import token_ruler
from mld.example import Clip, Text
from mld.motion.motion import Motion
from tests.walking import walker


def answer(frames: int, given: tuple[int, ...], tokens: torch.Tensor) -> Answer:
    prompt = (Text("walk"), *(Clip(joints=walker(length)) for length in given))
    return Answer(Request(prompt, "motion"), Motion(walker(frames), 20.0), tokens=tokens)


@pytest.mark.parametrize(
    ("given", "first", "last"),
    [((), (0, 4, "0"), (8, 10, "2")), ((3,), (3, 7, "0"), (7, 10, "1")), ((5, 2), (1, 5, "0"), (9, 10, "2"))],
)
def test_tokens_start_where_frames_were_made(given, first, last):
    ruler = token_ruler(answer(10, given, torch.arange(5)), 4)
    assert (ruler[0], ruler[-1]) == (first, last)


def test_fewer_tokens_than_frames():
    assert token_ruler(answer(10, (), torch.tensor([7])), 4) == [(0, 4, "7")]


def test_latents_are_numbered():
    assert [label for *_, label in token_ruler(answer(8, (), torch.zeros(2, 16)), 4)] == ["z0", "z1"]


def test_words_have_no_ruler():
    assert token_ruler(Answer(Request((Text("hm"),), "text"), text="a person"), 4) == []
