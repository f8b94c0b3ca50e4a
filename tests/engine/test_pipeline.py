"""The pipeline with each family: requests of every task, lengths, given frames, one-line refusals."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import tasks
from mld.engine.pipeline import Pipeline
from mld.engine.request import Request
from mld.errors import RequestError
from mld.evaluation.task import Setting
from mld.example import CaptionedClip, Clip, Text
from mld.models.contracts.generator import Shape
from mld.motion.carry import on_skeleton
from mld.motion.motion import Motion
from tests.models.tiny import features, tiny_motiongpt, tiny_motiongpt3
from tests.walking import walker

WALK = Text("a person walks forward.")


FAMILIES = {"motiongpt": tiny_motiongpt, "motiongpt3": tiny_motiongpt3}


@pytest.fixture(scope="module", params=FAMILIES)
def pipeline(request) -> Pipeline:
    return Pipeline(FAMILIES[request.param]())


@pytest.fixture(scope="module")
def walk() -> Motion:
    return Motion(walker(120, turning=0.01), 20.0)


def run(pipeline: Pipeline, *prompt, frames: int | None = None, output: str = "motion", seed: int = 0):
    return pipeline.run([Request(tuple(prompt), output, frames, seed)])[0]


@pytest.mark.parametrize("frames", [1, 4, 33, 120])
def test_generated_length_is_exact(pipeline: Pipeline, frames: int) -> None:
    answer = run(pipeline, WALK, frames=frames)
    assert answer.motion.num_frames == frames == len(answer.features)
    assert answer.complete and not answer.notes
    assert len(answer.tokens) == pipeline.model.tokenizer.layout.needed(frames)
    assert torch.isfinite(answer.motion.joints).all()


def test_methods(pipeline: Pipeline, walk: Motion) -> None:
    made = pipeline.generate("a person walks", seconds=3, seed=1)
    assert made.num_frames == 60 and made.fps == 20
    assert torch.equal(made.joints, pipeline.generate("a person walks", seconds=3, seed=1).joints)
    assert isinstance(pipeline.describe(walk), str)
    assert isinstance(pipeline.answer("How many seconds would this take? a person walks"), str)
    assert pipeline.predict(walk, seconds=7).num_frames == 140
    assert pipeline.inbetween(walk.crop(0, 50), walk.crop(70, 120), seconds=7).num_frames == 140


@pytest.mark.parametrize("length", [8, 9, 10, 11, 83])
@pytest.mark.parametrize("wanted", [None, 90, 97])
def test_prediction_keeps_the_given_frames(pipeline: Pipeline, walk: Motion, length: int, wanted: int | None) -> None:
    head = walk.crop(0, length)
    answer = run(pipeline, pipeline.clip(head), frames=wanted, seed=2)
    joints = answer.motion.joints
    assert torch.equal(joints[:length], head.joints)
    assert len(joints) > length and wanted in (None, len(joints))
    assert (joints[length] - joints[length - 1]).norm(dim=-1).max() < 0.3, "no jump where the given frames end"


@pytest.mark.parametrize(("length", "gap", "rest"), [(20, 24, 20), (21, 23, 18), (11, 1, 9), (34, 38, 5)])
def test_inbetween_keeps_both_ends(pipeline: Pipeline, walk: Motion, length: int, gap: int, rest: int) -> None:
    start = length + gap
    head, tail = pipeline.clip(walk.crop(0, length)), pipeline.clip(walk.crop(start, start + rest))
    answer = run(pipeline, head, dataclasses.replace(tail, start=start))
    joints = answer.motion.joints
    assert len(joints) == length + gap + rest
    assert torch.equal(joints[:length], head.joints) and torch.equal(joints[-rest:], tail.joints)


def test_clips_of_features_alone(pipeline: Pipeline) -> None:
    head, tail = Clip(features=features(42)), Clip(features=features(20, 1), start=60)
    predicted = run(pipeline, head, frames=70).motion.joints
    torch.testing.assert_close(predicted[:42], pipeline.representation.decode(head.features).joints)
    assert run(pipeline, head, tail).motion.num_frames == 80


def test_the_head_is_encoded_without_its_future(pipeline: Pipeline) -> None:
    """The answer to a head depends on the head alone: what follows it does not leak in through the tokenizer, as it
    would if the whole clip were encoded (spec 5.4)."""
    setting = Setting(pipeline.representation, pipeline.model.tokenizer.layout.unit)
    whole = features(80)
    clips = [torch.cat((whole[:16] * head, whole[16:] * rest)) for head, rest in ((1, 1), (1, -3), (-3, 1))]
    requests = [tasks.find("pred").request(CaptionedClip("x", rows, ("walks",), 20.0), setting) for rows in clips]
    first, other_future, other_head = (answer.tokens for answer in pipeline.run(requests, batch_size=1))
    assert torch.equal(first, other_future) and not torch.equal(first, other_head)


def test_answers_do_not_depend_on_batches(pipeline: Pipeline, walk: Motion) -> None:
    """One seed, one motion, alone and beside others; codes are equal to the last, latents to rounding."""
    clip = pipeline.clip(walk)
    requests = [Request((Text("go" + " on" * (i % 3)),), "motion", (None, 24, 40)[i % 3], i) for i in range(7)]
    requests += [Request((clip,), "text", seed=i) for i in range(2)] + [Request((clip,), "motion", 140, 5)]
    requests += [Request((Text("What is" + " it" * i),), "text", seed=i) for i in range(2)]
    together, alone = pipeline.run(requests, batch_size=4), pipeline.run(requests, batch_size=1)
    for request, a, b in zip(requests, together, alone):
        assert a.request is request and a.text == b.text
        assert a.tokens is b.tokens is None or torch.allclose(a.tokens.double(), b.tokens.double(), atol=1e-5)
        assert request.output == "text" or a.motion.num_frames == b.motion.num_frames
        assert request.output == "text" or torch.allclose(a.motion.joints, b.motion.joints, atol=1e-4)
    assert not torch.equal(together[0].tokens, pipeline.run([dataclasses.replace(requests[0], seed=9)])[0].tokens)


def test_steps_are_told_and_can_end_the_work(pipeline: Pipeline) -> None:
    requests, told = [Request((Text("go"),), "motion", 24, seed) for seed in range(3)], []
    pipeline.run(requests, on_step=told.append)
    assert sum(told) == 3 and len(told) > 1

    def enough(_: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        pipeline.run(requests, on_step=enough)


def test_lengths_in_words_are_kept() -> None:
    """A length that the text names, where the family reads it; the request's own length comes first."""
    pipeline = Pipeline(tiny_motiongpt3())
    for text, frames in (("walk for 72 frames", 72), ("jump, 3 seconds long", 60), ("run for 2.5 seconds", 50)):
        assert run(pipeline, Text(text)).motion.num_frames == frames
        assert run(pipeline, Text(text), frames=33).motion.num_frames == 33
    assert 80 <= run(pipeline, WALK, seed=3).motion.num_frames <= 200
    too_long = run(pipeline, Text("a person walks for 9000 frames"))
    assert too_long.motion.num_frames == pipeline.model.tokenizer.layout.longest
    assert "9000 frames" in too_long.notes[0]


