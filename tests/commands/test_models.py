"""`mld models`: the models that come with the package."""

from __future__ import annotations

import json

import pytest

from commands.common import run
from commands.model_list import UNMEASURED, described, main
from mld import packaged
from mld.evaluation.quality import FILE


@pytest.fixture(scope="module")
def listed() -> dict[str, dict]:
    return {name: described(name, folder) for name, folder in packaged.bundled_models().items()}


def test_every_bundled_model_is_described(listed: dict[str, dict]) -> None:
    assert {"motiongpt", "motiongpt3", "motionstreamer", "guo", "tmr", "tmr_272"} <= set(listed)
    for name, one in listed.items():
        assert one["licence"] and one["data"] and one["parameters"] > 1e5 and one["bytes"] > 1e6, name
        assert bool(one["tasks"]) == (one["kind"] == "generator")


def test_each_task_has_one_model_that_is_taken(listed: dict[str, dict]) -> None:
    taken = [task for one in listed.values() for task in one["default_for"]]
    able = {task for one in listed.values() for task in one["tasks"]}
    assert sorted(taken) == sorted(able)


def test_forms_of_the_list(capsys) -> None:
    assert run(main, ["--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found[0]["kind"] == "generator" and found[-1]["kind"] == "evaluator"
    assert run(main, ["--markdown"]) == 0
    said = capsys.readouterr().out
    assert "### motiongpt3" in said and "| tasks | " in said
    assert run(main, []) == 0
    assert "t2m*" in capsys.readouterr().out


def test_measured_quality_is_shown_where_it_is(tmp_path, monkeypatch, capsys) -> None:
    import shutil

    shutil.copytree(packaged.ASSETS / "motiongpt3", tmp_path / "motiongpt3")
    monkeypatch.setattr(packaged, "bundled_models", lambda: {"motiongpt3": tmp_path / "motiongpt3"})
    assert run(main, []) == 0
    assert UNMEASURED in capsys.readouterr().out
    entry = {"task": "probes", "metric": "sides", "value": 81.5, "unit": "%", "real": 99.0}
    (tmp_path / "motiongpt3" / FILE).write_text(json.dumps({"format": 1, "measured": [entry]}))
    assert run(main, []) == 0
    assert "probes sides 81.5 % (real 99)" in capsys.readouterr().out
    (tmp_path / "motiongpt3" / FILE).write_text("{")
    assert run(main, []) == 2
    assert "quality.json" in capsys.readouterr().err
