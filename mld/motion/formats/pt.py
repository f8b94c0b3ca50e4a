"""`.pt`: one tensor of features or joints, as torch.save writes it. Only weights are loaded: no code in it runs."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import numpy as np
import torch

from mld.errors import MotionFormatError
from mld.motion.formats.npy import motion_of
from mld.motion.motion import Motion

_KEYS = ("motion", "features", "joints")  # where a dictionary keeps its tensor
_GROWTH, _FREE = 4, 1 << 20  # a file may unpack to 4 times its size, and to 1 MB in any case


def read(path: Path, fps: float | None = None) -> Motion:
    """Open a tensor (T, D) or (T, J, 3); `MotionFormatError` for anything else."""
    limit = path.stat().st_size * _GROWTH + _FREE
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
        raise MotionFormatError(f"{path}: not a file of torch.save since PyTorch 1.6") from error
    if unpacked > limit:
        raise MotionFormatError(f"{path}: unpacks to {unpacked >> 20} MB, far more than a tensor of this file size")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, KeyError, TypeError, AttributeError,
            IndexError, AssertionError, UnicodeError, OverflowError, MemoryError) as error:  # fmt: skip
        raise MotionFormatError(f"{path}: cannot be opened as a tensor (objects and code are refused)") from error
    tensor = _tensor(path, loaded)
    if tensor.numel() * 4 > limit:
        raise MotionFormatError(f"{path}: a tensor {tuple(tensor.shape)} does not fit into a file of this size")
    if tensor.numel() == 0:
        raise MotionFormatError(f"{path}: the tensor is empty (shape {tuple(tensor.shape)})")
    return motion_of(path, np.array(tensor.detach().float().contiguous().numpy()), fps)


def _tensor(path: Path, loaded: object) -> torch.Tensor:
    if isinstance(loaded, dict):
        loaded = next((loaded[key] for key in _KEYS if isinstance(loaded.get(key), torch.Tensor)), None)
    plain = isinstance(loaded, torch.Tensor) and loaded.layout is torch.strided and not loaded.is_quantized
    if not plain or loaded.is_complex() or loaded.dtype is torch.bool or loaded.device.type != "cpu":
        raise MotionFormatError(f"{path}: does not hold one tensor of numbers")
    return loaded
