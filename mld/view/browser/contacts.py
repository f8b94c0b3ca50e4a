"""Which foot stands on the floor: what the viewer marks. A picture of it, not a measure; those are in `mld.metrics`."""

from __future__ import annotations

import numpy as np

from mld.motion.motion import Motion

HEIGHT = 0.05  # metres above the height at which that joint of the foot stands
SPEED = 0.35  # metres per second, along the floor
SHORTEST = 0.1  # seconds; a shorter touch is not marked


def foot_contacts(motion: Motion) -> np.ndarray:
    """(T, 2) bool, left and right: some joint of the foot is low and nearly still.

    Low is measured from the 5 % lowest positions of that joint, so ankles and toes need no heights of their own."""
    joints = motion.joints.detach().cpu().numpy().astype(np.float64)
    sides = [_on_floor(joints[:, list(feet)], motion.fps) for feet in _feet(motion)]
    return np.stack([_without_short(side, round(SHORTEST * motion.fps)) for side in sides], axis=-1)


def _feet(motion: Motion) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return motion.skeleton.left_foot, motion.skeleton.right_foot


def _on_floor(feet: np.ndarray, fps: float) -> np.ndarray:
    """feet (T, F, 3) -> (T,) bool."""
    low = feet[..., 1] < np.quantile(feet[..., 1], 0.05, axis=0) + HEIGHT
    still = np.ones_like(low)
    if len(feet) > 1:
        speed = np.linalg.norm(np.gradient(feet[..., [0, 2]], 1 / fps, axis=0), axis=-1)
        still = speed < SPEED
    return (low & still).any(axis=-1)


def _without_short(side: np.ndarray, shortest: int) -> np.ndarray:
    """Runs of True below `shortest` frames become False."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], side.astype(np.int8), [0]))))
    kept = side.copy()
    for start, stop in edges.reshape(-1, 2):
        if stop - start < shortest and stop - start < len(side):
            kept[start:stop] = False
    return kept
