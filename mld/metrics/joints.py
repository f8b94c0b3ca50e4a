"""Reconstruction errors on joints: MPJPE, PA-MPJPE and ACCEL (evaluation spec 4.5).

The pure functions give one value per frame in metres; `JointErrors` collects them over clips, in millimetres. Mode
"strict" counts real frames only. Mode "upstream" repeats the published sums, which run over the padding as well.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mld.metrics.items import Items, MeanMetric
from mld.metrics.mode import Mode
from mld.metrics.uncertainty import PerItem

MILLIMETRES = 1000.0


def mpjpe(predicted: Tensor, reference: Tensor, align_root: bool = True) -> Tensor:
    """Mean joint distance per frame: (..., T, J, 3) twice -> (..., T). align_root: joint 0 is moved to the origin."""
    if align_root:
        predicted = predicted - predicted[..., :1, :]
        reference = reference - reference[..., :1, :]
    return (predicted - reference).norm(dim=-1).mean(-1)


def similarity(predicted: Tensor, reference: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The scale (...,), rotation (..., 3, 3) and shift (..., 3, 1) that bring poses (..., J, 3) closest to others.

    A joint p, as a column, goes to scale R p + shift. Umeyama (1991), reflections excluded. A pose whose joints all
    coincide is only shifted; one that is not finite gives NaN."""
    centre, target_centre = predicted.mean(-2, keepdim=True), reference.mean(-2, keepdim=True)
    source, target = predicted - centre, reference - target_centre
    product = source.transpose(-1, -2) @ target
    broken = ~product.isfinite().flatten(-2).all(-1)
    u, singular, vh = torch.linalg.svd(product.masked_fill(broken[..., None, None], 0))
    sign = torch.ones_like(singular)
    sign[..., -1] = torch.sign(torch.linalg.det(u @ vh))
    rotation = (vh.transpose(-1, -2) * sign[..., None, :]) @ u.transpose(-1, -2)
    size = source.square().sum((-1, -2))
    scale = torch.where(size > 1e-12, (singular * sign).sum(-1) / size.clamp(min=1e-12), torch.ones_like(size))
    scale = scale.masked_fill(broken, torch.nan)
    shift = target_centre.transpose(-1, -2) - scale[..., None, None] * rotation @ centre.transpose(-1, -2)
    return scale, rotation, shift


def procrustes(predicted: Tensor, reference: Tensor) -> Tensor:
    """`predicted` (..., J, 3) under the `similarity` that brings it closest to `reference`."""
    scale, rotation, shift = similarity(predicted, reference)
    return scale[..., None, None] * predicted @ rotation.transpose(-1, -2) + shift.transpose(-1, -2)


def pa_mpjpe(predicted: Tensor, reference: Tensor) -> Tensor:
    """Mean joint distance per frame after a similarity alignment of every frame: (..., T, J, 3) -> (..., T)."""
    return (procrustes(predicted, reference) - reference).norm(dim=-1).mean(-1)


def acceleration_error(predicted: Tensor, reference: Tensor) -> Tensor:
    """Mean joint distance of second differences (no alignment, per frame squared): (..., T, J, 3) -> (..., T - 2)."""
    error = (predicted - reference).diff(n=2, dim=-3)
    return error.norm(dim=-1).mean(-1)


def accelerations(joints: Tensor) -> Tensor:
    """Size of the second difference of every joint, each pose moved to its root: joints (..., T, J, 3) ->
    (..., T - 2, J), metres per frame squared (MotionMillion spec 5.3)."""
    return (joints - joints[..., :1, :]).diff(n=2, dim=-3).norm(dim=-1)


class JointErrors(MeanMetric):
    """MPJPE, PAMPJPE (mm) and ACCEL (mm per frame squared) over all frames of all clips.

    align_root: MPJPE of poses moved to the root, as for human skeletons; else of joints in the world."""

    columns = ("sums", "frames")
    names = ("MPJPE", "PAMPJPE", "ACCEL")
    units = {"MPJPE": "mm", "PAMPJPE": "mm", "ACCEL": "mm/frame^2"}

    def __init__(self, mode: Mode = "strict", align_root: bool = True) -> None:
        super().__init__()
        self.mode, self.align_root = mode, align_root

    def update(
        self, predicted: Tensor, reference: Tensor, mask: Tensor, ids: Sequence[int] | Tensor | None = None
    ) -> None:
        """predicted, reference: (B, T, J, 3) metres. mask: (B, T) bool, True = real frame, padding at the end."""
        predicted, reference = predicted.double(), reference.double()
        counted = mask if self.mode == "strict" else torch.ones_like(mask)
        errors = (
            (mpjpe(predicted, reference, self.align_root), counted),
            (pa_mpjpe(predicted, reference), counted),
            (acceleration_error(predicted, reference), counted[:, 2:]),
        )
        sums = torch.stack([torch.where(real, error, 0).sum(1) for error, real in errors], dim=1)
        lengths = mask.sum(1)
        inner = lengths - 2 if self.mode == "upstream" else (lengths - 2).clamp(min=0)
        self._add(ids, sums=MILLIMETRES * sums, frames=torch.stack((lengths, lengths, inner), dim=1).double())

    def per_item(self, items: Items) -> dict[str, PerItem]:
        shares = zip(self.names, items["sums"].T, items["frames"].T)
        return {name: PerItem(items.ids, sums, frames) for name, sums, frames in shares}


class ClipErrors(MeanMetric):
    """MPJPE_clips (mm), and ACC_mean and ACC_max (mm per frame squared) of what was made and of the real motion: the
    mean or the largest acceleration of the joints of a frame (`accelerations`). All are means over the frames of a
    clip, then over clips, however long, as MotionMillion reports them; `JointErrors` counts every frame alike."""

    columns = ("means", "lengths")
    names = ("MPJPE_clips", "ACC_mean", "ACC_max", "ACC_mean_real", "ACC_max_real")
    units = {"MPJPE_clips": "mm"} | dict.fromkeys(names[1:], "mm/frame^2")

    def update(
        self, predicted: Tensor, reference: Tensor, mask: Tensor, ids: Sequence[int] | Tensor | None = None
    ) -> None:
        """predicted, reference: (B, T, J, 3) metres. mask: (B, T) bool, True = real frame, padding at the end."""
        predicted, reference, lengths = predicted.double(), reference.double(), mask.sum(1)
        made, real = accelerations(predicted), accelerations(reference)
        columns = [(mpjpe(predicted, reference), mask)]
        columns += [(sizes, mask[:, 2:]) for one in (made, real) for sizes in (one.mean(-1), one.amax(-1))]
        means = [torch.where(counted, v, 0).sum(1) / counted.sum(1).clamp(min=1) for v, counted in columns]
        self._add(ids, means=MILLIMETRES * torch.stack(means, dim=1), lengths=lengths)

    def per_item(self, items: Items) -> dict[str, PerItem]:
        weights = [(items["lengths"] > least).double() for least in (0, 2, 2, 2, 2)]
        columns = zip(self.names, items["means"].T, weights, strict=True)
        return {name: PerItem(items.ids, values * weight, weight) for name, values, weight in columns}
