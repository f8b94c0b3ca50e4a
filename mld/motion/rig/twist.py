"""Twist of limbs: which way a bone is rolled about itself, read from how the joint below it bends and where the foot
points, and carried over moments in which the limb is straight. Vectorised over frames, smooth in time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mld.motion.rotations import matrix_to_quaternion, quaternion_to_matrix, rotvec_to_matrix

BRIDGE_SECONDS = 0.25  # standard deviation in time over which a bent limb speaks for a straight one
BRIDGE_WEIGHT = 0.1
FOOT_WEIGHT = 0.15
REST_WEIGHT = 0.02  # of no twist at all
BEND_SINES = (0.05, 0.35)  # sine of the bend at which it begins to count and counts in full


@dataclass(frozen=True)
class Limb:
    """upper, lower, end: hip, knee, ankle or shoulder, elbow, wrist. axis: about which the lower joint bends, in the
    rest pose. foot: the joint whose bone points forward from the end, if there is one."""

    upper: int
    lower: int
    end: int
    axis: tuple[float, float, float]
    foot: int | None


def swing(frame: Tensor, rest: Tensor, target: Tensor) -> Tensor:
    """World rotations (T, 3, 3): `frame` turned on the shortest way so that it takes rest (3,) along target (T, 3).

    Opposite directions are half a turn about the axis of the frame that is most across the bone; a target or rest of
    length 0 leaves the frame as it is.
    """
    start, end = _unit((frame @ rest[:, None])[..., 0]), _unit(target)
    cosine = (start * end).sum(-1, keepdim=True)
    quaternion = torch.cat([torch.linalg.cross(start, end), 1 + cosine], dim=-1)
    across = frame[:, :, int(rest.abs().argmin())]
    half_turn = torch.cat([_unit(across - (across * start).sum(-1, keepdim=True) * start), 0 * cosine], dim=-1)
    quaternion = torch.where(cosine < -1 + 1e-9, half_turn, quaternion)
    known = (start.norm(dim=-1, keepdim=True) > 0) & (end.norm(dim=-1, keepdim=True) > 0)
    quaternion = torch.where(known, quaternion, quaternion.new_tensor([0.0, 0.0, 0.0, 1.0]))
    return quaternion_to_matrix(_unit(quaternion)) @ frame


def turn_limb(frame: Tensor, bones: Tensor, rest: Tensor, limb: Limb, fps: float, clips: int = 1) -> Tensor:
    """World rotations (T, 3, 3) of the upper joint: `frame`, which points it along its bone, rolled so that the lower
    joint bends about the limb's axis. bones (T, J, 3), rest (J, 3): vectors that end in the joints, now and at rest.
    clips: the frames are those of so many motions of one length, one after the other."""
    upper, lower = _unit(bones[:, limb.lower]), _unit(bones[:, limb.end])
    evidence = _from_bend(frame, upper, lower, rest, limb)
    if limb.foot is not None:
        toes = torch.linalg.cross(_unit(bones[:, limb.foot]), lower)
        expected = torch.linalg.cross(_unit(rest[limb.foot]), _unit(rest[limb.end]))
        sine = toes.norm(dim=-1)
        evidence = evidence + FOOT_WEIGHT * sine * _plausible(_phasor((frame @ expected[:, None])[..., 0], toes, upper))
    total = evidence + BRIDGE_WEIGHT * _over_time(evidence, BRIDGE_SECONDS * fps, clips) + REST_WEIGHT
    return turn_about(upper, total.angle()) @ frame


def _from_bend(frame: Tensor, upper: Tensor, lower: Tensor, rest: Tensor, limb: Limb) -> Tensor:
    """Complex numbers (T,): the roll as phase, how much the bend says about it as size.

    Bending keeps the part of the lower bone that lies along the axis, so the roll is where the turned axis finds the
    same part in the bone that is seen.
    """
    axis = frame.new_tensor(limb.axis)
    kept = axis @ _unit(rest[limb.end])
    turned = (frame @ axis[:, None])[..., 0]
    along = (turned * upper).sum(-1)
    bent = lower - (lower * upper).sum(-1, keepdim=True) * upper
    sine = bent.norm(dim=-1)
    across = (1 - along.square()).clamp_min(1e-12).sqrt() * sine.clamp_min(1e-12)
    part = (kept - along * (lower * upper).sum(-1)) / across
    roll = _phasor(turned, bent, upper) * torch.polar(torch.ones_like(part), part.clamp(-1, 1).arccos())
    low, high = BEND_SINES
    weight = ((sine - low) / (high - low)).clamp(0, 1)
    return _plausible(roll) * weight.square() * (3 - 2 * weight)


def turn_about(axis: Tensor, angle: Tensor) -> Tensor:
    """Rotations (T, 3, 3) by angles (T,) in radians about axes (T, 3) of any length."""
    return rotvec_to_matrix(_unit(axis) * angle[:, None])


def angle_about(rotation: Tensor, axis: Tensor) -> Tensor:
    """Twist angles (T,) in (-pi, pi] of rotations (T, 3, 3) about an axis (3,): what is left without the swing."""
    quaternion = matrix_to_quaternion(rotation)
    angle = 2 * torch.atan2(quaternion[:, :3] @ _unit(axis), quaternion[:, 3])
    return torch.remainder(angle + torch.pi, 2 * torch.pi) - torch.pi


def _phasor(axis: Tensor, seen: Tensor, about: Tensor) -> Tensor:
    """exp(i angle) (T,) of the angle about unit vectors `about` from axis to seen, all (T, 3)."""
    start = axis - (axis * about).sum(-1, keepdim=True) * about
    cosine = (start * seen).sum(-1)
    sine = (torch.linalg.cross(start, seen) * about).sum(-1)
    return torch.complex(cosine, sine) / torch.hypot(cosine, sine).clamp_min(1e-12)


def _plausible(roll: Tensor) -> Tensor:
    """Rolls (T,), of size 1, made smaller the further they are from none: a limb that seems to bend the wrong way is
    more often overstretched than twisted."""
    return roll * (0.55 + 0.45 * roll.real)


def _over_time(signal: Tensor, sigma: float, clips: int) -> Tensor:
    """Gaussian filter of a complex signal (T,) along time in each of its clips; nothing is beyond their ends."""
    from scipy.ndimage import gaussian_filter1d

    parts = np.stack([signal.real.numpy(), signal.imag.numpy()]).reshape(2, clips, -1)
    smooth = gaussian_filter1d(parts, sigma, axis=-1, mode="constant").reshape(2, -1)
    return torch.complex(torch.from_numpy(smooth[0].copy()), torch.from_numpy(smooth[1].copy()))


def _unit(vector: Tensor) -> Tensor:
    return vector / vector.norm(dim=-1, keepdim=True).clamp_min(1e-12)
