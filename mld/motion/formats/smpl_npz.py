"""`.npz` with SMPL, SMPL-H or SMPL-X poses as in AMASS: poses (T, 3 J) axis-angle, trans (T, 3), mocap_framerate.

Also SMPL-X files with root_orient and pose_body, and dictionaries with global_orient, body_pose and transl; rotation
matrices (T, J, 3, 3) in their place. Shape and gender that cannot be read are left aside. Joints come
from the user's body model where there is one, from `rest_joints` (J, 3) in the file, or from a standard body.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mld.errors import MotionFormatError
from mld.motion.formats.limits import refuse_bomb, shown
from mld.motion.formats.options import HIGHEST_FPS, LOWEST_FPS, ReadOptions
from mld.motion.rig.rig import Rig, RigMotion
from mld.motion.rig.smpl_body import MODELS_VARIABLE, NUM_JOINTS, model_rest, standard_rest
from mld.motion.rotations import matrix_to_rotvec, nearest_rotation, rotvec_to_matrix
from mld.motion.skeletons import get_skeleton

_POSES = (("poses",), ("root_orient", "pose_body"), ("global_orient", "body_pose"))
_ROOTS = ("root_orient", "global_orient")
_PLACES = ("trans", "transl")
_RATES = ("mocap_framerate", "mocap_frame_rate", "fps", "frame_rate")
_KINDS = {156: "smplh", 159: "smplx", 165: "smplx", 72: "smpl", 69: "smpl", 66: "smplh"}  # by columns of poses
_GENDERS = ("neutral", "female", "male")
_LARGEST = 1e4  # radians or metres
NOT_ROTATION = 0.02  # off the identity of a matrix times its transpose
_MOST_BETAS = 16
LEFT_ASIDE = ("betas", "gender", "surface_model_type", "up_axis")  # left aside where they cannot be read
_ROOT_TURN = "Rh"  # beside the poses in the files of HY-Motion, in which y is up
POSE_NAMES = tuple(name for names in _POSES for name in names)
NAMES = (*POSE_NAMES, *_PLACES, *_RATES, *LEFT_ASIDE, "rest_joints")


def has_poses(names: Collection[str]) -> bool:
    """Whether arrays of these names are poses in any of the three layouts."""
    return any(all(key in names for key in keys) for keys in _POSES)


def rig_of(path: Path, arrays: dict[str, np.ndarray], present: list[str], options: ReadOptions) -> RigMotion:
    """The rig motion of the arrays of a file that holds the arrays `present`."""
    arrays = {key: _of_one(key, array) for key, array in arrays.items()}
    poses = _poses(path, arrays, present)
    refuse_bomb(path, path.stat().st_size, len(poses), NUM_JOINTS)
    kind = _kind(arrays, poses)
    rest, notes = _rest(path, arrays, kind, present)
    skeleton = get_skeleton("smpl22")
    offsets = rest.clone()
    offsets[1:] -= rest[list(skeleton.parents[1:])]
    rotations = rotvec_to_matrix(torch.from_numpy(poses[:, : 3 * NUM_JOINTS].reshape(-1, NUM_JOINTS, 3)))
    place = _place(path, arrays, len(poses)) * (options.unit or 1.0)
    rig = Rig(skeleton.joint_names, skeleton.parents, offsets)
    fps = options.fps or rate_of(path, arrays)
    if fps is None:
        raise MotionFormatError(f"{path}: does not say its frame rate (mocap_framerate); give it yourself (fps)")
    said = _word(arrays, "up_axis")
    up = said if said in ("x", "y", "z") else "y" if _ROOT_TURN in present else None
    return RigMotion(rig, rotations, place + rest[0], fps, "smpl", (f"{kind} poses; {notes[0]}", *notes[1:]), up)


def _poses(path: Path, arrays: dict[str, np.ndarray], present: list[str]) -> np.ndarray:
    """Axis-angle columns (T, at least 66), root first."""
    keys = next((keys for keys in _POSES if all(key in arrays for key in keys)), None)
    if keys is None:
        raise MotionFormatError(
            f"{path}: holds no SMPL motion, which would be the arrays 'poses' and 'trans'; it has: "
            f"{', '.join(map(shown, present[:12])) or 'nothing'}"
        )
    parts = [_as_vectors(path, key, numbers(path, key, arrays[key])) for key in keys]
    parts = [part.reshape(len(part), -1) if part.ndim in (2, 3) and len(part) else part for part in parts]
    if any(part.ndim != 2 or len(part) != len(parts[0]) or len(part) == 0 for part in parts):
        shapes = ", ".join(f"'{key}' {arrays[key].shape}" for key in keys)
        raise MotionFormatError(f"{path}: {shapes}; poses are (frames, 3 x joints), with at least one frame")
    poses = np.concatenate(parts, axis=1)
    if poses.shape[1] < 3 * NUM_JOINTS or poses.shape[1] % 3:
        raise MotionFormatError(f"{path}: poses of {poses.shape[1]} columns; the 22 body joints need 66")
    return poses


def _of_one(key: str, array: np.ndarray) -> np.ndarray:
    """Poses or places without a batch of one person around them."""
    if array.ndim < 3 or array.shape[0] != 1 or key not in (*POSE_NAMES, *_PLACES):
        return array
    several = key in (*_ROOTS, *_PLACES) and array.shape[1] > 1  # where there is one joint, these are frames
    matrices = array.shape[-2:] == (3, 3)
    if array.ndim == 3:
        batch = array.shape[2] != 3 or (several and not matrices)
    else:
        batch = array.ndim > 4 or several or not matrices
    return array[0] if batch else array


def _as_vectors(path: Path, key: str, array: np.ndarray) -> np.ndarray:
    """Rotation matrices (T, ..., 3, 3) as rotation vectors (T, J, 3); other arrays as they are."""
    if array.ndim < 3 or array.shape[-2:] != (3, 3) or not len(array):
        return array
    matrices = torch.from_numpy(array).reshape(len(array), -1, 3, 3)
    off = (matrices @ matrices.transpose(-1, -2) - torch.eye(3, dtype=torch.float64)).abs().amax((-1, -2, -3))
    if not (off < NOT_ROTATION).all() or not (torch.linalg.det(matrices) > 0).all():
        if array.ndim == 3:
            return array
        frame = int((off >= NOT_ROTATION).nonzero()[0]) if (off >= NOT_ROTATION).any() else 0
        raise MotionFormatError(f"{path}, array '{key}': not rotation matrices, first in row {frame}")
    return matrix_to_rotvec(nearest_rotation(matrices)).numpy()


def _kind(arrays: dict[str, np.ndarray], poses: np.ndarray) -> str:
    said = _word(arrays, "surface_model_type")
    if said in ("smpl", "smplh", "smplx"):
        return said
    return "smplx" if "pose_body" in arrays else _KINDS.get(poses.shape[1], "smpl")


def _rest(path: Path, arrays: dict[str, np.ndarray], kind: str, present: list[str]) -> tuple[Tensor, list[str]]:
    """Rest joints (22, 3), and notes: where they come from, and what was left aside."""
    if "rest_joints" in arrays:
        rest = numbers(path, "rest_joints", arrays["rest_joints"])
        if rest.ndim != 2 or rest.shape[0] < NUM_JOINTS or rest.shape[1] != 3:
            raise MotionFormatError(f"{path}, array 'rest_joints': shape {rest.shape}, it should be (22, 3)")
        return torch.from_numpy(rest[:NUM_JOINTS]).clone(), ["rest joints from the file"]
    betas, aside = np.zeros(10), [key for key in LEFT_ASIDE if key in present and key not in arrays]
    if "betas" in arrays:
        try:
            betas = numbers(path, "betas", arrays["betas"]).reshape(-1)[:_MOST_BETAS]
        except MotionFormatError:
            aside.append("betas")
    said = _word(arrays, "gender")
    if "gender" in arrays and said not in _GENDERS:
        aside.append("gender")
    gender = said if said in _GENDERS else "neutral"  # it becomes part of a file name
    notes = [f"{' and '.join(aside)} left aside: not numbers or words that are known"] if aside else []
    found = model_rest(kind, gender, betas)
    if found is not None:
        return found[0], [f"joints from the body model {found[1].name}", *notes]
    return standard_rest(kind), [
        f"no body model in {MODELS_VARIABLE}, so bone lengths are those of a standard body",
        *notes,
    ]


def _place(path: Path, arrays: dict[str, np.ndarray], frames: int) -> Tensor:
    key = next((key for key in _PLACES if key in arrays), None)
    if key is None:
        return torch.zeros(frames, 3, dtype=torch.float64)
    place = numbers(path, key, arrays[key])
    if place.shape != (frames, 3):
        raise MotionFormatError(f"{path}, array '{key}': shape {place.shape}, the poses have {frames} frames")
    return torch.from_numpy(place)


def rate_of(path: Path, arrays: dict[str, np.ndarray]) -> float | None:
    """The frame rate that the file says, None where it says none."""
    key = next((key for key in _RATES if key in arrays), None)
    if key is None:
        return None
    rate = numbers(path, key, arrays[key])
    if rate.size != 1 or not LOWEST_FPS <= float(rate.reshape(-1)[0]) <= HIGHEST_FPS:
        raise MotionFormatError(f"{path}, array '{key}': not one frame rate")
    return float(rate.reshape(-1)[0])


def _word(arrays: dict[str, np.ndarray], key: str) -> str:
    """An array that is one word of text, in small letters; "" where it is not. Only ASCII letters are taken, as the
    bytes of an array need not be text at all."""
    array = arrays.get(key)
    if array is None or array.dtype.kind not in "US" or array.size != 1:
        return ""
    letters = np.frombuffer(array.tobytes(), "u1" if array.dtype.kind == "S" else array.dtype.str[0] + "u4")
    return "".join(chr(letter) for letter in letters if 32 < letter < 127).lower()


def numbers(path: Path, key: str, array: np.ndarray, largest: float = _LARGEST) -> np.ndarray:
    """An array as float64; `MotionFormatError` names the row of a number that cannot be."""
    if array.dtype.kind not in "fiu":
        raise MotionFormatError(f"{path}, array '{key}': holds {array.dtype}, not numbers")
    if array.dtype.itemsize > 8:
        raise MotionFormatError(f"{path}, array '{key}': numbers of {array.dtype} are not supported")
    with np.errstate(invalid="ignore", over="ignore"):
        array = np.array(array, dtype=np.float64, order="C")
    bad = ~(np.abs(array) < largest)
    if bad.any():
        frame = int(np.unravel_index(int(bad.reshape(-1).argmax()), array.shape)[0]) if array.ndim else 0
        raise MotionFormatError(f"{path}, array '{key}': NaN, infinity or an impossible number, first in row {frame}")
    return array
