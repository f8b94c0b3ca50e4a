"""Requests that no model can serve are refused in one line, whatever the family, and before any work is done."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from mld.engine.checks import check_clip, check_request, frames_in, in_words
from mld.engine.pipeline import Pipeline
from mld.engine.request import Request
from mld.errors import RequestError
from mld.example import Clip, Text
from mld.models.contracts.generator import Shape
from mld.models.contracts.tokens import TokenLayout
from mld.motion.representations.registry import get_representation
from tests.models.tiny import features, tiny_motiongpt, tiny_motiongpt3

WALK = Request((Text("a person walks"),), "motion", 20)
COLUMNS = get_representation("humanml3d")
CODES = TokenLayout(codebook_size=8, frames_per_token=4)
VECTORS = TokenLayout(channels=3, tokens_per_clip=1)


@pytest.fixture(scope="module", params=[tiny_motiongpt, tiny_motiongpt3])
def pipeline(request) -> Pipeline:
    return Pipeline(request.param())


@pytest.mark.parametrize("seed", [0, -1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63)])
def test_every_seed_of_a_generator_gives_one_motion(pipeline: Pipeline, seed: int) -> None:
    alone = pipeline.run([dataclasses.replace(WALK, seed=seed)])[0].motion.joints
    among = pipeline.run([WALK, dataclasses.replace(WALK, seed=seed)])[1].motion.joints
    assert torch.allclose(alone, among, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 2**64}, "from -2^63 to 2^64 - 1"), ({"seed": -(2**63) - 1}, "the seed -9223372036854775809"),
        ({"seed": 1.5}, "the seed 1.5"), ({"seed": None}, "the seed None"), ({"seed": True}, "the seed True"),
        ({"num_frames": 20.5}, "20.5 frames are wanted; that has to be a whole number"),
        ({"num_frames": 0}, "at least 1 is needed"), ({"output": "motoin"}, "did you mean 'motion'"),
        ({"prompt": (Text(None),)}, "None is no text"), ({"prompt": (Text("a\udcff"),)}, "write it in UTF-8"),
        ({"prompt": (Text("  "),)}, "the prompt is empty"), ({"prompt": ()}, "the prompt is empty"),
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused(pipeline: Pipeline, changes: dict, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        pipeline.run([WALK, dataclasses.replace(WALK, **changes)])
    assert message in str(caught.value).replace("**", "^") and "\n" not in str(caught.value)


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf, "3", True])
def test_what_is_no_length_is_refused(pipeline: Pipeline, seconds) -> None:
    with pytest.raises(RequestError, match="seconds is wanted; give a number above 0"):
        pipeline.generate("a person walks", seconds=seconds)


def test_frames_of_seconds() -> None:
    assert [frames_in(seconds, 20.0) for seconds in (0.03, 0.05, 1, 2.524)] == [1, 1, 20, 50]
    for seconds, why in ((1e300, "more than anything"), (1e8, "more than"), (1e-9, "no frame"), (5e-324, "no frame")):
        with pytest.raises(RequestError, match=f"a length of {seconds:g} s .*{why}".replace("+", "[+]")):
            frames_in(seconds, 20.0)


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_holds_a_request(pipeline: Pipeline, size: int) -> None:
    with pytest.raises(RequestError, match=f"batch_size {size}"):
        pipeline.run([WALK], batch_size=size)


@pytest.mark.parametrize(
    ("layout", "tokens", "message"),
    [
        (CODES, torch.tensor([0.0, 1.0]), r"codes \(L,\) from 0 to 7, the motion has torch.float32 \(2,\)"),
        (CODES, torch.zeros(2, 3, dtype=torch.long), r"codes \(L,\) from 0 to 7"),
        (CODES, torch.tensor([0, 8]), "from 0 to 7, the motion has 0 to 8"),
        (CODES, torch.tensor([-1, 7]), "from 0 to 7, the motion has -1 to 7"),
        (CODES, torch.zeros(0, dtype=torch.long), "no tokens"),
        (VECTORS, torch.zeros(1, 3, dtype=torch.long), r"vectors \(1, 3\), the motion has torch.int64"),
        (VECTORS, torch.zeros(2, 3), r"vectors \(1, 3\)"),
        (VECTORS, torch.zeros(1, 4), r"vectors \(1, 3\)"),
        (VECTORS, torch.full((1, 3), math.nan), "NaN"),
    ],
)
def test_tokens_of_another_model_are_refused(layout: TokenLayout, tokens, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        check_clip(Clip(tokens=tokens), COLUMNS, layout)


@pytest.mark.parametrize(("layout", "tokens"), [(CODES, torch.tensor([0, 7])), (VECTORS, torch.zeros(1, 3))])
def test_tokens_of_the_model_are_taken(layout: TokenLayout, tokens) -> None:
    clip = Clip(tokens=tokens)
    assert check_request(Request((clip,), "text"), COLUMNS, layout) == (clip,)


@pytest.mark.parametrize(
    ("joints", "message"),
    [
        (torch.zeros(7, 22, 3), "features of 40 frames and joints of 7"),
        (torch.zeros(40, 5, 3), r"joints \(T, 22, 3\) are needed, the motion has \(40, 5, 3\)"),
        (torch.zeros(40, 3), r"joints \(T, 22, 3\)"),
        (torch.full((40, 22, 3), math.inf), "NaN or infinity"),
    ],
)
def test_joints_are_those_of_the_features(joints, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        check_clip(Clip(features=features(40), joints=joints), COLUMNS, CODES)


def test_a_refused_reference_is_named_in_words() -> None:
    assert in_words(Shape("text", 0, True)) == "words for words and a reference"
    assert in_words(Shape("motion", 1)) == "motion for the beginning of a motion"
    assert in_words(Shape("text", 1)) == "words for a motion"
