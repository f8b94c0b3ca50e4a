"""Motion without an end from models that make whole motions: exact, joined, and taken up again to the bit."""

from __future__ import annotations

import pytest
import torch

from mld import packaged
from mld.engine.pipeline import Pipeline
from mld.engine.streaming.streamer import IDLE, Limits
from mld.engine.streaming.windows import Windows, WindowSettings
from mld.errors import DataError, RequestError
from mld.models.contracts.generator import Shape
from mld.motion.kinematics import bone_directions
from mld.motion.motion import Motion
from mld.motion.stitch import turn
from tests.models.tiny import tiny_motiongpt, tiny_motiongpt3
from tests.walking import walker

WALK, SIT = "a person walks", "someone sits down"
CLOSE = {"atol": 1e-4, "rtol": 1e-4}
MAKERS = {"codes": tiny_motiongpt, "latents": tiny_motiongpt3}


@pytest.fixture(scope="module", params=list(MAKERS))
def pipeline(request) -> Pipeline:
    return Pipeline(MAKERS[request.param]())


@pytest.fixture()
def windows(pipeline: Pipeline) -> Windows:
    return pipeline.streamer(windows=WindowSettings(seconds=1.6, context=1.0))


def run(windows: Windows, session, steps: int) -> torch.Tensor:
    return torch.cat([windows.step([session])[session].joints for _ in range(steps)])


def test_a_stream_begins_as_what_is_made_at_once(pipeline: Pipeline) -> None:
    """The same places and directions of bones, on the model's body."""
    whole = Pipeline(pipeline.model, bones="clip").generate(WALK, seconds=4, seed=5)
    with pipeline.stream(WALK, seconds=4, seed=5) as stream:
        chunks = list(stream)
    assert not stream.native
    assert [chunk.start for chunk in chunks] == list(range(0, 80, 4))
    assert {chunk.num_frames for chunk in chunks} == {4}
    made = stream.motion().joints
    torch.testing.assert_close(made[:, 0, [0, 2]], whole.joints[:, 0, [0, 2]], **CLOSE)
    directions = [bone_directions(joints, whole.skeleton) for joints in (made, whole.joints)]
    torch.testing.assert_close(*directions, **CLOSE)
    assert (made[:, :, 1].amin(1) - whole.joints[:, :, 1].amin(1)).median().abs() < 1e-4


def test_features_are_those_of_the_joints(pipeline: Pipeline) -> None:
    """Poses exactly, up to the height of the floor that each window has."""
    with pipeline.stream(WALK, seconds=8, seed=1) as stream:
        features = torch.cat([chunk.features for chunk in stream])
    heights = pipeline.representation.decode(features).joints[..., 1] - stream.motion().joints[..., 1]
    for window in heights.split(80):
        torch.testing.assert_close(window, window[:1, :1].expand_as(window), atol=1e-3, rtol=0)


def test_sessions_do_not_see_each_other(windows: Windows) -> None:
    alone = windows.open(WALK, seed=9)
    want = run(windows, alone, 20)
    windows.close(alone)
    others = [windows.open(SIT, seed=i) for i in range(2)]
    session = windows.open(WALK, seed=9)
    got = []
    for step in range(20):
        if step % 6 == 1:
            windows.close(others.pop(0))
            others.append(windows.open(f"{WALK} {step}", seed=step))
        if step % 5 == 2:
            windows.say(others[-1], f"{SIT} {step}")
        got.append(windows.step()[session].joints)
    torch.testing.assert_close(torch.cat(got), want, **CLOSE)


def test_other_words_change_what_follows_and_nothing_before(windows: Windows) -> None:
    first, second = (windows.open(WALK, seed=4) for _ in range(2))
    before = [run(windows, session, 6) for session in (first, second)]
    windows.say(second, SIT)
    after = [run(windows, session, 6) for session in (first, second)]
    torch.testing.assert_close(*before, **CLOSE)
    assert (after[0] - after[1]).abs().max() > 1e-3
    assert second.texts == [(0, WALK), (24, SIT)]


