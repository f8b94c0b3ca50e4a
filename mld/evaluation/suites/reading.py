"""The motion in a file of results: as it stands, for the published column, and as it is meant, for the strict one."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mld.errors import DataError, MotionFormatError
from mld.evaluation.suites.settings import FPS, JOINTS, SuiteSettings
from mld.motion.edit import ground, resample
from mld.motion.formats.array_header import read_array
from mld.motion.formats.npy import features_of
from mld.motion.formats.options import ReadOptions
from mld.motion.formats.placing import guess_metres, told
from mld.motion.formats.shapes import body_of
from mld.motion.formats.torch_file import open_torch
from mld.motion.importing import import_report
from mld.motion.motion import Motion
from mld.motion.plausibility import impossible
from mld.motion.representations.registry import get_representation
from mld.motion.skeletons import get_skeleton
from mld.reading import check_file

SMPL_JOINTS, COLUMNS, CAMERA = 24, 276, 426
LARGEST = 400_000_000  # bytes of a file
KEYS = ("motion", "joints")  # of a dictionary


@dataclass(frozen=True, eq=False)
class Clip:
    """motion: y up, metres, 20 fps, 22 joints. raw: joints (T, 22, 3) as the published evaluator reads them. pose: (T,
    24, 3) fitted by the published tools, where the file has one, with vertices (T, V, 3). note: what was done. wrong:
    why no body moves so, which the published column does not ask."""

    motion: Motion
    raw: Tensor
    pose: Tensor | None = None
    vertices: Tensor | None = None
    note: str = ""
    wrong: str = ""


def read_clip(path: Path, settings: SuiteSettings, own: bool = False) -> Clip:
    """The motion of a file; `DataError` in one line for what is none. own: written by this toolkit, so metres whatever
    the length of the legs."""
    content = _content(path)
    extra = {name: _array(content, name) for name in ("pose", "vertices")}
    array = content if not isinstance(content, dict) else _chosen(content, path)
    if isinstance(array, np.ndarray):
        if array.dtype.kind not in "fiu" or not array.size:
            raise MotionFormatError(f"{path}: an array of the shape {array.shape} and the type {array.dtype}; joints "
                                    f"are numbers (frames, {JOINTS}, 3)")  # fmt: skip
        array = array[0] if array.ndim == 4 else array
    if isinstance(array, np.ndarray) and array.ndim == 2 and array.shape[1] == CAMERA:
        raise MotionFormatError(f"{path}: {CAMERA} columns, a file of another kind than motions of 276; "
                                "give the 276 columns of the body")
    if isinstance(array, np.ndarray) and array.ndim == 3 and array.shape[2] == 3:
        motion, raw, note = _of_joints(path, array, settings, own)
    elif isinstance(array, np.ndarray) and array.ndim == 2 and array.shape[1] == COLUMNS:
        motion, note = features_of(path, _single(array), None, get_representation("motion276")), ""
        raw = motion.joints
    else:
        motion, report = import_report(path)
        note = "; ".join(report.warnings)
        motion = resample(motion, FPS)
        raw = motion.joints
    if motion.skeleton.num_joints != JOINTS:
        raise MotionFormatError(f"{path}: {motion.skeleton.num_joints} joints; suites score the {JOINTS} of SMPL")
    wrong = impossible(motion.joints)
    return Clip(placed(motion, settings), raw, extra["pose"], extra["vertices"], note, wrong)


def placed(motion: Motion, settings: SuiteSettings) -> Motion:
    """A motion at 20 fps, on the floor where that is asked for, its joints alone."""
    motion = resample(dataclasses.replace(motion, rotations=None, translation=None), FPS)
    return ground(motion) if settings.floor == "lowest" else motion


def _content(path: Path) -> Any:
    """What is in a file of arrays; None for other formats, which are imported."""
    try:
        size = check_file(path, LARGEST)
        if path.suffix.lower() == ".pt":
            return _plain(open_torch(path))
        if path.suffix.lower() == ".npy":
            with open(path, "rb") as stream:
                return np.array(read_array(stream, size))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except ValueError:
        return None  # importing says what is wrong, and reads pickled dictionaries of arrays
    return None


def _plain(content: Any) -> Any:
    if isinstance(content, Tensor):
        kept = content.detach()
        return (kept if kept.is_complex() else kept.float()).contiguous().numpy()
    if isinstance(content, dict):
        return {key: _plain(value) for key, value in content.items() if isinstance(value, (Tensor, np.ndarray))}
    return content


def _single(array: np.ndarray) -> np.ndarray:
    """In float32; what does not fit in it is infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.array(array, dtype=np.float32)


def _chosen(content: dict[Any, np.ndarray], path: Path) -> np.ndarray | None:
    return next((content[key] for key in KEYS if key in content), None)


def _array(content: Any, name: str) -> Tensor | None:
    """A cached array (T, N, 3) of the published tools; none where it has another shape."""
    value = content.get(name) if isinstance(content, dict) else None
    if value is None or value.ndim != 3 or value.shape[2] != 3 or not len(value) or value.dtype.kind not in "fiu":
        return None
    if name == "pose" and value.shape[1] != SMPL_JOINTS:
        return None
    return torch.from_numpy(_single(value))


def _of_joints(path: Path, array: np.ndarray, settings: SuiteSettings, own: bool) -> tuple[Motion, Tensor, str]:
    array, notes = body_of(array)
    if array.shape[1] != JOINTS:
        raise MotionFormatError(f"{path}: an array of the shape {array.shape}; joints are (frames, {JOINTS}, 3)")
    joints = torch.from_numpy(_single(array))
    bad = ~joints.flatten(1).isfinite().all(1)
    if bad.any():
        first = int(bad.nonzero()[0])
        raise MotionFormatError(f"{path}: NaN or infinity in {int(bad.sum())} frames, first at frame {first}")
    skeleton = get_skeleton("smpl22")
    unit, note = (1.0, "") if own else guess_metres(joints, skeleton)
    up = None if settings.up.lstrip("+").lower() == "y" else settings.up
    motion = told(Motion(joints * unit, settings.fps, skeleton), ReadOptions(up=up))
    return motion, joints, "; ".join(filter(None, [*notes, note]))
