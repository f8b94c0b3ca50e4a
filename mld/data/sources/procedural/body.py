"""From a stage to joints: trunk and arms by forward kinematics, legs by two-bone inverse kinematics to planted feet.

The pelvis gives way to the feet: where a standing leg would be too short the pelvis sinks, so that a foot never leaves
its place. Bone lengths are those of the target skeleton of the HumanML3D features.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.ndimage import convolve1d, gaussian_filter1d, maximum_filter1d

from mld.data.sources.procedural.feet import ANKLE_HEIGHT, FootCurves, foot_curves, toe_offset
from mld.data.sources.procedural.stage import ARM_LIMITS, FPS, SIDES, Stage
from mld.motion.skeletons import get_skeleton

STANDING_PELVIS = 0.938  # m
LONGEST_LEG, SHORTEST_LEG = 0.993, 0.32  # share of the stretched leg
GIVE_FRAMES = 3  # the pelvis begins to sink this many frames early

# Directions of the bones in the rest pose: figure facing +z, left +x, arms hanging. Lengths come from the skeleton.
DIRECTIONS = {
    "hip": (0.72, -0.69, 0.0), "spine1": (0.0, 0.97, -0.22), "spine2": (0.0, 0.995, 0.08), "spine3": (0.0, 1.0, 0.1),
    "neck": (0.0, 0.998, 0.06),
    "head": (0.0, 0.985, 0.17), "collar": (0.58, 0.81, -0.06), "shoulder": (0.95, 0.28, -0.12),
}  # fmt: skip


@dataclass(frozen=True)
class Played:
    """What a stage gives: joints (T, 22, 3) metres and toes_down (T, 2) bool, left and right."""

    joints: np.ndarray
    toes_down: np.ndarray


def play(stage: Stage) -> Played:
    """Compute the joints of a stage."""
    curve = stage.curves
    feet = {side: _foot(stage, side) for side in SIDES}
    heading = curve["heading"]
    forward, left = _axes(heading)
    ground = np.stack([curve["x"], np.zeros_like(heading), curve["z"]], axis=-1)
    ankles = {side: _carry(stage, side, feet[side], ground, forward, left) for side in SIDES}

    aside = curve["left"] + curve["balance"] * _support(feet, ankles, ground, left)
    pelvis = ground + curve["forward"][:, None] * forward + aside[:, None] * left
    pelvis[:, 1] = STANDING_PELVIS + curve["height"]
    turned = _euler(heading + curve["pelvis_twist"], curve["pelvis_tilt"], curve["pelvis_lean"])
    hips = {side: (turned @ _bone(f"{side[0]}_hip")) for side in SIDES}
    pelvis[:, 1] -= _sink(pelvis, hips, feet, ankles)

    joints = np.empty((stage.num_frames, 22, 3))
    _trunk_and_arms(joints, curve, pelvis, turned)
    for side in SIDES:
        _leg(joints, side, pelvis + hips[side], ankles[side], feet[side], heading + curve["pelvis_twist"])
    return Played(joints.astype(np.float32), np.stack([feet[side].toes_down for side in SIDES], axis=-1))


@lru_cache
def _bone(name: str) -> np.ndarray:
    """Rest offset (3,) of the bone that ends in a joint such as "l_hip", "spine1" or "r_collar"."""
    skeleton = get_skeleton("smpl22")
    x, y, z = DIRECTIONS[name.removeprefix("l_").removeprefix("r_")]
    direction = np.array([-x if name.startswith("r_") else x, y, z])
    return direction / np.linalg.norm(direction) * skeleton.bone_lengths[skeleton.index(name)]


@lru_cache
def _length(name: str) -> float:
    skeleton = get_skeleton("smpl22")
    return skeleton.bone_lengths[skeleton.index(name)]


def _foot(stage: Stage, side: str) -> FootCurves:
    steps = sorted(stage.steps[side], key=lambda step: step.lift)
    return foot_curves(stage.t, stage.first.get(side) or stage.stand(0.0, side), steps, _length(f"{side[0]}_foot"))


def _axes(heading: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors forward and left (T, 3) of a heading (T,)."""
    sin, cos, zero = np.sin(heading), np.cos(heading), np.zeros_like(heading)
    return np.stack([sin, zero, cos], axis=-1), np.stack([cos, zero, -sin], axis=-1)


