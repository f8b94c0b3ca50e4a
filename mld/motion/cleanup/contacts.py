"""Where the floor is, and when heels and toes stand on it: low and slow, with hysteresis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mld.motion.motion import Motion
from mld.motion.skeletons import Skeleton

_FLOOR_QUANTILE = 0.3  # of frames in which the lowest joint is nearly at rest, by its height
_AT_REST = 0.5  # m/s
_STANDING_QUANTILE = 0.1  # of frames, by the height of a foot joint
_HIGHEST_STANDING = {"ankle": 0.11, "toe": 0.05}  # metres: a foot that never comes down so far never stands
_SHORTEST = 0.1  # seconds


@dataclass(frozen=True)
class ContactSettings:
    """A contact begins where a joint is below `low` (metres above its height when standing) and below `slow` (m/s), and
    lasts while it is below `high` and `fast` and moves nearly as in the middle of the contact (by `steady`, m/s). A
    foot that slides faster than `fast` is taken to be carried."""

    low: float = 0.03
    high: float = 0.06
    slow: float = 0.5
    fast: float = 0.8
    steady: float = 0.25


@dataclass(frozen=True)
class Leg:
    """Joints of one leg; `foot` are those below the ankle, the toe last."""

    hip: int
    knee: int
    ankle: int
    foot: tuple[int, ...]

    @property
    def toe(self) -> int:
        return self.foot[-1]

    @property
    def above_toe(self) -> tuple[int, ...]:
        """The ankle and the joints between it and the toe."""
        return (self.ankle, *self.foot[:-1])


def legs_of(skeleton: Skeleton) -> tuple[Leg, Leg]:
    """Left and right leg, from the chains that end in the toes."""
    ends = {chain[-1]: chain for chain in skeleton.chains}
    chains = (ends[foot[-1]] for foot in (skeleton.left_foot, skeleton.right_foot))
    left, right = (Leg(hip, knee, ankle, tuple(foot)) for _, hip, knee, ankle, *foot in chains)
    return left, right


def floor_height(motion: Motion) -> float:
    """Height of the floor in metres: where the lowest joint usually is when it is nearly at rest; if it never is, where
    it is at its lowest."""
    joints = motion.joints.double()
    height, lowest = joints[..., 1].min(dim=-1)
    resting = speeds(joints, motion.fps).gather(1, lowest[:, None])[:, 0] < _AT_REST
    return float(torch.quantile(height[resting], _FLOOR_QUANTILE) if resting.any() else height.min())


def speeds(path: Tensor, fps: float) -> Tensor:
    """Speed (T, ...) in m/s of points (T, ..., 3), over the two steps around a frame."""
    if len(path) < 2:
        return torch.zeros_like(path[..., 0])
    steps = path.diff(dim=0).norm(dim=-1) * fps
    return 0.5 * (torch.cat([steps[:1], steps]) + torch.cat([steps, steps[-1:]]))


def foot_contacts(motion: Motion, settings: ContactSettings | None = None) -> Tensor:
    """Contact labels (T, 4) bool: left ankle, left toe, right ankle, right toe (an ankle stands when its heel does)."""
    settings = settings or ContactSettings()
    floor = floor_height(motion)
    labels = []
    for leg in legs_of(motion.skeleton):
        for joint, kind in ((leg.ankle, "ankle"), (leg.toe, "toe")):
            path = motion.joints[:, joint].double()
            height = path[:, 1] - floor
            standing = min(float(torch.quantile(height, _STANDING_QUANTILE)), _HIGHEST_STANDING[kind])
            labels.append(_contacts(path, floor + standing, motion.fps, settings))
    return torch.stack(labels, dim=1)


def runs(labels: Tensor) -> list[slice]:
    """The runs of True in labels (T,)."""
    edges = np.flatnonzero(np.diff(np.pad(labels.numpy().astype(np.int8), 1)))
    return [slice(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def _contacts(path: Tensor, standing: float, fps: float, settings: ContactSettings) -> Tensor:
    """Contact labels (T,) of one joint, path (T, 3), that stands at a height of `standing`."""
    height, speed = path[:, 1] - standing, speeds(path, fps)
    sure = (height < settings.low) & (speed < settings.slow)
    possible = (height < settings.high) & (speed < settings.fast)
    labels = torch.zeros_like(sure)
    for run in runs(possible):
        if sure[run].any():
            labels[_steady(path, run, settings.steady / fps)] = True
    for run in runs(labels):
        if run.stop - run.start < min(_SHORTEST * fps, len(labels)):
            labels[run] = False
    return labels


def _steady(path: Tensor, run: slice, most: float) -> slice:
    """The run without the frames at its ends in which the joint (T, 3) still comes or already goes: whose steps differ
    by more than `most` metres from the usual step of the run, which is how the foot slides."""
    steps = path[run].diff(dim=0)
    if len(steps) < 2:
        return run
    alike = ((steps - steps.median(dim=0).values).norm(dim=-1) < most).nonzero()[:, 0]
    return slice(run.start + int(alike[0]), run.start + int(alike[-1]) + 2) if len(alike) else run
