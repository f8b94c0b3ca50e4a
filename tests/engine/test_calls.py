"""Calls from Python: lists, options of sampling, and one line for what cannot be."""

from __future__ import annotations

import copy

import pytest
import torch

from mld.engine.pipeline import Noted, Pipeline
from mld.errors import ConfigError, DataError, MldError, RequestError
from mld.motion.motion import Motion
from tests.models.tiny import tiny_motiongpt
from tests.walking import walker


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline(tiny_motiongpt().eval())


def test_a_list_gives_a_list(pipeline: Pipeline) -> None:
    """Each motion is the one that its text and seed give alone."""
    made = pipeline.generate(["walk", "a person jumps"], seconds=[1.0, 2.0], seed=[3, 4])
    assert [motion.num_frames for motion in made] == [20, 40]
    alone = pipeline.generate("a person jumps", seconds=2.0, seed=4)
    assert torch.allclose(made[1].joints, alone.joints, atol=1e-5)


def test_sampling_is_set_for_one_call(pipeline: Pipeline) -> None:
    before = copy.deepcopy(pipeline.model.config)
    greedy = [pipeline.generate("walk", seconds=1.0, seed=seed, do_sample=False).joints for seed in (0, 1)]
    assert torch.equal(*greedy)
    drawn = [pipeline.generate("walk", seconds=1.0, seed=seed, temperature=5.0, top_k=0).joints for seed in (0, 1)]
    assert not torch.equal(*drawn)
    assert pipeline.model.config == before


@pytest.mark.parametrize(("call", "kind", "words"), [
    (lambda p: p.generate(5), RequestError, "text: a str or a list of them is needed, not int"),
    (lambda p: p.generate([]), RequestError, "text: a str or a list"),
    (lambda p: p.generate(["a", "b"], seed=[1]), RequestError, "seed: 1 values are given for 2 texts"),
    (lambda p: p.generate("a", seconds="long"), RequestError, "'long' seconds"),
    (lambda p: p.generate("a", temprature=1.0), RequestError, "did you mean 'temperature'"),
    (lambda p: p.generate("a", temperature="hot"), RequestError, "temperature: a number is needed, not 'hot'"),
    (lambda p: p.generate("a", top_p=7.0), ConfigError, "top_p is 7.0"),
    (lambda p: p.describe("walk.npy"), RequestError, "a motion is needed"),
    (lambda p: p.predict(None), RequestError, "a motion is needed"),
    (lambda p: p.answer(None), RequestError, "text: a str"),
    (lambda p: Motion("joints", 20.0), DataError, "joints have to be numbers in an array, not str"),
    (lambda p: Motion(None, 20.0), DataError, "joints have to be an array"),
    (lambda p: Motion(walker(4), None), DataError, "frame rate is None"),
])  # fmt: skip
def test_what_cannot_be_is_one_line(pipeline: Pipeline, call, kind: type[MldError], words: str) -> None:
    with pytest.raises(kind, match=words) as raised:
        call(pipeline)
    assert "\n" not in str(raised.value)


def test_a_motion_is_shown_in_short() -> None:
    import mld.view  # noqa: F401  (as mld.Motion does)

    motion = Motion(walker(40), 20.0)
    assert repr(motion) == "<Motion: 2.00 s, 40 frames at 20 fps, skeleton 'smpl22'>"
    html = motion._repr_html_()
    assert html.startswith("<iframe") and "srcdoc" in html


@pytest.mark.parametrize("call", [
    lambda p: p.run("walk"), lambda p: p.run(["walk"]), lambda p: p.generate("walk", batch_size="x"),
    lambda p: p.generate("walk", batch_size=0), lambda p: Pipeline.load(3), lambda p: Pipeline.load(None),
    lambda p: Motion.load(3), lambda p: Motion.load(None), lambda p: Motion(walker(30), 20).save(None),
])  # fmt: skip
def test_what_is_of_another_type_is_one_line(pipeline: Pipeline, call) -> None:
    """No AttributeError or TypeError out of the inside."""
    with pytest.raises(MldError, match="is needed") as error:
        call(pipeline)
    assert "\n" not in str(error.value)


def test_no_requests_are_no_answers(pipeline: Pipeline) -> None:
    assert pipeline.run([]) == []


def test_words_that_the_model_cannot_read_are_said_and_something_is_made(pipeline: Pipeline) -> None:
    with pytest.warns(Noted, match="never saw 100 % of the letters of the text, '歩く', and") as said:
        made = pipeline.generate(["walk", "歩く"], seconds=1.0)
    assert [motion.num_frames for motion in made] == [20, 20] and len(said) == 1
    assert said[0].filename == __file__, "the place of the call is named"
    with pytest.warns(Noted, match="never saw") as said:
        pipeline.answer("что это?")
    assert said[0].filename == __file__
