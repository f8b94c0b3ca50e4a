"""Arrays, words and numbers out of a pickle, as some programs save dictionaries in `.npy`: nothing of it is run.

Every class and function is refused but those by which NumPy writes arrays, and these are replaced by objects that keep
what was written. So a file can neither run code nor ask for more memory than it is large.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from collections.abc import Callable
from typing import Any

import numpy as np

Names = Callable[[str, str], Any]  # module and name of a class -> what stands for it, None for nothing
_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric", "numpy")
_NUMBERS = "fiu"
_DAMAGE = (ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, OverflowError, MemoryError,
           RecursionError, UnicodeError, ImportError, pickle.UnpicklingError)  # fmt: skip


class _Type:
    """What is written of a dtype: its code, and the order of bytes."""

    def __init__(self, code: str, *_: Any) -> None:
        self.code, self.order = str(code), "<"

    def __setstate__(self, state: tuple) -> None:
        self.order = ">" if state[1] == ">" else "<"

    def dtype(self) -> np.dtype:
        return np.dtype(self.code).newbyteorder("big" if self.order == ">" else "little")


class _Array:
    """What is written of an array: shape, dtype and data."""

    def __init__(self, *_: Any) -> None:
        self.state: tuple = ()

    def __setstate__(self, state: tuple) -> None:
        self.state = state

    def value(self) -> Any:
        """The array of numbers; the list of what an array of objects holds; ValueError for anything else."""
        _, shape, kind, fortran, data = self.state
        if isinstance(data, list):
            return [_plain(item) for item in data]
        return _numbers(data, kind, shape, "F" if fortran else "C")


class _Scalar:
    def __init__(self, kind: _Type, data: Any) -> None:
        self.kind, self.data = kind, data

    def value(self) -> Any:
        return _numbers(self.data, self.kind, (), "C")


class _Buffer:
    def __init__(self, data: Any, kind: _Type, shape: tuple, order: str = "C", axes: Any = None) -> None:
        self.arguments, self.axes = (data, kind, shape, order), axes

    def value(self) -> Any:
        array = _numbers(*self.arguments)
        return array if array is None or self.axes is None else array.transpose(self.axes)


def _letters(text: str, _: str) -> bytes:
    """Bytes, as protocols below 3 write them."""
    return text.encode("latin-1")


_KNOWN = {"_reconstruct": _Array, "ndarray": _Array, "dtype": _Type, "scalar": _Scalar, "_frombuffer": _Buffer}


# As a pickle names them, module and name with a blank between.
ARRAY_NAMES = {f"{module} {name}" for module in _MODULES for name in _KNOWN} | {"_codecs encode"}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, named: Names | None, stored: Callable[[Any], Any] | None) -> None:
        super().__init__(file)
        self._named, self._stored = named, stored

    def persistent_load(self, reference: Any) -> Any:
        if self._stored is None:
            raise pickle.UnpicklingError("it refers to what is not in it")
        return self._stored(reference)

    def find_class(self, module: str, name: str) -> Any:
        if module in _MODULES and name in _KNOWN:
            return _KNOWN[name]
        if (module, name) == ("_codecs", "encode"):
            return _letters
        if self._named is not None and (found := self._named(module, name)) is not None:
            return found
        raise pickle.UnpicklingError(f"it names '{module}.{name}'")


def read_pickle(data: bytes, named: Names | None = None, stored: Callable[[Any], Any] | None = None) -> Any:
    """The dictionaries, lists, words and arrays of a pickle; ValueError for whatever else is in it, and for damage.

    named: stands in for further classes. stored: gives what the pickle refers to outside of it."""
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > len(data):
                raise ValueError("a pickle that asks for memory")
        return _plain(_Unpickler(io.BytesIO(data), named, stored).load())
    except _DAMAGE as error:
        raise ValueError(f"holds pickled objects, which are not opened ({error})") from error


def _plain(value: Any, done: dict[int, Any] | None = None) -> Any:
    """A value with arrays in place of what was written of them. done: what was made of parts that occur again."""
    done = {} if done is None else done
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, (_Array, _Scalar, _Buffer)):
        found = value.value()
    elif isinstance(value, dict):
        found = {key: _plain(item, done) for key, item in value.items()}
    elif isinstance(value, (list, tuple)):
        found = [_plain(item, done) for item in value]
    else:
        return value
    done[id(value)] = found
    return found


def _numbers(data: Any, kind: _Type, shape: tuple, order: str) -> Any:
    dtype = kind.dtype()
    if dtype.kind not in _NUMBERS:
        return None
    if isinstance(data, str):  # of Python 2, or of protocols below 3
        data = data.encode("latin-1")
    if any(type(length) is not int or length < 0 for length in shape) or math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError("an array whose data are not those of its shape")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if order == "F" else "C")
