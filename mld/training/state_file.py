"""The file of a training state: written whole or not at all, and known to be whole when it is read.

`torch.save` writes an archive with a CRC-32 of each part, which `torch.load` does not look at: a flipped bit in a
weight would be trained on. Here it is looked at.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from struct import error as StructError
from typing import IO, Any

from mld.errors import CheckpointError
from mld.models.usable import fault
from mld.reading import check_file
from mld.training.sharded_state import SHARDS, damaged

# What zipfile and torch say about bytes that are no longer what was written (NotImplementedError: of a way to pack).
DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, StructError, UnpicklingError),
    *(EOFError, RuntimeError, ValueError, IndexError, KeyError, AttributeError, TypeError),
)
_looked_at: dict[tuple[str, int, int], str] = {}  # what is wrong with a file of that path, time and size


class _Stream:
    """A file that remembers why it could not be written; torch tells only that it could not."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.file.flush()


def write_state(state: Mapping[str, Any], path: str | Path) -> None:
    """Write a state straight to its path, without a copy in memory; what an error leaves of it is removed.

    `OSError` with the name of the file when the disk is full or does not let us write."""
    import torch

    path = Path(path)
    try:
        with open(path, "wb") as file:
            stream = _Stream(file)
            try:
                torch.save(state, stream)
            except RuntimeError as error:
                if stream.error is None:
                    raise
                raise stream.error from error
    except OSError as error:
        path.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error


def read_state(path: Path) -> dict[str, Any]:
    """A state, its tensors left on disk until they are read; `CheckpointError` if it is none."""
    import torch

    try:
        check_file(path)
        state = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except (*DAMAGE, OSError) as error:
        raise CheckpointError(f"{path}: damaged or not a checkpoint") from error
    if not isinstance(state, dict) or "global_step" not in state:
        raise CheckpointError(f"{path}: not a checkpoint of a run")
    return state


def is_whole(path: Path) -> bool:
    """Whether a file is a state that a run can go on from."""
    return not flaw(path)


def flaw(path: Path) -> str:
    """What is wrong with a file that ought to be a state: "damaged" where a byte of it is not the one that was written,
    or weights that are no numbers; "" for nothing. Reads all of it, once a process."""
    try:
        known = str(path), path.stat().st_mtime_ns, path.stat().st_size
        if known not in _looked_at:
            with zipfile.ZipFile(path) as archive:
                whole = archive.testzip() is None
            _looked_at[known] = _unusable(read_state(path), path) if whole else "damaged"
        return _looked_at[known]
    except (*DAMAGE, OSError, CheckpointError):
        return "damaged"


def _unusable(state: Mapping[str, Any], path: Path) -> str:
    """The first weight of a state that nothing can be computed with, and why; or what is wrong with its shards, which
    the first process alone reads for that."""
    if SHARDS in state:
        from lightning.pytorch.utilities.rank_zero import rank_zero_only

        return damaged(state, path) if not rank_zero_only.rank else ""
    for name, value in state.get("state_dict", {}).items():
        if what := fault(value):
            return f"{name} {what}"
    return ""
