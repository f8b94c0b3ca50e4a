"""Edits that give a new Motion: frame rate, place, heading, mirroring. Rotations and translation follow the joints."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from mld.errors import DataError
from mld.motion import kinematics, rotations
from mld.motion.motion import Motion


def check_finite(motion: Motion) -> Motion:
    """The motion itself; `DataError` naming the first frame that holds NaN or infinity."""
    for name in ("joints", "rotations", "translation"):
        value = getattr(motion, name)
        if value is not None and not value.isfinite().all():
            frame = int((~value.flatten(1).isfinite()).any(1).nonzero()[0])
            raise DataError(f"{name} hold NaN or infinity, first at frame {frame}; repair or cut the motion there")
    return motion


def resample(motion: Motion, fps: float, method: str = "linear") -> Motion:
    """The motion at another frame rate: frame k is at k / fps seconds, up to the time of the last frame.

    Positions are interpolated "linear" or "cubic" (spline), rotations on the shortest arc (slerp).
    """
    if method not in ("linear", "cubic"):
        raise DataError(f"resample knows the methods 'linear' and 'cubic', not '{method}'")
    if abs(fps - motion.fps) < 1e-6:
        return motion
    at = resample_times(motion.num_frames, motion.fps, fps)
    positions = _cubic if method == "cubic" and motion.num_frames > 1 else resample_positions
    return dataclasses.replace(
        motion,
        fps=float(fps),
        joints=positions(motion.joints, at),
        rotations=None if motion.rotations is None else resample_rotations(motion.rotations, at),
        translation=None if motion.translation is None else positions(motion.translation, at),
    )


def transform(motion: Motion, yaw: float = 0.0, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Motion:
    """The motion turned by `yaw` radians about the vertical axis through the origin, then moved by x, y, z metres."""
    turn = kinematics.yaw_turn(yaw)
    shift = torch.tensor([x, y, z], dtype=torch.float64)
    moved, translation, local = motion.joints.double(), motion.translation, motion.rotations
    if local is not None:
        local = local.clone()
        local[:, 0] = rotations.turn_to_matrix(turn).float() @ local[:, 0]
    if translation is not None:
        translation = (rotations.apply_turn(turn, translation.double()) + shift).float()
    joints = (rotations.apply_turn(turn, moved) + shift).float()
    return dataclasses.replace(motion, joints=joints, rotations=local, translation=translation)


def ground(motion: Motion) -> Motion:
    """The motion with its lowest joint over all frames at y = 0."""
    return transform(motion, y=-float(motion.joints[..., 1].min()))


def center(motion: Motion) -> Motion:
    """The motion with the root of frame 0 over the origin."""
    x, _, z = motion.joints[0, 0].tolist()
    return transform(motion, x=-x, z=-z)


def face_forward(motion: Motion) -> Motion:
    """The motion turned about the vertical through the root of frame 0, so that frame 0 faces +z."""
    x, _, z = motion.joints[0, 0].tolist()
    yaw = -float(kinematics.heading(motion.joints[0].double(), motion.skeleton))
    return transform(transform(center(motion), yaw=yaw), x=x, z=z)


def canonical(motion: Motion) -> Motion:
    """On the floor, over the origin, facing +z."""
    return face_forward(center(ground(motion)))


def mirror(motion: Motion) -> Motion:
    """Left and right swapped: joints change sides and x changes its sign."""
    swap = list(motion.skeleton.mirror_index)
    sign = torch.tensor([-1.0, 1.0, 1.0])
    return dataclasses.replace(
        motion,
        joints=kinematics.mirror(motion.joints, motion.skeleton),
        rotations=None if motion.rotations is None else motion.rotations[:, swap] * torch.outer(sign, sign),
        translation=None if motion.translation is None else motion.translation * sign,
    )


def _neighbours(values: Tensor, at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Values before and after each time `at` (in frames), and how far it is between them (N,)."""
    before = at.floor().long()
    after = (before + 1).clamp(max=len(values) - 1)
    return values[before], values[after], (at - before).to(values.dtype)


def resample_times(num_frames: int, fps: float, new_fps: float) -> Tensor:
    """Where frames at `new_fps` fall among `num_frames` frames at `fps` (N,), counted in old frames, none past the end.

    Raises `DataError` for a rate that is not above 0.
    """
    if not new_fps > 0:
        raise DataError(f"cannot resample to {new_fps} frames per second")
    count = int((num_frames - 1) * new_fps / fps + 1e-6) + 1
    return (torch.arange(count, dtype=torch.float64) * fps / new_fps).clamp(max=num_frames - 1)


def resample_positions(values: Tensor, at: Tensor) -> Tensor:
    """Values (T, ...) at the times `at` (N,) in frames, on straight lines between frames."""
    start, end, fraction = _neighbours(values, at)
    return torch.lerp(start, end, fraction.view(-1, *[1] * (values.ndim - 1)))


def _cubic(values: Tensor, at: Tensor) -> Tensor:
    from scipy.interpolate import CubicSpline

    spline = CubicSpline(range(len(values)), values.double().numpy())
    return torch.from_numpy(spline(at.numpy()))


def resample_rotations(values: Tensor, at: Tensor) -> Tensor:
    """Rotation matrices (T, J, 3, 3) at the times `at` (N,) in frames, on the shortest arcs."""
    start, end, fraction = _neighbours(values, at)
    return rotations.slerp(start, end, fraction[:, None].expand(start.shape[:2]))
