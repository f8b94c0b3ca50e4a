"""The header of NumPy's array format (`.npy`, and the members of `.npz`), read without trust: what it promises is
checked against the bytes that follow, and every kind of damage is a ValueError.
"""

from __future__ import annotations

import io
import math
import threading
import tokenize
from typing import IO

import numpy as np

_MOST_HEADER = 1 << 14  # bytes
_READ = {1: (2, np.lib.format.read_array_header_1_0), 2: (4, np.lib.format.read_array_header_2_0)}
_DAMAGE = (ValueError, TypeError, KeyError, IndexError, AttributeError, SyntaxError, OverflowError, MemoryError,
           RecursionError, tokenize.TokenError)  # fmt: skip
_ONE_AT_A_TIME = threading.Lock()  # Python up to 3.11 counts the depth of what it parses for all threads together


class PickledError(ValueError):
    """The array is of Python objects, which would have to be unpickled."""


def read_array(stream: IO[bytes], size: int) -> np.ndarray:
    """The array of a stream of `size` bytes in all, not writable; ValueError says what is wrong."""
    magic, major, minor = stream.read(6), *stream.read(2).ljust(2, b"\0")
    if magic != np.lib.format.MAGIC_PREFIX or major not in _READ or minor:
        raise ValueError("it does not begin as one array of NumPy does")
    width, parse = _READ[major]
    field = stream.read(width)
    length = int.from_bytes(field, "little")
    if len(field) < width or length > min(size, _MOST_HEADER):
        raise ValueError(f"a header of {length} bytes")
    try:
        head = io.BytesIO(field + stream.read(length))
        with _ONE_AT_A_TIME:
            shape, fortran, dtype = parse(head, max_header_size=_MOST_HEADER)
    except _DAMAGE as error:
        raise ValueError("its header cannot be read") from error
    if dtype.hasobject:
        raise PickledError("holds pickled objects, which are not opened")
    if dtype.itemsize == 0 or dtype.subdtype or any(type(length) is not int or length < 0 for length in shape):
        raise ValueError(f"an array of {dtype} and shape {shape}")
    wanted = math.prod(shape) * dtype.itemsize
    if wanted > size:
        raise ValueError(f"its header promises {shape}, the data are fewer")
    data = stream.read(wanted)
    if len(data) < wanted:
        raise ValueError(f"its header promises {shape}, the data are fewer")
    array = np.frombuffer(data, dtype=dtype) if wanted else np.empty(0, dtype)
    return array.reshape(shape, order="F" if fortran else "C")
