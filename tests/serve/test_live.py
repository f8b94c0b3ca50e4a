"""Live figures: one for each visitor, a little ahead of what is shown, ended when the page goes."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator

import numpy as np
import pytest

from mld.engine.pipeline import Pipeline
from mld.errors import CheckpointError, RequestError
from mld.models.contracts.generator import Shape
from mld.serve import live as live_module
from mld.serve.live import LEAD, Lives
from mld.serve.visits import Visits
from tests.models.tiny import tiny_motiongpt
from tests.models.tiny_streamer import tiny_streamer

WALK, SIT = "a person walks", "someone sits down"


class OneModel:
    """Stands for a shelf of models with one on it."""

    names = ["tiny"]

    def named(self, choice: str, task: str, shape: Shape) -> str:
        return choice or "tiny"

    def __init__(self, model) -> None:
        self.opened = Pipeline(model)

    def pipeline(self, name: str) -> Pipeline:
        if name != "tiny":
            raise CheckpointError(f"'{name}' is not one of the models of this page")
        return self.opened


@pytest.fixture(scope="module", params=[tiny_streamer, tiny_motiongpt], ids=["native", "windows"])
def models(request) -> OneModel:
    return OneModel(request.param())


@pytest.fixture()
def lives(models: OneModel) -> Iterator[Lives]:
    here = {"ann", "bob", "eve"}
    made = Lives(models, lambda name: name in here)
    made.here = here
    yield made
    made.close()


def until(condition, seconds: float = 30.0):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)
    return value


def taken(lives: Lives, live, frames: int, shown: int = 0) -> list:
    """Chunks until so many frames are there."""
    chunks: list = []

    def enough() -> bool:
        chunks.extend(lives.take(live, shown))
        return bool(chunks) and chunks[-1].start + chunks[-1].num_frames >= frames

    until(enough)
    return chunks


def test_a_figure_is_a_little_ahead_of_what_is_shown(lives: Lives) -> None:
    live = lives.start("ann", WALK, 3, None)
    fps, step = live.pipeline.representation.fps, live.session.frames_per_token
    lead = round(LEAD * fps)
    chunks = taken(lives, live, lead)
    time.sleep(0.4)
    chunks += lives.take(live, 0)
    assert lead <= live.session.frames < lead + step
    chunks += taken(lives, live, lead + 2 * step, shown=2 * step)
    assert [chunk.start for chunk in chunks] == list(range(0, len(chunks) * step, step))
    with live.pipeline.stream(WALK, seed=3) as alone:
        want = next(alone).joints
    np.testing.assert_allclose(chunks[0].joints, want, atol=1e-4)


def test_words_are_said_to_it(lives: Lives) -> None:
    live = lives.start("ann", WALK, 0, "tiny")
    taken(lives, live, 1)
    lives.say(live, SIT)
    (_, first), (frame, second) = live.session.texts
    assert (first, second) == (WALK, SIT) and frame <= LEAD * live.pipeline.representation.fps + 4
    shown = live.session.frames
    assert taken(lives, live, shown + 1, shown)[-1].text == SIT


def test_a_visitor_has_one(lives: Lives) -> None:
    first = lives.start("ann", WALK, 0, None)
    other = lives.start("bob", WALK, 0, None)
    second = lives.start("ann", SIT, 0, None)
    assert len(lives) == 2 and first.ended and not other.ended
    assert second.streamer is other.streamer, "figures of one model are made together"
    assert set(other.streamer.sessions.values()) == {other.session, second.session}
    with pytest.raises(RequestError, match="has stopped"):
        lives.find("ann", first.run)
    assert lives.find("ann", second.run) is second
    lives.stop("ann", first.run)  # word of a page that was loaded again comes late
    assert len(lives) == 2
    lives.stop("ann")
    lives.stop("ann")
    with pytest.raises(RequestError, match="has ended"):
        lives.say(second, WALK)
    taken(lives, other, 8)


def test_it_ends_with_its_page(lives: Lives, monkeypatch) -> None:
    gone, silent = lives.start("ann", WALK, 0, None), lives.start("bob", WALK, 0, None)
    kept = lives.start("eve", WALK, 0, None)
    lives.here.discard("ann")
    until(lambda: gone.ended)
    assert not silent.ended
    monkeypatch.setattr(live_module, "SILENT", 0.5)
    until(lambda: lives.take(kept, 0) is not None and silent.ended)
    assert not kept.ended and len(lives) == len(kept.streamer.sessions) == 1


def test_words_that_were_said_before_the_page_had_arrived_are_followed(lives: Lives) -> None:
    """On a slow line the figure is there before the server has heard that somebody shows it."""
    live = lives.start("late", WALK, 0, None)
    taken(lives, live, 8)
    time.sleep(2 * live_module.REST)
    assert not live.ended
    lives.here.add("late")
    until(lambda: live.seen)
    lives.here.discard("late")
    until(lambda: live.ended)


def test_places_are_bounded(lives: Lives, monkeypatch) -> None:
    monkeypatch.setattr(live_module, "PLACES", 1)
    lives.start("ann", WALK, 0, None)
    with pytest.raises(RequestError, match="1 figures are moving already"):
        lives.start("bob", WALK, 0, None)
    lives.start("ann", SIT, 0, None)


@pytest.mark.parametrize(
    "text, seed, model, wrong",
    [
        ("", 0, None, "prompt is empty"), (None, 0, None, "Words are needed"), ("x" * 301, 0, None, "a long text"),
        (WALK, -1, None, "Seed"), (WALK, 1.5, None, "Seed"), (WALK, True, None, "Seed"), (WALK, 2**31, None, "Seed"),
        (WALK, 0, "other", "not one of the models"),
    ],
)  # fmt: skip
def test_what_cannot_be_started(lives: Lives, text, seed, model, wrong: str) -> None:
    with pytest.raises((RequestError, CheckpointError), match=wrong):
        lives.start("ann", text, seed, model)
    assert len(lives) == 0
    assert lives.start("ann", WALK, 0, None)


def test_a_step_that_fails_is_a_sentence(lives: Lives, monkeypatch, caplog) -> None:
    live = lives.start("ann", WALK, 0, None)
    monkeypatch.setattr(type(live.streamer), "step", lambda *_: 1 / 0)
    until(lambda: live.ended)
    assert live.why.startswith("Something went wrong") and "ZeroDivisionError" in caplog.text
    monkeypatch.undo()
    taken(lives, lives.start("ann", WALK, 0, None), 4)


def test_numbers_that_are_none_end_it(lives: Lives) -> None:
    live = lives.start("ann", WALK, 0, None)
    step = live.streamer.step

    def broken(sessions):
        chunks = step(sessions)
        for chunk in chunks.values():
            chunk.joints.fill_(float("nan"))
        return chunks

    live.streamer.step = broken
    taking = lambda: lives.take(live, live.session.frames) is not None and live.ended  # noqa: E731
    until(taking)
    assert "no finite numbers" in live.why


def test_visits_know_who_shows_a_page(tmp_path) -> None:
    visits = Visits(None, tmp_path)
    session = visits.arrive("", "tab")
    assert visits.shows(session.name)
    visits.leave("tab")
    assert not visits.shows(session.name) and not visits.shows("nobody")
    visits.close()


def test_the_addresses(lives: Lives) -> None:
    fastapi = pytest.importorskip("fastapi", reason="the extra 'ui' is not installed")
    from fastapi.testclient import TestClient

    from mld.serve.page.live import add_live_routes

    app = fastapi.FastAPI()
    add_live_routes(app, lives)
    client = TestClient(app)
    assert client.get("/live/nobody/").status_code == client.post("/live/nobody/start", json={}).status_code == 404
    assert "live/page.js" in client.get("/live/ann/").text
    for bad in (b"no", b"[1]"):
        assert client.post("/live/ann/start", content=bad).status_code == 400
    refused = client.post("/live/ann/start", json={"text": " "})
    assert refused.status_code == 400 and "prompt is empty" in refused.json()["error"]
    about = client.post("/live/ann/start", json={"text": WALK, "seed": 1}).json()
    run, joints, received = about["run"], len(about["joints"]), 0
    assert about["texts"] == [[0, WALK]] and about["native"] == lives.find("ann", run).streamer.native
    while received < 8:
        answer = client.post("/live/ann/next", json={"run": run, "shown": received}).json()
        for chunk in answer["chunks"]:
            assert chunk["first"] == received
            numbers = np.frombuffer(base64.b64decode(chunk["joints"]), "<f4")
            assert numbers.size == chunk["frames"] * joints * 3
            received += chunk["frames"]
    said = client.post("/live/ann/say", json={"run": run, "text": SIT}).json()["texts"]
    assert [text for _, text in said] == [WALK, SIT]
    assert client.post("/live/ann/say", json={"run": "other", "text": SIT}).status_code == 400
    assert client.post("/live/ann/next", json={"run": run, "shown": "x"}).status_code == 200
    assert client.post("/live/ann/stop", json={"run": run}).json() == {}
    assert "has stopped" in client.post("/live/ann/next", json={"run": run, "shown": 0}).json()["error"]
