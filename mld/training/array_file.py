"""A `.npy` file that is read row by row, in any process and thread, and that may be cut short or go away meanwhile.

A memory map would be as fast, but the system ends a process that looks at a part of a map that is no longer there.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np

from mld.errors import DataError


class ArrayFile:
    """An array (N, ...) of a file that was found whole; `DataError` where it is no longer."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - open as long as this object is
            version = np.lib.format.read_magic(self._file)
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
            shape, _, self.dtype = read(self._file)
        except (OSError, ValueError, KeyError) as error:
            raise self._gone() from error
        self.length, self._row = shape[0], shape[1:]
        self._begin, self._size = self._file.tell(), self.dtype.itemsize * math.prod(self._row)

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows [start, stop), a copy."""
        data = bytearray((stop - start) * self._size)
        try:
            if self._read(data, self._begin + start * self._size) < len(data):
                raise self._gone()
        except OSError as error:
            raise self._gone() from error
        return np.frombuffer(data, self.dtype).reshape(-1, *self._row)

    def _read(self, data: bytearray, place: int) -> int:
        if hasattr(os, "preadv"):  # where the file stands is shared with forked processes
            return os.preadv(self._file.fileno(), [data], place) if data else 0
        self._file.seek(place)
        return self._file.readinto(data) or 0

    def _gone(self) -> DataError:
        return DataError(f"{self.path}: changed or removed while it is in use; start again, it is then made anew")
