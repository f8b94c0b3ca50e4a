"""A stopped evaluation goes on with the same numbers; another evaluation in the same folder is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from mld.errors import DataError
from mld.evaluation.state import RunState
from mld.metrics.results import Score

IDENTITY = {"protocol": "t2m/strict", "data": "1234", "evaluators": {"guo": "guo@1"}}
SCORES = {
    "FID": Score(1 / 3, "", 40, interval=(0.1, 2 / 3), note="biased"),
    "Diversity": Score(None, reason="too few"),
    "ADE": Score(0.1 + 0.2, "m", 40),
}


def test_what_was_put_is_there_again(tmp_path: Path) -> None:
    put = RunState(tmp_path, IDENTITY).put("t2m", 3, SCORES, seed=3)
    again = RunState(tmp_path, IDENTITY)
    assert again.get("t2m", 3) == put == SCORES
    assert again.get("t2m", 2) is None
    assert again.get("m2t", 3) is None
    content = json.loads((tmp_path / "state" / "t2m" / "0003.json").read_text())
    assert content["seed"] == 3


def test_results_of_nobody_knows_what_are_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(DataError, match="holds results.json without the state that it is of; .*--restart"):
        RunState(tmp_path, IDENTITY)
    assert not (tmp_path / "state").exists()
    RunState(tmp_path, IDENTITY, restart=True)
    RunState(tmp_path, IDENTITY)


def test_a_finished_pass_is_not_made_again(tmp_path: Path) -> None:
    made = []

    def make() -> dict[str, Score]:
        made.append(1)
        return SCORES

    for _ in range(2):
        assert RunState(tmp_path, IDENTITY).finished("t2m", 1, 8, make) == SCORES
    assert made == [1]
    content = json.loads((tmp_path / "state" / "t2m" / "0001.json").read_text())
    assert content["seed"] == 8
    assert content["seconds"] >= 0


def test_values_that_are_no_numbers_become_reasons(tmp_path: Path) -> None:
    broken = {"x": Score(math.nan, "m", 3), "y": Score(1.0, interval=(0, math.nan))}
    put = RunState(tmp_path, IDENTITY).put("t2m", 0, broken)
    assert put["x"].value is None
    assert put["x"].reason
    assert put["y"] == Score(1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol": "t2m/upstream"}, "protocol: \"t2m/strict\" there, \"t2m/upstream\" now"),
        ({"data": "5678"}, "data"),
        ({"evaluators": {"guo": "guo@2"}}, "guo@2"),
        ({"new": 1}, "new: null there, 1 now"),
    ],
)
def test_another_evaluation_is_refused(tmp_path: Path, change: dict, message: str) -> None:
    RunState(tmp_path, IDENTITY).put("t2m", 0, SCORES)
    with pytest.raises(DataError) as refused:
        RunState(tmp_path, {**IDENTITY, **change})
    assert message in str(refused.value)
    assert "--restart" in str(refused.value)
    assert RunState(tmp_path, IDENTITY).get("t2m", 0) == SCORES


def test_restart_throws_away(tmp_path: Path) -> None:
    RunState(tmp_path, IDENTITY).put("t2m", 0, SCORES)
    fresh = RunState(tmp_path, {**IDENTITY, "data": "5678"}, restart=True)
    assert fresh.get("t2m", 0) is None
    assert RunState(tmp_path, {**IDENTITY, "data": "5678"}).get("t2m", 0) is None


def test_a_half_written_pass_does_not_count(tmp_path: Path) -> None:
    state = RunState(tmp_path, IDENTITY)
    state.put("t2m", 0, SCORES)
    (state.folder / "t2m" / ".0001.json.77").write_text('{"scores": {')
    assert RunState(tmp_path, IDENTITY).get("t2m", 1) is None


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    state = RunState(tmp_path, IDENTITY)
    (state.folder / "t2m").mkdir()
    (state.folder / "t2m" / "0000.json").write_text("{")
    with pytest.raises(DataError, match="0000.json"):
        RunState(tmp_path, IDENTITY)
