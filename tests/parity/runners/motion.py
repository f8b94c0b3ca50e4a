"""Parity of the 263- and 251-column features, their recovery and their statistics."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import roma
import torch
from torch import Tensor

from mld.motion import kinematics, rotations
from mld.motion.normalizer import Normalizer
from mld.motion.representations.humanml3d import HumanML3DFeatures
from mld.motion.representations.registry import get_representation, representation_of_width
from tests.parity.harness import Case, runner


@runner("evaluation.features263", "evaluation.features251")
def features(case: Case) -> Mapping[str, Any]:
    representation, found = _representation(case)
    for clip in case.config["clips"]:
        found |= _encoding(case, representation, clip) | _recovery(case, representation, clip)
        if f"{clip}_mirrored_joints" in case.arrays:
            found[f"{clip}_mirrored_joints"] = kinematics.mirror(case.tensor(f"{clip}_joints"), representation.skeleton)
            mirrored = case.tensor(f"{clip}_mirrored_joints")
            found[f"{clip}_mirrored_features"] = representation.encode_joints(mirrored[None], compat=True)[0]
    clips = [case.tensor(f"{clip}_features") for clip in case.config["clips"]]
    fitted = Normalizer.fit(clips, representation)
    return found | {"stats_mean": fitted.mean, "stats_std": fitted.std}


@runner("evaluation.features263_sample")
def sample(case: Case) -> Mapping[str, Any]:
    representation, found = _representation(case)
    joints, stored = case.tensor("stored_joints"), case.tensor("stored_features")
    turn, root = representation.root_trajectory(stored)
    velocity = representation.block(stored, "joint_velocities")[-1].unflatten(-1, (-1, 3))
    found["appended_frame_joints"] = joints[-1] + rotations.apply_turn(rotations.undo(turn[-1])[None], velocity)
    longer = torch.cat([joints, case.tensor("appended_frame_joints")[None]])
    mirrored = kinematics.mirror(longer, representation.skeleton)
    return found | {
        "features_from_171_frames": representation.encode_joints(longer[None], compat=True)[0],
        "features_from_170_frames": representation.encode_joints(joints[None], compat=True)[0],
        "mirrored_features": representation.encode_joints(mirrored[None], compat=True)[0],
        "recovered_from_rot": representation.decode_joints_from_rotations(stored),
        "root_quat": _w_first(turn),
        "root_pos": root,
    }


@runner("evaluation.stats")
def stats(case: Case) -> Mapping[str, Any]:
    """Data only: the published statistics are told apart by `Normalizer.check`."""
    full, kit = get_representation("humanml3d"), get_representation("kit")
    published = {
        "data": [("h3d_Mean", "h3d_Std", full)],
        "guo_eval": [("guo_eval_mean_t2m", "guo_eval_std_t2m", full), ("guo_eval_mean_kit", "guo_eval_std_kit", kit)],
        "tmr": [("tmr_mean_t2m", "tmr_std_t2m", full)],
    }
    for kind, entries in published.items():
        for mean, std, representation in entries:
            Normalizer(case.tensor(mean), case.tensor(std), kind).check(representation)
    ratio = case.tensor("h3d_Std") / case.tensor("guo_eval_std_t2m")
    for name, part in full.blocks.items():
        wanted = case.config["guo_root_contact_factor"] if "root" in name or "contacts" in name else 1.0
        assert torch.allclose(ratio[part], torch.tensor(wanted).to(ratio), rtol=0.02), name
    return {}


@runner("motiongpt.recover")
def recover(case: Case) -> Mapping[str, Any]:
    representation = representation_of_width(case.config["nfeats"])
    assert representation.skeleton.num_joints == case.config["joints_num"]
    stored = case.tensor("feats")
    turn, root = representation.root_trajectory(stored)
    joints = representation.decode_joints(stored)
    found = {"joints": joints, "recovered": joints, "new_joints": joints, "root_quat": _w_first(turn), "root_pos": root}
    if "feats_norm" in case.arrays:
        found["rot"] = _rotation_rows(representation, stored)
        found |= _normalized(case, representation, stored)
    return found


def _normalized(case: Case, representation: HumanML3DFeatures, stored: Tensor) -> dict[str, Tensor]:
    """Normalised features and the joints from them, as stored and with rows of zeros appended."""
    normalizer = Normalizer(case.tensor("mean"), case.tensor("std"), "guo_eval").check(representation)
    scaled = case.tensor("feats_norm")
    padded = torch.cat([scaled, scaled.new_zeros(case.config["padded_frames"], scaled.shape[1])])
    return {
        "feats_norm": normalizer.normalize(stored),
        "joints_from_norm": representation.decode_joints(normalizer.denormalize(scaled)),
        "joints_from_padded": representation.decode_joints(normalizer.denormalize(padded)),
    }


def _rotation_rows(representation: HumanML3DFeatures, stored: Tensor) -> Tensor:
    """(T, J+1, 6): root turn, bone rotations, root position with three zeros."""
    turn, root = representation.root_trajectory(stored)
    front = rotations.matrix_to_6d(rotations.turn_to_matrix(turn))[:, None]
    bones = representation.block(stored, "joint_rotations").unflatten(-1, (-1, 6))
    return torch.cat([front, bones, torch.cat([root, torch.zeros_like(root)], dim=-1)[:, None]], dim=1)


def _encoding(case: Case, representation: HumanML3DFeatures, clip: str) -> dict[str, Tensor]:
    joints = case.tensor(f"{clip}_joints")[None]
    return {
        f"{clip}_uniform_joints": kinematics.retarget(joints, representation.skeleton)[0],
        f"{clip}_canonical_joints": representation.canonical_joints(joints)[0],
        f"{clip}_features": representation.encode_joints(joints, compat=True)[0],
    }


def _recovery(case: Case, representation: HumanML3DFeatures, clip: str) -> dict[str, Tensor]:
    stored = case.tensor(f"{clip}_features")
    turn, root = representation.root_trajectory(stored)
    return {
        f"{clip}_root_quat": _w_first(turn),
        f"{clip}_root_pos": root,
        f"{clip}_recovered_ric": representation.decode_joints(stored),
        f"{clip}_recovered_rot": representation.decode_joints_from_rotations(stored),
    }


def _representation(case: Case) -> tuple[HumanML3DFeatures, dict[str, Any]]:
    """The representation with the case's target skeleton and threshold, and what was computed on the way."""
    representation = get_representation(case.config["skeleton"])
    skeleton, found = representation.skeleton, {}
    assert skeleton.num_joints == case.config["joints"]
    if "example_skeleton" in case.arrays:
        skeleton = skeleton.with_bone_lengths(case.tensor("example_skeleton"))
        found["tgt_offsets"] = skeleton.offsets
    else:
        lengths = case.tensor("tgt_offsets").double().norm(dim=-1).tolist()
        skeleton = dataclasses.replace(skeleton, bone_lengths=tuple(lengths))
    threshold = case.config["feet_threshold"]
    return dataclasses.replace(representation, skeleton=skeleton, foot_threshold=threshold), found


def _w_first(turn: Tensor) -> Tensor:
    return roma.quat_xyzw_to_wxyz(rotations.turn_to_quaternion(turn))
