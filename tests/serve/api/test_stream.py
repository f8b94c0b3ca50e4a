"""Streams: the motion of the library, nothing lost or repeated over a lost connection, one clear error for mistakes."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from mld.engine.body import body_offsets
from mld.engine.pipeline import Pipeline
from mld.errors import DataError
from mld.motion import kinematics
from mld.motion.motion import Motion
from mld.serve import protocol
from mld.serve.client import as_numbers
from tests.serve.api.conftest import SIT, WALK, Talk, opened
from tests.walking import walker


def wait(what, seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)


def streams(client) -> int:
    return client.get("/v1/health").json()["streams"]


def test_a_stream_is_what_the_library_makes(talk, streamer_folder: Path) -> None:
    one = talk()
    started = one.ask(type="start", text=WALK, seed=7, seconds=2, model="streamer", id=5)
    assert (started["type"], started["id"], started["fps"], started["frames_per_chunk"]) == ("started", 5, 30, 4)
    chunks = one.take(15)
    ended = one.told()
    assert (ended["type"], ended["reason"], ended["chunks"], ended["frames"]) == ("ended", "ended", 15, 60)
    assert [chunk.sequence for chunk in chunks] == list(range(15))
    assert [chunk.first_frame for chunk in chunks] == list(range(0, 60, 4))
    with Pipeline.load(streamer_folder).stream(WALK, seconds=2, seed=7) as stream:
        want = torch.cat([chunk.joints for chunk in stream])
    got = torch.from_numpy(np.concatenate([chunk.positions for chunk in chunks]))
    torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-4)


def test_a_model_of_whole_motions_streams_in_windows(talk) -> None:
    one = talk()
    started = one.ask(type="start", text=WALK, seed=7, seconds=1, model="tiny")
    assert (started["type"], started["fps"]) == ("started", 20)
    chunks = one.take(-(-20 // started["frames_per_chunk"]))
    assert sum(len(chunk.positions) for chunk in chunks) == 20 and one.told()["reason"] == "ended"


def test_other_words_hold_from_the_frame_that_is_told(talk) -> None:
    one = talk()
    one.ask(type="start", text=WALK)
    one.take(3)
    said = one.ask(type="say", text=SIT)
    assert said["type"] == "said" and said["text"] == SIT and said["frame"] % 4 == 0
    chunks = one.take(len(one.chunks) + 12)
    assert [chunk.first_frame for chunk in chunks if chunk.other_words] == [said["frame"]]
    stopped = one.ask(type="stop")
    assert stopped["type"] == "stopped"
    assert one.ask(type="start", text=SIT)["type"] == "started", "the connection is free for another"


def test_rotations_put_the_joints_where_they_are(talk) -> None:
    """Root and local quaternions with the offsets of `started`, by forward kinematics."""
    one, two = talk(), talk()
    started = one.ask(type="start", text=WALK, seed=3, data="rotations", seconds=1)
    two.ask(type="start", text=WALK, seed=3, seconds=1)
    turned, placed = one.take(8), two.take(8)
    assert [len(chunk.positions) for chunk in turned] == [4] * 7 + [2], "a stream ends at the frame that was asked for"
    import roma

    local = roma.unitquat_to_rotmat(torch.from_numpy(np.concatenate([one.rotations for one in turned])).double())
    root = torch.from_numpy(np.concatenate([one.positions for one in turned])).double()
    joints, _ = kinematics.forward(root, local, torch.tensor(started["offsets"]).double(), started["parents"])
    want = torch.from_numpy(np.concatenate([one.positions for one in placed])).double()
    torch.testing.assert_close(torch.tensor(started["offsets"]), body_offsets(Motion(walker(2), 30.0).skeleton).float(),
                               atol=1e-5, rtol=0)  # fmt: skip
    torch.testing.assert_close(root, want[:, 0], atol=1e-5, rtol=0)
    legs = [1, 2, 4, 5]  # random weights bend the trunk as nobody can; hips and knees follow rigidly
    assert (joints - want)[:, legs].norm(dim=-1).median() < 0.05


def test_a_motion_goes_on(talk) -> None:
    given = Motion(walker(60), 30.0)
    one = talk()
    assert one.ask(type="start", text=WALK, history=as_numbers(given))["type"] == "started"
    first = one.take(1)[0].positions[0, 0]
    assert np.linalg.norm(first[[0, 2]] - given.joints[-1, 0, [0, 2]].numpy()) < 1.5


def test_nobody_is_far_ahead_and_a_pause_is_a_pause(talk) -> None:
    one = talk()
    one.ask(type="start", text=WALK)
    one.take(8, acknowledge=False)
    time.sleep(0.5)
    assert one.ask(type="pause", on=True)["on"] is True
    assert len(one.chunks) == 8, "one second is made ahead, no more"
    one.send(type="ack", sequence=7)
    time.sleep(0.5)
    assert one.ask(type="pause", on=False)["on"] is False
    assert len(one.chunks) == 8, "nothing is made in a pause"
    assert one.take(10)[-1].sequence == 9


def test_a_lost_connection_loses_nothing(client, talk) -> None:
    """Another connection goes on with the chunk that is asked for; frames are those of an undisturbed stream."""
    undisturbed = talk()
    undisturbed.ask(type="start", text=WALK, seed=9, seconds=2)
    want = [chunk.positions for chunk in undisturbed.take(15)]
    with client.websocket_connect("/v1/stream") as socket:
        one = Talk(socket)
        session = one.ask(type="start", text=WALK, seed=9, seconds=2)["session"]
        one.take(4)
    two = talk()
    resumed = two.ask(type="resume", session=session, next=4)
    assert (resumed["type"], resumed["next"], resumed["session"]) == ("resumed", 4, session)
    got = [*one.chunks[:4], *two.take(11)]
    assert [chunk.sequence for chunk in got] == list(range(15))
    frames = np.stack([chunk.positions for chunk in got])
    np.testing.assert_allclose(frames, np.stack(want), atol=2e-3)  # batches round differently


def test_a_stream_is_taken_over_from_a_connection_that_hangs(talk) -> None:
    one, two = talk(), talk()
    session = one.ask(type="start", text=WALK)["session"]
    one.take(2)
    assert two.ask(type="resume", session=session, next=2)["type"] == "resumed"
    assert one.told()["reason"] == "resumed elsewhere"
    assert one.ask(type="say", text=SIT)["code"] == "no_session"
    assert two.take(2)[0].sequence == 2


def test_what_cannot_be_resumed(client, talk) -> None:
    one, two = talk(), talk()
    session = one.ask(type="start", text=WALK)["session"]
    one.take(6)
    for number, said in ((2, "not kept"), (10_000, "not kept"), (-1, "next"), ("4", "next"), (None, "next")):
        answer = two.ask(type="resume", session=session, next=number)
        assert answer["type"] == "error" and said in answer["error"]
    for name in ("nobody", "", None, 7, session[:-1]):
        answer = two.ask(type="resume", session=name, next=0)
        assert answer["type"] == "error" and "no session" in answer["error"]
    assert one.take(8)[-1].sequence == 7, "the stream is not disturbed"


def test_a_client_that_comes_back_too_late(client, talk) -> None:
    wait(lambda: streams(client) == 0)
    with client.websocket_connect("/v1/stream") as socket:
        session = Talk(socket).ask(type="start", text=WALK)["session"]
    assert streams(client) == 1
    wait(lambda: streams(client) == 0)  # after the seconds of grace
    assert "no session" in talk().ask(type="resume", session=session, next=0)["error"]


def test_a_client_that_takes_nothing_is_let_go(client, talk) -> None:
    """After a while, with a sentence; others go on."""
    silent, other = talk(), talk()
    silent.ask(type="start", text=WALK)
    other.ask(type="start", text=WALK)
    for count in range(1, 40):
        other.take(count)
        time.sleep(0.12)
    ended = silent.told()
    assert (ended["type"], ended["reason"]) == ("ended", "unread") and "acknowledged" in ended["error"]
    assert other.ask(type="stop")["type"] == "stopped"
    wait(lambda: streams(client) == 0)


MISTAKES = [
    ({"type": "start"}, "text"), ({"type": "start", "text": ""}, "prompt is empty"),
    ({"type": "start", "text": "a" * 301}, "long text"), ({"type": "start", "text": 7}, "words are needed"),
    ({"type": "start", "text": WALK, "seed": -1}, "seed"), ({"type": "start", "text": WALK, "seed": "1"}, "seed"),
    ({"type": "start", "text": WALK, "end": "never"}, "end 'never'"),
    ({"type": "start", "text": WALK, "data": "pixels"}, "data 'pixels'"),
    ({"type": "start", "text": WALK, "seconds": 0}, "seconds"),
    ({"type": "start", "text": WALK, "seconds": float("nan")}, "seconds"),
    ({"type": "start", "text": WALK, "model": "nobody"}, "no model"),
    ({"type": "start", "text": WALK, "history": "walk.npy"}, "a motion is an object"),
    ({"type": "start", "text": WALK, "history": {**as_numbers(Motion(walker(20), 30.0)), "fps": "x"}}, "motion.json"),
    ({"type": "start", "text": WALK, "history": {"fps": 30, "joints": [[[float("nan")] * 3] * 22] * 20}}, "NaN"),
    ({"type": "start", "txet": WALK}, "did you mean 'text'"), ({"type": "strat"}, "did you mean 'start'"),
    ({"type": "say", "text": SIT}, "no stream runs"), ({"type": "ack", "sequence": 0}, "no stream runs"),
    ({"type": "pause"}, "no stream runs"), ({"type": "stop"}, "no stream runs"), ({}, "a type"), ([], "a type"),
    ({"type": 7}, "a type"), ("nonsense", "no JSON"), ("[" * 100_000, "no JSON"), (b"\0\1", "a type"),
    ({"type": "say", "id": "\ud800"}, "id: a whole"), ({"type": "say", "id": float("nan")}, "id: a whole"),
    ({"type": "say", "id": "x" * 101}, "id: a whole"), ({"type": "say", "id": [1]}, "id: a whole"),
]  # fmt: skip


def test_mistakes_are_told_on_the_connection_which_goes_on(client, talk) -> None:
    import re

    wait(lambda: streams(client) == 0)
    one, other = talk(), talk()
    other.ask(type="start", text=WALK)
    for wrong, said in MISTAKES:
        if isinstance(wrong, bytes):
            one.socket.send_bytes(wrong)
        else:
            one.socket.send_text(wrong if isinstance(wrong, str) else json.dumps(wrong))
        answer = one.told()
        assert answer["type"] == "error" and re.search(said, answer["error"]), (wrong, answer)
        assert "\n" not in answer["error"] and len(answer["error"]) <= 300 and answer["code"]
        other.take(len(other.chunks) + 1)
    assert one.ask(type="strat", id=7)["id"] == 7, "which message was wrong"
    assert streams(client) == 1, "what failed holds no place"
    assert one.ask(type="start", text=WALK)["type"] == "started"


def test_late_and_repeated_messages(talk) -> None:
    one = talk()
    one.ask(type="start", text=WALK, seconds=2)  # longer than the lead: it cannot end on its own
    one.take(3)
    for message, said in (
        ({"type": "start", "text": WALK}, "already"), ({"type": "resume", "session": "x", "next": 0}, "already"),
        ({"type": "ack", "sequence": 1}, "acknowledged before"), ({"type": "ack", "sequence": 900}, "not sent yet"),
        ({"type": "ack", "sequence": True}, "number of a chunk"), ({"type": "pause", "on": 1}, "true or false"),
        ({"type": "say", "text": " "}, "prompt is empty"), ({"type": "say", "text": "b" * 301}, "long text"),
    ):  # fmt: skip
        answer = one.ask(**message)
        assert answer["type"] == "error" and said in answer["error"], answer
    for chunk in one.chunks[3:]:
        one.send(type="ack", sequence=chunk.sequence)
    assert [chunk.sequence for chunk in one.take(15)] == list(range(15)), "the stream is what it would have been"
    assert one.told()["type"] == "ended"
    for message in ({"type": "say", "text": SIT}, {"type": "stop"}):
        assert one.ask(**message)["code"] == "no_session"


def test_places_are_bounded_and_freed(client, talk) -> None:
    wait(lambda: streams(client) == 0)
    talks = [talk() for _ in range(7)]
    answers = [one.ask(type="start", text=WALK) for one in talks]
    assert [one["type"] for one in answers] == ["started"] * 6 + ["error"] and answers[-1]["code"] == "full"
    talks[0].ask(type="stop")
    assert talks[-1].ask(type="start", text=WALK)["type"] == "started"
    for one in talks[1:]:
        one.ask(type="stop")
    assert streams(client) == 0


def test_a_step_that_fails_ends_streams_with_a_sentence(models, monkeypatch) -> None:
    from mld.engine.streaming.batcher import Batcher

    with opened(models) as client, client.websocket_connect("/v1/stream") as socket:
        one = Talk(socket)
        one.ask(type="start", text=WALK)
        one.take(2)
        step = Batcher.step
        monkeypatch.setattr(Batcher, "step", lambda self: (_ for _ in ()).throw(ValueError("secret")) if self.sessions
                            else step(self))  # fmt: skip
        one.send(type="ack", sequence=one.chunks[-1].sequence) if one.chunks[-1].sequence > 1 else None
        ended = one.told()
        assert ended["reason"] == "failed" and "log" in ended["error"] and "secret" not in ended["error"]
        monkeypatch.setattr(Batcher, "step", step)
        assert one.ask(type="start", text=WALK)["type"] == "started"


def test_numbers_that_are_not_finite_end_one_stream_alone(models) -> None:
    with opened(models) as client, client.websocket_connect("/v1/stream") as first, \
            client.websocket_connect("/v1/stream") as second:  # fmt: skip
        one, two = Talk(first), Talk(second)
        one.ask(type="start", text=WALK, seed=1)
        two.ask(type="start", text=WALK, seed=2)
        one.take(2)
        live = next(iter(client.app.state.streams._lives.values()))
        bad = next(session for session in live.batcher.sessions.values() if session.seed == 1).recovery
        bad.shift = bad.shift * float("nan")
        for chunk in one.chunks[2:]:
            one.send(type="ack", sequence=chunk.sequence)
        ended = one.told()
        assert ended["reason"] == "failed" and "finite" in ended["error"]
        assert len(two.take(12)) == 12


def test_rotations_of_many_are_found_as_of_each() -> None:
    """To the bit, of noisy clips that begin anywhere in a walk."""
    from mld.engine.body import body_offsets
    from mld.motion.representations.registry import get_representation
    from mld.serve.api.live import turns_together
    from tests.walking import walker

    representation, generator = get_representation("motion272"), torch.Generator().manual_seed(0)
    offsets, walk = body_offsets(representation.skeleton), walker(40)
    clips = torch.stack([walk[i : i + 12] for i in (0, 3, 11, 20)])
    clips = clips + 0.02 * torch.randn(clips.shape, generator=generator)
    together = turns_together(clips, 4, representation, offsets)
    alone = [turns_together(clip[None], 4, representation, offsets)[0] for clip in clips]
    assert together.shape == (4, 4, 22, 4) and np.array_equal(together, np.stack(alone))
    assert not np.array_equal(together[1], together[2])


def test_the_end_is_announced(models) -> None:
    with opened(models) as client, client.websocket_connect("/v1/stream") as socket:
        one = Talk(socket)
        one.ask(type="start", text=WALK)
        one.take(1)
        client.app.state.streams.drain()
        assert one.told() == {"type": "closing", "seconds": 10.0}
        client.app.state.streams.end_all()
        ended = one.told()
        assert (ended["type"], ended["reason"]) == ("ended", "closing")
        assert one.ask(type="start", text=WALK)["code"] == "closing"


def test_messages_are_what_the_documents_say() -> None:
    joints = np.arange(2 * 3 * 3, dtype=np.float32).reshape(2, 3, 3)
    message = protocol.packed(protocol.Frames(7, 28, 30.0, joints, None, True))
    assert message[:24] == b"MLDF\x01\x01\x01\x00\x07\x00\x00\x00\x1c\x00\x00\x00\x02\x00\x03\x00\x00\x00\xf0A"
    assert len(message) == 24 + 4 * 18
    again = protocol.unpacked(message)
    assert np.array_equal(again.positions, joints) and again.other_words and again.rotations is None
    turns = np.ones((2, 3, 4), dtype=np.float32)
    again = protocol.unpacked(protocol.packed(protocol.Frames(0, 0, 30.0, joints[:, 0], turns)))
    assert np.array_equal(again.positions, joints[:, 0]) and np.array_equal(again.rotations, turns)
    for damaged in (b"", message[:20], message[:-1], b"XXXX" + message[4:], message[:4] + b"\x02" + message[5:]):
        with pytest.raises(DataError):
            protocol.unpacked(damaged)


def test_a_connection_without_a_stream_is_closed(models) -> None:
    """One that has a stream, or had one a moment ago, is not."""
    stream = "/v1/stream"
    with (
        opened(models, rate=0, patience=1.0) as client, client.websocket_connect(stream) as unused,
        client.websocket_connect(stream) as socket,
    ):  # fmt: skip
        one = Talk(socket)
        one.ask(type="start", text=WALK, model="streamer")
        closed = unused.receive()
        assert (closed["type"], closed["code"]) == ("websocket.close", 1000) and "no stream ran" in closed["reason"]
        one.take(len(one.chunks) + 20)
        assert one.ask(type="stop")["type"] == "stopped"
        assert one.ask(type="start", text=SIT, model="streamer")["type"] == "started"
