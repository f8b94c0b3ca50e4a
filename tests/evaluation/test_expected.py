"""The real row is checked against what is known of an evaluator, and against chance where nothing is known."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mld.errors import DataError
from mld.evaluation import expected
from mld.evaluation.expected import Expected

DATA = {"name": "set test", "hash": "1234", "source": "humanml3d", "representation": "humanml3d", "split": "test"}
IMPORTED = {"parents": [{"file": "finest.tar", "sha256": "..."}]}


def row(**values: float) -> dict:
    return {name: {"value": value, "values": [value, value]} for name, value in values.items()}


def test_a_recorded_row_is_found_by_protocol_and_data(tmp_path: Path) -> None:
    expected.record(tmp_path, "set test", row(R_precision_top_3=0.8, Matching_score=3.0), "real/x/guo@1", "1234")
    known = expected.find(tmp_path, "guo", {}, DATA, "real/x/guo@1")
    assert known.values["R_precision_top_3"] == (0.8, pytest.approx(0.01 * 0.8 + 1e-3)), "no spread over replications"
    assert expected.find(tmp_path, "guo", {}, DATA, "real/x/guo@2") is None
    assert expected.find(tmp_path, "guo", {}, {**DATA, "hash": "5678"}, "real/x/guo@1") is None
    assert expected.check(row(R_precision_top_3=0.805, Matching_score=3.01), known).status == "as expected"
    off = expected.check(row(R_precision_top_3=0.7, Matching_score=3.0), known)
    assert off.status == "off"
    assert "R_precision_top_3 is 0.7, expected 0.8" in off.lines[0]


def test_a_single_replication_may_be_further_off_than_a_mean() -> None:
    known = Expected("x", {"Matching_score": (3.0, 0.4)}, replications=20)
    for count, status in ((1, "as expected"), (20, "off")):
        found = {"Matching_score": {"value": 3.3, "values": [3.3] * count}}
        assert expected.check(found, known).status == status


def test_recording_again_replaces(tmp_path: Path) -> None:
    for value in (0.5, 0.9):
        expected.record(tmp_path, "set", row(R_precision_top_3=value), "real/x", "1234")
    assert expected.find(tmp_path, "guo", {}, DATA, "real/x").values["R_precision_top_3"][0] == 0.9


def test_published_evaluators_know_published_splits(tmp_path: Path) -> None:
    known = expected.find(tmp_path, "guo", IMPORTED, DATA, "real/x")
    assert known.values["R_precision_top_3"] == (0.797, 0.006)
    assert expected.find(tmp_path, "guo", {}, DATA, "real/x") is None
    assert expected.find(tmp_path, "guo", IMPORTED, {**DATA, "limited": True}, "real/x") is None
    assert expected.find(tmp_path, "guo", IMPORTED, {**DATA, "split": "val"}, "real/x") is None


def test_guessing_is_noticed_without_any_expected_row() -> None:
    assert expected.check(row(R_precision_top_1=0.035, R_precision_top_3=0.1), None).status == "off"
    assert expected.check(row(R_precision_top_1=0.3, R_precision_top_3=0.5), None).status == "not known"
    lines = expected.banner("tmr", expected.check(row(R_precision_top_1=0.03), None)).splitlines()
    assert "WARNING" in lines[1] and len(set(map(len, lines))) == 1


def test_nothing_to_compare(tmp_path: Path) -> None:
    empty = {"FID": {"value": None, "reason": "too few"}}
    assert expected.check(empty, Expected("x", {"FID": (0.0, 0.1)})).status == "not known"
    with pytest.raises(DataError, match="too few"):
        expected.record(tmp_path, "x", empty, "real/x", "1234")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / expected.FILE).write_text("{}")
    with pytest.raises(DataError, match=r"expected\.json"):
        expected.find(tmp_path, "guo", {}, DATA, "real/x")


def test_published_tables_are_complete() -> None:
    """Every row has a value or a blank for every metric, and says where it comes from."""
    tables = yaml.safe_load((expected.PUBLISHED.parent / "published.yaml").read_text(encoding="utf-8"))
    assert {"humanml3d", "kit", "humanml3d-272", "m2t"} <= {table["key"] for table in tables}
    for table in tables:
        for line in table["rows"]:
            assert len(line["values"]) == len(table["metrics"]), line
            assert line["source"] in ("paper", "recalled")
    first = next(table for table in tables if table["key"] == "humanml3d")
    motiongpt = next(line for line in first["rows"] if line["system"] == "MotionGPT")
    assert dict(zip(first["metrics"], motiongpt["values"]))["FID"] == 0.232