def test_other_words_can_wait_for_the_end_of_a_window(pipeline: Pipeline) -> None:
    windows = pipeline.streamer(windows=WindowSettings(seconds=1.6, context=1.0, drop=False))
    told, untold = (windows.open(WALK, seed=4) for _ in range(2))
    windows.step()
    windows.say(told, SIT)
    assert told.texts == [(0, WALK), (32, SIT)]
    chunks = [windows.step() for _ in range(9)]
    texts = [chunk[told].text for chunk in chunks]
    assert texts == [WALK] * 7 + [SIT] * 2
    joints = [torch.cat([chunk[one].joints for chunk in chunks]) for one in (told, untold)]
    torch.testing.assert_close(joints[0][:28], joints[1][:28], **CLOSE)
    assert (joints[0][28:] - joints[1][28:]).abs().max() > 1e-3


def test_words_while_a_window_is_made(pipeline: Pipeline, windows: Windows) -> None:
    """As if they had come before it: nobody was handed its frames."""
    want = windows.open(WALK, seed=3)
    windows.say(want, SIT)
    session, made, answer = windows.open(WALK, seed=3), [], windows.engine.run

    def interrupted(requests):
        if not made:
            windows.say(session, SIT)
        made.append(len(requests))
        return answer(requests)

    windows.engine.run = interrupted
    torch.testing.assert_close(run(windows, session, 9), run(windows, want, 9), **CLOSE)
    assert len(made) > 2


def test_a_saved_session_goes_on_to_the_bit(pipeline: Pipeline, tmp_path) -> None:
    stream = pipeline.stream(WALK, seed=2)
    for _ in range(21):
        next(stream)
    stream.say(SIT)
    next(stream)
    file = stream.save(tmp_path / "session.safetensors")
    want = [next(stream) for _ in range(24)]
    got_stream = Pipeline(pipeline.model).resume(file)
    for one, two in zip([next(got_stream) for _ in range(24)], want, strict=True):
        assert torch.equal(one.joints, two.joints) and torch.equal(one.features, two.features)
        assert (one.start, one.text) == (two.start, two.text)
    told = pipeline.stream(WALK, seed=2)
    untouched = told.save(tmp_path / "untouched.safetensors")  # nothing was made yet
    assert torch.equal(next(told).joints, next(pipeline.resume(untouched)).joints)


def test_a_file_that_is_no_session_of_this_model(pipeline: Pipeline, tmp_path) -> None:
    file = tmp_path / "session.safetensors"
    stream = pipeline.stream(WALK)
    next(stream)
    stream.save(file)
    kind = MAKERS["codes"] if pipeline.model.tokenizer.layout.codebook_size else MAKERS["latents"]
    with pytest.raises(DataError, match="session of another model"):
        Pipeline(kind(seed=1)).resume(file)
    file.write_bytes(file.read_bytes()[:-40])
    open_before = len(pipeline.batcher.sessions)
    with pytest.raises(DataError, match="damaged or not a saved session"):
        pipeline.resume(file)
    assert len(pipeline.batcher.sessions) == open_before


def test_a_motion_goes_on(windows: Windows) -> None:
    """In the world of the given motion, from its last frame on."""
    joints = turn(walker(61), torch.tensor(0.7)) + torch.tensor([2.0, 0.0, -1.0])
    engine = Pipeline(windows.model)
    session = windows.open(SIT, history=engine.clip(Motion(joints, 20.0)))
    made = windows.step([session])[session].joints
    steps = torch.cat((joints[-3:, 0], made[:, 0])).diff(dim=0).norm(dim=-1)
    assert steps.max() < 0.15  # metres a frame: no jump


