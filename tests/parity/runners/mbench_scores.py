"""Parity of MBench's measures: joint dimensions, pose distance, loss terms of SMPLify, colliding triangles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from mld.metrics import mbench
from mld.metrics.mesh_collisions import body_penetration, colliding_pairs
from mld.models.pose_distance import PARENTS, SCALE, PoseDistance, to_quaternions
from mld.motion.rig import smplify
from mld.motion.rig.smpl_fit import PosePrior
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


@runner("mbench.nrdf")
def nrdf(case: Case) -> Mapping[str, Any]:
    """The fixture as the published checkpoint, a state dict in a `.tar`."""
    assert (tuple(case.config["bone_parents"]), case.config["score_scale"]) == (PARENTS, SCALE)
    with TemporaryDirectory() as folder:
        torch.save({"epoch": 1, "model_state_dict": case.state_dict}, Path(folder) / "checkpoint_epoch_best.tar")
        network = PoseDistance.load(folder)
    pose, quaternions = case.tensor("pose"), case.tensor("quat")
    return {
        "quat": to_quaternions(pose), "dist_upstream": network(quaternions[:, :21])[:, None],
        "dist_body_only": network(quaternions[:, 1:22])[:, None],
        "pose_quality_upstream": network.score(pose, "upstream"), "pose_quality_body_only": network.score(pose),
    }  # fmt: skip


@runner("mbench.smplify")
def smplify_losses(case: Case) -> Mapping[str, Any]:
    """The mixture is read from a file as the published one is."""
    c, angles = case.config, case.config["angle_prior"]
    assert (c["gmof_sigma"], c["joint_weight"]) == (smplify.SIGMA, smplify.JOINTS)
    assert c["shape_prior_weight"] == smplify.SHAPE
    assert (c["angle_prior_weight"], c["pose_preserve_weight"]) == (smplify.ANGLES, smplify.KEEP)
    assert abs(c["pose_prior_weight"] - smplify.POSE) < 1e-9 and c["camera_depth_weight"] == smplify.DEPTH
    assert tuple(angles["indices"]) == smplify.BENT and tuple(angles["signs"]) == smplify.BENDS
    assert tuple(c["camera_joints"]) == smplify.TRUNK
    with TemporaryDirectory() as folder:
        np.savez(Path(folder) / "gmm.npz",
                 **{name: case.arrays[f"gmm_{name}"] for name in ("means", "covars", "weights")})  # fmt: skip
        prior = PosePrior.load(Path(folder) / "gmm.npz")
    body, kept, betas, joints, goal, place, first = (case.tensor(name).double() for name in (
        "body_pose", "preserve_pose", "betas", "model_joints", "joints3d", "camera_translation",
        "camera_translation_est"))  # fmt: skip
    return {
        "prior": prior(body), "angle_prior": smplify.angle_prior(body), "gmof": smplify.gmof(joints),
        "body_loss": smplify.body_loss(prior, body, kept, betas, joints, place, goal).sum(),
        "camera_loss": smplify.camera_loss(joints, place, first, goal).sum(),
    }  # fmt: skip
