"""Motion as latents of a whole clip: what is decoded at which length, and how it is joined to what is given."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mld.engine.pipeline import Pipeline
from mld.engine.request import Request
from mld.errors import RequestError
from mld.example import Clip, Text
from mld.metrics.physical import bone_spread
from mld.motion.motion import Motion
from tests.engine.scripted import LONGEST, Scripted
from tests.walking import walker

WALK = Text("a person walks")


@pytest.fixture
def pipeline() -> Pipeline:
    return Pipeline(Scripted())


@pytest.fixture(scope="module")
def motion() -> Motion:
    return Motion(walker(120, turning=0.01), 20.0)


def run(pipeline: Pipeline, *prompt, frames: int | None = None, seed: int = 0):
    return pipeline.run([Request(tuple(prompt), "motion", frames, seed)])[0]


def test_the_length_is_that_of_the_request_or_the_model(pipeline: Pipeline) -> None:
    requests = [Request((WALK,), "motion", frames, seed) for seed, frames in enumerate((50, None, 7, None))]
    answers = pipeline.run(requests)
    assert [answer.motion.num_frames for answer in answers] == [50, 64, 7, 72]
    assert all(len(answer.features) == answer.motion.num_frames for answer in answers)
    assert [answer.tokens.tolist() for answer in answers] == [[[3.0 + seed] * 2] for seed in range(4)]
    assert [prompt.num_frames for prompt in pipeline.model.calls.prompts] == [50, None, 7, None]


@pytest.mark.parametrize("length", [4, 21, 40])
@pytest.mark.parametrize("wanted", [None, 90])
def test_a_prediction_is_the_rest_as_a_clip_of_its_own(
    pipeline: Pipeline, motion: Motion, length: int, wanted: int | None
) -> None:
    head = pipeline.clip(motion.crop(0, length))
    answer = run(pipeline, WALK, head, frames=wanted)
    whole = wanted or 60
    assert pipeline.model.tokenizer.decoded == [[whole - length]]
    joints = answer.motion.joints
    assert len(joints) == whole == len(answer.features)
    assert torch.equal(joints[:length], head.joints)
    assert torch.equal(answer.features[:length], head.features)
    assert torch.equal(answer.features[length:], pipeline.model.tokenizer.walk[: whole - length])
    assert (joints[length] - joints[length - 1]).norm(dim=-1).max() < 0.3, "no jump where the given frames end"


def test_a_prediction_always_goes_on(motion: Motion) -> None:
    pipeline = Pipeline(Scripted(says=20))
    assert run(pipeline, pipeline.clip(motion.crop(0, 40))).motion.num_frames == 44


def test_published_prediction_decodes_over_the_whole_length(motion: Motion) -> None:
    pipeline = Pipeline(Scripted(compat_prediction=True), bones="clip")
    answer = run(pipeline, pipeline.clip(motion.crop(0, 40)), frames=100)
    assert pipeline.model.tokenizer.decoded == [[100]]
    torch.testing.assert_close(answer.motion.joints, pipeline.representation.decode(answer.features).joints)


def test_evaluation_measures_the_bones_that_the_network_makes(pipeline: Pipeline) -> None:
    """A body that grows by a fifth is one body for users, and what it is for evaluators, joints as well as features."""
    walk = pipeline.model.tokenizer.walk
    positions = pipeline.representation.blocks["joint_positions"]
    walk[:, positions] *= torch.linspace(1.0, 1.2, len(walk))[:, None]
    shown = run(pipeline, WALK, frames=60).motion
    pipeline.bones = "clip"
    measured = run(pipeline, WALK, frames=60)
    torch.testing.assert_close(measured.motion.joints, pipeline.representation.decode(measured.features).joints)
    spread = [bone_spread(motion.joints, motion.skeleton.parents).max() for motion in (shown, measured.motion)]
    assert spread[0] < 1e-4 and spread[1] > 0.01


@pytest.mark.parametrize(("length", "gap", "rest"), [(20, 24, 20), (11, 1, 9), (34, 38, 5)])
def test_an_inbetween_is_the_middle_of_the_whole(
    pipeline: Pipeline, motion: Motion, length: int, gap: int, rest: int
) -> None:
    start = length + gap
    head, tail = pipeline.clip(motion.crop(0, length)), pipeline.clip(motion.crop(start, start + rest))
    answer = run(pipeline, head, dataclasses.replace(tail, start=start))
    assert pipeline.model.tokenizer.decoded == [[start + rest]]
    joints = answer.motion.joints
    assert len(joints) == start + rest
    assert torch.equal(joints[:length], head.joints)
    assert torch.equal(joints[start:], tail.joints)
    assert (joints[1:] - joints[:-1]).norm(dim=-1).max() < 0.4


def test_clips_of_features_alone(pipeline: Pipeline, motion: Motion) -> None:
    features = pipeline.clip(motion).features
    head, tail = Clip(features=features[:42]), Clip(features=features[60:80], start=60)
    torch.testing.assert_close(
        run(pipeline, head, frames=70).motion.joints[:42], pipeline.representation.decode(head.features).joints
    )
    assert run(pipeline, head, tail).motion.num_frames == 80


@pytest.mark.parametrize(
    ("prompt", "frames", "message"),
    [
        ((WALK,), LONGEST + 1, f"{LONGEST + 1} frames are wanted, this model makes at most about {LONGEST}"),
        ((Text("far " * 21),), None, "21 tokens, this model reads at most 20"),
        ((Clip(features=torch.zeros(3, 263)),), None, "3 frames; at least 4"),
        ((Clip(features=torch.zeros(40, 263)),), LONGEST + 41, f"at most about {LONGEST + 40}"),
        ((Clip(tokens=torch.zeros(2, 1, 2), joints=torch.zeros(40, 22, 3)),), 60, "needs its features"),
    ],
)
def test_refusals(pipeline: Pipeline, prompt, frames: int | None, message: str) -> None:
    request = Request(prompt, "motion", frames, name="line 7")
    for serve in (pipeline.check, lambda one: pipeline.run([one])):
        with pytest.raises(RequestError, match=message):
            serve(request)


def test_a_task_that_the_family_lacks(pipeline: Pipeline) -> None:
    with pytest.raises(RequestError, match="not answer with words for words; it does with: motion for words; motion"):
        pipeline.answer("what is this?")
