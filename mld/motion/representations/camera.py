"""Motion estimated from a video, in the axes of its camera (x right, y down, z forward), as 276 canonical columns.

Estimators of human meshes write SMPL-X parameters as the camera sees them; spec vimogen, 1.6. The camera goes along, so
that the motion can be drawn over its video.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mld.motion.representations.motion276 import canonical, motion276, to_6d

TO_Z_UP = ((-1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, -1.0, 0.0))
_LENS = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0))


@dataclass(frozen=True)
class Seen:
    """features (T, 276) of the canonical motion; extrinsic (T, 9): the camera, the same in every row, 6 numbers of its
    rotation R and 3 of its place T: a point p of the motion, a row, is at p R + T in the camera, z then negated."""

    features: Tensor
    extrinsic: Tensor


def from_camera(features: Tensor, floor: bool = True) -> Seen:
    """Features (T, 276) in the axes of a camera to those of the canonical clip; the frame that the last steps lead to
    counts. floor: the lowest joint is at z = 0, else the pelvis of frame 0."""
    columns = motion276()
    turned = columns.body_of(features, extra_frame=True).turned(features.new_tensor(TO_Z_UP).double())
    body, turn, shift = canonical(turned, floor)
    x, y, z = -(shift @ turn)
    camera = torch.cat([to_6d(turn @ turn.new_tensor(_LENS)), torch.stack([x, z, -y])]).to(features.dtype)
    return Seen(columns.columns_of(body).to(features.dtype), camera.expand(len(features), -1))
