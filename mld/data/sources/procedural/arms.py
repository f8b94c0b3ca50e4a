"""Where a hand is to be, as angles of the arm: two-bone inverse kinematics in the frame of the chest.

A place is given for either side alike: metres outwards (away from the other arm), up and ahead of the resting shoulder.
The middle of the body lies 0.2 m inwards, the hips 0.52 m and the top of the head 0.3 m below and above the shoulder.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mld.data.sources.procedural.stage import Stage, through
from mld.motion.skeletons import get_skeleton

Place = Sequence[float]  # out, up, ahead (m)
DOWN_AND_OUT = (0.35, -1.0, -0.25)  # where elbows point
OUT = (1.0, -0.15, -0.2)
ANGLES = ("fwd", "side", "turn", "flex")
GIRDLE = 0.125  # metres from the root of the collar bone to the shoulder, which rises with a raised arm


def reach(place, elbow: Place = DOWN_AND_OUT) -> dict[str, np.ndarray]:
    """Angles (named as the stage's arm curves) that bring the wrist to places (..., 3); elbow: where it points.

    Places out of reach are brought into reach along the line to the shoulder.
    """
    place = np.asarray(place, dtype=float)
    bones = get_skeleton("smpl22").bone_lengths
    upper, fore = bones[18], bones[20]
    raised = np.zeros(place.shape[:-1])
    for _ in range(3):  # the shoulder rises with the arm: a few rounds settle it
        shrug = 0.28 * np.clip(raised - 1.0, 0.0, 2.0) / 2
        shoulder = GIRDLE * np.stack([np.cos(shrug) - 1.0, np.sin(shrug), np.zeros_like(shrug)], axis=-1)
        line = place - shoulder
        distance = np.linalg.norm(line, axis=-1, keepdims=True)
        along = line / np.maximum(distance, 1e-6)
        distance = np.clip(distance, 0.32 * (upper + fore), 0.998 * (upper + fore))
        hint = np.asarray(elbow, dtype=float) - np.sum(elbow * along, axis=-1, keepdims=True) * along
        hint /= np.maximum(np.linalg.norm(hint, axis=-1, keepdims=True), 1e-6)
        ahead = (upper**2 - fore**2 + distance**2) / (2 * distance)
        bend = ahead * along + np.sqrt(np.maximum(upper**2 - ahead**2, 0.0)) * hint
        up, down = bend / upper, (distance * along - bend) / fore
        theta = np.arccos(np.clip(-up[..., 1], -1.0, 1.0))
        flat = np.maximum(np.hypot(up[..., 0], up[..., 2]), 1e-6)
        side, fwd = theta * up[..., 0] / flat, theta * up[..., 2] / flat
        raised = np.hypot(fwd, side)
    axis = np.stack([-up[..., 2] / flat, np.zeros_like(flat), up[..., 0] / flat], axis=-1)
    lower = _turned_back(down, axis, theta)
    return {
        "fwd": fwd,
        "side": side,
        "turn": np.arctan2(-lower[..., 0], lower[..., 2]),
        "flex": np.arccos(np.clip(-lower[..., 1], -1.0, 1.0)),
    }


def _turned_back(vector: np.ndarray, axis: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Vectors (..., 3) turned by minus `angle` about unit axes (..., 3): Rodrigues' formula."""
    sin, cos = np.sin(-angle)[..., None], np.cos(angle)[..., None]
    return (
        cos * vector + sin * np.cross(axis, vector) + (1 - cos) * np.sum(axis * vector, axis=-1, keepdims=True) * axis
    )


def hold(stage: Stage, arm: str, weight: np.ndarray, place, elbow: Place = DOWN_AND_OUT) -> None:
    """Bring one hand, or both where `arm` is "both", to a place (3,) or places (T, 3) by `weight` (T,)."""
    stage.blend_arm(arm, weight, **reach(place, elbow))


def lead(stage: Stage, arm: str, weight: np.ndarray, times, places, elbow: Place = DOWN_AND_OUT) -> None:
    """Lead a hand through places (N, 3) at times (s), each move with minimum jerk in the arm's angles."""
    angles = reach(np.asarray(places, dtype=float), elbow)
    stage.blend_arm(arm, weight, **{name: through(stage.t, times, angles[name]) for name in ANGLES})


def circling(center: Place, across: Place, along: Place, phase: np.ndarray) -> np.ndarray:
    """Places (T, 3) on an ellipse: center + across * cos(phase) + along * sin(phase)."""
    return np.asarray(center) + np.outer(np.cos(phase), across) + np.outer(np.sin(phase), along)
