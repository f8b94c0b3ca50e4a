"""Lines of timed texts, and the scores of changes whose smoothness is known."""

from __future__ import annotations

import pytest

import tasks
from mld.engine.request import Answer
from mld.errors import RequestError
from mld.evaluation.task import Change, Setting
from mld.example import CaptionedClip, Clip, Text
from mld.metrics.physical import jerk
from mld.motion.representations.registry import get_representation
from tests.walking import walker

REPRESENTATION = get_representation("motion272")
TASK = tasks.find("stream")


@pytest.fixture(scope="module")
def clip() -> CaptionedClip:
    features = REPRESENTATION.encode_joints(walker(61, turning=0.01)[None])[0]
    return CaptionedClip("walk", features, ("a person walks", "someone is walking"), 30.0)


@pytest.mark.parametrize(
    "line, texts, lengths",
    [
        ("0s a person walks | 4s they turn left | 8s they sit down | 12s", 3, (120, 120, 120)),
        ("a person walks | 2.5 s he takes 3 steps", 2, (76, 119)),
        ("0s 3 steps | 1s", 1, (30,)),
        ("0S 2-step dance | 1S", 1, (30,)),
        ("someone jumps", 1, (120,)),
    ],
)
def test_lines(line: str, texts: int, lengths: tuple[int, ...]) -> None:
    script = TASK.parse(line, Setting(REPRESENTATION, 4, seed=7))
    assert len(script.texts) == texts and script.lengths == lengths and script.seed == 7
    assert not any(text[0].isdigit() and text.endswith("s") and " " not in text for text in script.texts)


def test_a_wanted_length_is_the_end() -> None:
    assert TASK.parse("0s a | 2s b", Setting(REPRESENTATION, 4, seconds=9.0)).lengths == (60, 210)


@pytest.mark.parametrize(
    "line, said",
    [
        ("1s a person walks", "the first text begins at 0s"), ("0s walk | sit", "each later one says when"),
        ("0s walk | 2s | 3s sit", "a text is empty"), ("", "a text is empty"),
        ("0s walk | 0s sit", "times have to rise"), ("0s walk | 5s sit | 4s", "times have to rise"),
        ("0s walk | 100000s", "at most 3600 s"),
        ("-1s walk | 2s sit", "'-1s' is no time"), ("1e2s walk", "'1e2s' is no time"),
        ("0s they walk, 4s they sit", r"',' before a time; write \| there"),
        ("0s walk | 1,5s sit", "'1,5s' is no time"), ("0s walk | +1s sit | 3s", r"'\+1s' is no time"),
    ],
)  # fmt: skip
def test_lines_that_are_wrong(line: str, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        TASK.parse(line, Setting(REPRESENTATION, 4))


def test_sequences_have_captions_and_lengths_of_clips(clip: CaptionedClip) -> None:
    script = TASK.sequence([clip, clip], clip.features[:20], Setting(REPRESENTATION, 4, seed=1))
    given, *texts = script.prompt
    assert isinstance(given, Clip) and texts == [Text("someone is walking")] * 2
    assert script.lengths == (61, 61) and script.num_frames == 122


def test_scores_beside_those_of_real_motion(clip: CaptionedClip) -> None:
    """A jump of 10 cm at a change is seen there and nowhere else; the true motion is as smooth as the real one."""
    joints = REPRESENTATION.decode(clip.features).joints
    jump = joints[15:45].clone()
    jump[15:, :, 1] += 0.1
    found = {}
    for name, around in {"smooth": joints[15:45], "jump": jump}.items():
        scores = TASK.scores(REPRESENTATION)
        for number in range(3):
            part = Answer(TASK.request(clip, Setting(REPRESENTATION, 4)), REPRESENTATION.decode(clip.features))
            scores.update(clip, part, number)
            scores.change(number, Change(around, joints[15:45], joints[15:45]))
        found[name] = {key: score.value for key, score in scores.compute().items()}
    smooth, jumped = found["smooth"], found["jump"]
    for key in ("peak_jerk", "area_under_jerk", "skating", "jerk"):
        assert smooth[key] == smooth[f"{key}_real"]
    assert jumped["peak_jerk"] > jumped["peak_jerk_inside"] == smooth["peak_jerk"]
    assert 0.15 < jumped["peak_jerk"] < 0.25  # a step of 0.1 m has third differences of 0.1, -0.2, 0.1
    curve = jerk(joints[15:45].double())
    usual = float(jerk(joints.double()).mean())
    assert smooth["peak_jerk"] == pytest.approx(float(curve.max()))
    assert smooth["area_under_jerk"] == pytest.approx(float((curve - usual).abs().sum()))


def test_nothing_to_compare() -> None:
    assert all(score.value is None for score in TASK.scores(REPRESENTATION).compute().values())
