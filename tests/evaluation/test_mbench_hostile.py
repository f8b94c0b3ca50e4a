"""MBench over files and suites that are none, and over what is named and not there."""
# ruff: noqa: F811

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mld.errors import DataError
from mld.evaluation.suites.mbench.dimensions import POSES, QUALITY
from mld.evaluation.suites.mbench.judged import JudgedScorer
from mld.evaluation.suites.mbench.prompts import read_suite
from mld.motion.motion import Motion
from mld.motion.skeletons import get_skeleton
from tests.evaluation.test_mbench import JOINTS, PROMPTS, call, entries, results, suite  # noqa: F401
from tests.walking import walker


@pytest.mark.parametrize("array", [
    np.zeros((0, 276), np.float32), np.zeros((0, 9, 22, 3), np.float32), np.full((9, 276), "a"),
    np.ones((9, 22, 3), np.complex64), np.zeros((9, 22, 3), bool), np.zeros((9, 22, 3), np.float32),
], ids=["no-rows", "no-motions", "words", "complex", "bools", "one-place"])  # fmt: skip
def test_arrays_of_no_motion_cost_their_own_value_alone(call, results: Path, array: np.ndarray) -> None:
    np.save(results / "0.npy", array)
    code, _, wrong, found = call("--results", results)
    assert code == 1 and "prompt 0: " in wrong and "0.npy: " in wrong and "Traceback" not in wrong
    assert entries(found, "strict")["Jitter_Degree"]["n"] == 3


def test_a_tensor_of_endless_rows_is_not_written_out(call, results: Path) -> None:
    (results / "0.npy").unlink()
    torch.save(torch.zeros(1, 1, 1).expand(10**10, 22, 3), results / "0.pt")
    code, _, wrong, found = call("--results", results)
    assert code == 1 and "larger than its file" in wrong and entries(found, "strict")["Jitter_Degree"]["n"] == 3


@pytest.mark.parametrize("key", ["others", "auxiliary_info", "dimensions"])
@pytest.mark.parametrize("value", [5, True, "walking", [1], {"a": 1}])
def test_lists_of_a_prompt_are_lists_of_texts(suite: Path, key: str, value: object) -> None:
    suite.write_text(json.dumps([{"id": 0, "group": QUALITY, "seconds": 1, "prompt": "walking", key: value}]))
    with pytest.raises(DataError, match="a list of texts is needed"):
        read_suite([suite])


def test_a_dimension_that_is_a_list_and_one_id_twice_are_told(suite: Path) -> None:
    one = {"id": 0, "dimension": ["Jitter_Degree"], "motion_duration": 80, "prompt": "walking"}
    for entries_, why in (([one], "no dimension|no group"), ([{**one, "dimension": QUALITY, "id": name}
                                                            for name in ("7", "007")], "there twice")):  # fmt: skip
        suite.write_text(json.dumps(entries_))
        with pytest.raises(DataError, match=why):
            read_suite([suite])


def test_a_label_without_others_is_no_question() -> None:
    scorer = JudgedScorer(Saying("it walks\n\nThe nearest label is: walking"))
    for others in ((), ("walking",)):
        found = scorer.consistency(Motion(walker(20), 20.0, get_skeleton("smpl22")), "walking", others)
        assert found.value is None and "no other label" in found.reason


class Saying:
    """A judge that says one thing."""

    identity = "saying"

    def __init__(self, said: str) -> None:
        self.said = said

    def ask(self, question: str, pictures: object, fps: float) -> str:
        return self.said


def test_penetration_over_all_frames_stands_beside_that_of_samples_in_the_ground(call, results: Path) -> None:
    _, said, _, found = call("--results", results)
    for column, up in (("strict", 1), ("upstream", 2)):
        depths = []
        for number in range(4):
            height = np.load(results / f"{number}.npy")[:, [10, 11], up]
            depths.append(np.where(height < -0.005, -height, 0).mean())
        entry = entries(found, column)["Ground_Penetration"]
        assert entry["over_all_frames"] == pytest.approx(np.mean(depths), abs=1e-7) and np.mean(depths) > 0
        assert entry["over_all_frames"] < entry["value"]
    assert "over all frames it is" in said


def test_length_is_of_scored_motions_alone(call, results: Path) -> None:
    np.save(results / "0.npy", np.load(results / "0.npy") * 0)
    _, said, _, found = call("--results", results, "--dimensions", *JOINTS, "--mode", "strict")
    assert found["data"]["lengths"]["motions"] == 4  # upstream scores it as it stands
    np.save(results / "0.npy", np.load(results / "0.npy") * np.nan)
    _, said, _, found = call("--results", results, "--dimensions", *JOINTS)
    assert found["data"]["lengths"]["motions"] == 3 and "3 scored motions" in said


@pytest.mark.parametrize("words", [("--judge", "http://127.0.0.1:9/v1"), ("--nrdf", "nowhere"),
                                   ("--body-models", "nowhere")])  # fmt: skip
def test_what_is_named_and_not_there_is_a_failure(call, suite: Path, results: Path, words, monkeypatch) -> None:
    monkeypatch.setattr("mld.evaluation.judge.endpoint.WAITS", ())
    (results / "8.npy").write_bytes((results / "0.npy").read_bytes())
    suite.write_text(json.dumps([*PROMPTS, {"id": 8, "group": POSES, "seconds": 1, "prompt": "standing"}]))
    code, _, wrong, found = call("--results", results, *words)
    assert code == 1 and found["data"]["problems"] and wrong
    assert entries(found, "strict")["Jitter_Degree"]["value"] is not None
