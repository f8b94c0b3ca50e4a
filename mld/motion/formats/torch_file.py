"""What a file of `torch.save` holds: tensors, arrays, words and numbers in dictionaries and lists. Nothing is run.

Tensors alone are read by torch (`weights_only`). It refuses NumPy arrays, which many programs save beside them; such a
file is read by `pickled`, which knows no class but those of arrays, and takes tensors out of the archive itself.
"""

from __future__ import annotations

import lzma
import math
import pickle
import pickletools
import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from mld.errors import MotionFormatError
from mld.motion.formats.limits import shown
from mld.motion.formats.pickled import ARRAY_NAMES, read_pickle
from mld.reading import check_file

_NAMES = {"collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter"}
_NAMING = ("GLOBAL", "STACK_GLOBAL", "INST")  # opcodes of pickle
_GROWTH, _FREE = 4, 1 << 20  # a file may unpack to 4 times its size, and to 1 MB in any case
_DAMAGED = (OSError, ValueError, RuntimeError, EOFError, IndexError, KeyError, struct.error, zipfile.BadZipFile,
            zlib.error, lzma.LZMAError)  # fmt: skip
_KINDS = {"FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
          "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
          "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8,
          "BoolStorage": torch.bool}  # fmt: skip


def open_torch(path: Path) -> Any:
    """The content of a file. `MotionFormatError` for objects and code, damage, a file that unpacks to far more than its
    size, and files of other programs."""
    size = unpacked_limit(path)
    if _check_names(path, size):
        return _with_arrays(path, size)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, KeyError, TypeError, AttributeError,
            IndexError, AssertionError, UnicodeError, OverflowError, MemoryError) as error:  # fmt: skip
        raise MotionFormatError(f"{path}: cannot be opened as a tensor (objects and code are refused)") from error
    if _bytes(content) > size:  # strides of 0: any number of rows out of one
        raise MotionFormatError(f"{path}: a tensor larger than its file; save tensor.contiguous()")
    return content


def _bytes(content: Any) -> int:
    """Of all tensors, as they are when written out."""
    if isinstance(content, torch.Tensor):
        return content.numel() * content.itemsize
    parts = content.values() if isinstance(content, dict) else content if isinstance(content, (list, tuple)) else ()
    return sum(_bytes(part) for part in parts)


def unpacked_limit(path: Path) -> int:
    """Bytes that a file may unpack to."""
    return check_file(path) * _GROWTH + _FREE


def _check_names(path: Path, limit: int) -> bool:
    """Whether there are arrays beside tensors. Archives that unpack to more than `limit` bytes are refused, and pickles
    that name anything else: what torch allows with weights_only runs no code, but some of it (bytearray, FloatTensor)
    makes any number of bytes."""
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
    except _DAMAGED as error:
        raise MotionFormatError(f"{path}: not a file of torch.save since PyTorch 1.6") from error
    strange = {name for name in named if name not in _NAMES and not re.fullmatch(r"torch \w+Storage", name)}
    if strange - ARRAY_NAMES:
        raise MotionFormatError(
            f"{path}: holds '{shown(min(strange - ARRAY_NAMES))}'; cannot be opened as a tensor (objects and code are"
            " refused)"
        )
    return bool(strange)


def _with_arrays(path: Path, limit: int) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            storages = _Storages(archive, limit)
            return read_pickle(archive.read(f"{storages.folder}/data.pkl"), storages.named, storages.open)
    except _DAMAGED as error:
        raise MotionFormatError(f"{path}: cannot be opened as tensors and arrays ({shown(str(error), 80)})") from error


class _Storages:
    """The tensors of an archive, for a pickle that names them. limit: bytes of all of them together."""

    def __init__(self, archive: zipfile.ZipFile, limit: int) -> None:
        self.archive, self.limit = archive, limit
        self.folder = next(name for name in archive.namelist() if name.endswith("/data.pkl")).removesuffix("/data.pkl")
        orders = [name for name in archive.namelist() if name == f"{self.folder}/byteorder"]
        if any(archive.read(name) != b"little" for name in orders):
            raise ValueError("of a machine with another order of bytes")

    def named(self, module: str, name: str) -> Any:
        """What stands for a name of the pickle; None for a name that is none of tensors."""
        if module == "torch" and name in _KINDS:
            return _KINDS[name]
        return {"collections OrderedDict": dict, "torch._utils _rebuild_tensor_v2": self._tensor,
                "torch._utils _rebuild_parameter": lambda tensor, *_: tensor}.get(f"{module} {name}")  # fmt: skip

    def open(self, reference: Any) -> torch.Tensor:
        """The numbers of a storage, flat."""
        word, kind, key, _, count = reference
        if word != "storage" or kind not in _KINDS.values() or not str(key).isalnum():
            raise ValueError("a storage of another kind")
        data = bytearray(self.archive.read(f"{self.folder}/data/{key}"))
        if count * kind.itemsize != len(data):
            raise ValueError("a storage whose data are not those of its size")
        return torch.frombuffer(data, dtype=kind) if data else torch.zeros(0, dtype=kind)

    def _tensor(self, numbers: torch.Tensor, offset: int, size: tuple, stride: tuple, *_: Any) -> torch.Tensor:
        if len(size) != len(stride) or any(type(x) is not int or x < 0 for x in (offset, *size, *stride)):
            raise ValueError("a tensor without a shape")
        last = offset + sum((length - 1) * step for length, step in zip(size, stride))
        self.limit -= math.prod(size) * numbers.itemsize
        if self.limit < 0 or (math.prod(size) and last >= numbers.numel()):
            raise ValueError("a tensor that is larger than its file")
        return numbers.as_strided(size, stride, offset)
