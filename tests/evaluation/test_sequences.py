"""The row of a task that is told one thing after the other: joined clips, pairs of the data, and what is taken up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import tasks
from mld.checkpoint import save_model
from mld.data.config import DataConfig
from mld.data.sources import opening
from mld.engine.pipeline import Pipeline
from mld.evaluation.run import evaluate
from mld.evaluation.sequence_rows import drawn_together
from mld.evaluation.settings import Settings
from mld.evaluation.subject import Subject
from tests.models.evaluating import tiny_tmr272, write_text_encoder
from tests.models.tiny_streamer import tiny_causal_ae, tiny_streamer

DATA = DataConfig(procedural_size=400, representation="motion272", min_frames=40, max_frames=300)
TASK = tasks.find("stream")


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    """A model and an evaluator with made-up weights."""
    folder = tmp_path_factory.mktemp("folders")
    save_model(tiny_causal_ae(), folder / "model", {})
    save_model(tiny_tmr272(write_text_encoder(folder / "words")), folder / "tmr272", {})
    return folder


@pytest.fixture(scope="module")
def subject(folders: Path) -> Subject:
    return Subject(Pipeline(tiny_streamer(), bones="clip"), folders / "model", (TASK,))


def settings(out: Path, **options) -> Settings:
    return replace(Settings(limit=5, replications=1, evaluators=(), batch_size=4, out=out), **options)


def test_every_clip_is_in_one_sequence() -> None:
    for count in (1, 2, 5, 8):
        drawn = drawn_together(count, 2, seed=3)
        assert sorted(place for places in drawn for place in places) == list(range(count))
        assert [len(places) for places in drawn[:-1]] == [2] * (len(drawn) - 1)
    assert drawn_together(8, 2, 3) == drawn != drawn_together(8, 2, 4)


def test_without_an_evaluator(subject: Subject, tmp_path: Path) -> None:
    found = evaluate(DATA, settings(tmp_path), subject, [TASK])["tasks"]["stream"]
    values = {name for name, entry in found.items() if entry["value"] is not None}
    assert {"skating", "peak_jerk", "area_under_jerk", "peak_jerk_real", "peak_jerk_inside", "jerk_real"} <= values
    assert {found[name]["reason"] for name in ("FID", "R_precision_top_3", "transition/FID")} == {
        "left out by --evaluator none"
    }
    assert found["peak_jerk"]["n"] == 3 and found["jerk"]["n"] == 5
    assert found["peak_jerk"]["protocol"].startswith(
        "stream/pairs=joined2-by-seed/window=30/real-windows=anywhere/parts=own-origin/strict/captions=random/"
    )
    assert "mean jerk of the real clips" in found["area_under_jerk"]["note"]


def test_with_an_evaluator_and_taken_up(subject: Subject, folders: Path, tmp_path: Path, monkeypatch) -> None:
    """Two replications; a second run makes nothing anew and gives the same."""
    wanted = settings(
        tmp_path / "out", limit=32, replications=2, evaluators=(folders / "tmr272",), cache=tmp_path / "cache"
    )
    results = evaluate(DATA, wanted, subject, [TASK])
    found = results["tasks"]["stream"]
    for name in ("R_precision_top_3", "Matching_score", "FID", "transition/FID", "transition/FID_real"):
        entry = found[f"tmr272/{name}"]
        assert len(entry["values"]) == 2 and entry["ci95"] is not None, name
        assert "tmr272-" in entry["protocol"]
    assert found["tmr272/transition/FID"]["n"] == 16 and found["tmr272/FID"]["n"] == 32
    assert found["tmr272/R_precision_top_3"]["protocol"].split("/strict/")[1] == (
        results["rows"]["real"]["tmr272/R_precision_top_3"]["protocol"].split("/strict/")[1]
    )

    def never(*_) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(type(TASK), "perform", never)
    assert evaluate(DATA, wanted, subject, [TASK])["tasks"]["stream"] == found


class Pairs:
    """The clips of a source, each of which goes on from its first 40 frames."""

    def __init__(self, source) -> None:
        self.source = source

    def __getattr__(self, name: str):
        return getattr(self.source, name)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int):
        return replace(self.source[index], history=40)


def test_clips_that_go_on_from_given_motions(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build: Callable = opening.build_source
    monkeypatch.setattr("mld.evaluation.split.build_source", lambda cfg, split: Pairs(build(cfg, split)))
    asked = []
    perform = type(TASK).perform

    def watched(self, engine, scripts, size):
        asked.extend(scripts)
        return perform(self, engine, scripts, size)

    monkeypatch.setattr(type(TASK), "perform", watched)
    results = evaluate(DATA, settings(tmp_path), subject, [TASK])
    found, clips = results["tasks"]["stream"], results["data"]["clips"]
    assert found["peak_jerk"]["protocol"].startswith("stream/pairs=of-the-data/window=30/real-windows=at-the-change/")
    assert found["peak_jerk"]["n"] == found["jerk"]["n"] == clips == len(asked)
    source = {clip.name: clip for clip in (build(DATA, "test")[i] for i in range(5))}
    for script in asked:
        assert torch.equal(script.given.features, source[script.name].features[:40])
        assert len(script.lengths) == 1 and script.lengths[0] <= source[script.name].num_frames - 40


def test_text_to_motion_goes_on_from_what_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that can is asked behind the given motion, and scored by what follows it alone."""
    task, build = tasks.find("t2m"), opening.build_source
    monkeypatch.setattr("mld.evaluation.split.build_source", lambda cfg, split: Pairs(build(cfg, split)))
    save_model(tiny_causal_ae(), tmp_path / "model", {})
    subject = Subject(Pipeline(tiny_streamer(), bones="clip"), tmp_path / "model", (task,))
    asked, scored = [], []
    answers = type(task).answers

    def watched(self, engine, requests, size, progress=False):
        asked.extend(requests)
        return answers(self, engine, requests, size, progress)

    def update(self, clip, answer, number=None):
        scored.append((clip, answer))

    monkeypatch.setattr(type(task), "answers", watched)
    monkeypatch.setattr("tasks.t2m._Physical.update", update)
    monkeypatch.setattr("tasks.t2m._Physical.compute", lambda self, draws=0, seed=0: {})
    evaluate(DATA, settings(tmp_path / "out"), subject, [task])
    source = {clip.name: clip for clip in (build(DATA, "test")[i] for i in range(5))}
    assert len(asked) == len(scored) > 0
    for request, (clip, answer) in zip(asked, scored):
        text, given = request.prompt
        assert text.text in source[clip.name].captions
        assert torch.equal(given.features, source[clip.name].features[:40])
        assert request.num_frames == 40 + clip.num_frames
        assert len(answer.features) == answer.motion.num_frames == clip.num_frames
        assert not answer.features[0, :2].any()  # a motion of its own: no step before its first row


def test_in_the_published_mode_and_where_models_decide_lengths(subject: Subject, tmp_path: Path, capsys) -> None:
    """The published window is cut to the positions of a small model; lengths are those of clips, and are said to be."""
    model = tiny_streamer()
    asked = replace(subject, engine=Pipeline(model, bones="clip"))
    found = evaluate(DATA, settings(tmp_path, mode="upstream", length="model"), asked, [TASK])["tasks"]["stream"]
    assert model.config.window == model.config.architecture.positions - 1 == 39
    assert model.config.guidance_scale == 4.0
    assert "/upstream/" in found["peak_jerk"]["protocol"] and "/length=given" in found["peak_jerk"]["protocol"]
    assert "each text holds for the length of its clip" in capsys.readouterr().out
