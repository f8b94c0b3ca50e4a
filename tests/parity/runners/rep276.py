"""Parity of the 276-column representation: construction, recovery, rotations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import roma
import torch
from torch import Tensor

from mld.motion.normalizer import Normalizer
from mld.motion.representations import camera
from mld.motion.representations.motion276 import AXES, REST_PELVIS, Body, canonical, from_6d, to_6d
from mld.motion.representations.registry import get_representation
from tests.parity.harness import Case, runner

MOTION276 = get_representation("motion276")
ABSOLUTE = replace(MOTION276, integrate=False)


@runner("vimogen.rotations")
def rotations(case: Case) -> Mapping[str, Any]:
    matrix = roma.rotvec_to_rotmat(case.tensor("aa"))
    return {
        "mat": matrix,
        "rot6d": to_6d(matrix),
        "aa_from_mat": roma.rotmat_to_rotvec(case.tensor("mat")),
        "aa_from_rot6d": roma.rotmat_to_rotvec(from_6d(case.tensor("rot6d"))),
        "mat_from_dirty": from_6d(case.tensor("dirty_rot6d")),
        "aa_from_dirty": roma.rotmat_to_rotvec(from_6d(case.tensor("dirty_rot6d"))),
    }


@runner("vimogen.rep276.recover")
def recover(case: Case) -> Mapping[str, Any]:
    assert (case.config["joints"], case.config["fps"]) == (MOTION276.skeleton.num_joints, MOTION276.fps)
    found: dict[str, Any] = {}
    if stored := case.config["normalization"]:
        mean, std = (case.tensor(f"{stored['file']}#{stored[name]}") for name in ("mean", "std"))
        normalizer = Normalizer(mean, std, "data").check(MOTION276)
        found["motion"] = normalizer.denormalize(case.tensor("normalized"))
    motion = case.tensor("motion")
    found |= _parameters("abs", ABSOLUTE.body_of(motion)) | _parameters("vel", MOTION276.body_of(motion))
    if case.config["extra_frame"]:
        found |= _parameters("eq", MOTION276.body_of(motion, extra_frame=True))
        found["coord_conversion"] = torch.tensor(AXES).to(case.tensor("coord_conversion"))
        found["organized_joints_yup"] = MOTION276.decode_joints(motion)
    return found


@runner("vimogen.rep276.build")
def build(case: Case) -> Mapping[str, Any]:
    torch.testing.assert_close(torch.tensor(case.config["smplx_root"]), torch.tensor(REST_PELVIS))
    assert torch.equal(torch.tensor(case.config["camera_to_zup"]).double(), torch.tensor(camera.TO_Z_UP).double())
    hmr, found = _body(case, "hmr"), {}
    found["hmr_rep"] = MOTION276.columns_of(hmr)
    for name in ("floor", "nofloor"):
        seen = camera.from_camera(case.tensor("hmr_rep"), floor=case.config["floors"][name])
        found |= {f"{name}_motion": seen.features, f"{name}_extrinsic": seen.extrinsic,
                  f"{name}_joints_canonical": MOTION276.body_of(seen.features).joints}  # fmt: skip
    body, turn, shift = canonical(_body(case, "world"), floor=case.config["floors"]["canon"])
    return found | {
        "canon_motion": MOTION276.columns_of(body), "canon_joints": body.joints[:-1], "canon_R_inv": turn,
        "canon_delta_transl": shift[None],
    }  # fmt: skip


def _body(case: Case, name: str) -> Body:
    parts = [case.tensor(f"{name}_{part}").double() for part in ("global_orient", "body_pose", "transl", "joints")]
    turns = torch.cat(parts[:2], dim=-1).unflatten(-1, (-1, 3))
    return Body(roma.rotvec_to_rotmat(turns), parts[2] + torch.tensor(REST_PELVIS).double(), parts[3])


def _parameters(name: str, body: Body) -> dict[str, Tensor]:
    turns = roma.rotmat_to_rotvec(body.rotations).flatten(-2)
    return {
        f"{name}_global_orient": turns[:, :3], f"{name}_body_pose": turns[:, 3:], f"{name}_joints": body.joints,
        f"{name}_transl": body.pelvis - torch.tensor(REST_PELVIS).to(body.pelvis),
    }  # fmt: skip
