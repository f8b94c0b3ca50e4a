"""Parity runners of the metrics on joints and on embeddings."""

from __future__ import annotations

from typing import Any

import torch

from mld.metrics import embeddings
from mld.metrics.completion import CompletionErrors
from mld.metrics.joints import JointErrors
from tests.parity.harness import Case, runner


def _errors(case: Case, mode: str) -> dict[str, torch.Tensor]:
    reference, predicted = case.tensor("joints_ref"), case.tensor("joints_rst")
    lengths = torch.as_tensor(case.config["lengths"])
    mask = torch.arange(reference.shape[1]) < lengths[:, None]
    found = {}
    joints = JointErrors(mode)
    joints.update(predicted, reference, mask)
    found.update(joints.compute())
    for kind in ("pred", "inbetween"):
        completion = CompletionErrors(kind, mode)
        completion.update(predicted, reference, mask)
        found.update({f"{kind}_{name}": value for name, value in completion.compute().items()})
    return found


@runner("motiongpt.metrics.joints")
def joints(case: Case) -> dict[str, Any]:
    """All clips are full, so both modes agree. APD is 0 by definition: the published code never updates it."""
    strict, upstream = _errors(case, "strict"), _errors(case, "upstream")
    for name, value in strict.items():
        torch.testing.assert_close(value, upstream[name])
    return strict | {"pred_APD": 0.0, "inbetween_APD": 0.0}


@runner("motiongpt.metrics.joints_padded")
def joints_padded(case: Case) -> dict[str, Any]:
    both = {"upstream": _errors(case, "upstream"), "cut": _errors(case, "strict")}
    return {f"{name}_{mode}": value for mode, found in both.items() for name, value in found.items()}


@runner("motiongpt.metrics.embeddings")
def embedding_metrics(case: Case) -> dict[str, Any]:
    text, motion, repeats = case.tensor("text_emb"), case.tensor("motion_emb"), case.tensor("mm_emb")
    group = case.config["group_size"]
    pairs = embeddings.random_pairs(len(motion), *(int(case.arrays[f"diversity_{key}"]) for key in ("times", "seed")))
    mm_pairs = embeddings.random_pairs(repeats.shape[1], *(int(case.arrays[f"mm_{key}"]) for key in ("times", "seed")))
    return {
        "R_top123": embeddings.r_precision(text, motion, group, case.config["top_k"]),
        "matching_score": embeddings.matching_score(text, motion, group),
        "FID": embeddings.fid(motion, text),
        "diversity": embeddings.diversity(motion, *pairs),
        "multimodality": embeddings.multimodality(repeats, *mm_pairs),
    }
