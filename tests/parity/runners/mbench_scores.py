"""Parity of MBench's measures: joint dimensions, pose distance, loss terms of SMPLify, colliding triangles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from mld.metrics import mbench
from mld.metrics.mesh_collisions import body_penetration, colliding_pairs
from tests.parity.harness import Case, runner


@runner("mbench.motion_quality")
def motion_quality(case: Case) -> Mapping[str, Any]:
    """Index 2 as height on arrays that are z up, and on the same turned y up, as published code does it. With its true
    height a turned motion scores as before."""
    c, names = case.config, [name for name in case.arrays if "#" not in name]
    assert (c["up_axis_index"], c["feet"]) == (2, list(mbench.FEET))
    turn = torch.tensor(c["yup_conversion"], dtype=torch.float32)
    scores = {name: mbench.motion_quality(case.tensor(name)) for name in names}
    turned = {name: case.tensor(name) @ turn.T for name in names}
    for name, joints in turned.items():
        assert all(abs(value - scores[name][key]) < 1e-6 for key, value in mbench.motion_quality(joints, 1).items())
    listed = {key: mbench.aggregate(score[key] for score in scores.values()) for key in mbench.NAMES}
    return {
        "mbench_scores.json#scores": scores,
        "mbench_scores.json#scores_after_yup_conversion": {n: mbench.motion_quality(j) for n, j in turned.items()},
        "mbench_scores.json#aggregate": listed,
    }


@runner("mbench.body_penetration")
def penetration(case: Case) -> Mapping[str, Any]:
    vertices, faces = case.arrays["vertices"], case.arrays["faces"]
    pairs = {f"pairs/{frame}": colliding_pairs(part, faces) for frame, part in enumerate(vertices)}
    counts = [len(part) for part in pairs.values()]
    percent = [body_penetration([part], faces) for part in vertices]
    return pairs | {"counts": counts, "percent": percent, "score": body_penetration(vertices, faces)}
