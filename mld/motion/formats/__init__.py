"""Motion files by suffix. One module per format with `read(path, fps) -> Motion` and/or `write(motion, path)`."""

from __future__ import annotations

import importlib
import os
import tempfile
from pathlib import Path
from types import ModuleType

from mld.errors import MotionFormatError
from mld.motion.motion import Motion

_MODULES = {".npy": "npy"}


def suffixes() -> tuple[str, ...]:
    """The suffixes that can be written."""
    return tuple(_MODULES)


def read(path: str | Path, fps: float | None = None) -> Motion:
    """Open a motion file; raises `MotionFormatError` naming the file when it is missing, unknown or damaged."""
    path = Path(path)
    if not path.is_file():
        raise MotionFormatError(f"{path}: there is no such file")
    return _module(path).read(path, fps)


def write(motion: Motion, path: str | Path) -> Path:
    """Write a motion file; it appears complete (temporary file, then rename) with its folder made if missing."""
    path = Path(path)
    module = _module(path)
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


def _module(path: Path) -> ModuleType:
    name = _MODULES.get(path.suffix.lower())
    if name is None:
        raise MotionFormatError(f"{path}: '{path.suffix}' is not a motion format; known: {', '.join(_MODULES)}")
    return importlib.import_module(f"mld.motion.formats.{name}")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
