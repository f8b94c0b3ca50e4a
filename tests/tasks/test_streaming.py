"""Streams as lines of timed prompts: what they mean, what is wrong with them, and that words come at their times."""

from __future__ import annotations

import pytest
import torch

import tasks
from mld.engine.pipeline import Pipeline
from mld.engine.streaming.streamer import Limits
from mld.errors import RequestError
from mld.evaluation.task import Setting
from mld.motion.representations.registry import get_representation
from tasks.stream_lines import read_timed
from tests.models.tiny import tiny_motiongpt
from tests.models.tiny_streamer import tiny_streamer

TASK = tasks.find("stream")
LINE = "0s a person walks | 1.5s they turn left|3s they sit down"


@pytest.mark.parametrize(
    "line, seconds, said, length",
    [
        (LINE, None, ((0, "a person walks"), (1.5, "they turn left"), (3, "they sit down")), 7),
        (LINE, 9, ((0, "a person walks"), (1.5, "they turn left"), (3, "they sit down")), 9),
        ("0s walks | 4s end", 9, ((0, "walks"),), 4),
        ("0 s  walks  on#12s", None, ((0, "walks on"),), 12),
        ("0.0sec walks | .5 seconds runs # 2.5 s", None, ((0, "walks"), (0.5, "runs")), 2.5),
        ("0s the end | 2s END", None, ((0, "the end"),), 2),
    ],
)
def test_lines(line: str, seconds: float | None, said: tuple, length: float) -> None:
    assert read_timed(line, seconds) == (said, length)


@pytest.mark.parametrize(
    "line, wrong",
    [
        ("a person walks", "'a person walks' does not begin with a time"),
        ("0s walks | they run", "'they run' does not begin with a time"),
        ("0s walks | -2s runs", "'-2s runs' does not begin with a time"),
        ("0s walks | 1e9s runs", "does not begin with a time"),
        ("0s walks | 4s", "'4s' has no words"),
        ("0s walks || 4s runs", "a part between bars is empty"),
        ("", "a part between bars is empty"),
        ("1s walks", "the first words are at 1s"),
        ("0s walks | 4s runs | 4s jumps", "4s comes after 4s"),
        ("0s walks | 4s runs | 2s end", "the whole lasts 2 s and the last words are at 4s"),
        ("0s walks | 4s end#5s", "two lengths"),
        ("0s end", "no words before the end"),
        ("0s walks#fast", "'#fast' is no length"),
        ("0s walks#601s", "at most 600 s"),
        ("0s walks\x00", "control character"),
    ],
)
def test_what_is_wrong_with_a_line(line: str, wrong: str) -> None:
    with pytest.raises(RequestError, match=wrong) as caught:
        read_timed(line)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


@pytest.mark.parametrize("make", [tiny_streamer, tiny_motiongpt])
def test_words_come_at_their_times(make) -> None:
    """On chunks: the first that begins at the time or later. What one line gives does not depend on the others."""
    engine = Pipeline(make())
    fps = engine.representation.fps
    setting = Setting(engine.representation, 4, seed=3)
    requests = [TASK.parse(line, setting) for line in (LINE, "0s a person walks#2s", "0s someone sits | 1.3s they run")]
    answers = TASK.answers(engine, requests, batch_size=8)
    assert [answer.motion.num_frames for answer in answers] == [round(fps * s) for s in (7, 2, 5.3)]
    first = [(one.start * fps, one.text) for one in answers[0].captions]
    want = [(0, "a person walks"), (-(-1.5 * fps // 4) * 4, "they turn left"), (-(-3 * fps // 4) * 4, "they sit down")]
    assert first == [(pytest.approx(frame), text) for frame, text in want]
    assert answers[0].captions[-1].stop == pytest.approx(7)
    (alone,) = TASK.answers(engine, requests[1:2], batch_size=8)
    torch.testing.assert_close(alone.motion.joints, answers[1].motion.joints, atol=1e-3, rtol=1e-3)
    assert not engine.batcher.sessions


def test_words_that_a_model_cannot_read_are_said_with_their_line() -> None:
    engine = Pipeline(tiny_motiongpt())
    long = TASK.parse("0s a person walks | 1s " + "and walks " * 300, Setting(engine.representation, 4))
    with pytest.raises(RequestError, match="tokens"):
        TASK.answers(engine, [long], batch_size=8)
    engine.batcher.limits = Limits(sessions=0)
    with pytest.raises(RequestError, match="^0s a person.*0 sessions are open"):
        TASK.answers(engine, [TASK.parse(LINE, Setting(engine.representation, 4))], batch_size=8)
    assert not engine.batcher.sessions


def test_the_demo_file_can_be_read() -> None:
    from commands.models import demos
    from tasks.lines import read_lines

    setting = Setting(get_representation("humanml3d"), 4)
    requests = [TASK.parse(line, setting) for _, line in read_lines(demos("stream"))]
    assert len(requests) >= 2 and all(len(request.said) > 1 for request in requests)
