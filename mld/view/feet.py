"""Heels: skeletons end their legs in ankle and toes; a figure that stands needs what is behind the ankle, too.

The heel is fixed to the foot: a place beside the line from the ankle to the toes, in the plane of foot and shin. The
numbers are those of a foot that stands flat; `body_parts.js` of the browser viewer has the same.
"""

from __future__ import annotations

import numpy as np

from mld.motion.skeletons import Skeleton

LEG = 0.83  # metres of thigh and shin that the next two are meant for
ALONG, ABOVE = -0.022, -0.064  # metres from the ankle to the heel: towards the toes, and towards the instep
STRAIGHT = 0.25  # how much the hips say which way a foot is turned, for feet that are stretched as far as the shin


def heels(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Joints (..., J, 3) in metres -> right and left heel (..., 2, 3)."""
    right_hip, left_hip = skeleton.face_joints[:2]
    across = _unit(joints[..., right_hip, :] - joints[..., left_hip, :])
    return np.stack([_heel(joints, chain, across) for chain in skeleton.chains[:2]], axis=-2)


def with_heels(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Joints (..., J, 3) -> (..., J + 2, 3), the heels last."""
    return np.concatenate([joints, heels(joints, skeleton)], axis=-2)


def foot_lines(skeleton: Skeleton) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Of the right and the left foot: ankle, heel and toes, as indices into joints `with_heels`."""
    (_, _, _, right_ankle, *_, right_toes), (_, _, _, left_ankle, *_, left_toes) = skeleton.chains[:2]
    count = skeleton.num_joints
    return (right_ankle, count, right_toes), (left_ankle, count + 1, left_toes)


def _heel(joints: np.ndarray, leg: tuple[int, ...], across: np.ndarray) -> np.ndarray:
    hip, knee, ankle, toes = (joints[..., index, :] for index in (*leg[1:4], leg[-1]))
    scale = (np.linalg.norm(hip - knee, axis=-1) + np.linalg.norm(knee - ankle, axis=-1)) / LEG
    forward = _unit(toes - ankle)
    side = np.cross(forward, _unit(knee - ankle)) + STRAIGHT * across  # to the right
    instep = _unit(np.cross(side, forward))
    return ankle + scale[..., None] * (ALONG * forward + ABOVE * instep)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.maximum(np.linalg.norm(vector, axis=-1, keepdims=True), 1e-9)
