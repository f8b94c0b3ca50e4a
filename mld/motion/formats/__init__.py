"""Motion files by suffix. One module per format and direction.

A reading module has `read(path, fps) -> Motion`, or `read_rig(path, options) -> RigMotion` where files have a hierarchy
of their own, or `read_noted(path, options) -> (Motion or RigMotion, notes)` where they may have either; and
`clip_names(path)` where they may hold several motions. A writing module has `write(motion, path, **options)`. Rooms
above this one, such as `mld.view`, add the formats that they write with `add_writer`.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from mld.errors import MotionFormatError, RequestError
from mld.files import atomically
from mld.motion.motion import Motion
from mld.reading import gone_wrong

_READERS = {
    ".npy": "npy", ".pt": "pt", ".csv": "csv", ".json": "json", ".npz": "npz",
    ".bvh": "bvh", ".amc": "asf_amc", ".asf": "asf_amc",
    ".glb": "gltf_read", ".gltf": "gltf_read", ".vrm": "gltf_read", ".vrma": "gltf_read",
}  # fmt: skip
_WRITERS = {
    ".npy": "npy", ".bvh": "bvh_write", ".glb": "gltf", ".gltf": "gltf", ".npz": "smpl_write", ".csv": "csv",
    ".json": "json",
}  # fmt: skip
LARGEST = 400_000_000  # bytes of a file; an hour of joints at 60 fps takes 60 MB as numbers, 500 MB as text
_ADDED: dict[str, Callable] = {}


def suffixes() -> tuple[str, ...]:
    """The suffixes that can be written."""
    return (*_WRITERS, *_ADDED)


def add_writer(suffix: str, write: Callable) -> None:
    """Let `Motion.save` write files of a suffix by `write(motion, path, **options)`."""
    _ADDED[suffix] = write


def readable_suffixes() -> tuple[str, ...]:
    """The suffixes that can be read."""
    return tuple(_READERS)


def files_in(folder: Path, below: bool = False) -> list[Path]:
    """The motion files of a folder in order of their names, with `below` those of its folders, too. `index.json`, which
    the demo writes beside its motions, is none."""
    found = folder.rglob("*") if below else folder.iterdir()
    return sorted(
        path for path in found if path.suffix.lower() in _READERS and path.name != "index.json" and path.is_file()
    )


def reader(path: Path) -> ModuleType:
    """The module that reads a file; `MotionFormatError` when it is missing, too large or of no known suffix."""
    if not path.is_file():
        what = "a folder, a motion file is needed" if path.is_dir() else "there is no such file"
        raise MotionFormatError(f"{path}: {what}")
    if (size := path.stat().st_size) > LARGEST:
        raise MotionFormatError(f"{path}: {size:,} bytes; a motion file has at most {LARGEST:,}. Cut it into parts")
    name = _READERS.get(path.suffix.lower())
    if name is None:
        raise MotionFormatError(
            f"{path}: '{path.suffix}' is not a motion format that can be read; known: {', '.join(_READERS)}"
        )
    if told := gone_wrong(path):
        raise MotionFormatError(f"{path}: {told.format('a motion')}")
    return importlib.import_module(f"mld.motion.formats.{name}")


def takes(suffix: str, option: str) -> bool:
    """Whether the format that is written under a suffix has an option, such as `names`."""
    return option in inspect.signature(_writer(Path(f"motion{suffix}"))).parameters


def write(motion: Motion, path: str | Path, **options: Any) -> Path:
    """Write a motion file; it appears complete (temporary file, then rename) with its folder made if missing.

    Raises `RequestError` for an option that the format does not have.
    """
    path = Path(path)
    function = _writer(path)
    _check_options(path, function, options)
    with atomically(path) as new:
        function(motion, new, **options)
    return path


def _writer(path: Path) -> Callable:
    suffix = path.suffix.lower()
    if suffix in _ADDED:
        return _ADDED[suffix]
    if suffix not in _WRITERS:
        raise MotionFormatError(
            f"{path}: '{path.suffix}' is not a motion format that can be written; known: "
            f"{', '.join(suffixes())}{'' if _ADDED else '; and pictures after `import mld.view`'}"
        )
    return importlib.import_module(f"mld.motion.formats.{_WRITERS[suffix]}").write


def _check_options(path: Path, function: Callable, options: dict[str, Any]) -> None:
    known = list(inspect.signature(function).parameters)[2:]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise RequestError(f"{path.suffix} files have no option '{unknown[0]}'; known: {', '.join(known) or 'none'}")
