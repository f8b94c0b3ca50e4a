"""The engine serves families that it does not know: lengths, given frames, one seed one motion, refusals."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mld.engine.pipeline import Pipeline
from mld.engine.request import Request
from mld.engine.token_spans import token_spans
from mld.errors import RequestError
from mld.example import Clip, Reference, Text
from mld.models.contracts.generator import Shape
from mld.models.text_encoders.opening import open_text_encoder
from mld.models.tokenizers.frames import Frames, FramesConfig
from mld.motion.motion import Motion
from mld.motion.normalizer import Normalizer
from tests.families.at_once import AtOnce, AtOnceConfig
from tests.families.fours import Fours, FoursConfig
from tests.families.in_order import InOrder, InOrderConfig
from tests.families.under_prefix import UnderPrefix, UnderPrefixConfig
from tests.models.text_encoding import write_t5
from tests.models.tiny import WIDTH, features, tiny_vqvae
from tests.walking import walker

WALK = Text("a person walks forward.")


def statistics() -> Normalizer:
    generator = torch.Generator().manual_seed(0)
    return Normalizer(torch.randn(WIDTH, generator=generator) * 0.1, torch.full((WIDTH,), 0.1), "fitted")


def in_order() -> InOrder:
    torch.manual_seed(0)
    return InOrder(InOrderConfig(), Fours(FoursConfig(), statistics())).eval()


def at_once() -> AtOnce:
    torch.manual_seed(0)
    return AtOnce(AtOnceConfig(), Frames(FramesConfig(), statistics())).eval()


@pytest.fixture(scope="module")
def under_prefix(tmp_path_factory) -> UnderPrefix:
    text = open_text_encoder(write_t5(tmp_path_factory.mktemp("encoder") / "t5"))
    torch.manual_seed(0)
    return UnderPrefix(UnderPrefixConfig(), tiny_vqvae(), text).eval()


@pytest.fixture(scope="module", params=["in order", "under a prefix", "at once"])
def pipeline(request) -> Pipeline:
    if request.param == "under a prefix":
        return Pipeline(request.getfixturevalue("under_prefix"))
    return Pipeline({"in order": in_order, "at once": at_once}[request.param]())


@pytest.fixture(scope="module")
def walk() -> Motion:
    return Motion(walker(120, turning=0.01), 20.0)


def run(pipeline: Pipeline, *prompt, frames: int | None = None, seed: int = 0):
    return pipeline.run([Request(tuple(prompt), "motion", frames, seed)])[0]


@pytest.mark.parametrize("frames", [1, 4, 33, 120])
def test_generated_length_is_exact(pipeline: Pipeline, frames: int) -> None:
    answer = run(pipeline, WALK, frames=frames)
    layout = pipeline.model.tokenizer.layout
    assert answer.motion.num_frames == frames == len(answer.features)
    assert answer.tokens.shape == (layout.needed(frames), *([layout.channels] if layout.channels else []))
    assert not answer.notes and torch.isfinite(answer.motion.joints).all()


@pytest.mark.parametrize("length", [8, 9, 83])
@pytest.mark.parametrize("wanted", [None, 97])
def test_prediction_keeps_the_given_frames(pipeline: Pipeline, walk: Motion, length: int, wanted: int | None) -> None:
    head = walk.crop(0, length)
    if Shape("motion", 1) not in pipeline.model.answers:
        with pytest.raises(RequestError, match="does not answer with motion for the beginning of a motion"):
            run(pipeline, WALK, pipeline.clip(head), frames=wanted)
        return
    answer = run(pipeline, WALK, pipeline.clip(head), frames=wanted, seed=2)
    joints = answer.motion.joints
    assert torch.equal(joints[:length], head.joints)
    assert len(joints) > length and wanted in (None, len(joints))
    assert token_spans(answer, pipeline.model.tokenizer.layout)[-1][1] == len(joints)


def test_one_seed_one_motion_alone_and_in_a_batch(pipeline: Pipeline, walk: Motion) -> None:
    requests = [Request((Text("go" + " on" * i),), "motion", (None, 24, 41)[i % 3], i) for i in range(6)]
    if Shape("motion", 1) in pipeline.model.answers:
        requests.append(Request((WALK, pipeline.clip(walk)), "motion", 140, 5))
    for one, other in zip(pipeline.run(requests, batch_size=4), pipeline.run(requests, batch_size=1)):
        assert one.motion.num_frames == other.motion.num_frames
        torch.testing.assert_close(one.tokens, other.tokens, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(one.motion.joints, other.motion.joints, atol=1e-4, rtol=1e-4)
    assert not torch.equal(run(pipeline, WALK, frames=24).tokens, run(pipeline, WALK, frames=24, seed=1).tokens)


def test_an_open_length_is_the_models(pipeline: Pipeline) -> None:
    lengths = {run(pipeline, WALK, seed=seed).motion.num_frames for seed in range(6)}
    assert lengths and max(lengths) <= 4 * 41


def test_both_ends_and_a_reference_at_once(walk: Motion) -> None:
    pipeline = Pipeline(at_once())
    head, tail = pipeline.clip(walk.crop(0, 21)), pipeline.clip(walk.crop(44, 62))
    answer = run(pipeline, WALK, head, dataclasses.replace(tail, start=44))
    assert answer.motion.num_frames == 62
    assert torch.equal(answer.motion.joints[:21], head.joints) and torch.equal(answer.motion.joints[-18:], tail.joints)
    assert torch.allclose(answer.features[:21], head.features, atol=1e-4), "given frames stand in the tokens"
    plain, led = run(pipeline, WALK, frames=30), run(pipeline, WALK, Reference(features(25)), frames=30)
    assert led.motion.num_frames == 30 and not torch.allclose(plain.features, led.features, atol=1e-3)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ((Clip(features=features(40)), Clip(features=features(40), start=60)), "motion for both ends"),
        ((WALK, Reference(features(40))), "does not answer with motion for words and a reference"),
        ((WALK, Reference(torch.zeros(40, 251))), "263"),
    ],
)
def test_shapes_that_a_family_does_not_answer(prompt, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        Pipeline(in_order()).run([Request(prompt, "motion")])


def test_a_text_encoder_is_never_in_the_weights(under_prefix: UnderPrefix) -> None:
    assert under_prefix.text.width == under_prefix.prefix.in_features
    names = [*under_prefix.state_dict(), *(name for name, _ in under_prefix.named_parameters())]
    assert names and not any(name.startswith("text") for name in names)
    described = under_prefix.describe()["parts"]["text"]
    assert described["identity"] == under_prefix.text.identity and described["kind"] == "text_encoder"


def test_words_are_refused_by_families_without_words(pipeline: Pipeline, walk: Motion) -> None:
    with pytest.raises(RequestError, match="does not answer with words for a motion; it does with: motion for words"):
        pipeline.describe(walk)
