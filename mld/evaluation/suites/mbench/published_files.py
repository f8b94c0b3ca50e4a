"""The three JSON files that the published evaluator writes, of the upstream column (spec mbench, section 9)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mld.evaluation.suites.mbench.dimensions import DIMENSIONS, GENERALIZABILITY, JOINT, JUDGED, POSE, QUALITY
from mld.evaluation.suites.mbench.prompts import Prompt, Suite
from mld.evaluation.suites.mbench.records import Record, Result
from mld.files import write_json
from mld.metrics.mbench import aggregate

COLUMN = "upstream"


def contents(name: str, suite: Suite, records: Mapping[str, Record]) -> dict[str, Any]:
    """Contents of the three files by the end of their names. What has no value is not in them, as published; a value
    that is no number neither, as JSON has no NaN."""
    scored = {dimension: _scored(suite, records, dimension) for dimension in DIMENSIONS if suite.of(dimension)}
    info = [_info(prompt, dimension, result) for dimension in scored for prompt in suite.of(dimension)
            if (result := records[prompt.id].get(COLUMN, dimension)) and _is_listed(dimension, result)]  # fmt: skip
    results, motions = {}, dict[str, dict[str, Any]]()
    for dimension, pairs in scored.items():
        if not pairs:
            reasons = (records[prompt.id].get(COLUMN, dimension) for prompt in suite.of(dimension))
            results[dimension] = {"error": next((one.reason for one in reasons if one is not None), "not scored")}
            continue
        payloads = [_payload(dimension, result) for _, result in pairs]
        values = [payload["value"] for payload in payloads]
        counted = aggregate(values)
        if DIMENSIONS[dimension].needs == JUDGED:
            counted |= {"accuracy": counted["mean"], "correct": int(sum(values)), "total": len(values)}
        results[dimension] = {"aggregate": counted, "per_motion": [
            {"id": prompt.number, "prompt": prompt.prompt, **payload, "motion_duration": prompt.frames}
            for (prompt, _), payload in zip(pairs, payloads)
        ]}  # fmt: skip
        for (prompt, _), payload in zip(pairs, payloads):
            about = {"id": prompt.number, "prompt": prompt.prompt, "motion_duration": prompt.frames, "dimensions": {}}
            motions.setdefault(prompt.id, about)["dimensions"][dimension] = payload
    order = {prompt.id: prompt.order for prompt in suite.prompts}
    listed = [motions[key] for key in sorted(motions, key=order.__getitem__)]
    by_motion = {"evaluation_name": name, "dimensions": list(scored), "motions": listed}
    return {"full_info": info, "eval_results": results, "per_motion_results": by_motion}


def write(folder: Path, name: str, suite: Suite, records: Mapping[str, Record]) -> list[Path]:
    """The files `<name>_full_info.json` ... in a folder; the last one only where something was scored."""
    found = contents(name, suite, records)
    if not found["per_motion_results"]["motions"]:
        found.pop("per_motion_results")
    return [write_json(folder / f"{name}_{part}.json", content) or folder for part, content in found.items()]


def _info(prompt: Prompt, dimension: str, result: Result) -> dict[str, Any]:
    others = {"auxiliary_info": list(prompt.others)} if prompt.others else {}
    return {"prompt": prompt.prompt, "dimension": dimension, "id": prompt.number,
            "category": _category(prompt, dimension), "motion_duration": prompt.frames, **others,
            "evaluation_file": result.file}  # fmt: skip


def _is_listed(dimension: str, result: Result) -> bool:
    """Whether the published evaluator finds a file, whatever comes of it: poses in a .pt, or what a judge was asked."""
    if result.value is not None or DIMENSIONS[dimension].needs == JOINT:
        return bool(result.file)
    return result.file.endswith(".pt") if DIMENSIONS[dimension].needs == POSE else result.failed and bool(result.file)


def _scored(suite: Suite, records: Mapping[str, Record], dimension: str) -> list[tuple[Prompt, Result]]:
    """Prompts with their results, where they have a value."""
    results = [(prompt, records[prompt.id].get(COLUMN, dimension)) for prompt in suite.of(dimension)]
    return [(prompt, result) for prompt, result in results if result is not None and result.value is not None]


def _category(prompt: Prompt, dimension: str) -> str:
    """As published: pose dimensions are of Motion_Quality there."""
    if prompt.category:
        return prompt.category
    return dimension if DIMENSIONS[dimension].needs == JUDGED else QUALITY


def _payload(dimension: str, result: Result) -> dict[str, Any]:
    if DIMENSIONS[dimension].needs != JUDGED:
        return {"value": result.value, "evaluation_file": result.file}
    said = result.said
    if dimension == GENERALIZABILITY:
        about = {"decision": said.get("prediction", "")}
    else:
        about = {"prediction": said.get("prediction", ""), "candidates": said.get("candidates", [])}
    return {"value": result.value, "video_path": result.file, **about, "raw_response": said.get("raw", "")}
