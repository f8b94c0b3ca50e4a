"""Motions longer than the model reads: every request is served, with one answer."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mld.engine.checks import TooLong
from mld.engine.pipeline import Pipeline
from mld.engine.request import Answer, Request, TimedCaption
from mld.engine.windows import asked
from mld.errors import RequestError
from mld.example import Clip, Text
from mld.motion.motion import Motion
from mld.motion.representations.registry import get_representation
from tests.engine.scripted import LONGEST, Scripted
from tests.walking import walker

LONG, READ = 405, 60  # frames of the motions here, and of them those that are read: three seconds
HUMANML3D = get_representation("humanml3d")


@pytest.fixture
def pipeline() -> Pipeline:
    return Pipeline(Scripted(), bones="clip")


@pytest.fixture(scope="module")
def motion() -> Motion:
    return Motion(walker(LONG, turning=0.01), 20.0)


def run(pipeline: Pipeline, *prompt, frames: int | None = None) -> Answer:
    request = Request(tuple(prompt), "motion", frames)
    pipeline.check(request)
    return pipeline.run([request])[0]


# words about a motion


def reads_100(request: Request) -> None:
    if max(len(part.features) for part in request.prompt if isinstance(part, Clip)) > 100:
        raise TooLong("too long")


def told(frames: int, *words: Text):
    """What is asked about a motion of so many frames, and the answer where each part says what it was given."""
    features = torch.arange(frames)[:, None].expand(frames, 263).float()
    request = Request((*words, Clip(features=features)), "text", name=f"{frames}")
    whole = asked(request, reads_100, 4, HUMANML3D)
    answers = [
        Answer(part, text=f" {len(part.prompt[-1].features)} frames from {int(part.prompt[-1].features[0, 0])}. ")
        for part in whole.parts
    ]
    return request, whole, whole.joined(answers, True, HUMANML3D)


def test_captions_by_part_with_times() -> None:
    request, whole, answer = told(250, Text("What is this? "))
    assert answer.captions == (
        TimedCaption(0.0, 4.15, "83 frames from 0."),
        TimedCaption(4.15, 8.35, "84 frames from 83."),
        TimedCaption(8.35, 12.5, "83 frames from 167."),
    )
    assert answer.text == ("[0.0-4.2 s] 83 frames from 0. [4.2-8.3 s] 84 frames from 83. "
                           "[8.3-12.5 s] 83 frames from 167.")  # fmt: skip
    assert answer.request is request and "3 parts" in answer.notes[0]
    assert [part.prompt[0].text for part in whole.parts] == ["What is this? "] * 3


@pytest.mark.parametrize("frames", [4, 100])
def test_a_motion_that_is_read_whole_is_asked_about_once(frames: int) -> None:
    request, whole, answer = told(frames)
    assert whole.parts == (request,) and not answer.captions and not answer.notes
    assert answer.text == f" {frames} frames from 0. "


# motion that goes on


@pytest.mark.parametrize(
    ("wanted", "whole"), [(None, LONG + 4), (LONG + 1, LONG + 1), (LONG + LONGEST, LONG + LONGEST)]
)
def test_a_long_head_goes_on_and_stays(pipeline: Pipeline, motion: Motion, wanted: int | None, whole: int) -> None:
    head = pipeline.clip(motion)
    answer = run(pipeline, Text("a person walks"), head, frames=wanted)
    joints, made = answer.motion.joints, whole - LONG
    assert pipeline.model.tokenizer.decoded == [[made]]
    assert len(joints) == len(answer.features) == whole and answer.first_frame == LONG
    assert torch.equal(joints[:LONG], motion.joints)
    assert torch.equal(answer.features[:LONG], head.features)
    assert torch.equal(answer.features[LONG:], pipeline.model.tokenizer.walk[:made])
    near = motion.crop(LONG - READ, LONG)
    alone = run(pipeline, Text("a person walks"), pipeline.clip(near), frames=wanted and wanted - LONG + READ)
    torch.testing.assert_close(joints[LONG:], alone.motion.joints[READ:], msg="as it goes on from the last seconds")
    assert (joints[LONG] - joints[LONG - 1]).norm(dim=-1).max() < 0.3, "no jump where the given frames end"
    assert "3.0 s were read" in answer.notes[-1]


def test_a_model_that_makes_the_given_frames_anew_begins_where_the_rest_ends(motion: Motion) -> None:
    pipeline = Pipeline(Scripted(compat_prediction=True), bones="clip")
    joints = run(pipeline, pipeline.clip(motion), frames=LONG + 40).motion.joints
    assert pipeline.model.tokenizer.decoded == [[READ + 40]] and len(joints) == LONG + 40
    assert torch.equal(joints[: LONG - READ], motion.joints[: LONG - READ])
    assert (joints[1:] - joints[:-1]).norm(dim=-1).max() < 0.4


@pytest.mark.parametrize(("first", "second", "gap"), [(LONG, LONG, 30), (LONG, 50, 30), (50, LONG, 31), (100, 90, 100)])
def test_long_ends_are_filled_between_and_stay(
    pipeline: Pipeline, motion: Motion, first: int, second: int, gap: int
) -> None:
    far = dataclasses.replace(motion, joints=motion.joints + torch.tensor([3.0, 0.0, 1.0]))
    head, tail = pipeline.ends(motion.crop(0, first), far.crop(0, second), (first + gap + second) / 20.0)
    answer = run(pipeline, head, tail)
    joints = answer.motion.joints
    assert len(joints) == len(answer.features) == first + gap + second
    assert torch.equal(joints[:first], motion.joints[:first])
    assert torch.equal(joints[-second:], far.joints[:second])
    (read,) = pipeline.model.tokenizer.decoded[0]
    assert read == min(min(first, 60) + gap + min(second, 60), LONGEST)
    for place in (first, first + gap):
        assert (joints[place] - joints[place - 1]).norm(dim=-1).max() < 0.4


def test_clips_of_features_alone_share_the_world_of_the_whole(pipeline: Pipeline, motion: Motion) -> None:
    features = pipeline.clip(motion).features
    whole = pipeline.representation.decode(features).joints
    head, tail = Clip(features=features[:300]), Clip(features=features[:205], start=330)
    torch.testing.assert_close(run(pipeline, head, frames=310).motion.joints[:300], whole[:300])
    joints = run(pipeline, head, tail).motion.joints
    assert len(joints) == 535
    torch.testing.assert_close(joints[:300], whole[:300])
    steps = (joints[331:, 0] - joints[330:-1, 0]).norm(dim=-1)
    torch.testing.assert_close(steps, (whole[1:205, 0] - whole[:204, 0]).norm(dim=-1), atol=1e-4, rtol=0)


def test_given_frames_stay_on_one_body(motion: Motion) -> None:
    answer = run(Pipeline(Scripted()), Pipeline(Scripted()).clip(motion), frames=LONG + 30)
    assert torch.equal(answer.motion.joints[:LONG], motion.joints) and answer.motion.rotations is not None


@pytest.mark.parametrize(
    ("first", "frames", "message"),
    [
        (LONG, LONG + LONGEST + 1, f"{LONG + LONGEST + 1} frames are wanted, this model makes at most about "
                                   f"{LONG + LONGEST}, those given included"),
        (40, 9000, f"9000 frames are wanted, this model makes at most about {40 + LONGEST}"),
        (LONG, LONG, f"{LONG} frames are wanted and {LONG} are given"),
    ],
)  # fmt: skip
def test_what_no_cut_helps_is_said_in_frames_of_the_whole(
    pipeline: Pipeline, motion: Motion, first: int, frames: int, message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        run(pipeline, pipeline.clip(motion.crop(0, first)), frames=frames)


def test_a_gap_that_is_too_long_is_said(pipeline: Pipeline, motion: Motion) -> None:
    far = dataclasses.replace(motion, joints=motion.joints + 3.0)
    with pytest.raises(RequestError, match="200 frames lie between the two motions, this .* at most about 152"):
        run(pipeline, *pipeline.ends(motion, far, (2 * LONG + 200) / 20.0))


@pytest.mark.parametrize("place", [0, LONG - 1])
def test_nan_far_away_is_still_refused(pipeline: Pipeline, motion: Motion, place: int) -> None:
    clip = pipeline.clip(motion)
    broken = clip.features.index_fill(0, torch.tensor([place]), float("nan"))
    for prompt in ([Clip(features=broken)], [clip, Clip(features=broken, start=LONG + 30)]):
        with pytest.raises(RequestError, match="NaN"):
            run(pipeline, *prompt, frames=LONG + 20)
