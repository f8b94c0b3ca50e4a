"""Joints to SMPL parameters: pose, place and shape that bring the joints of a body model nearest to those of a motion.

All frames are solved together (one shape for all), from the analytic rotations, by L-BFGS. Joints of the model are the
regressed rest joints turned by the pose, so no mesh is computed. What joints leave open is held by terms that keep the
turn against the analytic solution small and smooth, and by a pose prior where the user has one (SMPLify, Bogo et al.
2016, section 3.2).
"""

from __future__ import annotations

import math
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mld.errors import MotionFormatError
from mld.motion import kinematics
from mld.motion.carry import on_skeleton
from mld.motion.formats.smpl_write import Parameters
from mld.motion.motion import Motion
from mld.motion.rig.rigging import to_rig
from mld.motion.rig.smpl_body import NUM_JOINTS
from mld.motion.rig.smpl_model import NUM_BETAS, BodyModel
from mld.motion.rotations import matrix_to_rotvec, rotvec_to_matrix
from mld.motion.skeletons import get_skeleton

JOINTS, SHAPE, KEEP, SMOOTH, PRIOR = 1e4, 1e-2, 1e-2, 1e-1, 1e-3  # weights; joints in metres squared, turns in radians
_PRIOR_ANGLES = 69  # of the published prior: 21 body joints and two hands


@dataclass(frozen=True, eq=False)
class PosePrior:
    """A mixture of Gaussians over body poses: means (K, D), precisions (K, D, D), log weights (K,), to which the volume
    of each Gaussian over the smallest one's is added, as published."""

    means: Tensor
    precisions: Tensor
    log_weights: Tensor

    @classmethod
    def load(cls, path: str | Path) -> PosePrior:
        """Open means, covars and weights: `.npz`, or `.pkl` as published, in which only NumPy arrays are opened."""
        path = Path(path)
        try:
            with open(path, "rb") as file:
                found = dict(np.load(file, allow_pickle=False)) if path.suffix == ".npz" else _ArraysOnly(
                    file, encoding="latin1").load()
            means, covariances, weights = (
                torch.from_numpy(np.array(found[name], dtype=np.float64)) for name in ("means", "covars", "weights")
            )
            factors = torch.linalg.cholesky(covariances)
        except (OSError, ValueError, KeyError, TypeError, EOFError, AttributeError, IndexError, pickle.UnpicklingError,
                torch.linalg.LinAlgError) as error:  # fmt: skip
            raise MotionFormatError(f"{path}: not a pose prior with means, covars and weights ({error})") from error
        if means.shape[1:] != (_PRIOR_ANGLES,) or covariances.shape != (len(means), _PRIOR_ANGLES, _PRIOR_ANGLES):
            raise MotionFormatError(f"{path}: its means are {tuple(means.shape)}, not (any number, {_PRIOR_ANGLES})")
        volumes = factors.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        constant = 0.5 * _PRIOR_ANGLES * math.log(2 * math.pi)
        return cls(means, torch.cholesky_inverse(factors), weights.log() - (volumes - volumes.min()) - constant)

    def to(self, like: Tensor) -> PosePrior:
        """The same where a tensor is, in its precision."""
        return PosePrior(self.means.to(like), self.precisions.to(like), self.log_weights.to(like))

    def __call__(self, turns: Tensor) -> Tensor:
        """How unlikely poses are: the negative log of the likeliest Gaussian (T,), of rotation vectors of the body
        (T, 21, 3), hands at rest, or (T, 23, 3)."""
        return self.by_gaussian(turns).amin(-1)

    def by_gaussian(self, turns: Tensor) -> Tensor:
        """The same for every Gaussian, (T, K)."""
        apart = self.apart(turns)
        return 0.5 * torch.einsum("tki,kij,tkj->tk", apart, self.precisions, apart) - self.log_weights

    def apart(self, turns: Tensor) -> Tensor:
        """How far angles are from every mean, (T, K, D)."""
        angles = turns.flatten(1)
        return torch.nn.functional.pad(angles, (0, _PRIOR_ANGLES - angles.shape[1]))[:, None] - self.means


class _ArraysOnly(pickle.Unpickler):
    """Unpickles containers of NumPy arrays and nothing else, so that no code in the file is run."""

    _KNOWN = {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")} | {
        (f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._KNOWN:
            raise pickle.UnpicklingError(f"it holds {module}.{name}, which is not opened")
        return super().find_class(module, name)


def fit(
    motion: Motion, body: BodyModel, model: str, gender: str = "neutral", prior: PosePrior | None = None,
    iterations: int = 60,
) -> tuple[Parameters, float]:  # fmt: skip
    """Parameters of a body model for a motion, carried onto smpl22, and how far its joints are from the motion's, mean
    metres. `DataError` for a skeleton that cannot be carried."""
    motion = on_skeleton(motion, "smpl22")
    start = to_rig(motion).rotations.double()
    goal = motion.joints.double()
    turns = torch.zeros(len(goal), NUM_JOINTS, 3, dtype=torch.float64, requires_grad=True)
    shift = torch.zeros(len(goal), 3, dtype=torch.float64, requires_grad=True)
    betas = torch.zeros(min(NUM_BETAS, body.shapes.shape[-1]), dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([turns, shift, betas], max_iter=iterations, history_size=20,
                               line_search_fn="strong_wolfe")

    def placed() -> tuple[Tensor, Tensor]:
        rotations = start @ rotvec_to_matrix(turns)
        return rotations, _joints(rotations, goal[:, 0] + shift, body.rest_joints(betas))

    def cost() -> Tensor:
        solver.zero_grad()
        rotations, joints = placed()
        total = JOINTS * (joints - goal).square().sum(-1).mean() + SHAPE * betas.square().sum()
        total = total + KEEP * turns.square().sum(-1).mean()
        if len(goal) > 1:
            total = total + SMOOTH * (turns[1:] - turns[:-1]).square().sum(-1).mean() * motion.fps / 20
        if prior is not None:
            total = total + PRIOR * prior(matrix_to_rotvec(rotations[:, 1:])).mean()
        total.backward()
        return total

    solver.step(cost)
    with torch.no_grad():
        rotations, joints = placed()
        error = float((joints - goal).norm(dim=-1).mean())
        found = Parameters(rotations, goal[:, 0] + shift, betas.numpy().copy(), body.rest_joints(betas).numpy(),
                           motion.fps, model, gender)  # fmt: skip
    return found, error


def _joints(rotations: Tensor, pelvis: Tensor, rest: Tensor) -> Tensor:
    parents = get_skeleton("smpl22").parents
    offsets = rest - rest[[0, *parents[1:]]]
    return kinematics.forward(pelvis, rotations, offsets, parents)[0]
