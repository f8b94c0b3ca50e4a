"""Judges: endpoints and what goes wrong with them, recorded answers, pictures."""

from __future__ import annotations

import base64
import io
import socket
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mld.errors import LONGEST, MldError, RequestError
from mld.evaluation.judge import JudgeError, Recorded, open_judge
from mld.evaluation.judge.endpoint import UNREACHED, Endpoint
from mld.evaluation.judge.frames import MOST, frame_rate, pictures, subject
from mld.evaluation.judge.threads import in_threads
from mld.motion.motion import Motion
from mld.view.stills import HEIGHT, WIDTH, fixed_camera, stills
from tests.evaluation.chat_server import said, serving

WALK = Path(__file__).parents[2] / "demos/motions/walk.npy"
PICTURES = [b"\xff\xd8 one", b"\x89PNG two"]


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLD_JUDGE_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def refusal(judge: Any) -> str:
    with pytest.raises(JudgeError) as caught:
        judge.ask("who?", PICTURES, 5.0)
    assert len(str(caught.value)) <= LONGEST
    return str(caught.value)


def test_an_endpoint_is_sent_question_pictures_model_and_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLD_JUDGE_KEY", "secret")
    with serving(lambda body: said(" a walk \n")) as server:
        judge = open_judge(f"{server.address}#seer-2")
        assert judge.identity == f"{server.address}#seer-2"
        assert judge.ask("what is it?", PICTURES, 5.0) == "a walk"
    (body,), (key,) = server.bodies, server.keys
    assert (body["model"], body["temperature"], key) == ("seer-2", 0, "Bearer secret")
    text, *images = body["messages"][0]["content"]
    assert "2 pictures" in text["text"]
    assert "5 per second" in text["text"]
    assert text["text"].endswith("what is it?")
    urls = [image["image_url"]["url"].split(";base64,") for image in images]
    assert [kind for kind, _ in urls] == ["data:image/jpeg", "data:image/png"]
    assert [base64.b64decode(data) for _, data in urls] == PICTURES


def test_the_usual_key_goes_to_this_machine_or_by_https_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "usual")
    with serving(lambda body: said("yes")) as server:
        open_judge(f"{server.address}#a").ask("?", PICTURES, 5.0)
    assert server.keys == ["Bearer usual"]
    assert Endpoint("http://far.example/v1#a")._key == ""
    assert Endpoint("https://far.example/v1#a")._key == "usual"
    secret = Endpoint("https://me:pass@far.example/v1/chat/completions?token=1#a")
    assert secret.identity == "https://far.example/v1#a"


def test_without_a_model_the_only_one_is_taken() -> None:
    with serving(lambda body: said("yes")) as server:
        open_judge(server.address).ask("?", PICTURES, 5.0)
        assert server.bodies[0]["model"] == "seer"
    with serving(lambda body: said("yes"), models=("a", "b")) as server:
        assert "it offers a, b" in refusal(open_judge(server.address))


def test_a_passing_failure_is_tried_three_times() -> None:
    waits: list[float] = []
    answers = iter([(503, {"error": {"message": "loading"}}), (200, b"<html>"), said("at last")])
    with serving(lambda body: next(answers)) as server:
        judge = Endpoint(f"{server.address}#a", sleep=waits.append)
        assert judge.ask("?", PICTURES, 5.0) == "at last"
    assert waits == [1.0, 2.0]
    with serving(lambda body: (429, {"error": {"message": "slow down"}})) as server:
        server.headers_sent["Retry-After"] = "7"
        waits.clear()
        told = refusal(Endpoint(f"{server.address}#a", sleep=waits.append))
    assert waits == [7.0, 7.0]
    assert "slow down" in told
    assert "(3 tries)" in told


