"""Arrays from `.npz` files without trust: no pickles, and no more memory than a fixed multiple of the file's size."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np

from mld.errors import MotionFormatError
from mld.motion.formats.array_header import PickledError, read_array
from mld.motion.formats.limits import shown

_GROWTH, _FREE = 16, 1 << 22  # a file may unpack to 16 times its size, and to 4 MB in any case
_MOST_MEMBERS = 10_000
DAMAGE = (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, OverflowError,
           NotImplementedError, RuntimeError, KeyError, IndexError)  # fmt: skip


def open_arrays(
    path: Path, wanted: Collection[str], optional: Collection[str] = ()
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Those arrays of an npz file whose names are `wanted`, and the names of all. `MotionFormatError` for damage.
    Arrays of Python objects are refused; those that are `optional` are left aside."""
    path = Path(path)
    limit = path.stat().st_size * _GROWTH + _FREE
    arrays: dict[str, np.ndarray] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()[:_MOST_MEMBERS]}
            for name in sorted(set(members) & set(wanted)):
                try:
                    arrays[name] = _member(path, archive, members[name], limit)
                except PickledError as error:
                    if name in optional:
                        continue
                    raise MotionFormatError(f"{path}, array '{shown(name)}': {error}") from error
                limit -= arrays[name].nbytes
    except DAMAGE as error:
        reason = shown(str(error) or type(error).__name__, 100)
        raise MotionFormatError(f"{path}: not a readable npz file ({reason}); copy it again") from error
    return arrays, list(members)


def member(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """An array of an archive of any size, not writable: `KeyError` where there is none of that name, one of `DAMAGE`
    for what cannot be read, or unpacks to far more than the archive has bytes."""
    info = archive.getinfo(name)
    if info.file_size > _GROWTH * info.compress_size + _FREE:
        raise ValueError(f"it unpacks to {info.file_size >> 20} MB, far more than a motion of this size")
    with archive.open(info) as stream:
        return read_array(stream, info.file_size)


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int) -> np.ndarray:
    where = f"{path}, array '{shown(info.filename)}'"
    if info.file_size > limit:
        raise MotionFormatError(f"{where}: unpacks to {info.file_size >> 20} MB, far more than a motion of this file "
                                "size")
    try:
        with archive.open(info) as stream:
            return read_array(stream, info.file_size)
    except PickledError:
        raise
    except ValueError as error:
        raise MotionFormatError(f"{where}: {shown(str(error), 100)}") from error
