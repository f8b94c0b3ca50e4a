"""Physical sanity of single motions, without any reference: foot skating, jerk, penetration, floating, bone lengths.

Compare the numbers with those of the real clips, not with zero (evaluation spec 4.8, 8.3). Foot skating, variant
"speed" (GMD, OmniControl, MotionLCM): a foot is on the ground below 5 cm and slides above 0.5 m/s. Variant "contacts":
a foot is on the ground where contact labels say so and slides above 0.2 m/s. Metres, y up, floor at 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mld.metrics.items import Items, MeanMetric
from mld.metrics.uncertainty import PerItem
from mld.motion.skeletons import Skeleton

CONTACT_HEIGHT = 0.05  # metres
SKATING_SPEED = 0.5  # metres per second, variant "speed"
LABELLED_SPEED = 0.2  # metres per second, variant "contacts"
WINDOW = 5  # frames of the mean speed
FLOATING_HEIGHT = 0.05  # metres


def foot_slides(joints: Tensor, feet: Sequence[int], fps: float) -> tuple[Tensor, Tensor]:
    """Joints (..., T, J, 3) -> for every foot and frame pair (..., F, T - 1): whether it slides, and its mean speed
    over 5 frames (zeros beyond the ends) in m/s where it is on the ground in both frames, else 0."""
    foot = joints[..., list(feet), :].transpose(-2, -3)
    low = foot[..., 1] < CONTACT_HEIGHT
    grounded = low[..., 1:] & low[..., :-1]
    speed = foot[..., (0, 2)].diff(dim=-2).norm(dim=-1) * fps
    mean = F.avg_pool1d(speed.reshape(-1, 1, speed.shape[-1]), WINDOW, stride=1, padding=WINDOW // 2).view_as(speed)
    return grounded & (speed > SKATING_SPEED) & (mean > SKATING_SPEED), torch.where(grounded, mean, 0)


def skating(joints: Tensor, feet: Sequence[int], fps: float) -> Tensor:
    """Frame pairs in which any of the feet slides, variant "speed": joints (..., T, J, 3) -> bool (..., T - 1)."""
    return foot_slides(joints, feet, fps)[0].any(-2)


def skating_ratio(joints: Tensor, feet: Sequence[int], fps: float, lengths: Sequence[int] | None = None) -> Tensor:
    """Share of sliding frame pairs of every clip: joints (B, T, J, 3) -> (B,) float64. With lengths every clip is cut
    first (MotionLCM); without, the padding counts as still (OmniControl)."""
    lengths = [joints.shape[1]] * len(joints) if lengths is None else lengths
    return torch.stack([skating(clip[:length], feet, fps).double().mean() for clip, length in zip(joints, lengths)])


def labelled_skating(joints: Tensor, contacts: Tensor, feet: Sequence[int], fps: float) -> tuple[Tensor, Tensor]:
    """Variant "contacts": joints (T, J, 3) and contact labels (T, F) bool of the joints `feet` -> number of labelled
    frame pairs in which the joint moves faster than 0.2 m/s in the plane, and number of labelled pairs."""
    speed = joints[:, list(feet)][..., (0, 2)].diff(dim=0).norm(dim=-1) * fps
    labelled = contacts[1:].bool() & contacts[:-1].bool()
    return (labelled & (speed > LABELLED_SPEED)).sum(), labelled.sum()


def jerk(joints: Tensor) -> Tensor:
    """Third difference of joints (..., T, J, 3), L1 over xyz, largest over joints -> (..., T - 3), metres per frame
    cubed; times fps^3 in m/s^3."""
    return joints.diff(n=3, dim=-3).abs().sum(-1).amax(-1)


def penetration(joints: Tensor) -> Tensor:
    """Depth of the lowest joint below the floor, 0 above it: (..., T, J, 3) -> (..., T) metres."""
    return (-joints[..., 1].amin(-1)).clamp(min=0)


def floating(joints: Tensor) -> Tensor:
    """Frames whose lowest joint is more than 5 cm above the floor: (..., T, J, 3) -> bool (..., T)."""
    return joints[..., 1].amin(-1) > FLOATING_HEIGHT


def bone_drift(joints: Tensor, parents: Sequence[int]) -> Tensor:
    """How far bone lengths are from their mean over the clip: (T, J, 3) -> (T,) metres, mean over bones."""
    lengths = (joints[:, 1:] - joints[:, list(parents[1:])]).norm(dim=-1)
    return (lengths - lengths.mean(0)).abs().mean(-1)


def bone_spread(joints: Tensor, parents: Sequence[int]) -> Tensor:
    """Longest less shortest length of every bone over the clip: (T, J, 3) -> (J - 1,) metres."""
    lengths = (joints[:, 1:] - joints[:, list(parents[1:])]).norm(dim=-1)
    return lengths.amax(0) - lengths.amin(0)


class PhysicalSanity(MeanMetric):
    """Means over motions: skating (share of frame pairs, variant "speed", cropped), jerk (mm per frame cubed),
    penetration (mm), floating (share of frames), bone_drift (mm), bone_spread (cm, mean over bones)."""

    columns = ("shares", "frames")
    names = ("skating", "jerk", "penetration", "floating", "bone_drift", "bone_spread")
    units = {"jerk": "mm/frame^3", "penetration": "mm", "bone_drift": "mm", "bone_spread": "cm"}

    def __init__(self, skeleton: Skeleton, fps: float) -> None:
        super().__init__()
        self.feet, self.parents, self.fps = (skeleton.left_foot[-1], skeleton.right_foot[-1]), skeleton.parents, fps

    def update(self, motions: Sequence[Tensor], ids: Sequence[int] | Tensor | None = None) -> None:
        """motions: joints (T, J, 3) each, metres. A motion counts where it is long enough: 2 frames for skating, 4 for
        jerk, 1 for the others."""
        shares = torch.stack([self._shares(joints.double()) for joints in motions])
        self._add(ids, shares=shares, frames=torch.tensor([len(joints) for joints in motions]))

    def per_item(self, items: Items) -> dict[str, PerItem]:
        needed = {"skating": 2, "jerk": 4}
        return {
            name: PerItem(items.ids, items["shares"][:, i], (items["frames"] >= needed.get(name, 1)).double())
            for i, name in enumerate(self.names)
        }

    def _shares(self, joints: Tensor) -> Tensor:
        nothing = torch.zeros((), dtype=torch.float64)
        shares = torch.stack((
            skating(joints, self.feet, self.fps).double().mean() if len(joints) > 1 else nothing,
            1000 * jerk(joints).mean() if len(joints) > 3 else nothing,
            1000 * penetration(joints).mean(),
            floating(joints).double().mean(),
            1000 * bone_drift(joints, self.parents).mean(),
            100 * bone_spread(joints, self.parents).mean(),
        ))  # fmt: skip
        return shares + 0 * joints.sum()  # comparisons hide NaN; the sum brings it back
