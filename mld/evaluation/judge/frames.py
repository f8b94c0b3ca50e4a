"""The pictures of a motion that a judge is shown, and what an answer about them is known by."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence

import numpy as np

from mld.evaluation.judge.contract import JudgeError
from mld.motion.motion import Motion
from mld.view.stills import stills

FPS = 5.0  # as published
MOST = 64  # pictures; of a longer motion they are further apart
FURTHEST = 1e4  # metres
QUALITY = 88  # of JPEG
DRAWN = "stills/1"  # how they are drawn: pictures of another kind are another question


def frame_rate(motion: Motion) -> float:
    """Pictures per second of a motion."""
    rate = min(FPS, motion.fps)
    return rate if motion.num_frames * rate / motion.fps <= MOST else MOST * motion.fps / motion.num_frames


def pictures(motion: Motion) -> Sequence[bytes]:
    """The motion at `frame_rate` as JPEG files, seen by a camera that stands still. `JudgeError` for joints that cannot
    be seen: NaN, or further than `FURTHEST`."""
    if not bool((motion.joints.abs() < FURTHEST).all()):
        raise JudgeError(f"joints hold NaN, or are further away than {FURTHEST:g} m; there is nothing to look at")
    at = np.arange(0, motion.num_frames, motion.fps / frame_rate(motion)).round().astype(int)
    found = []
    for picture in stills(motion, at[at < motion.num_frames].tolist()):
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=QUALITY)
        found.append(file.getvalue())
    return found


def subject(motion: Motion) -> str:
    """The hash of a motion, of its joints, its frame rate and how it is drawn."""
    joints = np.ascontiguousarray(motion.joints.detach().cpu().numpy(), dtype="<f4")
    about = f"{DRAWN} {motion.skeleton.name} {motion.fps:g} {joints.shape}"
    return "motion:" + hashlib.sha256(about.encode() + joints.tobytes()).hexdigest()
