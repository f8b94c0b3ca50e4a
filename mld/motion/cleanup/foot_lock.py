"""Feet that stay where they stand: every heel and toe is held at one place during a contact, and legs follow by IK.

The way from one held place to the next is made good smoothly while the foot is free (a correction of least bending),
the body gives way where feet have to move a lot, and the pelvis sinks where a leg would be too short. Bone lengths
stay.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from mld.motion.cleanup import leg_ik
from mld.motion.cleanup.body_shift import body_shift
from mld.motion.cleanup.contacts import Leg, floor_height, legs_of, runs
from mld.motion.cleanup.smoothing import PINNED, envelope, whittaker
from mld.motion.motion import Motion

_RELEASE = 0.3  # seconds in which a correction is given up by a foot that stays free
_EDGE = 0.05  # seconds at the ends of a contact in which a foot comes to rest, and leaves it, smoothly
_EDGE_WEIGHT = 0.1
_GIVE = 0.2  # seconds: the pelvis begins to sink so early
_STRETCH = 0.985  # share of the stretched leg that a held foot may ask for; a leg that was straighter may stay so


def lock_feet(motion: Motion, contacts: Tensor, keep: Tensor | None = None) -> Motion:
    """The motion with heels and toes held during contacts (T, 4) bool, as `foot_contacts` gives them.

    keep (T,) bool: frames that have to stay as they are, such as the given ones of a continuation; a contact that
    reaches into them is held at their place. Feet are also kept above the floor. Motions of less than three frames come
    back as they are.
    """
    if motion.num_frames < 3:
        return motion
    keep = torch.zeros(motion.num_frames, dtype=torch.bool) if keep is None else keep
    old, floor = motion.joints.double(), floor_height(motion)
    legs = legs_of(motion.skeleton)
    feet = [_held(old, leg, contacts[:, 2 * side : 2 * side + 2], floor, motion.fps, keep)
            for side, leg in enumerate(legs)]
    standing = contacts.unflatten(1, (2, 2)).any(-1)
    moved = torch.stack([ankle - old[:, leg.ankle] for leg, (ankle, _) in zip(legs, feet)], dim=1)
    shift = body_shift(old, legs, moved, standing, motion.fps, keep)
    reach = [leg_ik.reach_of(old, leg, _STRETCH) for leg in legs]
    shift[:, 1] -= _sink(old + shift[:, None], legs, feet, reach, standing, motion.fps, keep)
    joints = old + shift[:, None]
    for leg, (ankle, toe), longest in zip(legs, feet, reach):
        leg_ik.step_to(joints, old, leg, ankle, toe, longest)
    joints[keep] = old[keep]
    turned = leg_ik.follow(motion, joints)
    translation = None if motion.translation is None else motion.translation + shift
    return dataclasses.replace(motion, joints=joints, rotations=turned, translation=translation)


def _held(joints: Tensor, leg: Leg, contacts: Tensor, floor: float, fps: float, keep: Tensor) -> tuple[Tensor, Tensor]:
    """Where ankle and toe (T, 3) of a leg should be; contacts (T, 2) of both. The toe leads, the ankle comes along."""
    ankle, toe = joints[:, leg.ankle], joints[:, leg.toe]
    length = (toe - ankle).norm(dim=-1, keepdim=True)
    carried = _correction(toe, contacts[:, 1], floor, fps, keep)
    toe, ankle = toe + carried, ankle + carried
    ankle = ankle + _correction(ankle, contacts[:, 0], floor, fps, keep)
    toe_rules = _between(contacts[:, 1].double(), contacts.any(1) | keep, keep, fps)[:, None]
    apart = toe - ankle
    excess = apart * (1 - length / apart.norm(dim=-1, keepdim=True).clamp_min(1e-9))
    ankle, toe = ankle + toe_rules * excess, toe - (1 - toe_rules) * excess
    lift = _above_floor(torch.stack([ankle, toe])[..., 1], contacts.any(1), floor, fps, keep)
    ankle[:, 1] += lift[0]
    toe[:, 1] += lift[1]
    return ankle, toe


def _above_floor(heights: Tensor, contact: Tensor, floor: float, fps: float, keep: Tensor) -> Tensor:
    """By how much (2, T) ankle and toe have to rise from heights (2, T): a free foot as a whole and smoothly, in
    contact (T,) each by itself."""
    below = (floor - heights).clamp_min(0)
    together = envelope(below.amax(0), _frames(_GIVE, fps) // 2)
    return _faded(torch.where(contact, below, together), keep, fps)


def _correction(path: Tensor, contact: Tensor, floor: float, fps: float, keep: Tensor) -> Tensor:
    """What has to be added to a path (T, 3) so that it rests during contacts (T,) and is smooth between them."""
    wanted = torch.zeros_like(path)
    for run in runs(contact):
        given = keep[run].nonzero()[:, 0]
        place = path[run].mean(0) if len(given) == 0 else path[run][given[-1] if keep[run.start] else given[0]]
        place = torch.stack([place[0], place[1].clamp_min(floor), place[2]])
        wanted[run] = place - path[run]
    wanted[keep] = 0
    return _between(wanted, contact | keep, keep, fps)


def _between(wanted: Tensor, known: Tensor, keep: Tensor, fps: float) -> Tensor:
    """Values (T, ...) as wanted where they are known (T,), nearly so at the edges, and the least bent curve towards
    zero elsewhere. In frames to keep they are exact."""
    inner = _eroded(known, _frames(_EDGE, fps)) | keep
    weights = torch.where(inner, PINNED, _EDGE_WEIGHT * known.double())
    found = whittaker(wanted, weights, (_EDGE * fps) ** 4, order=2, towards_zero=(_EDGE / _RELEASE) ** 4)
    return torch.where(keep.view(-1, *[1] * (wanted.ndim - 1)), wanted, found)


def _eroded(labels: Tensor, frames: int) -> Tensor:
    """Labels (T,) without the first and last frames of each run; the ends of the motion are no edges."""
    for _ in range(frames):
        labels = labels & torch.cat([labels[:1], labels[:-1]]) & torch.cat([labels[1:], labels[-1:]])
    return labels


def _sink(
    joints: Tensor, legs: Sequence[Leg], feet: Sequence[tuple[Tensor, Tensor]], reach: Sequence[Tensor],
    standing: Tensor, fps: float, keep: Tensor,
) -> Tensor:  # fmt: skip
    """How much lower (T,) the pelvis has to be for standing legs to reach, begun early and ended late."""
    lack = joints.new_zeros(len(joints))
    for side, (leg, (ankle, _), longest) in enumerate(zip(legs, feet, reach)):
        apart = joints[:, leg.hip] - ankle
        highest = (longest**2 - apart[:, 0] ** 2 - apart[:, 2] ** 2).clamp_min(0).sqrt()
        lack = torch.maximum(lack, torch.where(standing[:, side], apart[:, 1] - highest, 0.0))
    return _faded(envelope(lack, _frames(_GIVE, fps)), keep, fps)


def _faded(values: Tensor, keep: Tensor, fps: float) -> Tensor:
    """Values (T,) that go to 0 towards frames that are kept."""
    if not keep.any():
        return values
    return values * (1 - envelope(keep.double(), _frames(_GIVE, fps)))


def _frames(seconds: float, fps: float) -> int:
    return max(round(seconds * fps), 1)
