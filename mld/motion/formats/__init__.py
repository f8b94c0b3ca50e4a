"""Motion files by suffix. One module per format and direction.

A reading module has `read(path, fps) -> Motion`, or `read_rig(path, options) -> RigMotion` where a file has a hierarchy
of its own; a writing module has `write(motion, path)`.
"""

from __future__ import annotations

import importlib
import os
import tempfile
from pathlib import Path
from types import ModuleType

from mld.errors import MotionFormatError
from mld.motion.motion import Motion

_READERS = {".npy": "npy", ".bvh": "bvh", ".amc": "asf_amc", ".asf": "asf_amc", ".npz": "smpl_npz", ".pt": "pt"}
_WRITERS = {".npy": "npy"}


def suffixes() -> tuple[str, ...]:
    """The suffixes that can be written."""
    return tuple(_WRITERS)


def readable_suffixes() -> tuple[str, ...]:
    """The suffixes that can be read."""
    return tuple(_READERS)


def read(path: str | Path, fps: float | None = None) -> Motion:
    """Open a motion file; raises `MotionFormatError` naming the file when it is missing, unknown or damaged."""
    from mld.motion.importing import import_report

    return import_report(path, fps=fps)[0]


def reader(path: Path) -> ModuleType:
    """The module that reads a file; `MotionFormatError` when it is missing or of no known suffix."""
    if not path.is_file():
        raise MotionFormatError(f"{path}: there is no such file")
    return _module(path, _READERS, "read")


def write(motion: Motion, path: str | Path) -> Path:
    """Write a motion file; it appears complete (temporary file, then rename) with its folder made if missing."""
    path = Path(path)
    module = _module(path, _WRITERS, "written")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    try:
        module.write(motion, Path(temporary))
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path


def _module(path: Path, modules: dict[str, str], verb: str) -> ModuleType:
    name = modules.get(path.suffix.lower())
    if name is None:
        raise MotionFormatError(f"{path}: '{path.suffix}' is not a motion format that can be {verb}; "
                                f"known: {', '.join(modules)}")
    return importlib.import_module(f"mld.motion.formats.{name}")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