@pytest.mark.parametrize("end", ["stop", "continue", "hold"])
def test_where_the_model_ends_its_motion(windows: Windows, end: str) -> None:
    session = windows.open(WALK, end=end)
    chunks = []
    while len(chunks) < 90 and not session.ended:
        chunks.append(windows.step([session])[session])
    texts = [chunk.text for chunk in chunks]
    assert session.ended == chunks[-1].ended == (end == "stop")
    assert all(chunk.num_frames for chunk in chunks[:-1]) and bool(chunks[-1].num_frames) == (end != "stop")
    assert (IDLE in texts) == (end == "hold")
    assert windows.step([session]) == {} if end == "stop" else session in windows.step()


def test_places_and_lead_are_bounded(pipeline: Pipeline) -> None:
    windows = pipeline.streamer(Limits(sessions=2, lead_seconds=1.0))
    slow, paused = windows.open(WALK), windows.open(SIT)
    with pytest.raises(RequestError, match="2 sessions are open"):
        windows.open(WALK)
    paused.paused = True
    for _ in range(12):
        windows.step()
    assert slow.frames == 20 and paused.frames == 0
    slow.taken = 8
    for _ in range(12):
        windows.step()
    assert slow.frames == 28
    windows.close(slow)
    windows.close(slow)
    assert windows.open(WALK).row == slow.row


def test_what_cannot_be_served(windows: Windows) -> None:
    with pytest.raises(RequestError, match="prompt is empty"):
        windows.open("  ")
    with pytest.raises(RequestError, match="end 'never' is not one of"):
        windows.open(WALK, end="never")
    with pytest.raises(RequestError, match="tokens"):
        windows.open("a person walks and " * 300)
    session = windows.open(WALK)
    with pytest.raises(RequestError, match="tokens"):
        windows.say(session, "a person walks and " * 300)
    windows.close(session)
    with pytest.raises(RequestError, match="has ended"):
        windows.say(session, SIT)
    assert not windows.sessions


def test_a_model_that_makes_no_motion_for_words() -> None:
    model = tiny_motiongpt()
    model.answers = frozenset({Shape("text", 1)})
    with pytest.raises(RequestError, match="makes no motion for words alone"):
        Pipeline(model).stream(WALK)


def test_a_model_that_does_not_go_on_from_motions() -> None:
    """Its words are asked again, window after window, with other numbers."""
    model = tiny_motiongpt3()
    model.answers = frozenset({Shape("motion")})
    windows = Pipeline(model).streamer(windows=WindowSettings(seconds=1.6))
    joints = run(windows, windows.open(WALK), 16)
    assert (joints[:32] - joints[32:]).abs().max() > 1e-2
    assert joints.isfinite().all()


def test_memory_does_not_grow(windows: Windows) -> None:
    session = windows.open(WALK)

    def held() -> int:
        return sum(tensor.untyped_storage().nbytes() for tensor in windows.held(session)[0].values())

    run(windows, session, 16)
    first = held()
    run(windows, session, 32)
    assert held() == first


@pytest.mark.parametrize("name", ["motiongpt", "motiongpt3"])
def test_joins_are_as_smooth_as_the_rest(name: str) -> None:
    """Where words change and where windows meet, the bundled models' motion has no jump: its third differences there
    are at most twice the largest inside."""
    with Pipeline.load(packaged.ASSETS / name).stream("a person walks forward", seconds=16, seed=3) as stream:
        for chunk in stream:
            if chunk.start == 196:
                stream.say("a person turns left")
    joints = stream.motion().joints
    third = joints.diff(n=3, dim=0).norm(dim=-1).amax(1)
    joins = torch.zeros(len(third), dtype=torch.bool)
    for frame in (80, 160, 200, 280):
        joins[frame - 4 : frame + 9] = True
    assert third[joins].max() <= 2 * third[~joins].max()
    assert joints.diff(dim=0)[:, 0].norm(dim=-1).max() < 0.3  # metres a frame, of the root
    lengths = (joints[:, 1:] - joints[:, list(stream.motion().skeleton.parents[1:])]).norm(dim=-1)
    torch.testing.assert_close(lengths, lengths[:1].expand_as(lengths), atol=1e-4, rtol=0)  # one body
