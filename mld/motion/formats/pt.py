"""`.pt`: one tensor or array of features or joints, as torch.save writes it, or the SMPL-X parameters of GVHMR.

Only weights and NumPy arrays of numbers are loaded: no code in it runs."""

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
from mld.motion.formats.npy import read_motions
from mld.motion.formats.options import ReadOptions
from mld.motion.formats.shapes import Motions, motions_of
from mld.motion.formats.smpl_columns import VIDEO_FPS
from mld.motion.formats.smpl_npz import rig_of
from mld.motion.motion import Motion
from mld.motion.rig.rig import RigMotion

_KEYS = ("motion", "features", "joints")  # where a dictionary keeps its tensor
_NAMES = {"collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter"}
_ARRAYS = {f"{module} _reconstruct" for module in ("numpy.core.multiarray", "numpy._core.multiarray")}
_ARRAYS |= {"numpy ndarray", "numpy dtype", "_codecs encode"}
_ESTIMATED = "smpl_params_global"  # where GVHMR keeps its parameters
_REAL = (torch.float16, torch.float32, torch.float64)
_NAMING = ("GLOBAL", "STACK_GLOBAL", "INST")  # opcodes of pickle
_GROWTH, _FREE = 4, 1 << 20  # a file may unpack to 4 times its size, and to 1 MB in any case


def read_noted(path: Path, options: ReadOptions) -> tuple[Motion | RigMotion, list[str]]:
    """Open a tensor (T, D) or (T, J, 3), a batch of them, or the parameters of GVHMR, and notes; `MotionFormatError`
    for anything else."""
    loaded = load_numbers(path)
    if isinstance(loaded, dict) and isinstance(loaded.get(_ESTIMATED), dict):
        if options.clip is not None:
            raise MotionFormatError(f"{path}: the file holds one motion, so there is no motion '{options.clip}'")
        return _estimated(path, loaded[_ESTIMATED], options)
    return read_motions(_motions(path, loaded), options)


def clip_names(path: Path) -> tuple[str, ...]:
    """Names of the motions of a file that holds several; empty for others."""
    loaded = load_numbers(path)
    return () if isinstance(loaded, dict) and _ESTIMATED in loaded else _motions(path, loaded).names


def load_numbers(path: Path) -> object:
    """What torch.save wrote: tensors, arrays, words and containers of them; `MotionFormatError` for anything else."""
    limit = _limit(path)
    _check_names(path, limit)
    try:
        with torch.serialization.safe_globals(_numpy_parts()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, KeyError, TypeError, AttributeError,
            IndexError, AssertionError, UnicodeError, OverflowError, MemoryError) as error:  # fmt: skip
        raise MotionFormatError(f"{path}: cannot be opened as a tensor (objects and code are refused)") from error


def _numpy_parts() -> list:
    """What arrays of NumPy are rebuilt with: under the names of NumPy 1 and 2, and the classes of number types."""
    rebuild = np.zeros(1).__reduce__()[0]
    kinds = {type(np.dtype(code)) for code in "bhilqBHILQefd"}
    return [*((rebuild, name.replace(" ", ".")) for name in sorted(_ARRAYS) if name.endswith("_reconstruct")),
            np.ndarray, np.dtype, *sorted(kinds, key=str)]  # fmt: skip


def _motions(path: Path, loaded: object) -> Motions:
    tensor = _tensor(path, loaded)
    if tensor.numel() * 4 > _limit(path):
        raise MotionFormatError(f"{path}: a tensor {tuple(tensor.shape)} does not fit into a file of this size")
    if tensor.numel() == 0:
        raise MotionFormatError(f"{path}: the tensor is empty (shape {tuple(tensor.shape)})")
    return motions_of(path, np.array(tensor.detach().float().contiguous().numpy()))


def _limit(path: Path) -> int:
    """Bytes that a file may unpack to."""
    return path.stat().st_size * _GROWTH + _FREE


def _estimated(path: Path, parts: dict, options: ReadOptions) -> tuple[RigMotion, list[str]]:
    """The motion of a person in a video as GVHMR estimates it: SMPL-X parameters in the world, y against gravity."""
    arrays = {key: value.detach().numpy() for key, value in parts.items()
              if isinstance(key, str) and isinstance(value, torch.Tensor) and value.dtype in _REAL}  # fmt: skip
    notes = []
    if options.fps is None:
        options = dataclasses.replace(options, fps=VIDEO_FPS)
        notes.append(f"the file says no frame rate; {VIDEO_FPS:g} frames per second were taken")
    arrays |= {"surface_model_type": np.array("smplx"), "up_axis": np.array("y")}
    return rig_of(path, arrays, list(parts), options), notes


def _check_names(path: Path, limit: int) -> None:
    """Refuse archives that unpack to more than `limit` bytes, and pickles that name anything but tensors: what torch
    allows with weights_only runs no code, but some of it (bytearray, FloatTensor) makes any number of bytes."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            unpacked = sum(info.file_size for info in members)
            if unpacked > limit:
                raise MotionFormatError(
                    f"{path}: unpacks to {unpacked >> 20} MB, far more than a tensor of this file size"
                )
            pickles = [archive.read(info) for info in members if info.filename.lower().endswith(".pkl")]
        named = {
            arg or opcode.name
            for text in pickles
            for opcode, arg, _ in pickletools.genops(text)
            if opcode.name in _NAMING
        }
    except (OSError, ValueError, RuntimeError, EOFError, IndexError, struct.error, zipfile.BadZipFile, zlib.error,
            lzma.LZMAError) as error:  # fmt: skip
        raise MotionFormatError(f"{path}: not a file of torch.save since PyTorch 1.6") from error
    strange = [name for name in named if name not in _NAMES | _ARRAYS and not re.fullmatch(r"torch \w+Storage", name)]
    if strange:
        raise MotionFormatError(
            f"{path}: holds '{shown(strange[0])}'; cannot be opened as a tensor (objects and code are refused)"
        )


def _tensor(path: Path, loaded: object) -> torch.Tensor:
    if isinstance(loaded, dict):
        held = (torch.Tensor, np.ndarray)
        loaded = next((loaded[key] for key in _KEYS if isinstance(loaded.get(key), held)), None)
    if isinstance(loaded, np.ndarray) and loaded.dtype.kind in "fiu" and loaded.nbytes <= _limit(path):
        loaded = torch.from_numpy(loaded.astype(np.float32))
    if isinstance(loaded, torch.Tensor) and loaded.layout is torch.strided and not loaded.is_quantized:
        numbers = not loaded.is_complex() and loaded.dtype is not torch.bool
        if numbers and loaded.device.type == "cpu":
            return loaded
    raise MotionFormatError(f"{path}: does not hold one tensor of numbers")
