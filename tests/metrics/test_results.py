"""The results file: intervals, reasons for missing values, atomic writing."""

from __future__ import annotations

import json
import math

import pytest

from mld.files import file_hash, write_json
from mld.metrics.results import Score, summarise


def test_interval_over_replications() -> None:
    passes = [{"ADE": Score(value, "m", 10)} for value in (1.0, 2.0, 3.0)]
    entry = summarise(passes, "pred/strict")["ADE"]
    assert entry["value"] == 2.0
    assert entry["ci95"] == pytest.approx(1.96 * math.sqrt(2 / 3) / math.sqrt(3))
    assert entry["values"] == [1.0, 2.0, 3.0]
    assert (entry["unit"], entry["n"], entry["protocol"]) == ("m", 10, "pred/strict")


def test_one_pass_has_no_interval() -> None:
    assert summarise([{"ADE": Score(1.0)}], "p")["ADE"]["ci95"] is None


@pytest.mark.parametrize("score", [Score(None, reason="needs an evaluator"), Score(math.nan)])
def test_a_missing_value_is_null_with_a_reason(score: Score) -> None:
    entry = summarise([{"FID": score}], "p")["FID"]
    assert entry["value"] is None
    assert entry["reason"]


def test_file(tmp_path) -> None:
    metrics = {"recon": summarise([{"MPJPE": Score(55.8, "mm", 3), "FID": Score(None, reason="no evaluator")}], "p")}
    path = write_json(tmp_path / "deep" / "results.json", metrics)
    assert json.loads(path.read_text()) == metrics
    assert [entry.name for entry in path.parent.iterdir()] == ["results.json"]
    assert len(file_hash(path)) == 64


def test_not_a_number_never_gets_into_a_file(tmp_path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "results.json", {"value": math.nan})
    assert not (tmp_path / "results.json").exists()
