"""Visitors that come and go: whoever leaves frees a place, ends the work and leaves nothing behind.

`MLD_VISITORS_SECONDS=120` lets 32 of them come and go for two minutes; a few seconds are the default.
"""

from __future__ import annotations

import gc
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

import tasks
from mld.serve import conversation as conversation_module
from mld.serve import studio as studio_module
from mld.serve import visits as visits_module
from mld.serve.conversation import Conversation, Turn
from mld.serve.models import Models
from mld.serve.page.actions import Actions
from mld.serve.studio import Studio
from tests.serve.visitors import Visitor, served

pytest.importorskip("gradio.routes", reason="the extra 'ui' is not installed")
gradio = pytest.importorskip("gradio")

SECONDS = float(os.environ.get("MLD_VISITORS_SECONDS", "6"))
CLIENTS = 32
ANSWERS = 8  # that have to arrive at least, however busy the machine is
LONGEST = SECONDS + 120


@pytest.fixture
def hasty(monkeypatch) -> None:
    """Those who left are missed within a second or two."""
    monkeypatch.setattr(conversation_module, "PATIENCE", 1.5)
    monkeypatch.setattr(visits_module, "AWAY", 1.0)
    monkeypatch.setattr(visits_module, "UNHELD", 10.0)
    monkeypatch.setattr(visits_module, "SWEEP", 0.2)


@pytest.fixture
def slow(monkeypatch) -> None:
    """Every step of the model takes a tenth of a second."""
    step = studio_module._step

    def slow_step(*about):
        time.sleep(0.1)
        return step(*about)

    monkeypatch.setattr(studio_module, "_step", slow_step)


@pytest.fixture
def studio(model_folder: Path, hasty, slow) -> Iterator[Studio]:
    made = Studio(Models([str(model_folder)]), tasks.forms())
    yield made
    made.close()


@pytest.fixture
def address(studio: Studio) -> Iterator[str]:
    with served(studio) as address:
        yield address


