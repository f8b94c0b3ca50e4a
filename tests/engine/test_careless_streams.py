"""Streams in the hands of careless programs: nothing leaks, nothing is mixed up, and damage is seen."""

from __future__ import annotations

import copy
import gc
import math
import pickle
import threading

import pytest
import torch

from mld.engine.pipeline import Pipeline
from mld.engine.streaming.streamer import Limits
from mld.engine.streaming.windows import WindowSettings
from mld.errors import DataError, RequestError
from mld.example import Clip
from mld.motion.motion import Motion
from tests.models.tiny import tiny_motiongpt3
from tests.models.tiny_streamer import tiny_streamer
from tests.walking import walker

WALK, SIT = "a person walks", "someone sits down"


@pytest.fixture(scope="module", params=[tiny_streamer, tiny_motiongpt3], ids=["native", "windows"])
def pipeline(request) -> Pipeline:
    return Pipeline(request.param())


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf, True, "3", 1e12])
def test_a_wrong_length_takes_no_place(pipeline: Pipeline, seconds) -> None:
    with pytest.raises(RequestError):
        pipeline.stream(WALK, seconds=seconds)
    assert not pipeline.batcher.sessions


@pytest.mark.parametrize("frames", [1, 15, 16])
def test_a_stream_of_so_many_seconds_has_so_many_frames(pipeline: Pipeline, frames: int) -> None:
    with pipeline.stream(WALK, seconds=frames / pipeline.representation.fps) as stream:
        assert sum(chunk.num_frames for chunk in stream) == len(stream.motion().joints) == frames


def test_a_stream_that_nobody_holds_frees_its_place(pipeline: Pipeline) -> None:
    next(pipeline.stream(WALK))
    gc.collect()
    assert not pipeline.batcher.sessions


def test_a_stream_that_another_thread_closes_ends(pipeline: Pipeline, monkeypatch) -> None:
    stream, step = pipeline.stream(WALK), pipeline.batcher.step

    def late(sessions):
        stream.close()
        return step(sessions)

    monkeypatch.setattr(pipeline.batcher, "step", late)
    assert list(stream) == []


def test_chunks_that_several_threads_take_are_in_order(pipeline: Pipeline) -> None:
    with pipeline.stream(WALK, seed=1) as alone:
        want = torch.cat([next(alone).joints for _ in range(24)])
    with pipeline.stream(WALK, seed=1) as stream:
        threads = [threading.Thread(target=lambda: [next(stream) for _ in range(8)]) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [chunk.start for chunk in stream.chunks] == list(range(0, 96, 4))
        assert torch.equal(stream.motion().joints, want)


def test_a_session_that_is_named_twice_makes_one_chunk(pipeline: Pipeline) -> None:
    batcher = pipeline.streamer()
    session, again = batcher.open(WALK, 1), batcher.open(WALK, 1)
    made = [batcher.step([session, session])[session], batcher.step([session])[session]]
    want = [batcher.step([again])[again] for _ in range(2)]
    assert session.made == 2
    assert torch.equal(torch.cat([chunk.joints for chunk in made]), torch.cat([chunk.joints for chunk in want]))


def test_a_session_of_another_streamer_is_refused(pipeline: Pipeline) -> None:
    """It would change the words of whoever has the same place there."""
    ours, theirs = pipeline.streamer(), pipeline.streamer()
    session, stranger = ours.open(WALK), theirs.open(WALK)
    for ask in (lambda: ours.say(stranger, SIT), lambda: ours.step([stranger])):
        with pytest.raises(RequestError, match="not one of these"):
            ask()
    ours.close(session)
    assert session.texts == stranger.texts == [(0, WALK)] and stranger in theirs.step()


@pytest.mark.parametrize("wrong", [
    lambda: Limits(sessions=0), lambda: Limits(sessions=1.5), lambda: Limits(lead_seconds=0),
    lambda: Limits(lead_seconds=-1), lambda: Limits(lead_seconds=math.nan), lambda: Limits(lead_seconds="1"),
    lambda: WindowSettings(seconds=math.nan), lambda: WindowSettings(seconds=0), lambda: WindowSettings(context=-1),
])  # fmt: skip
def test_limits_that_cannot_be(wrong) -> None:
    with pytest.raises(RequestError, match="is needed"):
        wrong()


def test_a_pipeline_is_copied_without_its_streams(pipeline: Pipeline) -> None:
    with pipeline.stream(WALK, seed=1) as stream:
        want = next(stream).joints
        for made in (copy.deepcopy(pipeline), pickle.loads(pickle.dumps(pipeline))):
            with made.stream(WALK, seed=1) as other:
                assert torch.equal(next(other).joints, want)
        with pytest.raises(RequestError, match="Stream.save"):
            copy.deepcopy(stream)


def test_every_damaged_bit_of_a_saved_session_is_seen(pipeline: Pipeline, tmp_path) -> None:
    with pipeline.stream(WALK, seed=1) as stream:
        next(stream)
        file = stream.save(tmp_path / "session.safetensors")
    whole = file.read_bytes()
    for place in range(8, len(whole), len(whole) // 60):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(DataError):
            pipeline.resume(file)
    assert not pipeline.batcher.sessions
    file.write_bytes(whole)
    pipeline.resume(file).close()


def test_what_a_motion_cannot_go_on_from(pipeline: Pipeline) -> None:
    fps, width = pipeline.representation.fps, pipeline.representation.width
    with pytest.raises(RequestError, match="m from the origin"):
        pipeline.stream(WALK, history=Motion(walker(40) * 1e30, fps))
    given = (Clip(features=torch.zeros(2, width)), Clip(tokens=torch.zeros(3, 8)), "walk.npy")
    for history in given:
        with pytest.raises(RequestError, match="history"):
            pipeline.batcher.open(WALK, history=history)
    assert not pipeline.batcher.sessions
