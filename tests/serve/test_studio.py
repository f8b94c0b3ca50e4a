"""The studio: every task answered, every mistake a sentence, one request at a time."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from mld.errors import CheckpointError, RequestError, one_line
from mld.motion.motion import Motion
from mld.serve import studio as studio_module
from mld.serve.conversation import Conversation
from mld.serve.models import Models
from mld.serve.results import Results
from mld.serve.studio import UNEXPECTED, Studio
from mld.serve.uploads import open_upload


def test_text_becomes_samples_side_by_side(studio: Studio, ask) -> None:
    session = Conversation()
    turn = ask(session, "t2m", "a person walks", seconds=1.0, seed=3, samples=3)
    assert (turn.state, turn.samples) == ("done", 3), turn.text
    result = studio.results.get(turn.key)
    assert [item.label for item in result.items] == ["seed 3", "seed 4", "seed 5"]
    assert {item.motion.num_frames for item in result.items} == {20}
    assert all(item.caption == "a person walks" and item.tokens for item in result.items)
    assert turn.facts.startswith("1.0 s · seeds 3 to 5 · tiny · made in")
    again = ask(session, "t2m", "a person walks", seconds=1.0, seed=4)
    assert torch.equal(studio.results.get(again.key).items[0].motion.joints, result.items[1].motion.joints)


def test_motions_are_cleaned_up_and_it_is_said(studio: Studio, ask, monkeypatch) -> None:
    """Unless the studio leaves them as the model makes them."""
    shown = {}
    for clean in (True, False):
        monkeypatch.setattr(studio, "clean", clean)
        turn = ask(Conversation(), "t2m", "a person walks", seconds=2, seed=3)
        assert turn.state == "done"
        shown[clean] = studio.results.get(turn.key).items[0].motion
        assert ("cleaned up: " in turn.facts) is clean
    assert measured(shown[True]) < measured(shown[False])


def measured(motion: Motion) -> float:
    return float(motion.joints.diff(n=3, dim=0).abs().mean())


def test_a_text_that_the_model_cannot_read_is_answered_with_a_note(ask) -> None:
    turn = ask(Conversation(), "t2m", "人が歩く", seconds=1.0)
    assert turn.state == "done" and "never saw 100 % of the letters of the text, '人が歩く'" in turn.facts


def test_a_motion_becomes_words(studio: Studio, ask, files: Path) -> None:
    turn = ask(Conversation(), "m2t", "", files / "walk.bvh")
    assert turn.state == "done" and turn.text
    assert turn.given == ("walk.bvh · 3.0 s",)
    assert "60 frames at 20 fps" in turn.about[0]
    assert studio.results.get(turn.key).items[0].caption == turn.text
    assert ask(Conversation(), "m2t", "What is <motion> about?", files / "walk.bvh").state == "done"
    twice = ask(Conversation(), "m2t", "<motion> or <motion>?", files / "walk.bvh")
    assert twice.state == "failed" and "2 times, 1 are given" in twice.text


def test_a_motion_goes_on(studio: Studio, ask, files: Path) -> None:
    session = Conversation()
    turn = ask(session, "pred", "then sits", files / "curve.npy", seconds=3.0)
    joints = studio.results.get(turn.key).items[0].motion.joints
    assert len(joints) == 60
    given = open_upload([str(files / "curve.npy")], studio.work).motion.joints
    assert torch.equal(joints[:40], given)
    longer = ask(session, "pred", seconds=4.0)  # with the motion that was shown last
    assert torch.equal(studio.results.get(longer.key).items[0].motion.joints[:60], joints)


def test_two_motions_are_joined(studio: Studio, ask, files: Path) -> None:
    turn = ask(Conversation(), "inbetween", "", files / "walk.bvh", files / "curve.npy", seconds=6.0)
    assert turn.state == "done", turn.text
    item = studio.results.get(turn.key).items[0]
    assert item.motion.num_frames == 120
    assert item.caption == "walk.bvh → curve.npy"
    assert item.tokens[0] == (0, 60, "given") and item.tokens[-1] == (80, 120, "given")
    made = item.tokens[1:-1]
    assert (made[0][0], made[-1][1]) == (60, 80) and not any("given" in label for _, _, label in made)
    session = Conversation(last=[item.motion])
    begun = studio.accept(session, "inbetween", "", ([str(files / "walk.bvh")], None), 0, 0, 1, studio.models.names[0])
    assert list(studio.answer(session))[-1].given == ("walk.bvh · 3.0 s", "the last motion · 6.0 s"), begun.text
    short = ask(Conversation(), "inbetween", "", files / "walk.bvh", files / "curve.npy", seconds=4.0)
    assert short.state == "failed" and "leave no room" in short.text


def test_questions_in_words(ask) -> None:
    turn = ask(Conversation(), "t2t", "How many seconds would this take? a person walks")
    assert turn.state == "done" and not turn.key


@pytest.mark.parametrize(("task", "text", "options", "said"), [
    ("t2m", "", {}, "Please write something first"),
    ("t2m", "walk " * 100, {}, "499 characters"),
    ("t2m", "walk", {"seconds": 1e6}, "up to 120 seconds"), ("t2m", "walk", {"seconds": -1}, "up to 120 seconds"),
    ("t2m", "walk", {"seconds": float("nan")}, "up to 120 seconds"),
    ("t2m", "walk", {"seconds": 100}, "100 seconds are wanted; this model makes at most"),
    ("t2m", "walk", {"seed": float("inf")}, "are numbers"), ("t2m", "walk", {"seed": float("nan")}, "are numbers"),
    ("t2m", "walk", {"samples": 7}, "1 to 6 samples"), ("t2m", "walk", {"samples": -1}, "1 to 6 samples"),
    ("t2m", "walk", {"seed": -1}, "Seeds go from 0"),
    ("t2m", "walk", {"samples": 1000}, "1 to 6 samples"),
    ("m2t", "", {}, "Please upload a motion first."),
    ("inbetween", "", {}, "Please upload two motions first"),
    ("dance", "now", {}, "no task 'dance'"),
])  # fmt: skip
def test_questions_that_cannot_be_answered(ask, task: str, text: str, options: dict, said: str) -> None:
    turn = ask(Conversation(), task, text, **options)
    assert turn.state == "failed"
    assert said in turn.text


@pytest.mark.parametrize(("name", "said"), [
    ("broken.npy", "broken.npy: not a readable"), ("broken.bvh", "broken.bvh"),
    ("words.txt", "words.txt: '.txt' is not"), ("gone.npy", "gone.npy is no longer here"),
    ("big.bvh", "big.bvh: 20 MB are more than"), ("endless.npy", "endless.npy lasts 125 s"),
])  # fmt: skip
def test_bad_files_are_named_and_no_folder_is(studio: Studio, ask, files: Path, name: str, said: str) -> None:
    turn = ask(Conversation(), "m2t", "", files / name)
    assert turn.state == "failed"
    assert turn.text.startswith(said)
    assert str(files) not in turn.text and str(studio.work) not in turn.text and "Traceback" not in turn.text
    assert not list(studio.work.iterdir()), "what was copied is gone"


def test_a_bad_file_is_named_also_where_another_one_is_missing(ask, files: Path) -> None:
    turn = ask(Conversation(), "inbetween", "", files / "broken.npy")
    assert turn.state == "failed" and turn.text.startswith("broken.npy: not a readable")


def test_nothing_takes_the_place_of_a_file_that_has_not_arrived(studio: Studio, ask) -> None:
    session = Conversation()
    ask(session, "t2m", "walk", seconds=1.0)
    begun = studio.accept(session, "m2t", "", (None, None), 0, 0, 1, studio.models.names[0], "walk.bvh")
    assert begun.state == "failed" and "'walk.bvh' has not arrived" in begun.text


def test_a_motion_file_with_the_one_that_belongs_to_it(studio: Studio, files: Path) -> None:
    both = [str(files / "walk.bvh"), str(files / "curve.npy")]
    with pytest.raises(RequestError, match="One motion at a time"):
        open_upload(both, studio.work)


def test_a_bug_is_a_sentence_for_users_and_a_traceback_in_the_log(ask, monkeypatch, caplog) -> None:
    monkeypatch.setattr(studio_module, "requests", lambda *_: 1 / 0)
    turn = ask(Conversation(), "t2m", "walk")
    assert (turn.state, turn.text) == ("failed", UNEXPECTED)
    assert "ZeroDivisionError" in caplog.text


def test_stop_ends_what_runs_and_what_waits(studio: Studio) -> None:
    session, model = Conversation(), studio.models.names[0]
    running = studio.accept(session, "t2m", "walk", (), 2.0, 0, 6, model)
    waiting = studio.accept(session, "t2m", "run", (), 0, 0, 1, model)
    answers = studio.answer(session)
    assert session.busy
    running.stop.set()
    session.stop()
    assert [running.state, waiting.state] == ["stopped", "stopped"]
    assert not list(answers) and not session.busy


def test_a_running_answer_is_stopped_at_its_next_step(studio: Studio, monkeypatch) -> None:
    session, started = Conversation(), threading.Event()
    step = studio_module._step

    def slow(*about):
        started.set()
        turn.stop.wait(20)
        return step(*about)

    monkeypatch.setattr(studio_module, "_step", slow)
    turn = studio.accept(session, "t2m", "walk", (), 2.0, 0, 1, studio.models.names[0])
    for seen in studio.answer(session):
        if started.is_set() and seen.state == "working":
            session.stop()
    assert (turn.state, turn.text, turn.key) == ("stopped", "Stopped.", "")


def test_only_so_many_wait(studio: Studio) -> None:
    sessions = [Conversation() for _ in range(studio_module.QUEUE + 2)]
    turns = [studio.accept(one, "t2m", "walk", (), 0.5, 0, 1, studio.models.names[0]) for one in sessions]
    assert [turn.state for turn in turns] == ["waiting"] * (studio_module.QUEUE + 1) + ["failed"]
    assert "please try again" in turns[-1].text
    for session in sessions:
        session.stop()
    assert studio.accept(Conversation(), "t2m", "walk", (), 0.5, 0, 1, studio.models.names[0]).open


def test_models_open_when_used_and_one_is_kept(model_folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "tiny"
    other.parent.mkdir()
    other.symlink_to(model_folder)
    models = Models([str(model_folder), str(model_folder), str(other)])
    assert models.names == ["tiny", str(other)]
    assert not models._open
    first = models.pipeline("tiny")
    assert models.pipeline("tiny") is first
    assert models.pipeline(str(other)) is not first
    assert list(models._open) == [str(other)]
    with pytest.raises(CheckpointError, match="not one of the models here"):
        models.pipeline(str(tmp_path))
    free = Models([str(model_folder)], free=True)
    assert free.pipeline(str(other))
    said = set()
    for name in (str(tmp_path), str(tmp_path / "none"), "/etc/passwd", "/root/.ssh", "a" * 5000, "a\0b"):
        with pytest.raises(CheckpointError) as error:
            free.pipeline(name)
        said.add(str(error.value).replace(one_line(name[:60]), "NAME"))
    assert said == {"'NAME' is no model that can be opened; the log says why"}


def test_the_shelf_keeps_the_newest_and_what_is_pinned() -> None:
    shelf = Results(kept=2)
    pinned = shelf.put("hello", [], pinned=True)
    keys = [shelf.put(str(number), []) for number in range(3)]
    assert [shelf.get(key) and shelf.get(key).title for key in (pinned, *keys)] == ["hello", None, "1", "2"]
    shelf.drop([keys[2], "", pinned])
    assert shelf.get(keys[2]) is None and shelf.get(pinned) is not None
