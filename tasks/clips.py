"""Clips of a data set as parts of a request."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from mld.example import CaptionedClip, Clip
from mld.motion.representations.base import Representation


def whole(clip: CaptionedClip, representation: Representation) -> Clip:
    """All frames of a dataset clip, with the joints that its features decode to."""
    return Clip(features=clip.features, joints=representation.decode(clip.features).joints)


def part(clip: Clip, start: int, stop: int) -> Clip:
    """Frames start..stop-1 of a clip, placed at `start` on its time line."""
    return dataclasses.replace(clip, features=clip.features[start:stop], joints=clip.joints[start:stop], start=start)


def cut(frames: float, unit: int) -> int:
    """The largest multiple of `unit` that is not above `frames`, at least one `unit`."""
    return max(unit, int(frames) // unit * unit)


def fitted(joints: Tensor, frames: int) -> Tensor:
    """Joints (T, J, 3) cut to `frames`, or held at the last pose up to there."""
    return torch.cat((joints[:frames], joints[-1:].expand(max(0, frames - len(joints)), -1, -1)))
