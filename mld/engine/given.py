"""Given motions as parts of a prompt: from a `Motion` to a `Clip`, and a second one placed after the first."""

from __future__ import annotations

import dataclasses
import math

import torch

from mld.errors import DataError, RequestError
from mld.example import Clip
from mld.motion import edit, stitch
from mld.motion.carry import on_skeleton
from mld.motion.motion import Motion
from mld.motion.representations.base import Representation

GAP_SECONDS = 2.0  # between two motions when no length is wanted
SAME_PLACE = 0.02  # metres: two motions that both start so close to the origin do not share a world
FARTHEST = 1e6  # metres; beyond, steps of a body are lost in rounding
SHORTEST = 4  # frames of a motion that a model is given


def given(motion: Motion, representation: Representation) -> Clip:
    """A motion as a `Clip` that keeps all its frames: raw features (T, D) and joints (T, J, 3) at the model's fps.

    Where features describe steps, T frames give T - 1 rows; the last pose is continued by one frame at constant
    velocity to get a row for every frame given. A motion on another skeleton is carried onto the model's (KIT, smpl22).
    `RequestError` for NaN or a motion that is too short."""
    if not isinstance(motion, Motion):
        raise RequestError(f"a motion is needed (mld.Motion.load(path) opens one), not {type(motion).__name__}")
    try:
        motion = on_skeleton(motion, representation.skeleton.name)
    except DataError as error:
        raise RequestError(str(error)) from error
    if not torch.isfinite(motion.joints).all():
        raise RequestError("the motion holds NaN or infinity")
    if (far := motion.joints.abs().max().item()) > FARTHEST:
        raise RequestError(f"a joint of the motion is {far:.3g} m from the origin; is it in metres?")
    if motion.num_frames > 1:
        motion = edit.resample(motion, representation.fps)
    if motion.num_frames < SHORTEST:
        raise RequestError(
            f"the motion has {motion.num_frames} frames at {representation.fps:g} fps, at least {SHORTEST} are needed"
        )
    missing = motion.num_frames - representation.rows(motion.num_frames)
    return Clip(features=representation.encode(_continued(motion, missing)), joints=motion.joints)


def ends(head: Clip, tail: Clip, frames: int | None, fps: float) -> tuple[Clip, Clip]:
    """Two motions as the ends of a whole of so many frames; without a length there are two seconds between them.

    `RequestError` where no frame would lie between them."""
    kept = len(head.joints) + len(tail.joints)
    gap = round(GAP_SECONDS * fps) if frames is None else frames - kept
    if gap < 1:
        lengths = f"{len(head.joints) / fps:g} and {len(tail.joints) / fps:g} s"
        raise RequestError(f"{frames / fps:g} s leave no room between motions of {lengths}")
    return head, after(head, tail, gap)


def around(clip: Clip, start: float, stop: float, fps: float) -> tuple[tuple[Clip, ...], str]:
    """What is before and behind a stretch of a motion, from `start` to `stop` in seconds, which is to be made anew;
    before it alone where it goes on to the end, or where too little would be left behind it. With it a note where the
    stretch is another one than asked for, else "".

    `RequestError` for a stretch that is none, or that leaves too little before it."""
    if not (math.isfinite(start) and math.isfinite(stop)):
        raise RequestError(f"from {start:g} to {stop:g} s is no stretch of a motion; write for example 2s-4s")
    frames, first = len(clip.joints), round(start * fps)
    wanted = round(min(stop, FARTHEST) * fps)
    last = min(wanted, frames)
    if not first < last or first >= frames:
        told = f"the motion has {frames / fps:g} s; from {start:g} to {stop:g} s there is nothing to make anew"
        raise RequestError(f"{told}; write for example 2s-4s")
    if first < SHORTEST:
        raise RequestError(f"{first} frames lie before {start:g} s, {SHORTEST} have to stay; begin later")
    if 0 < frames - last < SHORTEST:
        last = frames
    if wanted > last:
        note = f"the motion ends at {frames / fps:g} s, so it is made anew from {start:g} s to there, not to {stop:g} s"
    elif wanted < last:
        note = f"fewer than {SHORTEST} frames lie behind {stop:g} s, so the motion is made anew up to its end"
    else:
        note = ""
    parts = [slice(0, first), *([slice(last, frames)] if last < frames else [])]
    return tuple(
        dataclasses.replace(clip, features=clip.features[part], joints=clip.joints[part], start=part.start)
        for part in parts
    ), note


def after(head: Clip, tail: Clip, gap: int) -> Clip:
    """The tail `gap` frames after the head. Clips that both start at the origin, as those of datasets do, have no
    common world: then the tail is moved to where the head was going."""
    joints = tail.joints
    if all(clip.joints[0, 0, [0, 2]].norm() < SAME_PLACE for clip in (head, tail)):
        joints = stitch.place_after(head.joints, joints, gap)
    return dataclasses.replace(tail, joints=joints, start=len(head.joints) + gap)


def _continued(motion: Motion, frames: int) -> Motion:
    """The motion with so many frames more at the velocity of its last step."""
    for _ in range(frames):
        joints, turned, moved = motion.joints, motion.rotations, motion.translation
        if turned is not None:
            turned = torch.cat((turned, (turned[-1] @ turned[-2].transpose(-1, -2) @ turned[-1])[None]))
        if moved is not None:
            moved = torch.cat((moved, 2 * moved[-1:] - moved[-2:-1]))
        joints = torch.cat((joints, 2 * joints[-1:] - joints[-2:-1]))
        motion = dataclasses.replace(motion, joints=joints, rotations=turned, translation=moved)
    return motion
