"""`.pt`: one tensor of features or joints, as torch.save writes it, or the SMPL-X parameters of GVHMR.

Only weights are loaded: no code in it runs."""

from __future__ import annotations

import dataclasses
import lzma
import pickle
import pickletools
import re
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch

from mld.errors import MotionFormatError
from mld.motion.formats.limits import shown
from mld.motion.formats.npy import noted_motion_of
from mld.motion.formats.options import ReadOptions
from mld.motion.formats.smpl_npz import rig_of
from mld.motion.motion import Motion
from mld.motion.rig.retarget import to_smpl22

_KEYS = ("motion", "features", "joints")  # where a dictionary keeps its tensor
_NAMES = {"collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter"}
_ESTIMATED = "smpl_params_global"  # where GVHMR keeps its parameters
_VIDEO_FPS = 30.0
_REAL = (torch.float16, torch.float32, torch.float64)
_NAMING = ("GLOBAL", "STACK_GLOBAL", "INST")  # opcodes of pickle
_GROWTH, _FREE = 4, 1 << 20  # a file may unpack to 4 times its size, and to 1 MB in any case


def read_noted(path: Path, options: ReadOptions) -> tuple[Motion, list[str]]:
    """Open a tensor (T, D) or (T, J, 3), and notes on it; `MotionFormatError` for anything else."""
    limit = path.stat().st_size * _GROWTH + _FREE
    _check_names(path, limit)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, KeyError, TypeError, AttributeError,
            IndexError, AssertionError, UnicodeError, OverflowError, MemoryError) as error:  # fmt: skip
        raise MotionFormatError(f"{path}: cannot be opened as a tensor (objects and code are refused)") from error
    if isinstance(loaded, dict) and isinstance(loaded.get(_ESTIMATED), dict):
        return _estimated(path, loaded[_ESTIMATED], options)
    tensor = _tensor(path, loaded)
    if tensor.numel() * 4 > limit:
        raise MotionFormatError(f"{path}: a tensor {tuple(tensor.shape)} does not fit into a file of this size")
    if tensor.numel() == 0:
        raise MotionFormatError(f"{path}: the tensor is empty (shape {tuple(tensor.shape)})")
    return noted_motion_of(path, np.array(tensor.detach().float().contiguous().numpy()), options)


def _estimated(path: Path, parts: dict, options: ReadOptions) -> tuple[Motion, list[str]]:
    """The motion of a person in a video as GVHMR estimates it: SMPL-X parameters in the world."""
    arrays = {key: value.detach().numpy() for key, value in parts.items()
              if isinstance(key, str) and isinstance(value, torch.Tensor) and value.dtype in _REAL}  # fmt: skip
    notes = []
    if options.fps is None:
        options = dataclasses.replace(options, fps=_VIDEO_FPS)
        notes.append(f"the file says no frame rate; {_VIDEO_FPS:g} frames per second were taken")
    arrays["surface_model_type"] = np.array("smplx")
    motion, report = to_smpl22(rig_of(path, arrays, list(parts), options), up=options.up)
    return motion, [*notes, *report.notes]


def _check_names(path: Path, limit: int) -> None:
    """Refuse archives that unpack to more than `limit` bytes, and pickles that name anything but tensors: what torch
    allows with weights_only runs no code, but some of it (bytearray, FloatTensor) makes any number of bytes."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            unpacked = sum(info.file_size for info in members)
            if unpacked > limit:
                raise MotionFormatError(f"{path}: unpacks to {unpacked >> 20} MB, far more than a tensor of this file "
                                        "size")
            pickles = [archive.read(info) for info in members if info.filename.lower().endswith(".pkl")]
        named = {arg or opcode.name for text in pickles for opcode, arg, _ in pickletools.genops(text)
                 if opcode.name in _NAMING}
    except (OSError, ValueError, RuntimeError, EOFError, IndexError, struct.error, zipfile.BadZipFile, zlib.error,
            lzma.LZMAError) as error:  # fmt: skip
        raise MotionFormatError(f"{path}: not a file of torch.save since PyTorch 1.6") from error
    strange = [name for name in named if name not in _NAMES and not re.fullmatch(r"torch \w+Storage", name)]
    if strange:
        raise MotionFormatError(f"{path}: holds '{shown(strange[0])}'; cannot be opened as a tensor (objects and code "
                                "are refused)")


def _tensor(path: Path, loaded: object) -> torch.Tensor:
    if isinstance(loaded, dict):
        loaded = next((loaded[key] for key in _KEYS if isinstance(loaded.get(key), torch.Tensor)), None)
    if isinstance(loaded, torch.Tensor) and loaded.layout is torch.strided and not loaded.is_quantized:
        numbers = not loaded.is_complex() and loaded.dtype is not torch.bool
        if numbers and loaded.device.type == "cpu":
            return loaded
    raise MotionFormatError(f"{path}: does not hold one tensor of numbers")
