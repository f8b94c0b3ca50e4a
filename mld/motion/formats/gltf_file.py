"""The container of `.gltf` and `.glb`: checked access to the JSON document, its buffers and accessors (glTF 2.0).

Nothing is taken on trust: indices, counts and lengths are checked against what the file holds; other files are opened
only inside its folder.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from mld.errors import MotionFormatError
from mld.motion.formats.limits import shown
from mld.reading import read_bytes

_COMPONENTS = {"5120": "<i1", "5121": "<u1", "5122": "<i2", "5123": "<u2", "5125": "<u4", "5126": "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_JSON, _BIN = 0x4E4F534A, 0x004E4942
_MAGIC = b"glTF"
_OVERLAP = 4  # accessors may share data so many times over


class GltfFile:
    """A document with its buffers. `size` is what the file and its buffers measure together, in bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        data = path.read_bytes()
        self.size = len(data)
        self._binary: bytes | None = None
        self._buffers: dict[int, bytes] = {}
        self._files: dict[Path, bytes] = {}
        self._items: dict[str, list[dict]] = {}
        self._taken = 0
        text = self._chunks(data) if data[:4] == _MAGIC else data
        try:
            self.document = json.loads(text.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise self.error(f"its JSON cannot be read ({shown(str(error), 80)})") from error
        if not isinstance(self.document, dict):
            raise self.error("its JSON is not an object")

    def error(self, message: str) -> MotionFormatError:
        return MotionFormatError(f"{self.path}: {message}")

    def items(self, key: str) -> list[dict]:
        """The objects of a top-level list; empty when there is none."""
        if key not in self._items:
            found = self.document.get(key, [])
            if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
                raise self.error(f"'{key}' is not a list of objects")
            self._items[key] = found
        return self._items[key]

    def item(self, key: str, index: Any) -> dict:
        found = self.items(key)
        if type(index) is not int or not 0 <= index < len(found):
            raise self.error(f"there is no {key}[{shown(index)}]")
        return found[index]

    def numbers(self, owner: dict, key: str, default: tuple[float, ...], where: str) -> np.ndarray:
        """A list of numbers of known length in an object, float64."""
        value = owner.get(key, default)
        try:
            array = np.array(value, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            array = np.empty(0)
        if array.shape != (len(default),) or not (np.abs(array) < 1e8).all():
            raise self.error(f"{where}.{key} is not {len(default)} numbers")
        return array

    def accessor(self, index: Any) -> np.ndarray:
        """The values (count, width) float64 of an accessor; normalised integers as their fractions."""
        accessor, where = self.item("accessors", index), f"accessors[{index}]"
        if "sparse" in accessor or "bufferView" not in accessor:
            raise self.error(f"{where} is sparse or has no bufferView, which is not supported")
        dtype, width = _COMPONENTS.get(shown(accessor.get("componentType"))), _WIDTHS.get(shown(accessor.get("type")))
        if dtype is None or width is None:
            raise self.error(f"{where} has an unknown componentType or type")
        view, data = self._view(accessor["bufferView"])
        item = np.dtype(dtype).itemsize
        count, offset = self._count(accessor, "count", None, where), self._count(accessor, "byteOffset", 0, where)
        stride = self._count(view, "byteStride", width * item, where)
        if count == 0 or stride < width * item or offset + (count - 1) * stride + width * item > len(data):
            raise self.error(f"{where} reaches beyond its buffer")
        self._taken += count * width * item
        if self._taken > _OVERLAP * self.size:
            raise self.error(f"{where}: the accessors take more than {_OVERLAP} times what the file holds")
        raw = np.ndarray((count, width), dtype=dtype, buffer=data, offset=offset, strides=(stride, item))
        with np.errstate(invalid="ignore"):  # NaN of any kind is refused below
            values = raw.astype(np.float64)
        if accessor.get("normalized") and raw.dtype.kind != "f":
            values = np.maximum(values / np.iinfo(raw.dtype).max, -1.0)
        if not np.isfinite(values).all():
            row = int((~np.isfinite(values)).any(1).argmax())
            raise self.error(f"{where} holds NaN or infinity, first in row {row}")
        return values

    def _chunks(self, data: bytes) -> bytes:
        if len(data) < 20:
            raise self.error("a GLB file of fewer than 20 bytes")
        version, length = struct.unpack_from("<II", data, 4)
        if version != 2 or length > len(data):
            raise self.error(f"GLB version {version}, {length} bytes promised of {len(data)}; is the file cut off?")
        text, at = None, 12
        while at + 8 <= length:
            size, kind = struct.unpack_from("<II", data, at)
            if at + 8 + size > length:
                raise self.error(f"the chunk at offset {at} reaches beyond the end of the file")
            chunk = data[at + 8 : at + 8 + size]
            if kind == _JSON and text is None:
                text = chunk
            elif kind == _BIN and self._binary is None:
                self._binary = chunk
            at += 8 + size
        if text is None:
            raise self.error("a GLB file without a JSON chunk")
        return text

    def _view(self, index: Any) -> tuple[dict, memoryview]:
        view, where = self.item("bufferViews", index), f"bufferViews[{index}]"
        data = self._buffer(view.get("buffer"))
        start, size = self._count(view, "byteOffset", 0, where), self._count(view, "byteLength", None, where)
        if start + size > len(data):
            raise self.error(f"{where} reaches beyond its buffer")
        return view, memoryview(data)[start : start + size]

    def _buffer(self, index: Any) -> bytes:
        buffer = self.item("buffers", index)
        if index not in self._buffers:
            self._buffers[index] = self._open(buffer, f"buffers[{index}]")
        return self._buffers[index]

    def _open(self, buffer: dict, where: str) -> bytes:
        uri = buffer.get("uri")
        if uri is None:
            if self._binary is None:
                raise self.error(f"{where} has no data")
            return self._binary
        if not isinstance(uri, str):
            raise self.error(f"{where}.uri is not text")
        if uri.startswith("data:"):
            head, _, text = uri.partition(",")
            try:
                return base64.b64decode(text, validate=True) if head.endswith(";base64") else unquote(text).encode()
            except (binascii.Error, ValueError) as error:
                raise self.error(f"{where}.uri is not valid base64") from error
        folder = self.path.resolve().parent
        try:
            other = (folder / unquote(uri)).resolve()
            inside = "://" not in uri and other.is_relative_to(folder) and other.is_file()
        except (OSError, ValueError, RuntimeError):  # no possible name of a file
            inside = False
        if not inside:
            raise self.error(f"{where} is the file '{shown(uri, 80)}', which is not in the folder of the motion")
        if other not in self._files:
            self._files[other] = read_bytes(other)
            self.size += len(self._files[other])
        return self._files[other]

    def _count(self, owner: dict, key: str, default: int | None, where: str) -> int:
        value = owner.get(key, default)
        if type(value) is not int or not 0 <= value < 1 << 40:
            raise self.error(f"{where}.{key} is {shown(value)}, not a count")
        return value
