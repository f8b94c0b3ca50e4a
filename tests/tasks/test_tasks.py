"""Requests made of dataset clips and the scoring of answers, with answers whose quality is known."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import tasks
from mld.engine.given import given
from mld.engine.request import Answer
from mld.errors import RequestError
from mld.evaluation.task import Setting
from mld.example import CaptionedClip, Clip, Text
from mld.metrics.completion import hidden_frames
from mld.motion.motion import Motion
from mld.motion.representations.registry import get_representation
from tasks.clips import cut, fitted
from tests.walking import walker

REPRESENTATION = get_representation("humanml3d")
UNIT = 4


@pytest.fixture(scope="module")
def clip() -> CaptionedClip:
    features = REPRESENTATION.encode_joints(walker(81, turning=0.01)[None])[0]
    return CaptionedClip("walk", features, ("a person walks", "someone is walking"), 20.0)


@pytest.mark.parametrize("name", list(tasks.NAMES))
def test_every_task_has_its_name_and_protocol(name: str) -> None:
    task = tasks.find(name)
    assert task.name == name
    assert task.protocol


def test_unknown_task() -> None:
    with pytest.raises(RequestError, match="did you mean 'inbetween'"):
        tasks.find("inbetwen")


def test_captions_change_with_the_seed(clip: CaptionedClip) -> None:
    task = tasks.find("t2m")
    prompts = {task.request(clip, Setting(REPRESENTATION, UNIT, seed=seed)).prompt for seed in range(4)}
    assert prompts == {(Text(caption),) for caption in clip.captions}


def test_prediction_gives_a_fifth(clip: CaptionedClip) -> None:
    request = tasks.find("pred").request(clip, Setting(REPRESENTATION, UNIT, seed=0))
    (head,) = request.prompt
    assert request.num_frames == 80
    assert torch.equal(head.features, clip.features[:16])
    assert torch.equal(head.joints, REPRESENTATION.decode(clip.features).joints[:16])


def test_inbetween_gives_two_quarters(clip: CaptionedClip) -> None:
    head, tail = tasks.find("inbetween").request(clip, Setting(REPRESENTATION, UNIT, seed=0)).prompt
    assert torch.equal(head.features, clip.features[:20])
    assert torch.equal(tail.features, clip.features[60:])
    assert tail.start == 60


@pytest.mark.parametrize("name", ["recon", "pred", "inbetween"])
def test_the_true_motion_has_no_error(name: str, clip: CaptionedClip) -> None:
    task = tasks.find(name)
    scores = task.scores(REPRESENTATION)
    request = task.request(clip, Setting(REPRESENTATION, UNIT, seed=0))
    scores.update(clip, Answer(request, motion=REPRESENTATION.decode(clip.features)))
    values = {metric: score.value for metric, score in scores.compute().items() if score.value is not None}
    sizes = {metric: values.pop(metric) for metric in list(values) if metric.startswith("ACC_")}  # sizes, no errors
    assert values
    assert max(values.values()) < 1e-2
    assert len(sizes) == (4 if name == "recon" else 0)
    assert all(sizes[metric] == pytest.approx(sizes[f"{metric}_real"]) for metric in sizes if "_real" not in metric)


def test_a_shifted_rest_is_measured_in_metres(clip: CaptionedClip) -> None:
    task = tasks.find("pred")
    joints = REPRESENTATION.decode(clip.features).joints.clone()
    joints[16:, :, 0] += 0.1
    scores = task.scores(REPRESENTATION)
    scores.update(clip, Answer(task.request(clip, Setting(REPRESENTATION, UNIT, seed=0)), motion=Motion(joints, 20.0)))
    assert scores.compute()["ADE"].value == pytest.approx(0.1 * 22**0.5, rel=1e-3)


def test_an_answer_that_ends_early_is_counted(clip: CaptionedClip) -> None:
    task = tasks.find("pred")
    scores = task.scores(REPRESENTATION)
    motion = REPRESENTATION.decode(clip.features).crop(0, 40)
    scores.update(clip, Answer(task.request(clip, Setting(REPRESENTATION, UNIT, seed=0)), motion=motion))
    assert scores.compute()["ended_early"].value == 100.0
    assert scores.compute()["FDE"].value > 1.0


def test_text_to_motion_scores(clip: CaptionedClip) -> None:
    task = tasks.find("t2m")
    scores = task.scores(REPRESENTATION)
    motion = REPRESENTATION.decode(clip.features).crop(0, 60)
    scores.update(clip, Answer(task.request(clip, Setting(REPRESENTATION, UNIT, seed=0)), motion=motion))
    found = scores.compute()
    assert found["length_error"].value == pytest.approx(1.0)
    assert 0 <= found["skating"].value <= 1
    assert found["jerk_real"].value > 0


def test_caption_scores(clip: CaptionedClip) -> None:
    task = tasks.find("m2t")
    scores = task.scores(REPRESENTATION)
    request = task.request(clip, Setting(REPRESENTATION, UNIT, seed=0))
    assert isinstance(request.prompt[0], Clip)
    scores.update(clip, Answer(request, text="Someone is walking."))
    scores.update(clip, Answer(request, text="A dog."))
    assert scores.compute()["exact"].value == 50.0
    assert scores.compute()["unique"].value == 100.0


def test_a_question_about_length_is_scored_in_seconds(clip: CaptionedClip) -> None:
    task = tasks.find("t2t")
    request = task.request(clip, Setting(REPRESENTATION, UNIT, seed=1))
    assert request.output == "text"
    assert request.prompt[0].text == "How many seconds would this take? someone is walking"
    scores = task.scores(REPRESENTATION)
    for text in ("About 5.0 seconds.", "I would say 60 frames.", "It takes 3 steps."):
        scores.update(clip, Answer(request, text=text))
    found = scores.compute()
    assert found["answered"].value == pytest.approx(200 / 3)
    assert found["length_error"].value == pytest.approx(1.0)
    assert found["length_error"].n == 2


def test_a_line_of_text_is_a_question() -> None:
    request = tasks.find("t2t").parse("What takes #2 turns? <motion>", Setting(REPRESENTATION, UNIT, seed=3))
    assert (request.prompt, request.seed) == ((Text("What takes #2 turns? <motion>", verbatim=True),), 3)


def test_given_motion_keeps_every_frame_and_resamples() -> None:
    joints = walker(30)
    clip = given(Motion(joints, 20.0), REPRESENTATION)
    assert torch.equal(clip.joints, joints)
    assert clip.features.shape == (30, REPRESENTATION.width)
    steps = REPRESENTATION.block(clip.features, "root_linear_velocity")
    assert torch.allclose(steps, steps[:1].expand_as(steps), atol=1e-3)
    assert len(given(Motion(joints, 40.0), REPRESENTATION).features) == 15


@pytest.mark.parametrize("frames", range(20, 40))
def test_what_is_scored_is_not_given(frames: int, clip: CaptionedClip) -> None:
    """Frames whose error counts are never among those that the model is given."""
    short = dataclasses.replace(clip, features=clip.features[:frames])
    head, tail = tasks.find("inbetween").request(short, Setting(REPRESENTATION, UNIT, seed=0)).prompt
    scored = range(frames)[hidden_frames("inbetween", frames, frames)]
    assert len(head.features) <= scored[0]
    assert scored[-1] < tail.start < frames
    (head,) = tasks.find("pred").request(short, Setting(REPRESENTATION, UNIT, seed=0)).prompt
    assert len(head.features) <= range(frames)[hidden_frames("pred", frames, frames)][0]


def test_lengths() -> None:
    assert [cut(frames, UNIT) for frames in (0, 3, 4, 7.9, 8)] == [4, 4, 4, 4, 8]
    joints = walker(10)
    assert torch.equal(fitted(joints, 6), joints[:6])
    assert torch.equal(fitted(joints, 12)[-1], joints[-1])
