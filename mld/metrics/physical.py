"""Physical sanity of one motion, without any reference: foot skating and jerk (evaluation spec 4.8)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

CONTACT_HEIGHT = 0.05  # metres
SKATING_SPEED = 0.5  # metres per second
WINDOW = 5  # frames of the mean speed


def skating(joints: Tensor, feet: Sequence[int], fps: float) -> Tensor:
    """Frame pairs in which a foot on the ground slides: joints (T, J, 3) metres -> bool (T - 1,).

    A foot slides if it is below 5 cm in both frames and both its horizontal speed and the mean of that over 5 frames
    (zeros beyond the ends) exceed 0.5 m/s; any foot of `feet` counts."""
    foot = joints[:, list(feet)]
    low = foot[..., 1] < CONTACT_HEIGHT
    speed = foot[..., (0, 2)].diff(dim=0).norm(dim=-1) * fps
    mean = F.avg_pool1d(speed.T[:, None], WINDOW, stride=1, padding=WINDOW // 2)[:, 0].T
    return (low[1:] & low[:-1] & (speed > SKATING_SPEED) & (mean > SKATING_SPEED)).any(-1)


def jerk(joints: Tensor) -> Tensor:
    """Third difference of joints (T, J, 3), L1 over xyz, largest over joints -> (T - 3,) metres per frame cubed."""
    return joints.diff(n=3, dim=0).abs().sum(-1).amax(-1)


class PhysicalSanity(Metric):
    """skating (share of frame pairs) and jerk (mean, mm per frame cubed), each averaged over motions."""

    full_state_update = False

    def __init__(self, feet: Sequence[int], fps: float) -> None:
        super().__init__()
        self.feet, self.fps = tuple(feet), fps
        for name in ("skating_sum", "jerk_sum", "motions"):
            self.add_state(name, default=torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, motions: Sequence[Tensor]) -> None:
        """motions: joints (T, J, 3) each, metres, at least 4 frames."""
        for joints in motions:
            self.skating_sum += skating(joints, self.feet, self.fps).double().mean()
            self.jerk_sum += 1000 * jerk(joints.double()).mean()
            self.motions += 1

    def compute(self) -> dict[str, Tensor]:
        return {"skating": self.skating_sum / self.motions, "jerk": self.jerk_sum / self.motions}
