"""Poses that a client pins to frames of a motion (`pose_keyframe`).

A pinned joint is at its pose in that frame exactly; what it has to give way decays around it, within half a second or
up to the next pin of the joint. Pins of the root place the motion: it is turned and moved as a whole, and bent where
several pins ask for it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mld.motion.rig import twist
from mld.motion.rig.rig import RigMotion
from mld.motion.rotations import matrix_to_rotvec, rotvec_to_matrix

GIVE_WAY = 0.5  # seconds
_UP = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Keyframe:
    """turns (3, 3): of joints from rest, by joint of the rig. position (3,): of the root, where it is pinned."""

    frame: int
    turns: Mapping[int, Tensor] = field(default_factory=dict)
    position: Tensor | None = None


def pinned(motion: RigMotion, keyframes: Sequence[Keyframe]) -> RigMotion:
    """The motion with the pins; of two for one joint and frame the later one holds."""
    if not keyframes:
        return motion
    reach = max(1.0, GIVE_WAY * motion.fps)
    turns: dict[int, dict[int, Tensor]] = {}
    positions: dict[int, Tensor] = {}
    for key in keyframes:
        for joint, turn in key.turns.items():
            turns.setdefault(joint, {})[key.frame] = turn
        if key.position is not None:
            positions[key.frame] = key.position
    motion = _placed(motion, turns.get(0, {}), positions, reach)
    rotations = motion.rotations.double().clone()
    for joint, wanted in turns.items():
        frames = sorted(wanted)
        missing = matrix_to_rotvec(torch.stack([wanted[f] @ rotations[f, joint].T for f in frames]))
        change = _bumps(frames, len(rotations), reach) @ missing
        rotations[:, joint] = rotvec_to_matrix(change) @ rotations[:, joint]
    return dataclasses.replace(motion, rotations=rotations.float())


def _placed(motion: RigMotion, turns: Mapping[int, Tensor], positions: Mapping[int, Tensor], reach: float) -> RigMotion:
    """The motion turned about the vertical as the pins of the root's rotation want it, and moved to its places."""
    rotations, path = motion.rotations.double().clone(), motion.translation.double().clone()
    count = len(path)
    if turns:
        frames, angles = sorted(turns), []
        for frame in frames:
            angle = float(twist.angle_about((turns[frame] @ rotations[frame, 0].T)[None], _UP))
            before = angles[-1] if angles else 0.0
            angles.append(angle + 2 * math.pi * round((before - angle) / (2 * math.pi)))
        yaw = _between(frames, torch.tensor(angles, dtype=torch.float64)[:, None], count)[:, 0]
        yaw = twist.turn_about(_UP.expand(count, 3), yaw)
        steps = (yaw[1:] @ (path[1:] - path[:-1])[..., None]).squeeze(-1)
        rotations[:, 0] = yaw @ rotations[:, 0]
        path = torch.cat([path[:1], path[:1] + steps.cumsum(0)])
    if positions:
        frames = sorted(positions)
        missing = torch.stack([positions[frame] - path[frame] for frame in frames])
        moved = _between(frames, missing, count)
        moved[:, 1] = (_bumps(frames, count, reach) @ missing[:, 1:2])[:, 0]
        path = path + moved
    return dataclasses.replace(motion, rotations=rotations.float(), translation=path.float())


def _between(frames: Sequence[int], values: Tensor, count: int) -> Tensor:
    """Values (K, C) at frames, smoothly in between (count, C), constant before and after."""
    at = torch.arange(count, dtype=torch.float64)
    marks = torch.tensor(frames, dtype=torch.float64)
    if len(frames) == 1:
        return values.expand(count, -1).clone()
    low = (torch.searchsorted(marks, at, right=True) - 1).clamp(0, len(frames) - 2)
    share = _smooth(((at - marks[low]) / (marks[low + 1] - marks[low])).clamp(0, 1))[:, None]
    return torch.lerp(values[low], values[low + 1], share)


def _bumps(frames: Sequence[int], count: int, reach: float) -> Tensor:
    """Weights (count, K): 1 at a frame, falling to 0 within `reach` frames, at the next of the frames at the latest."""
    at = torch.arange(count, dtype=torch.float64)
    columns = []
    for place, frame in enumerate(frames):
        before = min(reach, frame - frames[place - 1]) if place else reach
        after = min(reach, frames[place + 1] - frame) if place + 1 < len(frames) else reach
        away = torch.where(at < frame, (frame - at) / before, (at - frame) / after)
        columns.append(_smooth((1 - away).clamp(0, 1)))
    return torch.stack(columns, dim=1)


def _smooth(share: Tensor) -> Tensor:
    return share * share * (3 - 2 * share)