def eventually(true: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def stored(studio: Studio) -> list[str]:
    return [name for _, _, names in os.walk(studio.work) for name in names]


def _kept(studio: Studio) -> str:
    kept = [(len(one.tabs), one.busy, round(time.monotonic() - one.used)) for one in studio.visits._kept.values()]
    return f"conversations are kept, with tabs, busy, seconds unused: {kept}"


def turns() -> list[Turn]:
    gc.collect()
    return [one for one in gc.get_objects() if isinstance(one, Turn)]


def open_turns(studio: Studio) -> int:
    return sum(turn.open and not turn.unwanted for turn in studio._open)


def test_a_full_queue_of_those_who_left_is_free_again(studio: Studio) -> None:
    model = studio.models.names[0]
    for _ in range(studio_module.QUEUE + 1):
        assert studio.accept(Conversation(), "t2m", "walk", (), 2.0, 0, 1, model).open
    assert "requests are waiting" in studio.accept(Conversation(), "t2m", "walk", (), 2.0, 0, 1, model).text
    time.sleep(1.6)  # longer than anybody's patience
    session = Conversation()
    turn = studio.accept(session, "t2m", "walk", (), 0.5, 0, 1, model)
    list(studio.answer(session))
    assert turn.state == "done", turn.text


def test_work_ends_when_nobody_follows_it(studio: Studio) -> None:
    session = Conversation()
    turn = studio.accept(session, "t2m", "walk", (), 8.0, 0, 1, studio.models.names[0])  # 40 steps
    answer = studio.answer(session)
    next(answer)
    assert turn.state == "working"
    assert eventually(lambda: not turn.open, 5), "the work goes on for nobody"
    assert (turn.state, turn.key) == ("stopped", "")


def test_a_tab_that_left_before_word_of_its_arrival_keeps_nothing(studio: Studio) -> None:
    studio.visits.leave("a tab")
    studio.visits.arrive("", "a tab")
    assert eventually(lambda: len(studio.visits) == 0, 10)


def test_a_second_look_takes_over(studio: Studio) -> None:
    session = Conversation()
    turn = studio.accept(session, "t2m", "walk", (), 0.5, 0, 1, studio.models.names[0])
    before = studio.answer(session)
    next(before)
    assert list(studio.answer(session))[-1] is turn and turn.state == "done"
    assert list(before) == []


def test_nine_clients_that_leave_while_they_wait(address: str, studio: Studio) -> None:
    gone = [Visitor(address) for _ in range(studio_module.QUEUE + 1)]
    for visitor in gone:
        visitor.arrive()
        assert "Waiting" in visitor.ask("a person walks", seconds=2.0)
    threads = [threading.Thread(target=visitor.follow, args=(3,)) for visitor in gone[1:]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for visitor in gone:
        visitor.close()
    assert eventually(lambda: open_turns(studio) == 0), "places are kept for those who left"
    visitor = Visitor(address)
    assert "Waiting" in visitor.ask("a person walks", seconds=0.5)
    assert "strip.svg" in str(visitor.follow())
    visitor.close()


def test_clients_that_come_and_go_leave_nothing(address: str, studio: Studio, files: Path) -> None:
    began, answers, errors = time.monotonic(), [], []
    before = turns()  # those of other tests, which stay as long as this list

    def goes_on() -> bool:
        spent = time.monotonic() - began
        return spent < SECONDS or (len(answers) < ANSWERS and spent < LONGEST and not errors)

    def come_and_go(number: int) -> None:
        dice = random.Random(number)
        while goes_on():
            try:
                visitor = Visitor(address)
                dice.random() < 0.5 and visitor.arrive()
                if dice.random() < 0.4:
                    visitor.upload(files / "walk.bvh")
                if dice.random() < 0.8:
                    file = [files / "curve.npy"] if dice.random() < 0.5 else []
                    said = visitor.ask("a person walks", file, "m2t" if file else "t2m", dice.choice((0.5, 2.0)))
                    if "Waiting" in said and dice.random() < 0.7:
                        answers.append(visitor.follow(dice.choice((1, 2, 4, None))))
                visitor.close()
            except httpx.HTTPError as error:
                errors.append(error)

    threads = [threading.Thread(target=come_and_go, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONGEST + 60)
    assert not errors, errors[:3]
    assert len(answers) >= ANSWERS and not any(thread.is_alive() for thread in threads)
    assert eventually(lambda: open_turns(studio) == 0), "no place is kept"
    assert eventually(lambda: len(studio.visits) == 0), _kept(studio)
    assert eventually(lambda: not stored(studio), 40), "no file is kept"
    assert not studio.results._results, "no motion is kept"
    assert eventually(lambda: len(turns()) <= len(before) + 20), "turns are kept"
    visitor = Visitor(address)
    visitor.ask("a person walks", seconds=0.5)
    assert "strip.svg" in str(visitor.follow()), "who comes now is served"
    visitor.close()


@pytest.mark.parametrize("let_go", ["forget", "stop"])
def test_a_result_that_comes_too_late_is_not_kept(studio: Studio, monkeypatch, let_go: str) -> None:
    """Who leaves, clears or stops between the last step and the end gets no result, and none stays behind."""
    session, items = Conversation(), studio_module._items

    def late_items(*about):
        made = items(*about)
        studio.visits.forget(session) if let_go == "forget" else session.stop()
        return made

    monkeypatch.setattr(studio_module, "_items", late_items)
    turn = studio.accept(session, "t2m", "walk", (), 0.5, 0, 1, studio.models.names[0])
    list(studio.answer(session))
    turn.work.result(20)
    assert (turn.state, turn.key) == ("stopped", "")
    assert (session.last, session.shown, session.results) == ([], "", set())
    assert not studio.results._results


def test_results_of_turns_that_a_long_talk_forgot_go_with_it(studio: Studio, monkeypatch) -> None:
    monkeypatch.setattr(conversation_module, "MOST_TURNS", 2)
    session = Conversation()
    for _ in range(3):
        studio.accept(session, "t2m", "walk", (), 0.5, 0, 1, studio.models.names[0])
        list(studio.answer(session))
    assert len(session.turns) == 2 and len(studio.results._results) == 3
    studio.visits.forget(session)
    assert not studio.results._results


def test_what_was_asked_before_the_page_had_arrived_is_kept(studio: Studio) -> None:
    early, known = Conversation(), studio.visits.arrive("", "first tab")
    assert studio.visits.arrive("", "quick tab", early) is early
    model = studio.models.names[0]
    old = studio.accept(known, "t2m", "walk", (), 0.5, 0, 1, model)
    begun = Conversation()
    new = studio.accept(begun, "t2m", "run", (), 0.5, 0, 1, model)
    forgotten = begun.name
    assert studio.visits.arrive(known.name, "first tab again", begun) is known
    assert known.turns == [old, new]
    studio.visits.leave("first tab again")
    assert forgotten not in studio.visits._kept, "it would be forgotten by itself, with the turns of the known one"
    known.stop()


def test_who_shows_an_answer_shows_the_conversation_that_it_was_taken_into(studio: Studio, model_folder: Path) -> None:
    """Whichever of the two followers speaks last, the page shows all turns, and the next question finds the motion."""
    actions = Actions(gradio, studio, None, None)
    known, begun = studio.visits.arrive("", "first tab"), Conversation()
    studio.accept(known, "t2m", "walk", (), 0.5, 0, 1, studio.models.names[0])
    list(studio.answer(known))
    studio.accept(begun, "t2m", "run", (), 0.5, 0, 1, studio.models.names[0])
    early = actions.work(begun)
    next(early)
    found = actions.arrive(known.name, begun, "first tab again")[0]
    late = actions.work(found)
    next(late)
    for follower in (late, early):  # the early one speaks last
        history = list(follower)[-1][0]
        assert "walk" in history and "run" in history
    assert len(found.last) == 2 and found.shown == found.turns[-1].key and found.turns[-1].state == "done"
