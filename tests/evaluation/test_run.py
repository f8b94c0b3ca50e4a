"""An evaluation as a Python user runs it, without a command: a tokenizer alone, on a few procedural clips."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import tasks
from mld.checkpoint import save_model
from mld.data.config import DataConfig
from mld.data.sources.opening import build_source
from mld.errors import DataError, RequestError
from mld.evaluation.run import evaluate
from mld.evaluation.settings import Settings
from mld.evaluation.subject import Subject
from tests.commands.conftest import tiny_tokenizer

DATA = DataConfig(procedural_size=64)


@pytest.fixture(scope="module")
def subject(tmp_path_factory) -> Subject:
    folder = save_model(tiny_tokenizer(), tmp_path_factory.mktemp("models") / "tokenizer", {})
    return Subject(tiny_tokenizer(), folder, (tasks.find("recon"),))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(limit=3, seed=7, replications=2, evaluators=(), out=tmp_path)


def test_results_are_given_and_written(subject: Subject, settings: Settings) -> None:
    found = evaluate(DATA, settings, subject, subject.tasks)
    assert json.loads((settings.out / "results.json").read_text()) == json.loads(json.dumps(found))
    assert (found["rows"], found["checks"], found["evaluators"]) == ({}, {}, {})
    assert len(found["tasks"]["recon"]["MPJPE"]["values"]) == 2
    assert found["tasks"]["recon"]["FID"]["reason"] == "left out by --evaluator none"
    used = found["tasks"]["recon"]["codes_used"]
    assert 1 <= used["value"] <= 16 and used["unit"] == "codes" and used["n"] == 3
    assert 1 <= found["tasks"]["recon"]["code_perplexity"]["value"] <= used["value"] + 1e-3
    assert found["protocol"]["unit"] == 4
    assert found["model"]["name"] == "tokenizer"
    passes = sorted((settings.out / "state" / "recon").iterdir())
    assert [json.loads(file.read_text())["seed"] for file in passes] == [7, 8]


def test_tasks_of_an_earlier_run_stay_in_the_file(subject: Subject, settings: Settings) -> None:
    first = evaluate(DATA, settings, subject, subject.tasks)
    assert evaluate(DATA, settings, subject)["tasks"] == first["tasks"]
    assert evaluate(DATA, replace(settings, replications=1), subject)["tasks"] == {}


def test_clips_and_crops_follow_the_unit_of_the_data(subject: Subject, settings: Settings) -> None:
    found = evaluate(replace(DATA, unit_length=8), settings, subject, subject.tasks)
    assert "/crop=coin8/" in found["tasks"]["recon"]["MPJPE"]["protocol"]
    with pytest.raises(DataError, match="another evaluation"):
        evaluate(DATA, settings, subject, subject.tasks)


def test_a_model_of_other_features_is_refused(subject: Subject, settings: Settings) -> None:
    subject = replace(subject, engine=tiny_tokenizer())
    subject.engine.representation = "kit"
    with pytest.raises(DataError, match="the model reads 'kit', the clips are 'humanml3d'"):
        evaluate(DATA, settings, subject, subject.tasks)


def test_clips_that_a_task_refuses_are_left_out_whatever_is_measured(
    subject: Subject, settings: Settings, capsys
) -> None:
    first = build_source(DATA, "test")[0].name

    class Picky(type(subject.tasks[0])):
        def check(self, engine, request) -> None:
            if request.name == first:
                raise RequestError("too hard")

    picky = replace(subject, tasks=(*subject.tasks, Picky()))
    found = evaluate(DATA, settings, picky, subject.tasks)
    assert found["data"]["left_out"] == {"that the model cannot serve: too hard": 1}
    assert found["data"]["clips"] == found["tasks"]["recon"]["MPJPE"]["n"] == 2
    assert f"left out: 1 clips that the model cannot serve: too hard ({first})" in capsys.readouterr().out
