"""A made-up body of SMPL's shape, small, in a folder of body models; poses of it, a prior and a mean pose."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from mld.motion.rig.smpl_body import standard_rest
from mld.motion.skeletons import get_skeleton

JOINTS = 24
PARENTS = (*get_skeleton("smpl22").parents, 20, 21)
CORNERS = 0.03 * np.array([[1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]])  # a tetrahedron around every joint


def write_body(models: Path, joints: int = JOINTS) -> Path:
    """`smpl/SMPL_NEUTRAL.npz` with shapes of size and leg length, eight that do nothing, and poses that bulge."""
    rest = np.zeros((joints, 3))
    rest[:22] = standard_rest("smpl")
    rest[22:] = rest[20] + [0.08, 0, 0]
    rest[23:24] = rest[21] - [0.08, 0, 0]
    template = (rest[:, None] + CORNERS).reshape(-1, 3)
    shapes = np.zeros((*template.shape, 10))
    shapes[..., 0] = 0.05 * template
    legs = np.isin(np.arange(joints), [4, 5, 7, 8, 10, 11]).repeat(4)
    shapes[legs, 1, 1] = -0.05
    parents = np.array([0, *PARENTS[1:], *[20] * 40])[:joints]
    sides = np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])
    path = models / "smpl/SMPL_NEUTRAL.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    poses = 1e-3 * np.random.default_rng(0).normal(size=(*template.shape, 9 * (joints - 1)))
    np.savez(path, v_template=template, shapedirs=shapes, posedirs=poses,
             J_regressor=np.kron(np.eye(joints), np.full((1, 4), 0.25)), weights=np.eye(joints).repeat(4, axis=0),
             kintree_table=np.stack([parents, np.arange(joints)]),
             f=(sides + 4 * np.arange(joints)[:, None, None]).reshape(-1, 3))  # fmt: skip
    return path


def write_prior(models: Path) -> Path:
    """`gmm_08.npz`: eight Gaussians about poses near rest."""
    random = np.random.default_rng(1)
    factors = 0.1 * random.normal(size=(8, 69, 69))
    covariances = factors @ factors.transpose(0, 2, 1) + 0.05 * np.eye(69)
    np.savez(models / "gmm_08.npz", means=0.1 * random.normal(size=(8, 69)), covars=covariances,
             weights=np.full(8, 0.125))  # fmt: skip
    return models / "gmm_08.npz"


def write_start(models: Path) -> Path:
    """`neutral_smpl_mean_params.npz`: arms a little down."""
    pose = np.zeros((24, 3))
    pose[[16, 17], 2] = -0.6, 0.6
    np.savez(models / "neutral_smpl_mean_params.npz", pose=pose.reshape(-1), shape=np.full(10, 0.1))
    return models / "neutral_smpl_mean_params.npz"


def poses(frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth rotation vectors (T, 24, 3) that bend elbows and knees the right way, and a path (T, 1, 3)."""
    time = torch.linspace(0, 3, frames, dtype=torch.float64)[:, None, None]
    random = torch.Generator().manual_seed(1)
    axes = 0.3 * torch.randn(JOINTS, 3, generator=random, dtype=torch.float64)
    pose = axes * (time + torch.arange(JOINTS)[:, None]).sin()
    pose[:, 0, 1] += 2.5
    pose[:, 18, 1], pose[:, 19, 1] = -0.8, 0.8
    pose[:, 4, 0] = pose[:, 5, 0] = 0.5
    return pose, torch.cat([0.3 * time, 0.2 + 0 * time, 0.2 * time.cos()], dim=-1)
