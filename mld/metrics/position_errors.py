"""APE and AVE: average position and variance errors of root, trajectory, pose and joints (evaluation spec 4.7).

Both motions go through the same canonical form first: on the floor, heading of frame 0 straight ahead. Mode "strict"
uses the hips and shoulders of the skeleton, real frames only, metres. Mode "upstream" repeats the published numbers:
facing from joints that are off by one, a floor that sees the padding, and for 22 joints a division by 1.5625.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mld.metrics.items import Items, MeanMetric
from mld.metrics.mode import Mode
from mld.metrics.uncertainty import PerItem
from mld.motion.skeletons import Skeleton

PARTS = ("root", "traj", "mean_pose", "mean_joints")


@dataclass(frozen=True)
class Layout:
    """What the canonical form needs to know about a skeleton.

    feet: joints that touch the floor. facing: r, l, s, u, with right = (r - l) + (s - u). unit: what a metre is
    multiplied by before (the floor estimate is not scale free), divisor: what the results are divided by after."""

    feet: tuple[int, ...]
    facing: tuple[int, int, int, int]
    unit: float = 1.0
    divisor: float = 1.0


UPSTREAM = {
    "smpl22": Layout((7, 8, 10, 11), (2, 3, 17, 18), divisor=1.5625),
    "kit21": Layout((14, 15, 19, 20), (17, 12, 9, 6), unit=1000.0, divisor=1000.0),
}


def layout_of(skeleton: Skeleton, mode: Mode = "strict") -> Layout:
    """The layout of a skeleton in a mode."""
    if mode == "upstream":
        return UPSTREAM[skeleton.name]
    right_hip, left_hip, right_shoulder, left_shoulder = skeleton.face_joints
    return Layout((*skeleton.left_foot, *skeleton.right_foot), (right_hip, left_hip, right_shoulder, left_shoulder))


def to_local(joints: Tensor, layout: Layout) -> Tensor:
    """Joints (..., T, J, 3) -> features (..., T, 3 (J - 1) + 4): root height | pose relative to the root, facing ahead
    | heading step | root velocity in the plane, facing ahead."""
    height = joints[..., 1] - _floor(joints[..., list(layout.feet), 1].amin(-1))[..., None, None]
    joints = torch.stack((joints[..., 0], height, joints[..., 2]), dim=-1)
    sine, cosine = _facing(joints, layout.facing)
    angle = torch.atan2(sine, cosine)
    step = F.pad(angle.diff(dim=-1), (1, 0))
    plane = joints[..., 0, :][..., (0, 2)]
    velocity = _turn(F.pad(plane.diff(dim=-2), (0, 0, 1, 0)), cosine, sine)
    pose = joints[..., 1:, :].clone()
    pose[..., (0, 2)] = _turn(pose[..., (0, 2)] - plane[..., None, :], cosine[..., None], sine[..., None])
    return torch.cat((joints[..., 0, 1:2], pose.flatten(-2), step[..., None], velocity), dim=-1)


def from_local(features: Tensor) -> dict[str, Tensor]:
    """Features of `to_local` -> "root" (..., T, 3), "traj" (..., T, 2), local "pose" (..., T, J - 1, 3) and "joints"
    (..., T, J, 3), with the heading and place of frame 0 as origin."""
    pose = features[..., 1:-3].unflatten(-1, (-1, 3))
    angle = features[..., -3].cumsum(-1)
    angle = angle - angle[..., :1]
    cosine, sine = angle.cos(), -angle.sin()
    traj = _turn(features[..., -2:], cosine, sine).cumsum(-2)
    traj = traj - traj[..., :1, :]
    joints = pose.clone()
    joints[..., (0, 2)] = _turn(pose[..., (0, 2)], cosine[..., None], sine[..., None]) + traj[..., None, :]
    root = torch.stack((traj[..., 0], features[..., 0], traj[..., 1]), dim=-1)
    return {"root": root, "traj": traj, "pose": pose, "joints": torch.cat((root[..., None, :], joints), dim=-2)}


class PositionErrors(MeanMetric):
    """APE_* (m) and AVE_* (m^2) of root, traj, mean_pose and mean_joints; see the module for mode "upstream"."""

    columns = ("errors", "variances", "frames")
    names = (*(f"APE_{part}" for part in PARTS), *(f"AVE_{part}" for part in PARTS))
    units = {f"APE_{part}": "m" for part in PARTS} | {f"AVE_{part}": "m^2" for part in PARTS}

    def __init__(self, skeleton: Skeleton, mode: Mode = "strict", divide: bool = True) -> None:
        """divide: False leaves out the division by 1.5625 that the published numbers carry."""
        super().__init__()
        self.mode, self.layout = mode, layout_of(skeleton, mode)
        self.divisor = self.layout.divisor if divide else self.layout.unit

    def update(
        self, predicted: Tensor, reference: Tensor, mask: Tensor, ids: Sequence[int] | Tensor | None = None
    ) -> None:
        """predicted, reference: (B, T, J, 3) metres. mask: (B, T) bool, True = real frame, padding at the end."""
        lengths = mask.sum(1).tolist()
        rows = [self._errors(p, r, length) for p, r, length in zip(predicted, reference, lengths)]
        errors, variances = (torch.stack(column) for column in zip(*rows))
        self._add(ids, errors=errors, variances=variances, frames=torch.tensor(lengths, dtype=torch.float64))

    def per_item(self, items: Items) -> dict[str, PerItem]:
        ones, frames = torch.ones_like(items["frames"]), items["frames"]
        found = {f"APE_{part}": PerItem(items.ids, items["errors"][:, i], frames) for i, part in enumerate(PARTS)}
        several = torch.where(frames > 1, ones, 0)
        return found | {
            f"AVE_{part}": PerItem(items.ids, items["variances"][:, i], several) for i, part in enumerate(PARTS)
        }

    def _errors(self, predicted: Tensor, reference: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """One clip (T, J, 3) twice -> errors summed over frames (4,) and variance errors (4,)."""
        end = None if self.mode == "upstream" else length
        scaled = (self.layout.unit * joints[:end].double() for joints in (predicted, reference))
        ours, theirs = (from_local(to_local(joints, self.layout)) for joints in scaled)
        errors, variances = [], []
        for a, b in zip(ours.values(), theirs.values()):
            a, b = a[:length], b[:length]
            errors.append((a - b).norm(dim=-1).flatten(1).mean(1).sum() if a.ndim > 2 else (a - b).norm(dim=-1).sum())
            # a single frame has no variance; its weight is 0
            spread = (a.var(0) - b.var(0)).norm(dim=-1) if length > 1 else torch.zeros((), dtype=a.dtype)
            variances.append(spread.mean())
        return torch.stack(errors) / self.divisor, torch.stack(variances) / self.divisor**2


def _floor(lowest: Tensor) -> Tensor:
    """Smooth minimum over time of the lowest foot heights (..., T) -> (...,), as published."""
    low, high = (-lowest).amin(-1), (-lowest).amax(-1)
    return -(high + torch.log(0.5 + torch.exp(low - high)))


def _facing(joints: Tensor, facing: tuple[int, int, int, int]) -> tuple[Tensor, Tensor]:
    """Sine and cosine of the heading of every frame, each (..., T), with heading 0 along +z."""
    r, l, s, u = (joints[..., joint, :] for joint in facing)  # noqa: E741
    across = (r - l) + (s - u)
    forward = F.normalize(torch.stack((-across[..., 2], across[..., 0]), dim=-1), dim=-1)
    return forward[..., 0], forward[..., 1]


def _turn(plane: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """(x, z) rows (..., 2) times [[c, s], [-s, c]]."""
    x, z = plane.unbind(-1)
    return torch.stack((x * cosine - z * sine, x * sine + z * cosine), dim=-1)
