"""A body model of the SMPL family from the user's own file: its joints for a shape, and its mesh for a motion.

Only plain arrays are opened (`.npz` as SMPL-X, SMPL-H and AMASS give it). SMPL's older `.pkl` files are programs in
disguise and are not run; the tools of the smplx package convert them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mld.errors import MotionFormatError, missing_extra
from mld.motion.formats.archives import open_arrays
from mld.motion.rig.smpl_body import NUM_JOINTS

NUM_BETAS = 10
_ARRAYS = ("v_template", "shapedirs", "posedirs", "J_regressor", "kintree_table", "weights", "f")
_CHUNK = 32  # frames whose vertices are computed at a time


@dataclass(frozen=True, eq=False)
class BodyModel:
    """template (V, 3), shapes (V, 3, B), poses (V, 3, 9 (J - 1)), regressor (J, V), weights (V, J), faces (F, 3),
    parents (J,); metres. In SMPL: v_template, shapedirs, posedirs, J_regressor, weights, f, kintree_table."""

    template: Tensor
    shapes: Tensor
    poses: Tensor
    regressor: Tensor
    weights: Tensor
    faces: np.ndarray
    parents: Tensor

    @classmethod
    def load(cls, path: str | Path) -> BodyModel:
        """Open a model file; `MotionFormatError` when it is not one."""
        path = Path(path)
        if path.suffix.lower() != ".npz":
            raise MotionFormatError(f"{path}: body models are opened as .npz (SMPL-X, SMPL-H of AMASS); convert a .pkl "
                                    "with the tools of the smplx package")
        arrays, _ = open_arrays(path, _ARRAYS)
        missing = [name for name in _ARRAYS if name not in arrays]
        if missing:
            raise MotionFormatError(f"{path}: not a body model, it has no '{missing[0]}'")
        template, shapes, poses, regressor, tree, weights, faces = (arrays[name] for name in _ARRAYS)
        joints, vertices = regressor.shape[0], template.shape[0]
        wanted = ((vertices, 3), (vertices, 3), (vertices, 3, 9 * (joints - 1)), (joints, vertices), (vertices, joints))
        given = (template.shape, shapes.shape[:2], poses.shape, regressor.shape, weights.shape)
        if given != wanted or tree.shape != (2, joints) or joints < NUM_JOINTS:
            raise MotionFormatError(f"{path}: the arrays of this body model do not fit each other")
        parents = torch.from_numpy(tree[0].astype(np.int64))
        parents[0] = -1
        numbers = (template, shapes[..., :NUM_BETAS], poses, regressor, weights)
        v, s, p, r, w = (torch.from_numpy(np.array(part, dtype=np.float32)) for part in numbers)
        return cls(v, s, p, r, w, faces.astype(np.int32), parents)

    @property
    def num_joints(self) -> int:
        return len(self.parents)

    def rest_joints(self, betas: Tensor) -> Tensor:
        """Rest joints (22, 3) float64 of a shape (B,); linear in it, and differentiable (SMPL, eq. 10)."""
        average, change = self.joints_of_shape
        return average + change @ betas

    @cached_property
    def joints_of_shape(self) -> tuple[Tensor, Tensor]:
        """Rest joints (22, 3) of the average shape, and how they change with a shape, (22, 3, B); float64."""
        regressor = self.regressor[:NUM_JOINTS].double()
        return regressor @ self.template.double(), torch.einsum("jv,vcb->jcb", regressor, self.shapes.double())

    def meshes(self, rotations: Tensor, pelvis: Tensor, betas: Tensor) -> Iterator[Tensor]:
        """Vertices (t, V, 3), metres, y up, of consecutive frames of local rotations (T, J, 3, 3), J at least 22, and
        pelvis positions (T, 3). Needs the package smplx."""
        try:
            from smplx.lbs import lbs
        except ImportError as error:
            raise missing_extra("smplx", "smpl") from error
        betas = betas.float()[None]
        poses = self.poses.reshape(-1, self.poses.shape[-1]).T
        for first in range(0, len(rotations), _CHUNK):
            local = torch.eye(3).repeat(len(pelvis[first : first + _CHUNK]), self.num_joints, 1, 1)
            local[:, : rotations.shape[1]] = rotations[first : first + _CHUNK].float()
            vertices, joints = lbs(
                betas.expand(len(local), -1), local, self.template, self.shapes, poses, self.regressor, self.parents,
                self.weights, pose2rot=False,
            )  # fmt: skip
            yield vertices - joints[:, :1] + pelvis[first : first + _CHUNK, None].float()