def _carry(stage: Stage, side: str, foot: FootCurves, ground, forward, left) -> np.ndarray:
    """Ankle (T, 3) after the feet that are led by hand; changes the foot's pitch and turns it with the body."""
    ankle = foot.ankle
    for led in stage.carried[side]:
        weight = np.where(foot.standing, 0.0, led.weight)[:, None]
        across, up, ahead = led.local.T
        target = ground + across[:, None] * left + ahead[:, None] * forward
        target[:, 1] = up
        ankle = ankle + weight * (target - ankle)
        foot.pitch += weight[:, 0] * (led.pitch - foot.pitch)
    return ankle


def _support(feet: dict[str, FootCurves], ankles, ground: np.ndarray, left: np.ndarray) -> np.ndarray:
    """How far (m) the supporting feet's middle lies to the left of the path, smoothed over time."""
    weights = {
        side: gaussian_filter1d(feet[side].loaded.astype(float), 0.14 * FPS, mode="nearest") + 1e-3 for side in SIDES
    }
    aside = sum(weights[side] * np.sum((ankles[side] - ground) * left, axis=-1) for side in SIDES)
    return gaussian_filter1d(aside / sum(weights.values()), 0.08 * FPS, mode="nearest")


def _sink(pelvis: np.ndarray, hips, feet, ankles) -> np.ndarray:
    """How much lower (T,) the pelvis must be for the standing legs to reach, begun early and ended late."""
    lack = np.zeros(len(pelvis))
    for side in SIDES:
        reach = LONGEST_LEG * (_length(f"{side[0]}_knee") + _length(f"{side[0]}_ankle"))
        apart = pelvis + hips[side] - ankles[side]
        highest = np.sqrt(np.maximum(reach**2 - apart[:, 0] ** 2 - apart[:, 2] ** 2, 0.0))
        lack = np.maximum(lack, np.where(feet[side].standing, apart[:, 1] - highest, 0.0))
    if not lack.any():
        return lack
    size = 2 * GIVE_FRAMES + 1
    kernel = np.hanning(size + 2)[1:-1]
    return convolve1d(maximum_filter1d(lack, size), kernel / kernel.sum(), mode="nearest")


def _leg(joints: np.ndarray, side: str, hip: np.ndarray, ankle: np.ndarray, foot: FootCurves, facing) -> None:
    """Hip, knee, ankle and toe of one side; the knee bends in the plane between the body's and the foot's heading."""
    thigh, shank = _length(f"{side[0]}_knee"), _length(f"{side[0]}_ankle")
    toe = toe_offset(_length(f"{side[0]}_foot"), foot.yaw, foot.pitch)
    lowest = ankle[:, 1] + np.minimum(toe[:, 1], -0.6 * ANKLE_HEIGHT)
    ankle = ankle + np.array([0.0, 1.0, 0.0]) * np.maximum(-lowest, 0.0)[:, None]  # never through the floor
    line = ankle - hip
    distance = np.linalg.norm(line, axis=-1, keepdims=True)
    direction = line / distance
    distance = np.clip(distance, SHORTEST_LEG * (thigh + shank), 0.999 * (thigh + shank))
    _, across = _axes(facing + 0.5 * _wrap(foot.yaw - facing))
    bend = np.cross(direction, across)
    bend /= np.linalg.norm(bend, axis=-1, keepdims=True)
    along = (thigh**2 - shank**2 + distance**2) / (2 * distance)
    knee = hip + along * direction + np.sqrt(np.maximum(thigh**2 - along**2, 0.0)) * bend
    ankle = hip + distance * direction
    offset = 0 if side == "left" else 1
    for index, position in zip((1, 4, 7, 10), (hip, knee, ankle, ankle + toe)):
        joints[:, index + offset] = position


