"""Lines of a reference motion and of a stretch that is made anew."""

from __future__ import annotations

import pytest
import torch

import tasks
from mld.engine.pipeline import Pipeline
from mld.errors import RequestError
from mld.evaluation.task import Setting
from mld.example import Clip, Reference, Text
from mld.motion.motion import Motion
from tests.models.tiny_vimogen import COLUMNS, tiny_vimogen, walk


@pytest.fixture(scope="module")
def setting(tmp_path_factory) -> Setting:
    folder = tmp_path_factory.mktemp("motions")
    walk(80).save(folder / "walk.npy")
    return Setting(COLUMNS, 1, folder)


def test_a_motion_leads(setting: Setting) -> None:
    request = tasks.find("t2m").parse("ref:walk.npy", setting)
    (led,) = request.prompt
    assert isinstance(led, Reference) and led.features.shape == (80, 276) and request.num_frames is None
    longer = tasks.find("t2m").parse("a person walks#REF:walk.npy#120", setting)
    assert longer.num_frames == 120 and longer.prompt[0] == Text("a person walks") and len(longer.prompt) == 2
    with pytest.raises(RequestError, match="no file 'nobody.npy'"):
        tasks.find("t2m").parse("ref:nobody.npy", setting)


@pytest.mark.parametrize("span", ["1s-2s", "1-2", "20f-40f", "1.0 - 2.0 s", "20-40f"])
def test_a_stretch_is_made_anew(setting: Setting, span: str) -> None:
    request = tasks.find("inbetween").parse(f"a person waves#walk.npy#{span}", setting)
    text, *clips = request.prompt
    assert text == Text("a person waves") and request.num_frames == 80
    assert [(clip.start, len(clip.features)) for clip in clips] == [(0, 20), (40, 40)]


def test_up_to_the_end_the_motion_goes_on_as_long_as_it_was(setting: Setting) -> None:
    request = tasks.find("inbetween").parse("walk.npy#2s-4s", setting)
    (clip,) = request.prompt
    assert isinstance(clip, Clip) and len(clip.features) == 40 and request.num_frames == 80


def test_lines_are_answered(setting: Setting) -> None:
    pipeline, whole = Pipeline(tiny_vimogen()), Motion.load(setting.folder / "walk.npy").joints
    wanted = [
        tasks.find("t2m").parse("ref:walk.npy", setting),
        tasks.find("inbetween").parse("waves#walk.npy#1s-3s", setting),
        tasks.find("inbetween").parse("waves#walk.npy#1s-4s", setting),
    ]
    answers = pipeline.run(wanted)
    assert [answer.motion.num_frames for answer in answers] == [80, 80, 80]
    made = answers[1].motion.joints
    assert torch.equal(made[:20], whole[:20]) and torch.equal(made[60:], whole[60:])
    assert torch.equal(answers[2].motion.joints[:20], whole[:20])


@pytest.mark.parametrize(
    ("task", "line", "message"),
    [
        ("inbetween", "walk.npy#3s-1s", "nothing to make anew"),
        ("inbetween", "walk.npy#0s-1s", "have to stay"),
        ("inbetween", "walk.npy#walk.npy#1s-2s", "one motion file"),
        ("inbetween", "waves#1s-2s", "one motion file"),
        ("inbetween", "walk.npy#1s-2s#5", "a length is given"),
        ("pred", "walk.npy#1s-2s", "no length"),
        ("t2m", "a person walks#1s-2s", "no length"),
        ("pred", "ref:walk.npy", "no file"),
    ],
)
def test_lines_that_cannot_be_served(setting: Setting, task: str, line: str, message: str) -> None:
    with pytest.raises(RequestError, match=message) as told:
        tasks.find(task).parse(line, setting)
    assert len(str(told.value)) < 300


@pytest.mark.parametrize(
    ("span", "note"),
    [
        ("1s-2s", ""), ("1s-4s", ""),
        ("1s-9s", "the motion ends at 4 s, so it is made anew from 1 s to there, not to 9 s"),
        ("20f-100f", "the motion ends at 4 s, so it is made anew from 1 s to there, not to 5 s"),
        ("1s-3.9s", "fewer than 4 frames lie behind 3.9 s, so the motion is made anew up to its end"),
    ],
)  # fmt: skip
def test_a_stretch_that_is_not_the_one_asked_for_is_said(setting: Setting, span: str, note: str, monkeypatch) -> None:
    opened, load = [], Motion.load
    monkeypatch.setattr(Motion, "load", staticmethod(lambda *args, **more: opened.append(args) or load(*args, **more)))
    request = tasks.find("inbetween").parse(f"waves#walk.npy#{span}", setting)
    assert len(opened) == 1 and request.num_frames == 80  # what is odd of a file is said once
    (answer,) = Pipeline(tiny_vimogen()).run([request])
    assert answer.notes == ((note,) if note else ()) and answer.motion.num_frames == 80
    pipeline, (start, stop) = Pipeline(tiny_vimogen()), (1, 9)
    with pytest.warns(UserWarning, match="the motion ends at 4 s"):
        pipeline.edit(load(setting.folder / "walk.npy"), "waves", start, stop)
