"""Arrays from `.npz` files without trust: no pickles, and no more memory than a fixed multiple of the file's size."""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np

from mld.errors import MotionFormatError

_GROWTH, _FREE = 64, 1 << 24  # a file may unpack to 64 times its size, and to 16 MB in any case
_MOST_HEADER = 1 << 16
_MOST_MEMBERS = 10_000
_DAMAGE = (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error, struct.error, SyntaxError, TypeError,
           OverflowError, NotImplementedError, RuntimeError, KeyError, MemoryError)  # fmt: skip


def open_arrays(path: Path, wanted: Collection[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Those arrays of an npz file whose names are `wanted`, and the names of all. `MotionFormatError` for damage."""
    path = Path(path)
    limit = path.stat().st_size * _GROWTH + _FREE
    arrays: dict[str, np.ndarray] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()[:_MOST_MEMBERS]}
            for name in sorted(set(members) & set(wanted)):
                arrays[name] = _member(path, archive, members[name], limit)
                limit -= arrays[name].nbytes
    except _DAMAGE as error:
        raise MotionFormatError(f"{path}: not a readable npz file ({_short(error)}); copy it again") from error
    return arrays, list(members)


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int) -> np.ndarray:
    if info.file_size > limit:
        raise MotionFormatError(f"{path}, array '{info.filename}': unpacks to {info.file_size >> 20} MB, far more than "
                                "a motion of this file size")
    with archive.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in read:
            raise ValueError(f"array format {version}")
        shape, fortran, dtype = read[version](stream, max_header_size=_MOST_HEADER)
        if dtype.hasobject:
            raise MotionFormatError(f"{path}, array '{info.filename}': holds pickled objects, which are not opened")
        count = math.prod(shape)
        if count * dtype.itemsize > info.file_size:
            raise MotionFormatError(f"{path}, array '{info.filename}': its header promises {shape}, the data are fewer")
        data = stream.read(count * dtype.itemsize)
    array = np.frombuffer(data, dtype=dtype, count=count)
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:120]
