"""Writes SMPL parameters as `.npz` in the layout of AMASS: poses, trans, betas, gender, frame rate; z up by default.

SMPL puts the pelvis at its rest position + trans and turns the body about it. So trans is the pelvis less the rest
pelvis, each in the axes of the file; files with the plain pelvis in trans sink by 0.22 m (SMPL) or 0.35 m (SMPL-X).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mld.errors import RequestError
from mld.motion.carry import on_skeleton
from mld.motion.motion import Motion
from mld.motion.rig.rigging import to_rig
from mld.motion.rig.smpl_body import NUM_JOINTS, REST_PELVIS, model_rest
from mld.motion.rotations import matrix_to_rotvec

POSE_JOINTS = {"smpl": 24, "smplh": 52, "smplx": 55}  # rows of poses / 3: body, face, hands
_UP = {"y": torch.eye(3, dtype=torch.float64), "z": torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]).double()}


@dataclass(frozen=True, eq=False)
class Parameters:
    """SMPL parameters, y up: local rotations (T, 22, 3, 3), pelvis positions (T, 3) metres, shape betas (B,), and the
    rest joints (22, 3) that go with them, the pelvis first."""

    rotations: Tensor
    pelvis: Tensor
    betas: np.ndarray
    rest_joints: np.ndarray
    fps: float
    model: str
    gender: str = "neutral"


def write(motion: Motion, path: Path, model: str = "smplh", up: str = "z") -> None:
    """Write a motion with betas 0. model: "smpl", "smplh" or "smplx"; up: "z" as AMASS has it, or "y"."""
    write_parameters(to_parameters(motion, model), path, up)


def to_parameters(motion: Motion, model: str) -> Parameters:
    """Parameters of mean shape, without a body model or optimisation; rest joints have the bone lengths of the motion
    and the pelvis of the user's body model, or of the published one. A motion on another skeleton
    is carried onto smpl22. `RequestError` for another model."""
    motion = on_skeleton(motion, "smpl22")
    if model not in POSE_JOINTS:
        raise RequestError(f"no body model '{model}'; known: {', '.join(POSE_JOINTS)}")
    found = to_rig(motion)
    betas = np.zeros(16)
    body = model_rest(model, "neutral", betas)
    pelvis = np.array(REST_PELVIS[model]) if body is None else body[0][0].numpy()
    rest = found.rig.rest_positions().numpy()
    return Parameters(found.rotations, found.translation, betas, rest - rest[0] + pelvis, motion.fps, model)


def write_parameters(found: Parameters, path: Path, up: str = "z") -> None:
    """Write parameters; `RequestError` for an unknown vertical axis."""
    if up not in _UP:
        raise RequestError(f"SMPL files have y or z up, not '{up}'")
    rotations = found.rotations.double().clone()
    rotations[:, 0] = _UP[up] @ rotations[:, 0]
    trans = (found.pelvis.double() @ _UP[up].T).numpy() - found.rest_joints[0]
    poses = np.zeros((len(trans), 3 * POSE_JOINTS[found.model]))
    poses[:, : 3 * NUM_JOINTS] = matrix_to_rotvec(rotations).flatten(1).numpy()
    with open(path, "wb") as file:
        np.savez(
            file, allow_pickle=False, poses=poses, trans=trans, betas=found.betas, gender=found.gender,
            mocap_framerate=found.fps, mocap_frame_rate=found.fps, surface_model_type=found.model, up_axis=up,
            rest_joints=found.rest_joints,
        )  # fmt: skip
