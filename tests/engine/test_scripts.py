"""Motions that are told other words on the way, many of them through few places."""

from __future__ import annotations

import pytest
import torch

from mld.engine.pipeline import Pipeline
from mld.engine.streaming.script import Script, perform
from mld.errors import RequestError
from mld.example import Clip, Text
from mld.motion.representations.registry import get_representation
from tests.models.tiny_streamer import tiny_streamer
from tests.walking import walker

WALK, SIT = "a person walks", "someone sits down"
CLOSE = {"atol": 2e-5, "rtol": 1e-4}


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline(tiny_streamer(), bones="clip")


def script(*parts: tuple[str, int], seed: int = 0, given: torch.Tensor | None = None) -> Script:
    before = () if given is None else (Clip(features=given),)
    lengths = tuple(length for _, length in parts)
    return Script((*before, *(Text(text) for text, _ in parts)), "motion", sum(lengths), seed, "", lengths)


def test_a_script_is_what_a_stream_gives_that_is_told_the_same(pipeline: Pipeline) -> None:
    (made,) = perform(pipeline.batcher, [script((WALK, 12), (SIT, 10), seed=3)])
    with pipeline.stream(WALK, seed=3) as stream:
        chunks = [next(stream) for _ in range(3)]
        stream.say(SIT)
        chunks += [next(stream) for _ in range(3)]
    want = torch.cat([chunk.features for chunk in chunks])[:22]
    torch.testing.assert_close(made.features, want, **CLOSE)
    assert made.starts == (0, 12) and made.motion.num_frames == 22
    assert [(c.start, c.stop, c.text) for c in made.captions] == [(0.0, 0.4, WALK), (0.4, 22 / 30, SIT)]


def test_a_text_begins_with_the_first_token_after_the_one_before(pipeline: Pipeline) -> None:
    (made,) = perform(pipeline.batcher, [script((WALK, 5), (SIT, 6), (WALK, 1))])
    assert made.starts == (0, 8, 16) and len(made.features) == 17


def test_how_far_it_is_is_told(pipeline: Pipeline) -> None:
    told: list[tuple[int, int]] = []
    scripts = [script((WALK, 8), (SIT, 8)), script((WALK, 4))]
    perform(pipeline.batcher, scripts, 1, lambda frames, texts: told.append((frames, texts)))
    assert told == [(4, 1), (8, 2), (12, 2), (16, 2), (20, 3)]


def test_few_places_and_many_scripts_in_order(pipeline: Pipeline) -> None:
    """Of different lengths, so that they end at different times; each is what it is alone."""
    scripts = [script((WALK, 8 + 4 * i), (SIT, 30 - 5 * i), seed=i) for i in range(5)]
    together = perform(pipeline.batcher, scripts, together=2)
    assert not pipeline.batcher.sessions
    for one, made in zip(scripts, together):
        torch.testing.assert_close(perform(pipeline.batcher, [one])[0].features, made.features, **CLOSE)
        assert made.request is one


def test_a_given_motion_stays_in_front(pipeline: Pipeline) -> None:
    given = get_representation("motion272").encode_joints(walker(30)[None])[0]
    (made,) = perform(pipeline.batcher, [script((SIT, 20), given=given)])
    assert made.starts == (30,) and made.first_frame == 30 and len(made.features) == 50
    assert torch.equal(made.features[:30], given)
    (other,) = perform(pipeline.batcher, [script((SIT, 20))])
    assert (other.features - made.features[30:]).abs().max() > 1e-3


def test_a_script_that_fails_frees_its_places(pipeline: Pipeline) -> None:
    with pytest.raises(RequestError, match="prompt is empty"):
        perform(pipeline.batcher, [script((WALK, 8)), script((WALK, 4), ("  ", 4))])
    assert not pipeline.batcher.sessions
