"""Several frames as one position of the transformer, and back: a motion of 200 frames is 50 positions of 4 frames each.

Frames that fill up the last patch, and those that are no real ones, are zeros.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from mld.models.families.vimogen.guidance import Guided


def patched(frames: Tensor, patch: int, mask: Tensor | None = None) -> Tensor:
    """Frames (B, T, C) as (B, ceil(T / patch), patch * C)."""
    if patch == 1:
        return frames
    if mask is not None:
        frames = frames.masked_fill(~mask[..., None], 0.0)
    return F.pad(frames, (0, 0, 0, -frames.shape[1] % patch)).unflatten(1, (-1, patch)).flatten(2)


def patched_mask(mask: Tensor, patch: int) -> Tensor:
    """Mask (B, T) of frames as one of patches: those with a real frame."""
    return mask if patch == 1 else F.pad(mask, (0, -mask.shape[1] % patch)).unflatten(1, (-1, patch)).any(-1)


def unpatched(patches: Tensor, patch: int, frames: int) -> Tensor:
    """Patches (B, P, patch * C) as frames (B, frames, C)."""
    return patches if patch == 1 else patches.unflatten(-1, (patch, -1)).flatten(1, 2)[:, :frames]


@dataclass
class OfPatches:
    """`Guided` over frames (B, T, C), real where mask (B, T), from one over patches."""

    guided: Guided
    patch: int
    mask: Tensor

    def __call__(self, state: Tensor, t: float) -> Tensor:
        return unpatched(self.guided(patched(state, self.patch, self.mask), t), self.patch, state.shape[1])
