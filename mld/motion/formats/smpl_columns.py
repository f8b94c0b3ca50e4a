"""SMPL parameters as the columns of one array, as estimators from video and one large set of motions save them.

    85   3 of a camera or of a place, 72 of the pose, 10 of the shape (VIBE, HMR; place: GTA-Human)
         or 72 of the pose and 3 of a place in front of the shape, or the place last
    322  66 of the pose, 90 of the hands, 3 of the jaw, 50 + 100 of the face, 3 of the place, 10 of the shape (Motion-X)

The angles are rotation vectors. Estimators see the world as a camera does: y points down. A weak-perspective camera
(scale, and two shifts of the picture) says nothing of the way in the world, so such a person stays in place.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch

from mld.errors import MotionFormatError
from mld.motion.formats.options import ReadOptions
from mld.motion.formats.smpl_npz import rig_of
from mld.motion.rig.rig import RigMotion
from mld.motion.rotations import rotvec_to_matrix

VIDEO_FPS = 30.0  # of estimators, and of Motion-X, whose files do not say it
WIDTHS = (85, 322)
_HEAD_DOWN = -0.5  # cosine between the body's own up and y: it hangs head down, so y points down
_LARGEST_SCALE, _LARGEST_SHIFT = 3.0, 1.5  # of a weak-perspective camera, in halves of the picture
_STEADY = 1e-6


def smpl_motion(path: Path, columns: np.ndarray, options: ReadOptions) -> tuple[RigMotion, list[str]]:
    """The rig motion of SMPL columns (T, 85) or (T, 322), and notes; `MotionFormatError` for NaN."""
    if not np.isfinite(columns).all():
        frame = int((~np.isfinite(columns)).any(1).argmax())
        raise MotionFormatError(f"{path}: NaN or infinity, first at frame {frame}")
    notes = []
    if options.fps is None:
        options = dataclasses.replace(options, fps=VIDEO_FPS)
        notes.append(f"the file says no frame rate; {VIDEO_FPS:g} frames per second were taken")
    if columns.shape[1] == 322:
        poses, place, betas, kind = columns[:, :66], columns[:, 309:312], columns[:, 312:], "smplx"
        note, head_down = "322 columns as Motion-X has them", False
    else:
        poses, place, betas, note = _columns85(columns)
        kind = "smpl"
        head_down = _own_up(poses) < _HEAD_DOWN
        if head_down:
            note += "; the person hangs head down, so y points down as in a picture"
            if _is_camera(place):
                place = np.zeros_like(place)
                note += ", and the three columns beside the pose are a camera's: the person stays in place"
    arrays = {"poses": poses, "trans": place, "betas": np.median(betas, axis=0),
              "surface_model_type": np.array(kind)}  # fmt: skip
    found = rig_of(path, arrays, list(arrays), options)
    return dataclasses.replace(found, up=options.up or ("-y" if head_down else None)), [*notes, note]


def _columns85(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """Pose (T, 72), place or camera (T, 3), shape (T, 10) and a sentence on their order.

    The shape does not change, and the hands of SMPL, the last six of the pose, mostly rest: they tell the order.
    """
    if _steady(columns[:, 72:82]) and not _steady(columns[:, 82:]):
        return columns[:, :72], columns[:, 82:], columns[:, 72:82], "85 columns: pose, shape, place"
    if not columns[:, 66:72].any() and columns[:, 69:75].any():
        return columns[:, :72], columns[:, 72:75], columns[:, 75:], "85 columns: pose, place, shape"
    return columns[:, 3:75], columns[:, :3], columns[:, 75:], "85 columns: camera or place, pose, shape"


def _steady(columns: np.ndarray) -> bool:
    return bool((np.ptp(columns, axis=0) <= _STEADY).all())


def _own_up(poses: np.ndarray) -> float:
    """How far up along y the pelvis points, mean over frames, from -1 to 1."""
    turns = rotvec_to_matrix(torch.from_numpy(poses[:, :3].astype(np.float64)))
    return float(turns[:, 1, 1].mean())


def _is_camera(columns: np.ndarray) -> bool:
    """Whether (T, 3) are scale and shifts of a weak-perspective camera, not a place in front of a camera, metres."""
    scale, shifts = columns[:, 0], np.abs(columns[:, 1:])
    return bool((scale > 0).all() and (scale < _LARGEST_SCALE).all() and (shifts < _LARGEST_SHIFT).all())
