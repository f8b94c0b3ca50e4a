"""The judged dimensions of MBench: order of labels, both parsers in both modes, and answers that are missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from mld.evaluation.judge import JudgeError, open_judge
from mld.evaluation.judge.answers import robust_choice, robust_yes, verdict
from mld.evaluation.suites.mbench.judged import NAMES, JudgedScorer
from mld.motion.motion import Motion
from tests.evaluation.chat_server import question_of, said, serving

WALK = Motion.load(Path(__file__).parents[2] / "demos/motions/walk.npy")
OTHERS = ["running", "running in place", "playing piano", "push up", "waving", "digging", "yoga", "squat", "boxing"]


class Scripted:
    identity = "scripted"

    def __init__(self, answer: Callable[[str], str]) -> None:
        self.answer = answer
        self.pictures: list[int] = []

    def ask(self, question: str, pictures: Sequence[bytes], fps: float) -> str:
        self.pictures.append(len(pictures))
        return self.answer(question)


def scorer(answer: str, mode: str = "strict") -> JudgedScorer:
    return JudgedScorer(Scripted(lambda question: answer), mode)


def test_ten_labels_in_an_order_of_the_seed() -> None:
    seen: list[str] = []
    judge = Scripted(lambda question: seen.append(question) or "The nearest label of the list is: walking")
    one = JudgedScorer(judge, seed=1).consistency(WALK, "walking", OTHERS)
    again = JudgedScorer(judge, seed=1).consistency(WALK, "walking", OTHERS)
    other = JudgedScorer(judge, seed=2).consistency(WALK, "walking", OTHERS)
    assert one == again
    assert one.candidates != other.candidates
    assert sorted(one.candidates) == sorted([*OTHERS, "walking"])
    assert f'"{", ".join(one.candidates)}"' in seen[0]
    assert judge.pictures == [20, 20, 20]
    assert len(JudgedScorer(judge).options("digging", OTHERS)) == 9  # its own label is among the others


def test_every_place_comes_to_the_right_label() -> None:
    made = JudgedScorer(Scripted(lambda question: ""), seed=0)
    places = {made.options(f"label {number}", OTHERS).index(f"label {number}") for number in range(200)}
    assert places == set(range(10))


@pytest.mark.parametrize(("answer", "published", "robust"), [
    ("He walks.\n\nThe nearest label of the list is: walking", 1.0, 1.0),
    ("He walks.\n\nThe nearest label of the list is: **Walking**.", 0.0, 1.0),
    ("He walks: left, right.\nThe nearest label of the list is: walking", 0.0, 1.0),
    ("He walks.\n\nThe nearest label of the list is: running", 0.0, 0.0),
    ("He walks.\n\nThe nearest label of the list is: strolling", 0.0, None),
    ("I cannot say.", 0.0, None),
])  # fmt: skip
def test_both_parsers_are_kept_and_the_mode_takes_one(answer: str, published: float, robust: float | None) -> None:
    strict, upstream = (scorer(answer, mode).consistency(WALK, "walking", OTHERS) for mode in ("strict", "upstream"))
    for judged in (strict, upstream):
        assert (judged.published, judged.robust, judged.raw) == (published, robust, answer)
    assert (strict.value, upstream.value) == (robust, published)
    assert bool(strict.reason) == (robust is None)
    assert upstream.reason == ""


@pytest.mark.parametrize(("answer", "published", "robust"), [
    ("He walks.\nAnswer: yes", 1.0, 1.0),
    ("He walks.\nAnswer: No.", 0.0, 0.0),
    ("His eyes are open.\nanswer: no", 1.0, 0.0),
    ("**Answer:** no. Although yes could be argued", 1.0, 0.0),
    ("<think>Answer: yes</think>\nAnswer: no", 1.0, 0.0),
    ("A figure with open eyes.", 1.0, None),
    ("There is no sign of it being right", 0.0, None),
])  # fmt: skip
def test_yes_and_no_by_both_parsers(answer: str, published: float, robust: float | None) -> None:
    strict, upstream = (scorer(answer, mode).generalizability(WALK, "strolling") for mode in ("strict", "upstream"))
    assert (strict.value, strict.published, strict.robust) == (robust, published, robust)
    assert (upstream.value, upstream.raw) == (published, answer)
    assert strict.decision == {1.0: "yes", 0.0: "no", None: ""}[robust]


def test_longer_labels_are_not_their_beginnings() -> None:
    labels = ["running", "running in place", "push-up"]
    assert robust_choice("It is clearly running in place here", labels) == "running in place"
    assert robust_choice("running and running in place", labels) is None
    assert robust_choice("a Push up, I think", labels) == "push-up"
    assert robust_choice("", labels) is None
    assert robust_yes("") is None


def test_the_gate_reads_json_in_any_wrapping() -> None:
    assert verdict('Sure!\n```json\n{"analysis": "a {b}", "matches": "yes"}\n```').matches is True
    assert verdict('{"analysis": "it is true that", "matches": false').matches is False  # cut off
    assert verdict('{"analysis": "it is true that", "matches": false', published=True).matches is True
    assert verdict("true").matches is None
    assert verdict("[" * 100_000).matches is None
    assert verdict('{"analysis": ["x"], "matches": {"a": 1}}').matches is None


def test_a_judge_that_fails_leaves_values_missing_and_says_why(tmp_path: Path) -> None:
    def fails(question: str) -> str:
        raise JudgeError("gone")

    judged = JudgedScorer(Scripted(fails), cache=tmp_path).consistency(WALK, "walking", OTHERS)
    assert (judged.value, judged.reason, len(judged.candidates)) == (None, "gone", 10)
    nobody = JudgedScorer(None)
    assert set(nobody.reasons()) == set(NAMES)
    assert nobody.generalizability(WALK, "x").reason == nobody.reasons()[NAMES[1]]
    assert list(tmp_path.iterdir()) == []


def test_an_endpoint_that_is_not_there_is_a_reason_and_no_end() -> None:
    made = JudgedScorer(open_judge("http://127.0.0.1:9/v1"), cache=Path("unused"))
    assert all("cannot be reached" in reason for reason in made.reasons().values())


def test_answers_are_replayed_without_network_in_the_other_mode(tmp_path: Path) -> None:
    def reply(body):
        return said("He walks: on.\nThe nearest label of the list is: walking" if "list:" in question_of(body)
                    else "He walks.\nAnswer: yes")  # fmt: skip

    with serving(reply) as server:
        live = JudgedScorer(open_judge(f"{server.address}#a"), "strict", 3, tmp_path / "answers")
        first = [live.consistency(WALK, "walking", OTHERS), live.generalizability(WALK, "strolling")]
        again = [live.consistency(WALK, "walking", OTHERS), live.generalizability(WALK, "strolling")]
        assert len(server.bodies) == 2
        assert len(server.bodies[0]["messages"][0]["content"]) == 21
    assert [one.value for one in first] == [1.0, 1.0]
    assert first == again
    replay = JudgedScorer(open_judge(f"replay:{tmp_path / 'answers'}"), "upstream", 3)
    assert replay.identity == live.identity
    assert replay.consistency(WALK, "walking", OTHERS).value == 0.0
    assert replay.generalizability(WALK, "strolling").value == 1.0
    other_seed = JudgedScorer(replay.judge, "upstream", 4).consistency(WALK, "walking", OTHERS)
    assert "no recorded answer" in other_seed.reason