def _wrap(angle: np.ndarray) -> np.ndarray:
    return (angle + np.pi) % (2 * np.pi) - np.pi


def _trunk_and_arms(joints: np.ndarray, curve: dict[str, np.ndarray], pelvis: np.ndarray, turned: np.ndarray) -> None:
    """Spine, head and arms; the trunk's bend is shared by three spine joints."""
    third = _euler(curve["twist"] / 3, curve["tilt"] / 3, curve["lean"] / 3)
    joints[:, 0] = pelvis
    rotation = turned
    for index, name, parent in ((3, "spine1", 0), (6, "spine2", 3), (9, "spine3", 6)):
        joints[:, index] = joints[:, parent] + rotation @ _bone(name)
        rotation = rotation @ third
    head = rotation @ _euler(curve["head_twist"], curve["head_tilt"], curve["head_lean"])
    joints[:, 12] = joints[:, 9] + rotation @ _bone("neck")
    joints[:, 15] = joints[:, 12] + head @ _bone("head")
    for side in SIDES:
        _arm(joints, curve, side, rotation)


def _arm(joints: np.ndarray, curve: dict[str, np.ndarray], side: str, chest: np.ndarray) -> None:
    """Collar, shoulder, elbow and wrist of one side. Shoulders rise by themselves with arms above the horizontal."""
    sign, offset = (1.0, 0) if side == "left" else (-1.0, 1)
    arm = {name: np.clip(curve[f"{side}_{name}"], *limits) for name, limits in ARM_LIMITS.items()}
    raised = np.hypot(arm["fwd"], arm["side"])
    shrug = arm["shrug"] + 0.28 * np.clip(raised - 1.0, 0.0, 2.0) / 2
    zero = np.zeros_like(raised)
    joints[:, 13 + offset] = joints[:, 9] + chest @ _bone(f"{side[0]}_collar")
    girdle = chest @ _rotation_vector(np.stack([zero, zero, sign * shrug], axis=-1))
    joints[:, 16 + offset] = joints[:, 13 + offset] + girdle @ _bone(f"{side[0]}_shoulder")
    upper = chest @ _rotation_vector(np.stack([-arm["fwd"], zero, sign * arm["side"]], axis=-1))
    down = np.array([0.0, -1.0, 0.0])
    joints[:, 18 + offset] = joints[:, 16 + offset] + _length(f"{side[0]}_elbow") * (upper @ down)
    fore = np.stack(
        [
            -sign * np.sin(arm["turn"]) * np.sin(arm["flex"]),
            -np.cos(arm["flex"]),
            np.cos(arm["turn"]) * np.sin(arm["flex"]),
        ],
        axis=-1,
    )
    joints[:, 20 + offset] = joints[:, 18 + offset] + _length(f"{side[0]}_wrist") * np.einsum("tij,tj->ti", upper, fore)


def _euler(yaw: np.ndarray, tilt: np.ndarray, lean: np.ndarray) -> np.ndarray:
    """Rotation matrices (T, 3, 3): lean to the left about z, then tilt forward about x, then turn left about y."""
    (sy, cy), (sx, cx), (sz, cz) = ((np.sin(angle), np.cos(angle)) for angle in (yaw, tilt, -lean))
    rows = [
        [cy * cz + sy * sx * sz, -cy * sz + sy * sx * cz, sy * cx],
        [cx * sz, cx * cz, -sx],
        [-sy * cz + cy * sx * sz, sy * sz + cy * sx * cz, cy * cx],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def _rotation_vector(vector: np.ndarray) -> np.ndarray:
    """Rotation matrices (T, 3, 3) of axis times angle (T, 3), by the formula of Rodrigues."""
    angle = np.linalg.norm(vector, axis=-1)[:, None, None]
    x, y, z = (vector / np.maximum(angle[..., 0], 1e-9)).T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(-1, 3, 3)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
