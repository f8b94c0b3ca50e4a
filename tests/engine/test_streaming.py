"""Motion without an end: exact, independent of who else is there, and taken up again to the bit."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
import torch

from mld.engine.pipeline import Pipeline
from mld.engine.request import Request
from mld.engine.streaming.batcher import IDLE, Batcher, Limits
from mld.engine.streaming.session import Recovery, push_together
from mld.errors import DataError, RequestError
from mld.example import Text
from mld.models.families.motionstreamer.decoding import LatentDecoding, LatentRows
from mld.models.noise import RowNoise
from mld.motion.motion import Motion
from mld.motion.representations.registry import get_representation
from mld.motion.stitch import turn
from tests.models.tiny import tiny_motiongpt3
from tests.models.tiny_streamer import tiny_streamer
from tests.walking import walker

WALK, SIT = "a person walks", "someone sits down"
CLOSE = {"atol": 2e-5, "rtol": 1e-4}


@pytest.fixture(scope="module")
def model():
    return tiny_streamer()


@pytest.fixture()
def batcher(model) -> Batcher:
    return Batcher(model, Pipeline(model).representation)


def run(batcher: Batcher, session, steps: int) -> torch.Tensor:
    return torch.cat([batcher.step([session])[session].features for _ in range(steps)])


def test_a_stream_is_what_is_made_at_once(model) -> None:
    """Same seed, same latents and frames, as long as no window has moved and beyond."""
    pipeline = Pipeline(model, bones="clip")
    (answer,) = pipeline.run([Request((Text(WALK),), "motion", num_frames=80, seed=5)])
    with pipeline.stream(WALK, seconds=80 / 30, seed=5) as stream:
        chunks = list(stream)
    assert [chunk.start for chunk in chunks] == list(range(0, 80, 4))
    torch.testing.assert_close(torch.cat([chunk.features for chunk in chunks]), answer.features, **CLOSE)


@pytest.mark.parametrize("window, hop", [(12, 1), (12, 5), (30, 1)])
def test_kept_keys_give_what_recomputing_gives(window: int, hop: int) -> None:
    model = tiny_streamer(window=window, hop=hop)
    made = []
    for cached in (True, False):
        rows = LatentRows(model, 2, cached)
        for row, text in enumerate((WALK, SIT)):
            rows.begin(row, model.prompt([Text(text)], "motion"))
        latents = []
        for number in range(20):
            if number == 7:
                rows.say(1, model.prompt([Text(WALK)], "motion"))
            found, _ = rows.draw([0, 1], RowNoise([1, 2]), [number, number])
            rows.append([0, 1], found)
            latents.append(found)
        made.append(torch.stack(latents))
    torch.testing.assert_close(*made, atol=5e-4, rtol=1e-3)  # rounding is up to 1000 times as large in clean data


def test_decoding_of_answers_without_a_cache(model) -> None:
    prompts = [model.prompt([Text(text)], "motion") for text in (WALK, SIT)]
    states = [LatentDecoding(model, prompts, [5, 5], cached).step(None) for cached in (True, False)]
    torch.testing.assert_close(*states, **CLOSE)


def test_sessions_do_not_see_each_other(batcher: Batcher) -> None:
    """One among eleven that come, go and are told other things is what it is alone."""
    alone = batcher.open(WALK, seed=9)
    want = run(batcher, alone, 16)
    batcher.close(alone)
    others = [batcher.open(SIT, seed=i) for i in range(3)]
    session = batcher.open(WALK, seed=9)
    got = []
    for step in range(16):
        if step % 4 == 1:
            batcher.close(others.pop(0))
            others += [batcher.open(f"{WALK} {step} {i}", seed=step) for i in range(3)]
        if step % 5 == 2:
            batcher.say(others[-1], f"{SIT} {step}")
        got.append(batcher.step()[session].features)
    torch.testing.assert_close(torch.cat(got), want, **CLOSE)
    assert len(batcher.sessions) == 1 + len(others) > FIRST


FIRST = 4


def test_other_words_change_what_follows_and_nothing_before(batcher: Batcher) -> None:
    first, second = (batcher.open(WALK, seed=4) for _ in range(2))
    before = [run(batcher, session, 6) for session in (first, second)]
    batcher.say(second, SIT)
    after = [run(batcher, session, 6) for session in (first, second)]
    assert torch.equal(*before)
    assert (after[0] - after[1]).abs().max() > 1e-3
    assert second.texts == [(0, WALK), (24, SIT)]


def test_a_saved_session_goes_on_to_the_bit(model, tmp_path) -> None:
    pipeline = Pipeline(model)
    stream = pipeline.stream(WALK, seed=2)
    for _ in range(15):
        next(stream)
    stream.say(SIT)
    next(stream)
    file = stream.save(tmp_path / "session.safetensors")
    want = [next(stream) for _ in range(6)]
    other = Pipeline(tiny_streamer()).resume(file)
    got = [next(other) for _ in range(6)]
    for one, two in zip(got, want, strict=True):
        assert torch.equal(one.joints, two.joints) and torch.equal(one.features, two.features)
        assert (one.start, one.text) == (two.start, two.text)


def test_a_file_that_is_no_session_of_this_model(model, tmp_path) -> None:
    pipeline, file = Pipeline(model), tmp_path / "session.safetensors"
    stream = pipeline.stream(WALK)
    next(stream)
    stream.save(file)
    with pytest.raises(DataError, match="session of another model"):
        Pipeline(tiny_streamer(seed=1)).resume(file)
    whole = file.read_bytes()
    for damaged in (b"", whole[:100], b"hello", whole[:-40]):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match="damaged or not a saved session"):
            pipeline.resume(file)
    with pytest.raises(DataError, match="no such file"):
        pipeline.resume(tmp_path / "nothing")
    stream.close()
    with pytest.raises(RequestError, match="has ended"):
        stream.save(file)


def test_a_motion_goes_on(model) -> None:
    """In the world of the given motion, from its last frame on, and its words count."""
    pipeline = Pipeline(model)
    given = Motion(turn(walker(61), torch.tensor(0.7)) + torch.tensor([2.0, 0.0, -1.0]), 30.0)
    with pipeline.stream(SIT, history=given, seed=1) as stream:
        chunk = next(stream)
    whole = torch.cat((pipeline.clip(given).features, chunk.features))
    path = pipeline.representation.decode_joints(whole.double())[:, 0]
    want = turn(path[61:] - path[60], torch.tensor(0.7).double()) + given.joints[60, 0]
    torch.testing.assert_close(chunk.joints[:, 0, [0, 2]], want[:, [0, 2]].float(), atol=1e-4, rtol=0)
    with pipeline.stream(WALK, history=given, seed=1) as other:
        assert not torch.equal(next(other).features, chunk.features)


@pytest.mark.parametrize("end", ["stop", "continue", "hold"])
def test_where_the_model_ends_its_motion(end: str) -> None:
    """A latent near the end latent (here: any) ends a session, is drawn again, or leads to standing still."""
    model = tiny_streamer(end_distance=1e6)
    batcher = Batcher(model, Pipeline(model).representation)
    session = batcher.open(WALK, end=end)
    chunk = batcher.step()[session]
    assert chunk.ended == session.ended == (end == "stop")
    assert chunk.num_frames == (0 if end == "stop" else 4)
    assert session.text == (IDLE if end == "hold" else WALK)
    assert batcher.step() == {} if end == "stop" else session in batcher.step()


def test_nobody_is_far_ahead_of_who_listens(model) -> None:
    batcher = Batcher(model, Pipeline(model).representation, Limits(lead_seconds=1.0))
    slow, paused = batcher.open(WALK), batcher.open(SIT)
    paused.paused = True
    for _ in range(20):
        batcher.step()
    assert slow.frames == 32 and paused.frames == 0
    slow.taken = 8
    for _ in range(20):
        batcher.step()
    assert slow.frames == 40


def test_places_are_bounded_and_freed(model) -> None:
    batcher = Batcher(model, Pipeline(model).representation, Limits(sessions=6))
    open_ones = [batcher.open(WALK, seed=i) for i in range(6)]
    with pytest.raises(RequestError, match="6 sessions are open"):
        batcher.open(WALK)
    batcher.step()
    batcher.close(open_ones[2])
    batcher.close(open_ones[2])
    again = batcher.open(WALK, seed=0)
    assert again.row == open_ones[2].row
    got = run(batcher, again, 3)
    fresh = Batcher(model, batcher.representation)
    torch.testing.assert_close(got, run(fresh, fresh.open(WALK, seed=0), 3), **CLOSE)


def test_what_cannot_be_served(model, batcher: Batcher) -> None:
    with pytest.raises(RequestError, match="prompt is empty"):
        batcher.open("  ")
    with pytest.raises(RequestError, match="end 'never' is not one of"):
        batcher.open(WALK, end="never")
    session = batcher.open(WALK)
    with pytest.raises(RequestError, match="prompt is empty"):
        batcher.say(session, "")
    batcher.close(session)
    with pytest.raises(RequestError, match="has ended"):
        batcher.say(session, SIT)
    whole = tiny_motiongpt3()
    with pytest.raises(RequestError, match="no motion without an end"):
        Batcher(whole, Pipeline(whole).representation)
    assert not batcher.sessions


def test_asynchronously(model) -> None:
    async def listen() -> list[int]:
        async with Pipeline(model).stream(WALK, seconds=1) as stream:
            return [chunk.start async for chunk in stream]

    assert asyncio.run(listen()) == list(range(0, 32, 4))


@pytest.mark.parametrize("name", ["motion272", "motion276", "humanml3d"])
def test_places_in_the_world_are_found_together_as_one_by_one(name: str) -> None:
    """To the bit, for sessions that begin, go on, and stand elsewhere than others."""
    representation = get_representation(name)
    together, alone = ([Recovery(representation) for _ in range(5)] for _ in range(2))
    generator = torch.Generator().manual_seed(0)
    for step in range(4):
        if step == 2:
            together[1], alone[1] = Recovery(representation), Recovery(representation)
            for one in (together[3], alone[3]):
                one.yaw, one.shift = torch.tensor(0.7).double(), torch.tensor([1.0, 0.0, -2.0]).double()
        rows = torch.randn(5, 4, representation.width, generator=generator) * 0.3
        made = push_together(together, rows)
        wanted = torch.stack([one.push(row) for one, row in zip(alone, rows)])
        assert made.shape == (5, 4, 22, 3) and torch.equal(made, wanted)
    assert not torch.equal(made[3], push_together([Recovery(representation)], rows[3:4])[0])


def test_memory_does_not_grow(model) -> None:
    stream = Pipeline(model).stream(WALK, keep=False)

    def held() -> int:
        rows, decoder = stream.batcher.tokens, stream.batcher.decoder
        return sum(t.nbytes for t in (*rows.history, rows.cache.room, *decoder.written))

    for _ in range(20):
        next(stream)
    first = held()
    for _ in range(60):
        next(stream)
    assert held() == first and not stream.chunks


def test_settings_that_cannot_be() -> None:
    usual = tiny_streamer().config
    for wrong, said in (({"window": 40}, "window is 40"), ({"hop": 13}, "hop is 13"), ({"longest": 0}, "longest is 0")):
        with pytest.raises(Exception, match=said):
            replace(usual, **wrong)