def test_unconstrained_answers_never_fail() -> None:
    """Whatever an untrained model writes, there is a motion, and a note where it was mended."""
    pipeline = Pipeline(tiny_motiongpt())
    pipeline.model.config.motion_generation.constrain = False
    pipeline.model.config.motion_generation.max_length = 20
    answers = pipeline.run([Request((WALK,), "motion", 40, seed) for seed in range(6)])
    assert all(answer.motion.num_frames == 40 for answer in answers)
    assert any(answer.notes for answer in answers)


def test_running_leaves_training_mode_alone(pipeline: Pipeline) -> None:
    pipeline.model.train()
    run(pipeline, WALK, frames=8)
    assert pipeline.model.training
    pipeline.model.eval()


NAN = features(40).index_fill(0, torch.tensor([3]), float("nan"))
REFUSALS = [
    ((Text("  "),), None, "empty"),
    ((WALK,), 0, "at least 1"),
    ((WALK,), 9000, "9000 frames are wanted, this model makes at most about"),
    ((Text("far " * 300),), None, "reads at most 128"),
    ((Clip(features=features(3)),), None, "3 frames; at least 4"),
    ((Clip(features=NAN),), None, "NaN"),
    ((Clip(features=torch.zeros(40, 251)),), None, "263"),
    ((Clip(),), None, "neither"),
    ((Clip(features=features(40)),), 30, "30 frames are wanted and 40 are given"),
    ((Clip(features=features(40)), Clip(features=features(40), start=40)), None, "no gap"),
    ((Clip(features=features(40)),) * 3, None, "3 motions"),
]


@pytest.mark.parametrize(("prompt", "frames", "message"), REFUSALS, ids=[message for *_, message in REFUSALS])
def test_refusals_are_one_line(pipeline: Pipeline, prompt, frames, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        pipeline.run([Request(prompt, "motion", frames, name="line 7")])
    assert "\n" not in str(caught.value) and str(caught.value).startswith("line 7: ")


def test_motions_that_do_not_fit(pipeline: Pipeline, walk: Motion) -> None:
    broken = Motion(walk.joints.index_fill(0, torch.tensor([3]), float("inf")), 20.0)
    for motion, message in ((broken, "NaN or infinity"), (walk.crop(0, 1), "1 frame")):
        with pytest.raises(RequestError, match=message):
            pipeline.describe(motion)
    with pytest.raises(RequestError, match="no room"):
        pipeline.inbetween(walk, walk, seconds=12)


def test_kit_motions_are_carried_onto_the_skeleton_of_the_model(pipeline: Pipeline, walk: Motion) -> None:
    kit = on_skeleton(walk, "kit21")
    answer = pipeline.predict(kit, seconds=kit.duration + 2)
    assert answer.skeleton is walk.skeleton
    hand = answer.skeleton.index("l_wrist")
    torch.testing.assert_close(answer.joints[: walk.num_frames, hand], walk.joints[:, hand])


def test_unsupported_task(pipeline: Pipeline, monkeypatch) -> None:
    monkeypatch.setattr(type(pipeline.model), "answers", frozenset({Shape("motion")}))
    with pytest.raises(RequestError, match="does not answer with words for a motion; it does with: motion for words"):
        run(pipeline, Clip(features=features(20)), output="text")
