"""How well one clip goes on from another: pose and movement at the end of the one and at the begin of the other.

Both are seen from the body (over the pelvis' place on the floor, facing +z), as joining moves and turns what follows. A
run that is cut off in the air does not go over into sitting, whatever is blended.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from mld.data.clips import ClipSource
from mld.motion import kinematics, stitch
from mld.motion.representations.registry import get_representation

FRAMES = 4  # at each end
SECONDS = 0.35  # a difference of velocity counts as the way that it makes in so long
SHOWN = 2000


class Seams:
    """Costs of joining any two of `clips` (numbers of clips of the source), metres."""

    def __init__(self, source: ClipSource, clips: Sequence[int]) -> None:
        representation = get_representation(source.representation)
        heads, tails = [], []
        for index in tqdm(clips, "ends of clips", disable=len(clips) < SHOWN or None, leave=False):
            features = source[int(index)].features
            heads.append(features[:FRAMES])
            tails.append(features[-FRAMES:])
        skeleton = representation.skeleton
        first = representation.decode_joints(torch.stack(heads)) * skeleton.metres_per_unit
        last = representation.decode_joints(torch.stack(tails)) * skeleton.metres_per_unit
        self._starts = _state(_seen_from(first, first[:, 0], skeleton), source.fps, 0)
        self._ends = _state(_seen_from(last, last[:, -1], skeleton), source.fps, -1)
        self._number = {int(index): number for number, index in enumerate(clips)}

    def cost(self, clips: Sequence[int]) -> float:
        """Of the worst seam of a row of clips: the mean difference over joints, that of the root's movement once more,
        and twice what it has to rise or sink: who sits does not go over into a walk."""
        rows = [self._number[int(clip)] for clip in clips]
        differences = (self._ends[a] - self._starts[b] for a, b in zip(rows, rows[1:]))
        return max(
            float(np.linalg.norm(one, axis=-1).sum(0).mean() + np.linalg.norm(one[1, 0]) + 2 * abs(one[0, 0, 1]))
            for one in differences
        )


def _seen_from(joints: Tensor, pose: Tensor, skeleton) -> Tensor:
    """Joints (N, T, J, 3) as seen from a pose (N, J, 3) of them."""
    turned = stitch.turn(joints, -kinematics.heading(pose, skeleton)[:, None, None])
    return turned - stitch.turn(pose[:, :1], -kinematics.heading(pose, skeleton)[:, None])[:, None] * turned.new_tensor(
        (1.0, 0.0, 1.0)
    )


def _state(joints: Tensor, fps: float, frame: int) -> np.ndarray:
    """(N, 2, J, 3): the pose at a frame, and the way that its mean velocity makes in `SECONDS`."""
    velocity = (joints[:, -1] - joints[:, 0]) / (joints.shape[1] - 1) * fps * SECONDS
    return torch.stack((joints[:, frame], velocity), dim=1).numpy()
