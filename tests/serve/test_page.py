"""What the page shows and serves: history, stage, files in every format, and what its components do."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

import tasks
from mld.motion.motion import Motion
from mld.serve.conversation import Conversation, Turn
from mld.serve.models import AUTO, Models
from mld.serve.page import chat
from mld.serve.page import viewer as stage
from mld.serve.page.actions import Actions
from mld.serve.page.form_input import checked
from mld.serve.page.thumbnails import strip
from mld.serve.studio import Studio
from mld.view.browser import ViewItem
from tests.walking import walker

gradio = pytest.importorskip("gradio", reason="the extra 'ui' is not installed")

ODD = '<img src=x onerror=alert(1)> ${1} {{value}} "quoted"'


@pytest.fixture(scope="module")
def shown(studio: Studio) -> str:
    items = [ViewItem(Motion(walker(30, yaw=seed), 20.0), "a person walks", label=f"seed {seed}") for seed in range(2)]
    return studio.results.put("walking", items)


@pytest.fixture(scope="module")
def client(studio: Studio):
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    from mld.serve.page.files import add_routes

    app = FastAPI()
    add_routes(app, studio)
    return TestClient(app)


@pytest.fixture(scope="module")
def actions(studio: Studio, files: Path):
    from mld.serve.page.actions import Actions

    folder = files / "examples"
    folder.mkdir()
    Motion(walker(30), 20.0).save(folder / "slow_walk.npy")
    return Actions(gradio, studio, folder, None)


def test_history_escapes_everything() -> None:
    turn = Turn(ODD, checked(tasks.forms(), "t2m", ODD, (), 0, 0, 1, "m"), given=(ODD,), about=(ODD,))
    session = Conversation([turn])
    for state in ("waiting", "working", "failed", "stopped", "done"):
        turn.state, turn.text, turn.step, turn.facts = state, ODD, ODD, ODD
        page = chat.history(session)
        assert "<img src=x" not in page and "${" not in page and "{{" not in page
        assert "&lt;img src=x" in page


def test_history_tells_how_far_it_is() -> None:
    ask = checked(tasks.forms(), "t2m", "walk", (), 0, 0, 1, "m")
    turn = Turn("walk", ask, state="working", step="Writing the motion · step 7")
    assert "step 7" in chat.history(Conversation([turn]))
    assert "What should the figure do?" in chat.history(Conversation())


def test_a_strip_shows_poses_of_any_motion() -> None:
    for motion in (Motion(walker(60), 20.0), Motion(walker(1), 20.0), Motion(walker(20) + 100.0, 20.0)):
        drawn = strip(motion)
        assert drawn.count("<circle") == 6 and drawn.count("<polyline") == 30
        assert "nan" not in drawn


@pytest.mark.parametrize("kind", stage.kinds())
def test_every_format_is_served(client, studio: Studio, shown: str, kind: str) -> None:
    answer = client.get(f"/motions/{shown}/1/anything.{kind}")
    assert answer.status_code == 200 and len(answer.content) > 200
    assert answer.headers["content-disposition"] == f'attachment; filename="a-person-walks.{kind}"'
    assert not list(studio.work.iterdir()), "nothing stays on disk"


def test_files_hold_the_motion(client, shown: str) -> None:
    joints = np.load(io.BytesIO(client.get(f"/motions/{shown}/1/a.npy").content))
    np.testing.assert_array_equal(joints, walker(30, yaw=1).numpy())
    bvh = client.get(f"/motions/{shown}/0/a.bvh?names=mixamo").text
    assert "mixamorig:Hips" in bvh and "mixamorig" not in client.get(f"/motions/{shown}/0/a.bvh").text


def test_stage_offers_every_sample_and_format(client, shown: str) -> None:
    page = client.get(f"/motions/{shown}/stage").text
    assert page.count("<option value=") == 2 + 3  # samples and joint names
    for kind in ("bvh", "glb", "gltf", "npz", "csv", "json", "npy", "mp4", "gif", "png", "html"):
        assert f'href="0/a-person-walks.{kind}"' in page
    assert "https://" not in page
    assert "three" in client.get(f"/motions/{shown}/view").text
    assert client.get(f"/motions/{shown}/0/strip.svg").headers["content-type"] == "image/svg+xml"


@pytest.mark.parametrize("address", [
    "nothing/stage", "nothing/view", "nothing/0/a.bvh", "{}/7/a.bvh", "{}/0/a.exe", "{}/-1/a.bvh", "{}/9/strip.svg",
    "{}/0/..%2f..%2fetc%2fpasswd",
])  # fmt: skip
def test_addresses_that_lead_nowhere(client, shown: str, address: str) -> None:
    assert client.get("/motions/" + address.format(shown)).status_code == 404


def test_wrong_joint_names_are_a_sentence(client, shown: str) -> None:
    answer = client.get(f"/motions/{shown}/0/a.bvh?names=nonsense")
    assert answer.status_code == 400 and "nonsense" in answer.text and "/tmp" not in answer.text


def test_each_task_shows_what_it_needs(actions) -> None:
    for name, form in tasks.forms().items():
        text, clips, first, second, seconds, samples, ideas, model = actions.choose(name, AUTO)
        assert text["placeholder"] == form.hint
        assert (clips["visible"], second["visible"]) == (form.clips > 0, form.clips > 1)
        assert seconds["visible"] == samples["visible"] == (form.makes == "motion")
        assert bool(first["label"])


def test_examples_go_where_they_belong(actions, files: Path) -> None:
    file = [str(files / "examples" / "slow_walk.npy")]
    assert actions.ideas("m2t") == [["slow walk"]]
    assert actions.pick(["a person walks"], "t2m", None)[0] == "a person walks"
    assert actions.pick(["slow walk"], "inbetween", None)[1] == file
    assert actions.pick(["slow walk"], "inbetween", file)[2] == file
    assert actions.pick(["slow walk"], "pred", file)[1] == file


def test_a_talk(actions, studio: Studio) -> None:
    session, model = Conversation(), studio.models.names[0]
    sent = actions.send(session, "t2m", "walk", None, None, 0.5, 0, 1, model)
    assert "Waiting" in sent[0] and sent[1]["visible"] and sent[2] == ""
    seen = list(actions.work(session))
    assert "strip.svg" in seen[-1][0] and not seen[-1][2]["visible"]
    assert [update for _, update, _ in seen if isinstance(update, str)] == [stage.frame(session.shown)]
    _, _, seed = actions.again(session)
    assert seed == 1
    list(actions.work(session))
    keys = [turn.key for turn in session.turns]
    assert len(set(keys)) == 2
    history, framed, _ = actions.clear(session)
    assert "What should the figure do?" in history and actions.welcome in framed
    assert not any(studio.results.get(key) for key in keys)


def test_a_task_takes_the_model_that_is_better_at_it(actions, studio: Studio, monkeypatch) -> None:
    """It is found when the task is asked: "Send" may come before the page has heard of another task."""
    tiny = studio.models.names[0]
    only = actions.choose("inbetween", tiny)[-1]["choices"]
    assert only == [(tiny, tiny)], "a model that was named answers everything"
    monkeypatch.setattr(studio.models, "better", {"inbetween": "other"})
    assert actions.choose("inbetween", AUTO)[-1]["choices"] == [("auto: other", AUTO), (tiny, tiny)]
    session = Conversation()
    for task, model in (("inbetween", AUTO), ("t2m", AUTO), ("inbetween", tiny)):
        actions.send(session, task, "walk", None, None, 0, 0, 1, model)
    session.stop()
    assert [turn.ask.model for turn in session.turns] == ["other", tiny, tiny]


def test_models_that_cannot_do_a_task_are_not_offered_for_it(model_folder: Path, streamer_folder: Path) -> None:
    """The one that was chosen stays chosen where it is able; a stream goes to one that streams by itself."""
    studio = Studio(Models([str(model_folder), str(streamer_folder)]), tasks.forms())
    try:
        actions = Actions(gradio, studio, None, None)
        both, tiny = ["tiny", "streamer"], ["tiny"]
        for task, chosen, offered, value in (
            ("t2m", "streamer", both, "streamer"), ("m2t", "streamer", tiny, "tiny"), ("m2t", "tiny", tiny, "tiny"),
            ("live", "tiny", both[::-1], "tiny"), ("inbetween", "streamer", tiny, "tiny"),
        ):  # fmt: skip
            model = actions.choose(task, chosen)[-1]
            assert ([name for _, name in model["choices"]], model["value"]) == (offered, value)
        for choice in ("", AUTO):
            live = studio.lives.start("ann", "a person walks", 0, choice)
            assert live.pipeline is studio.models.pipeline("streamer")
        studio.models.better["t2m"] = "tiny"
        assert actions.choose("live", AUTO)[-1]["choices"][0] == ("auto: streamer", AUTO)
    finally:
        studio.close()


def test_the_field_tells_how_many_seconds_may_be_asked_for(actions, studio: Studio, ask) -> None:
    tiny = studio.models.names[0]
    most = studio.models.limit(tiny)
    assert most == studio.models.pipeline(tiny).most_seconds > 0
    assert actions.limit("t2m", tiny)["placeholder"] == f"≤ {most:g}"
    assert ask(Conversation(), "t2m", "walk", seconds=most).state == "done"
    assert ask(Conversation(), "t2m", "walk", seconds=most + 0.5).state == "failed"
    for task, model in (("pred", tiny), ("m2t", tiny), ("t2m", "/etc/passwd"), ("t2m", "none")):
        assert actions.limit(task, model)["placeholder"] == "auto"


def test_a_refusal_stays_in_view(actions, studio: Studio) -> None:
    session = Conversation()
    refused = actions.send(session, "t2m", "walk", None, None, 1e6, 0, 1, studio.models.names[0])
    assert "up to 120 seconds" in refused[0]
    seen = list(actions.work(session))
    assert seen and "up to 120 seconds" in seen[-1][0]
