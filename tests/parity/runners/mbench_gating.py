"""Parity of the gate for reference motions, and of what is taken from the answers of a judge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mld.evaluation.judge.answers import published_choice, published_yes, verdict
from mld.evaluation.judge.gate import use_reference
from mld.metrics.mbench import motion_quality
from tests.parity.harness import Case, runner


@runner("mbench.gating")
def gating(case: Case) -> Mapping[str, Any]:
    """Published parsers give every record. Ours, which is repaired, gives those of answers that are whole."""
    names, threshold = case.arrays["names"], float(case.arrays["jitter_threshold"])
    assert threshold == case.config["jitter_threshold"]
    answers = case.arrays["vlm_matches"]
    jitter = {name: motion_quality(case.tensor(f"mbench_motions.npz#{name}"))["Jitter_Degree"] for name in names}
    stored = case.arrays["jitter"]
    missing = case.config["missing_vlm_answer"]
    said = case.arrays["interpret_vlm_output"]
    _check_ours(said)
    return {
        "jitter": jitter,
        "use_ref_motion": {
            name: use_reference(stored[name], threshold, answers.get(name, missing)) for name in names
        },
        "interpret_vlm_output": [
            (verdict(one["raw"], published=True), (one["analysis"], one["matches"])) for one in said
        ],
        "mcc_parse": _pairs(case, "mcc_parse", ("prediction", "value"), published_choice),
        "mg_parse": _pairs(case, "mg_parse", ("decision", "value"), lambda answer, label: published_yes(answer)),
    }  # fmt: skip


def _pairs(case: Case, name: str, fields: tuple[str, str], parse) -> list[tuple[Any, Any]]:
    return [(parse(one["response"], one["label"]), tuple(one[field] for field in fields)) for one in case.arrays[name]]


def _check_ours(records: list[dict[str, Any]]) -> None:
    """The repaired parser differs where a broken answer says false and holds the word true elsewhere, and there alone;
    an answer that says nothing is None, which counts as no."""
    differing = [one["raw"] for one in records if bool(verdict(one["raw"]).matches) != one["matches"]]
    assert all("false" in raw and "true" in raw for raw in differing)
    assert len(differing) < len(records) / 2
    assert all(verdict(one["raw"]).analysis == one["analysis"] for one in records)
