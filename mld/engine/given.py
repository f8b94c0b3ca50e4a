"""Given motions as parts of a prompt: from a `Motion` to a `Clip`, and a second one placed after the first."""

from __future__ import annotations

import dataclasses

import torch

from mld.errors import RequestError
from mld.example import Clip
from mld.motion import edit, stitch
from mld.motion.motion import Motion
from mld.motion.representations.base import Representation

GAP_SECONDS = 2.0  # between two motions when no length is wanted
SAME_PLACE = 0.02  # metres: two motions that both start so close to the origin do not share a world
SHORTEST = 4  # frames of a motion that a model is given


def given(motion: Motion, representation: Representation) -> Clip:
    """A motion as a `Clip` that keeps all its frames: raw features (T, D) and joints (T, J, 3) at the model's fps.

    Features describe steps, so T frames give T - 1 rows; the last pose is continued by one frame at constant velocity
    to get a row for every frame given. `RequestError` for another skeleton, NaN or a motion that is too short."""
    known, theirs = representation.skeleton.name, motion.skeleton.name
    if theirs != known:
        raise RequestError(f"the model knows the skeleton '{known}', the motion has '{theirs}'")
    if not torch.isfinite(motion.joints).all():
        raise RequestError("the motion holds NaN or infinity")
    if motion.num_frames > 1:
        motion = edit.resample(motion, representation.fps)
    if motion.num_frames < SHORTEST:
        raise RequestError(
            f"the motion has {motion.num_frames} frames at {representation.fps:g} fps, at least {SHORTEST} are needed"
        )
    joints = motion.joints
    longer = torch.cat((joints, 2 * joints[-1:] - joints[-2:-1]))
    return Clip(features=representation.encode(Motion(longer, motion.fps, motion.skeleton)), joints=joints)


def after(head: Clip, tail: Clip, gap: int) -> Clip:
    """The tail `gap` frames after the head. Clips that both start at the origin, as those of datasets do, have no
    common world: then the tail is moved to where the head was going."""
    joints = tail.joints
    if all(clip.joints[0, 0, [0, 2]].norm() < SAME_PLACE for clip in (head, tail)):
        joints = stitch.place_after(head.joints, joints, gap)
    return dataclasses.replace(tail, joints=joints, start=len(head.joints) + gap)
