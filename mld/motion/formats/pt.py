"""`.pt`: one tensor of features or joints, as torch.save writes it, or the SMPL-X parameters of GVHMR.

Arrays of NumPy in it are read as well; no code in it runs (`torch_file`)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch

from mld.errors import MotionFormatError
from mld.motion.formats.npy import read_motions
from mld.motion.formats.options import ReadOptions
from mld.motion.formats.shapes import Motions, motions_of
from mld.motion.formats.smpl_columns import VIDEO_FPS
from mld.motion.formats.smpl_npz import rig_of
from mld.motion.formats.torch_file import open_torch, unpacked_limit
from mld.motion.motion import Motion
from mld.motion.rig.rig import RigMotion

_KEYS = ("motion", "features", "joints")  # where a dictionary keeps its tensor
_ESTIMATED = "smpl_params_global"  # where GVHMR keeps its parameters
_REAL = (torch.float16, torch.float32, torch.float64)


def read_noted(path: Path, options: ReadOptions) -> tuple[Motion | RigMotion, list[str]]:
    """Open a tensor (T, D) or (T, J, 3), a batch of them, or the parameters of GVHMR, and notes; `MotionFormatError`
    for anything else."""
    loaded = open_torch(path)
    if isinstance(loaded, dict) and isinstance(loaded.get(_ESTIMATED), dict):
        if options.clip is not None:
            raise MotionFormatError(f"{path}: the file holds one motion, so there is no motion '{options.clip}'")
        return _estimated(path, loaded[_ESTIMATED], options)
    return read_motions(_motions(path, loaded), options)


def clip_names(path: Path) -> tuple[str, ...]:
    """Names of the motions of a file that holds several; empty for others."""
    loaded = open_torch(path)
    return () if isinstance(loaded, dict) and _ESTIMATED in loaded else _motions(path, loaded).names


def _motions(path: Path, loaded: object) -> Motions:
    tensor = _tensor(path, loaded)
    if tensor.numel() * 4 > unpacked_limit(path):
        raise MotionFormatError(f"{path}: a tensor {tuple(tensor.shape)} does not fit into a file of this size")
    if tensor.numel() == 0:
        raise MotionFormatError(f"{path}: the tensor is empty (shape {tuple(tensor.shape)})")
    return motions_of(path, np.array(tensor.detach().float().contiguous().numpy()))


def _estimated(path: Path, parts: dict, options: ReadOptions) -> tuple[RigMotion, list[str]]:
    """The motion of a person in a video as GVHMR estimates it: SMPL-X parameters in the world, y against gravity."""
    arrays = real_arrays(parts)
    notes = []
    if options.fps is None:
        options = dataclasses.replace(options, fps=VIDEO_FPS)
        notes.append(f"the file says no frame rate; {VIDEO_FPS:g} frames per second were taken")
    arrays |= {"surface_model_type": np.array("smplx"), "up_axis": np.array("y")}
    return rig_of(path, arrays, list(parts), options), notes


def real_arrays(parts: dict) -> dict[str, np.ndarray]:
    """The tensors and arrays of real numbers in a dictionary, by name."""
    found: dict[str, np.ndarray] = {}
    for key, value in parts.items():
        if isinstance(value, torch.Tensor) and value.dtype in _REAL:
            value = value.detach().numpy()
        if isinstance(key, str) and isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
            found[key] = value
    return found


def _tensor(path: Path, loaded: object) -> torch.Tensor:
    if isinstance(loaded, dict):
        known = (loaded.get(key) for key in _KEYS)
        loaded = next((value for value in known if isinstance(value, (torch.Tensor, np.ndarray))), None)
    if isinstance(loaded, np.ndarray) and loaded.dtype.kind in "fiu":
        loaded = torch.from_numpy(loaded.astype(np.float32))
    if isinstance(loaded, torch.Tensor) and loaded.layout is torch.strided and not loaded.is_quantized:
        numbers = not loaded.is_complex() and loaded.dtype is not torch.bool
        if numbers and loaded.device.type == "cpu":
            return loaded
    raise MotionFormatError(f"{path}: does not hold one tensor of numbers")