@pytest.mark.parametrize(("status", "content", "words"), [
    (401, {"error": {"message": "Incorrect key secret"}}, ("key was refused", "MLD_JUDGE_KEY", "Incorrect key KEY")),
    (404, {"error": {"message": "The model `a` does not exist"}}, ("no model 'a'", "does not exist")),
    (400, {"message": "at most 1 image"}, ("refused the question (400)", "at most 1 image")),
    (301, b"", ("is elsewhere (301)",)),
    (200, b"\xff\x00 no json", ("answered no JSON", "/v1")),
    (200, {"object": "list"}, ("no chat completion",)),
    (200, {"choices": [{"message": {"content": None}, "finish_reason": "length"}]}, ("answered nothing", "length")),
])  # fmt: skip
def test_what_goes_wrong_is_told_in_a_line(
    status: int, content: Any, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLD_JUDGE_KEY", "secret")
    with serving(lambda body: (status, content)) as server:
        judge = Endpoint(f"{server.address}#a", sleep=lambda seconds: None)
        told = refusal(judge)
        asked = len(server.bodies)
        assert "secret" not in told
        assert all(word in told for word in words), told
        assert refusal(judge) == told
        lasting = status in (401, 404, 301)
        assert len(server.bodies) == (asked if lasting else 2 * asked)


def test_limits_that_an_endpoint_does_not_know_are_left_out() -> None:
    def reply(body: dict[str, Any]) -> tuple[int, Any]:
        for name in ("temperature", "max_tokens"):
            if name in body:
                return 400, {"error": {"message": f"Unsupported parameter: '{name}'"}}
        return said("yes")

    with serving(reply) as server:
        judge = open_judge(f"{server.address}#a")
        assert judge.ask("?", PICTURES, 5.0) == judge.ask("?", PICTURES, 5.0) == "yes"
        assert len(server.bodies) == 4  # the second question is right at once
        assert "max_completion_tokens" in server.bodies[-1]


def test_a_judge_that_is_not_there_is_told_and_not_waited_for_again_and_again() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    waits: list[float] = []
    judge = Endpoint(f"http://127.0.0.1:{port}/v1#a", sleep=waits.append)
    for _ in range(UNREACHED + 5):
        assert "cannot be reached" in refusal(judge)
    assert waits == [1.0, 2.0] * UNREACHED


def test_a_judge_that_does_not_answer_in_time() -> None:
    gone = threading.Event()
    with serving(lambda body: (gone.wait(10), said("late"))[1]) as server:
        judge = Endpoint(f"{server.address}#a", timeout=0.1, sleep=lambda seconds: None)
        assert "no answer within 0.1 s" in refusal(judge)
        gone.set()


@pytest.mark.parametrize("spec", ["", "  ", "gpt-4", "http://", "https://a b/v1", "http://[x/v1", "replay:nowhere"])
def test_a_spec_that_is_no_judge(spec: str) -> None:
    with pytest.raises(RequestError):
        open_judge(spec)


class Scripted:
    identity = "scripted"

    def __init__(self, answer: str = "yes") -> None:
        self.answer, self.count = answer, 0

    def ask(self, question: str, pictures: Any, fps: float) -> str:
        self.count += 1
        return self.answer


def test_answers_are_kept_and_used_again_without_the_judge(tmp_path: Path) -> None:
    judge = Scripted()
    kept = Recorded(judge, tmp_path / "answers")
    assert [kept.ask("?", PICTURES, 5.0), kept.ask("?", PICTURES, 5.0)] == ["yes", "yes"]
    assert (judge.count, kept.asked, kept.replayed) == (1, 1, 1)
    kept.ask("another?", PICTURES, 5.0)
    kept.ask("?", PICTURES[:1], 5.0)
    kept.ask("?", PICTURES, 4.0)
    assert judge.count == 4
    replay = open_judge(f"replay:{tmp_path / 'answers'}")
    assert replay.identity == "scripted"
    assert replay.ask("another?", PICTURES, 5.0) == "yes"
    assert "no recorded answer" in refusal(replay)


def test_two_judges_in_a_folder_are_told_apart(tmp_path: Path) -> None:
    other = Scripted("no")
    other.identity = "other"
    for judge in (Scripted(), other):
        Recorded(judge, tmp_path).ask("?", PICTURES, 5.0)
    with pytest.raises(RequestError, match="other, scripted"):
        open_judge(f"replay:{tmp_path}")
    assert open_judge(f"replay:{tmp_path}#other").ask("?", PICTURES, 5.0) == "no"


def test_a_damaged_record_is_asked_again(tmp_path: Path) -> None:
    judge = Scripted()
    Recorded(judge, tmp_path).ask("?", PICTURES, 5.0)
    (record,) = tmp_path.glob("*.json")
    record.write_text('{"answer": "no"')
    assert Recorded(judge, tmp_path).ask("?", PICTURES, 5.0) == "yes"
    assert judge.count == 2
    (tmp_path / "notes.json").write_text("[]")
    assert open_judge(f"replay:{tmp_path}").ask("?", PICTURES, 5.0) == "yes"
    with pytest.raises(RequestError, match="a folder"):
        Recorded(judge, record)


def test_threads_ask_equal_questions_once(tmp_path: Path) -> None:
    begun, judge = threading.Event(), Scripted()
    real = judge.ask

    def slow(question: str, pictures: Any, fps: float) -> str:
        begun.wait(0.05)
        return real(question, pictures, fps)

    judge.ask = slow  # type: ignore[method-assign]
    kept = Recorded(judge, tmp_path)
    found = dict(in_threads(lambda n: kept.ask(f"{n % 3}?", PICTURES, 5.0), range(30), threads=8))
    assert found == dict.fromkeys(range(30), "yes")
    assert (judge.count, len(list(tmp_path.glob("*.json")))) == (3, 3)


def test_a_failure_in_threads_comes_out_and_is_not_kept(tmp_path: Path) -> None:
    def fails(number: int) -> int:
        if number == 5:
            raise JudgeError("no")
        return number

    with pytest.raises(JudgeError):
        list(in_threads(fails, range(9), threads=2))
    assert dict(in_threads(fails, range(5), threads=4)) == {number: number for number in range(5)}


def test_pictures_are_five_a_second_and_hold_all_of_the_motion() -> None:
    walk = Motion.load(WALK)
    found = pictures(walk)
    assert len(found) == -(-walk.num_frames // 4)  # 20 fps
    assert {Image.open(io.BytesIO(one)).size for one in found} == {(WIDTH, HEIGHT)}
    pixels, _ = fixed_camera(walk).project(walk.joints.numpy())
    assert (pixels >= 0).all()
    assert (pixels <= np.array([2 * WIDTH, 2 * HEIGHT])).all()
    assert frame_rate(walk) == 5.0
    assert pictures(walk) == found


def test_the_camera_stands_still() -> None:
    """The ground beside the way is the same in every picture, the middle is not."""
    walk = Motion.load(WALK)
    arrays = [np.asarray(picture).astype(int) for picture in stills(walk, [0, 30, 60])]
    beside = np.s_[-200:, :120]
    assert arrays[0][beside].std() > 1  # there is a grid
    for other in arrays[1:]:
        assert (arrays[0][beside] == other[beside]).all()
        assert (arrays[0] != other).any()


def test_long_and_slow_motions_have_no_more_pictures_than_a_judge_takes() -> None:
    walk = Motion.load(WALK)
    long = Motion(walk.joints.repeat(20, 1, 1), 20.0, walk.skeleton)
    assert len(pictures(long)) == MOST
    assert frame_rate(long) < 5.0
    slow = Motion(walk.joints[:7], 2.0, walk.skeleton)
    assert (len(pictures(slow)), frame_rate(slow)) == (7, 2.0)
    still = Motion(torch.zeros(1, 22, 3), 20.0, walk.skeleton)
    assert len(pictures(still)) == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_what_cannot_be_seen_is_not_shown(value: float) -> None:
    walk = Motion.load(WALK)
    joints = walk.joints.clone()
    joints[3, 4, 0] = value
    with pytest.raises(JudgeError, match="nothing to look at"):
        pictures(Motion(joints, 20.0, walk.skeleton))
    joints[3, 4, 0] = 9e3  # far away, but seen
    assert len(pictures(Motion(joints, 20.0, walk.skeleton))) == 20


def test_a_subject_is_the_motion() -> None:
    walk = Motion.load(WALK)
    moved = walk.joints.clone()
    moved[3, 4, 0] += 1e-3
    others = [Motion(moved, 20.0, walk.skeleton), Motion(walk.joints, 25.0, walk.skeleton)]
    known = {subject(walk), *map(subject, others)}
    assert len(known) == 3
    assert subject(Motion.load(WALK)) in known


def test_a_recorded_judge_is_not_shown_pictures_again(tmp_path: Path) -> None:
    def draw() -> Any:
        raise AssertionError("drawn")

    kept = Recorded(Scripted(), tmp_path)
    assert kept.about("?", "motion:1", lambda: PICTURES, 5.0) == "yes"
    assert kept.about("?", "motion:1", draw, 5.0) == "yes"
    assert open_judge(f"replay:{tmp_path}").about("?", "motion:1", draw, 5.0) == "yes"
    assert issubclass(JudgeError, MldError)
