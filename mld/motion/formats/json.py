"""`.json`: a motion in full, for programs in any language: frame rate, skeleton, joints, rotations where there are.

Numbers have six decimals. Rotations are quaternions x y z w, relative to the parent joint, the root's to the world.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mld.errors import ConfigError, DataError, MotionFormatError
from mld.motion.edit import check_finite
from mld.motion.formats.gltf import quaternions
from mld.motion.formats.limits import shown
from mld.motion.formats.options import ReadOptions
from mld.motion.motion import Motion
from mld.motion.rotations import quaternion_to_matrix
from mld.motion.skeletons import get_skeleton

FORMAT, VERSION = "mld-motion", 1


def write(motion: Motion, path: Path) -> None:
    """Write a motion."""
    check_finite(motion)
    document = {
        "format": FORMAT, "version": VERSION, "fps": motion.fps, "frames": motion.num_frames, "unit": "m", "up": "y",
        "skeleton": motion.skeleton.name, "joint_names": motion.skeleton.joint_names,
        "parents": motion.skeleton.parents, "joints": _rounded(motion.joints),
    }  # fmt: skip
    if motion.rotations is not None:
        document["rotations"] = _rounded(quaternions(motion.rotations), 7)
    if motion.translation is not None:
        document["translation"] = _rounded(motion.translation)
    path.write_text(json.dumps(document, separators=(",", ":")), encoding="utf-8")


def read(path: Path, fps: float | None = None) -> Motion:
    """Open a file that `write` wrote; `MotionFormatError` for anything else."""
    try:
        document = json.loads(Path(path).read_bytes())
    except json.JSONDecodeError as error:
        raise MotionFormatError(f"{path}, line {error.lineno}: not JSON ({error.msg})") from error
    except (ValueError, RecursionError) as error:
        raise MotionFormatError(f"{path}: not JSON") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise MotionFormatError(f"{path}: not a motion; it lacks \"format\": \"{FORMAT}\"")
    if document.get("version") != VERSION:
        raise MotionFormatError(f"{path}: version {shown(document.get('version'))} of the format; this reads {VERSION}")
    try:
        skeleton = get_skeleton(shown(document["skeleton"]))
        rate = fps or float(document["fps"])
        ReadOptions(rate)  # refuses what is no frame rate
        turns, translation = document.get("rotations"), document.get("translation")
        return check_finite(Motion(
            joints=torch.from_numpy(_numbers(_required(document, "joints"))),
            fps=rate,
            skeleton=skeleton,
            rotations=None if turns is None else _rotations(_numbers(turns)),
            translation=None if translation is None else torch.from_numpy(_numbers(translation)),
        ))
    except KeyError as error:
        raise MotionFormatError(f"{path}: there is no {error}") from error
    except (TypeError, ValueError, IndexError, OverflowError, DataError, ConfigError) as error:
        raise MotionFormatError(f"{path}: {shown(str(error), 200)}") from error


def _rounded(values: Any, decimals: int = 6) -> list:
    return np.round(np.asarray(values, dtype=np.float64), decimals).tolist()


def _numbers(values: Any) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def _required(document: dict, key: str) -> object:
    """A value that is there and not null; KeyError otherwise."""
    if document.get(key) is None:
        raise KeyError(key)
    return document[key]


def _rotations(turns: np.ndarray) -> torch.Tensor:
    norms = np.linalg.norm(turns, axis=-1, keepdims=True)
    if turns.ndim != 3 or turns.shape[-1] != 4 or not (norms > 0.5).all():
        raise ValueError("rotations are not quaternions (frames, joints, 4)")
    return quaternion_to_matrix(torch.from_numpy(turns / norms))
