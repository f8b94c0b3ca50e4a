"""Reconstruction errors on joints: MPJPE, PA-MPJPE and ACCEL (evaluation spec 4.5).

The pure functions give one value per frame in metres; `JointErrors` collects them over clips, in millimetres. Mode
"strict" counts real frames only. Mode "upstream" repeats the published sums, which run over the padding as well.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torchmetrics import Metric

Mode = Literal["strict", "upstream"]
MILLIMETRES = 1000.0


def mpjpe(predicted: Tensor, reference: Tensor) -> Tensor:
    """Mean joint distance per frame after joint 0 is moved to the origin: (..., T, J, 3) twice -> (..., T)."""
    predicted = predicted - predicted[..., :1, :]
    reference = reference - reference[..., :1, :]
    return (predicted - reference).norm(dim=-1).mean(-1)


def procrustes(predicted: Tensor, reference: Tensor) -> Tensor:
    """`predicted` (..., J, 3) under the rotation, scale and shift that bring it closest to `reference`.

    Umeyama (1991), reflections excluded. A pose whose joints all coincide is only shifted."""
    centre, target_centre = predicted.mean(-2, keepdim=True), reference.mean(-2, keepdim=True)
    source, target = predicted - centre, reference - target_centre
    u, singular, vh = torch.linalg.svd(source.transpose(-1, -2) @ target)
    sign = torch.ones_like(singular)
    sign[..., -1] = torch.sign(torch.linalg.det(u @ vh))
    rotation = (u * sign[..., None, :]) @ vh
    size = source.square().sum((-1, -2))
    scale = torch.where(size > 1e-12, (singular * sign).sum(-1) / size.clamp(min=1e-12), torch.ones_like(size))
    return scale[..., None, None] * source @ rotation + target_centre


def pa_mpjpe(predicted: Tensor, reference: Tensor) -> Tensor:
    """Mean joint distance per frame after a similarity alignment of every frame: (..., T, J, 3) -> (..., T)."""
    return (procrustes(predicted, reference) - reference).norm(dim=-1).mean(-1)


def acceleration_error(predicted: Tensor, reference: Tensor) -> Tensor:
    """Mean joint distance of second differences (no alignment, per frame squared): (..., T, J, 3) -> (..., T - 2)."""
    error = (predicted - reference).diff(n=2, dim=-3)
    return error.norm(dim=-1).mean(-1)


class JointErrors(Metric):
    """MPJPE, PAMPJPE (mm) and ACCEL (mm per frame squared) over all frames of all clips."""

    full_state_update = False

    def __init__(self, mode: Mode = "strict") -> None:
        super().__init__()
        self.mode = mode
        for name in ("mpjpe", "pa_mpjpe", "accel", "frames", "inner_frames"):
            self.add_state(name, default=torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, reference: Tensor, mask: Tensor) -> None:
        """predicted, reference: (B, T, J, 3) metres. mask: (B, T) bool, True = real frame, padding at the end."""
        predicted, reference = predicted.double(), reference.double()
        counted = mask if self.mode == "strict" else torch.ones_like(mask)
        inner = counted[:, 2:]
        self.mpjpe += mpjpe(predicted, reference)[counted].sum()
        self.pa_mpjpe += pa_mpjpe(predicted, reference)[counted].sum()
        self.accel += acceleration_error(predicted, reference)[inner].sum()
        lengths = mask.sum(1)
        self.frames += lengths.sum()
        self.inner_frames += (lengths - 2 if self.mode == "upstream" else (lengths - 2).clamp(min=0)).sum()

    def compute(self) -> dict[str, Tensor]:
        return {
            "MPJPE": MILLIMETRES * self.mpjpe / self.frames,
            "PAMPJPE": MILLIMETRES * self.pa_mpjpe / self.frames,
            "ACCEL": MILLIMETRES * self.accel / self.inner_frames,
        }
