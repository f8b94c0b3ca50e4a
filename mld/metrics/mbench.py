"""The five joint dimensions of MBench (Motion_Quality; ViMoGen, arXiv 2510.26794): float32, per frame, at 20 fps.

Lengths are metres, rates metres per frame: a motion of another frame rate has other numbers. The floor is at 0 and is
not looked for. Published code measures height along index 2 although the files it scores are y up; `up=2` on such a
file gives its numbers, `up=1` the true height (spec mbench, section 4). Contact is "slow OR low", so a still foot
in the air counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from mld.errors import DataError

NAMES = ("Jitter_Degree", "Ground_Penetration", "Foot_Floating", "Foot_Sliding", "Dynamic_Degree")
JOINTS, FEET = 22, (10, 11)
PENETRATION = -0.005  # metres; a foot below it is in the ground
CONTACT_SPEED, CONTACT_HEIGHT = 0.01, 0.02  # metres per frame, metres
EPSILON = 1e-6
ROOT_MOVES, FOOT_MOVES = 0.001, 1.2e-4  # metres per frame: d0 and m of the paper
SLOW, FAST, MARGIN = 0.6, 1.75, 0.2  # speed of a foot about the root, over the root's speed: r_low, r_high
SHORTEST, PEAKS = 4, 2  # frames of a stretch without contact; peaks of its angles that are still a step


def motion_quality(joints: Tensor | np.ndarray, up: int = 2) -> dict[str, float]:
    """The five dimensions by name of joints (T, 22, 3), metres, 20 fps. up: the axis that is taken as height.

    NaN where a motion is too short (3 frames for jitter, 2 for floating and dynamics), and for all of a motion with a
    coordinate that is not finite. `DataError` for another shape and for an axis that there is not.
    """
    joints = torch.as_tensor(joints).detach().float().cpu()
    if joints.ndim != 3 or joints.shape[1:] != (JOINTS, 3) or not len(joints):
        raise DataError(f"joints have the shape {tuple(joints.shape)}; MBench scores (frames, {JOINTS}, 3)")
    if up not in (0, 1, 2):
        raise DataError(f"there is no axis {up} of a joint; up is 0, 1 or 2")
    if not joints.isfinite().all():
        return dict.fromkeys(NAMES, math.nan)
    local = joints - joints[:, :1]
    feet = joints[:, list(FEET)]
    velocity = _velocity(feet)
    height, speed = feet[..., up], velocity.norm(dim=-1)
    contact = (speed < CONTACT_SPEED) | (height < CONTACT_HEIGHT)
    plane = velocity[..., [axis for axis in range(3) if axis != up]].norm(dim=-1)
    depth = height[height < PENETRATION].abs()
    slides = (plane * contact).sum(0) / (contact.sum(0) + EPSILON)
    return {
        "Jitter_Degree": _mean_speed(joints, 2) + _mean_speed(local, 2),
        "Ground_Penetration": float(depth.mean()) if len(depth) else 0.0,
        "Foot_Floating": _floating(joints, contact) if len(joints) > 1 else math.nan,
        "Foot_Sliding": float(slides.mean()),
        "Dynamic_Degree": _mean_speed(joints, 1) + _mean_speed(local, 1),
    }


def mean_depth(joints: Tensor | np.ndarray, up: int = 2) -> float | None:
    """`Ground_Penetration` over all samples of both feet, those above the ground as 0: joints (T, 22, 3), metres. None
    where it is no number."""
    height = torch.as_tensor(joints).detach().float().cpu()[:, list(FEET), up]
    depth = float(torch.where(height < PENETRATION, -height, 0).mean())
    return depth if math.isfinite(depth) else None


def aggregate(values: Iterable[float]) -> dict[str, float | int]:
    """Mean, population standard deviation (0 for one value) and number of values; zeros for none. NaN stays NaN."""
    found = np.array(list(values), dtype=np.float64)
    if not len(found):
        return {"mean": 0.0, "std": 0.0, "num_samples": 0}
    return {"mean": float(found.mean()), "std": float(found.std()), "num_samples": len(found)}


def _mean_speed(joints: Tensor, order: int) -> float:
    """Mean length of the differences of an order; NaN where there is none."""
    return float(joints.diff(n=order, dim=0).norm(dim=-1).mean()) if len(joints) > order else math.nan


def _velocity(positions: Tensor) -> Tensor:
    """Differences to the next frame of (T, ..., 3), the last one repeated; zeros for a single frame."""
    if len(positions) < 2:
        return torch.zeros_like(positions)
    steps = positions.diff(dim=0)
    return torch.cat([steps, steps[-1:]])


def _floating(joints: Tensor, contact: Tensor) -> float:
    """Contacts that move as no contact does, stretches without contact in which a foot hangs on the root, and stretches
    without any contact whose path is no step: joints (T, 22, 3), contact (T, 2) -> per frame, may exceed 1."""
    feet, root = joints[:, list(FEET)], joints[:, :1]
    speed, root_speed = _velocity(feet).norm(dim=-1), _velocity(root).norm(dim=-1)  # (T, 2), (T, 1)
    ratio = _velocity(feet - root).norm(dim=-1) / (root_speed + EPSILON)
    moves = speed > FOOT_MOVES
    bad = ((ratio < SLOW) & moves) | ((ratio > FAST) & moves & (root_speed > FOOT_MOVES))
    bad &= root_speed >= ROOT_MOVES
    invalid = int((contact.any(1) & (bad | ~contact).all(1)).sum())
    runs = [list(_runs(~contact[:, foot])) for foot in range(2)]
    still, hangs = root_speed[:, 0] < ROOT_MOVES, ratio < SLOW - MARGIN
    hanging = sum(
        int(hangs[first : last + 1, foot].sum())
        for foot in range(2) for first, last in runs[foot]
        if 2 * int(still[first : last + 1].sum()) <= last + 1 - first
    )  # fmt: skip
    both = ((max(a, c), min(b, d)) for a, b in runs[0] for c, d in runs[1])
    shared = [(first, last + 1) for first, last in both if last + 1 - first >= SHORTEST]
    aloft = sum(end - first for first, end in shared if _turns(feet[first:end, 0]) > PEAKS)
    return (invalid + hanging / 2 + aloft) / len(joints)


def _runs(flags: Tensor) -> Iterator[tuple[int, int]]:
    """First and last frame of every stretch of at least `SHORTEST` true flags (T,)."""
    padded = np.concatenate([[0], flags.numpy().astype(np.int8), [0]])
    edges = np.flatnonzero(np.diff(padded)).reshape(-1, 2)
    return ((int(first), int(end) - 1) for first, end in edges if end - first >= SHORTEST)


def _turns(path: Tensor) -> int:
    """Local maxima of the angle between the way so far and the whole way of a path (n, 3)."""
    from scipy.signal import find_peaks

    ways = path[1:] - path[:1]
    ways = ways / (ways.norm(dim=-1, keepdim=True) + EPSILON)
    angles = torch.rad2deg((ways * ways[-1]).sum(-1).clamp(-1, 1).acos())
    return len(find_peaks(angles.numpy())[0])
