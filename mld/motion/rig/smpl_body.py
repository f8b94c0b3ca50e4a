"""Where the joints of an SMPL body rest: from the user's own model files where there are some, else a standard body.

The models may not be passed on, so none comes with the toolkit. Files are looked for in the folder that the environment
variable MLD_BODY_MODELS names, as they are downloaded: smplx/SMPLX_NEUTRAL.npz, smplh/neutral/model.npz,
smpl/SMPL_NEUTRAL.npz. The standard body has the bone lengths of smpl22 in its T-pose.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mld.motion.formats.archives import open_arrays
from mld.motion.rig.rest_pose import rest_pose
from mld.motion.skeletons import get_skeleton

MODELS_VARIABLE = "MLD_BODY_MODELS"
NUM_JOINTS = 22
# Joint 0 of the rest pose with average shape, metres: an SMPL translation puts the pelvis at this point plus itself
# (spec motion_272, trap 4; spec vimogen 1.6).
REST_PELVIS = {
    "smpl": (-0.0018, -0.2233, 0.0282),
    "smplh": (-0.0018, -0.2233, 0.0282),
    "smplx": (0.003123255, -0.351407439, 0.012036549),
}
_FILES = ("{kind}/{KIND}_{GENDER}.npz", "{kind}/{gender}/model.npz", "{KIND}_{GENDER}.npz")


def standard_rest(kind: str) -> Tensor:
    """Rest joints (22, 3) float64 of the standard body of "smpl", "smplh" or "smplx", the pelvis where SMPL has it."""
    skeleton = get_skeleton("smpl22")
    offsets = rest_pose("smpl22").directions * torch.tensor(skeleton.bone_lengths, dtype=torch.float64)[:, None]
    placed = [torch.tensor(REST_PELVIS[kind], dtype=torch.float64)]
    for joint, parent in enumerate(skeleton.parents[1:], start=1):
        placed.append(placed[parent] + offsets[joint])
    return torch.stack(placed)


def model_rest(
    kind: str, gender: str, betas: np.ndarray, folder: str | Path | None = None
) -> tuple[Tensor, Path] | None:
    """Rest joints (22, 3) of a person of shape `betas` (B,), and the model file; None without the user's model files,
    which are in `folder` or that of the environment.

    Joints of a body are a linear function of its vertices (SMPL, eq. 10). Raises `MotionFormatError` for a bad file.
    """
    path = model_file(kind, gender, folder) or model_file(kind, "neutral", folder)
    if path is None:
        return None
    arrays, _ = open_arrays(path, ("J_regressor", "v_template", "shapedirs"))
    if len(arrays) < 3 or arrays["J_regressor"].ndim != 2:
        return None
    count = min(len(betas), arrays["shapedirs"].shape[-1])
    vertices = arrays["v_template"] + arrays["shapedirs"][..., :count] @ betas[:count]
    return torch.from_numpy(np.asarray(arrays["J_regressor"][:NUM_JOINTS] @ vertices, dtype=np.float64)), path


def model_file(kind: str, gender: str, folder: str | Path | None = None) -> Path | None:
    """The file of a body model in the user's folder (by default that of the environment), None where there is none."""
    folder = folder or os.environ.get(MODELS_VARIABLE)
    if not folder:
        return None
    names = {"kind": kind, "KIND": kind.upper(), "gender": gender, "GENDER": gender.upper()}
    return next((path for p in _FILES if (path := Path(folder) / p.format(**names)).is_file()), None)
