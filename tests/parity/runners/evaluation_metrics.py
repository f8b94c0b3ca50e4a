"""Parity runners of the evaluation metrics: embeddings, retrieval, joints, transitions and skating."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mld.metrics import embeddings, physical, position_errors, retrieval, transitions
from mld.metrics.completion import CompletionErrors
from mld.metrics.embedding_scores import DistributionDistance, RPrecision
from mld.metrics.joints import (
    JointErrors,
    acceleration_error,
    mpjpe,
    pa_mpjpe,
    procrustes,
    similarity,
)
from mld.metrics.position_errors import PositionErrors
from mld.metrics.results import Score, summarise
from mld.motion.skeletons import get_skeleton
from tests.parity.harness import Case, runner


@runner("evaluation.metrics")
def metrics(case: Case) -> dict[str, Any]:
    """R-precision in both tie modes, which must agree here, and FID also through the metric object."""
    real, generated, text = (case.tensor(name) for name in ("gt", "pred", "text"))
    group, few = case.config["group_size"], case.config["rank_deficient_rows"]
    order = case.tensor("shuffle_idx")
    found: dict[str, Any] = {
        "fid": _fid_of_the_object(generated, real),
        "fid_float64": embeddings.fid(generated, real),
        "fid_self_split": embeddings.fid(real[: len(real) // 2], real[len(real) // 2 :]),
        "fid_rank_deficient": embeddings.fid(generated[:few], real[:few]),
        "dist_mat_batch0": embeddings.distances(text[:group], generated[:group]),
        "identical_torch_top1": _top_k(case.tensor("identical_input"), case.tensor("identical_input"), case)[0],
        "multimodality": embeddings.multimodality(
            case.tensor("mm_embeddings"), case.tensor("mm_first_idx"), case.tensor("mm_second_idx")
        ),
        "kid_subset_values": torch.stack([
            embeddings.polynomial_mmd(generated[g], real[r])
            for r, g in zip(case.arrays["kid_idx_gt"], case.arrays["kid_idx_pred"])
        ]),
    }  # fmt: skip
    pairs = case.tensor("div_first_idx"), case.tensor("div_second_idx")
    drawn = embeddings.random_pairs(len(real), int(case.arrays["diversity_times"]), int(case.arrays["numpy_seed"]))
    assert all(torch.equal(a, b) for a, b in zip(pairs, drawn))
    for name, rows in (("gt", real), ("pred", generated)):
        mean, covariance = embeddings.gaussian(rows)
        found |= {f"mu_{name}": mean, f"cov_{name}": covariance}
        found[f"diversity_{name}"] = embeddings.diversity(rows, *pairs)
    for name, t, m in (("gt", text, real), ("pred", text, generated), ("shuffled_pred", text[order], generated[order])):
        found |= {f"rprec_{name}": _top_k(t, m, case), f"matching_{name}": embeddings.matching_score(t, m, group)}
    passes = [{"m": Score(float(value))} for value in case.arrays["replication_values"]]
    entry = summarise(passes, "parity")["m"]
    return found | {"replication_mean": entry["value"], "replication_ci": entry["ci95"]}


def _top_k(text: Tensor, motion: Tensor, case: Case) -> Tensor:
    size = case.config["group_size"], case.config["top_k"]
    strict, upstream = (embeddings.r_precision(text, motion, *size, mode=mode) for mode in ("strict", "upstream"))
    torch.testing.assert_close(strict, upstream)
    return strict


def _fid_of_the_object(generated: Tensor, real: Tensor) -> Tensor:
    metric = DistributionDistance()
    for rows in torch.arange(len(real)).flip(0).split(100):
        metric.update(generated[rows], real[rows], ids=rows)
    return metric.compute()["FID"]


@runner("evaluation.retrieval")
def retrieval_protocols(case: Case) -> dict[str, Any]:
    sims = case.tensor("sims").double()
    order = case.tensor("guo_permutation")
    assert torch.equal(order, embeddings.shuffled(len(sims), retrieval.GUO_SEED))
    sentences = case.tensor("sent_emb")
    found = {
        "normal": retrieval.both_ways(sims),
        "ties_averaged": retrieval.both_ways(case.tensor("sims_rounded").double()),
        "guo": retrieval.in_groups(sims, order, group_size=case.config["guo_group"]),
    }
    for name, threshold in case.config["thresholds"].items():
        found[name] = retrieval.both_ways(sims, retrieval.same_sentence(sentences, threshold))
    digits, keys = case.config["rounding"], case.config["keys"]
    vectors = {name: [round(values[key], digits) for key in keys] for name, values in found.items()}
    similarity = retrieval.cosine_similarities(case.tensor("text_latents"), case.tensor("motion_latents"))
    return vectors | {"sims": similarity, "sims_rounded": sims.mul(10).round() / 10}


@runner("evaluation.kinematic")
def kinematic(case: Case) -> dict[str, Any]:
    predicted, reference = case.tensor("joints_pred"), case.tensor("joints_ref")
    mask = torch.arange(reference.shape[1]) < case.tensor("lengths")[:, None]
    found = _reconstruction(case, predicted, reference, mask)
    for kind in ("pred", "inbetween"):
        for mode, suffix in (("upstream", ""), ("strict", "_valid_frames")):
            errors = CompletionErrors(kind, mode)
            errors.update(predicted, reference, mask)
            found |= {f"m2m_{kind}_{name}{suffix}": value for name, value in errors.compute().items()}
        found[f"m2m_{kind}_APD"] = 0.0  # by definition: the published code never updates it
    p, r = predicted[0].double(), reference[0].double()
    scale, rotation, shift = similarity(p, r)
    return found | _positions(case, predicted, reference, mask) | {
        "mpjpe_per_frame_row0": mpjpe(p, r),
        "pampjpe_per_frame_row0": pa_mpjpe(p, r),
        "accel_per_frame_row0": acceleration_error(p, r),
        "procrustes_aligned_row0": procrustes(p, r),
        "procrustes_scale_row0": scale,
        "procrustes_R_row0": rotation,
        "procrustes_t_row0": shift,
        "procrustes_reflected_input_pampjpe_row0": pa_mpjpe(p * torch.tensor([-1.0, 1.0, 1.0]), r),
    }  # fmt: skip


def _reconstruction(case: Case, predicted: Tensor, reference: Tensor, mask: Tensor) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, aligned in case.config["align_root"].items():
        errors = JointErrors("strict" if name == "valid" else "upstream", aligned)
        errors.update(predicted, reference, mask)
        found |= {f"mr_{name}_{kind}": value for kind, value in errors.compute().items()}
    return found


def _positions(case: Case, predicted: Tensor, reference: Tensor, mask: Tensor) -> dict[str, Any]:
    body, kit = get_skeleton("smpl22"), get_skeleton("kit21")
    for name, skeleton in (("humanml3d", body), ("mmm", kit)):
        layout, expected = position_errors.layout_of(skeleton, "upstream"), case.config["ape"][name]
        assert (list(layout.feet), list(layout.facing)) == (expected["feet"], expected["facing_rlsu"])
        assert layout.divisor == expected["divisor"]
    metres = [kit.metres_per_unit * case.tensor(f"kit_joints_{side}").double()[None] for side in ("pred", "ref")]
    kit_mask = torch.ones(metres[0].shape[:2], dtype=torch.bool)
    runs = {
        "humanml3d_factor": (PositionErrors(body, "upstream"), predicted, reference, mask),
        "humanml3d_raw": (PositionErrors(body, "upstream", divide=False), predicted, reference, mask),
        "mmm": (PositionErrors(kit, "upstream"), *metres, kit_mask),
    }
    found: dict[str, Any] = {}
    for name, (errors, *joints) in runs.items():
        errors.update(*joints)
        found |= {f"ape_{name}_{kind}": value for kind, value in errors.compute().items()}
    layout = position_errors.layout_of(body, "upstream")
    return found | {"rifke_features_pred": position_errors.to_local(predicted.double(), layout)}


@runner("evaluation.transition_skate")
def transition_skate(case: Case) -> dict[str, Any]:
    jerk = transitions.window_jerk(case.tensor("windows").double(), case.tensor("lengths"))
    curve = transitions.jerk_curve(jerk)
    stored = case.tensor("curve")
    found: dict[str, Any] = {"jerk": jerk, "curve": curve, "peak_jerk": transitions.peak_jerk(stored)}
    for name, value in case.config["auj_reference"].items():
        assert transitions.REAL_JERK[name].value == value
        found[f"auj_{name}"] = transitions.area_under_jerk(stored, value)
    skate, joints = case.config["skate"], case.tensor("skate_joints")
    lengths = case.tensor("skate_lengths").tolist()
    assert (skate["height"], skate["speed"]) == (physical.CONTACT_HEIGHT, physical.SKATING_SPEED)
    return found | {
        "skate_ratio_padded": physical.skating_ratio(joints, skate["feet"], skate["fps"]),
        "skate_vel_padded": physical.foot_slides(joints, skate["feet"], skate["fps"])[1],
        "skate_ratio_unpadded": physical.skating_ratio(joints, skate["feet"], skate["fps"], lengths),
        "skate_kit_ratio": physical.skating_ratio(case.tensor("skate_kit_joints"), skate["kit_feet"], skate["fps"]),
    }


@runner("motionstreamer.metrics.embeddings")
def metrics_272(case: Case) -> dict[str, Any]:
    found: dict[str, Any] = {}
    text = case.tensor("text_emb")
    for name in ("real", "pred"):
        motion = case.tensor(f"motion_{name}")
        found[f"{name}_R_precision"] = _top_k(text, motion, case)
        found[f"{name}_mm_dist"] = embeddings.matching_score(text, motion, case.config["group_size"])
    real = case.tensor("motion_real")
    assert RPrecision().group_size == case.config["group_size"]
    return found | {
        "fid": embeddings.fid(real, case.tensor("motion_pred")),
        "diversity_real": embeddings.diversity(real, case.tensor("div_first"), case.tensor("div_second")),
        "mpjpe_per_frame": mpjpe(case.tensor("pred_joints"), case.tensor("gt_joints")),
    }


@runner("motionstreamer.metrics.jerk")
def jerk_metrics(case: Case) -> dict[str, Any]:
    jerk = transitions.window_jerk(case.tensor("joints").double(), case.tensor("lengths"))
    smoothness = transitions.TransitionJerk(float(case.arrays["gt_jerk"]), mode="upstream")
    smoothness.update(case.tensor("joints"), case.tensor("lengths"))
    values = smoothness.compute()
    return {"jerk": jerk, "peak_jerk": values["peak_jerk"], "auj": values["area_under_jerk"]}
