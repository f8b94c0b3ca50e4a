"""What a file of weights is before a library reads it: a download that went wrong is a web page or a pointer."""

from __future__ import annotations

import pickle
import re
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mld import reading
from mld.errors import CheckpointError

PATTERNS = ("model*.safetensors", "pytorch_model*.bin")  # weights in a folder of the Hugging Face layout
# What the transformers library may raise for a folder whose files are cut, changed or of another kind.
UNREADABLE = (OSError, ValueError, RuntimeError, EOFError, LookupError, TypeError, AttributeError,
              pickle.UnpicklingError, SafetensorError)  # fmt: skip
WHOLE = re.compile(r"F(64|32|16)|BF16|[IU](64|32)|BOOL")  # numbers that stand for themselves, in safetensors


def check_file(file: Path) -> None:
    """`CheckpointError` for a file that is no weights at all, by how it begins, and for quantised ones; `FileError` for
    what is no file."""
    reading.check_file(file)
    if told := reading.gone_wrong(file):
        raise CheckpointError(f"{file}: {told.format('the weights')}")
    with open(file, "rb") as stream:
        start = stream.read(512)
    if file.suffix == ".safetensors" or start[8:9] == b"{":
        _check_header(file)
    elif not (start.startswith((b"PK\x03\x04", b"\x80")) or tarfile.is_tarfile(file)):
        text = bool(start) and not re.search(rb"[\x00-\x08\x0e-\x1f]", start)
        raise CheckpointError(f"{file}: not a PyTorch checkpoint{', but a text' if text else ''}")


def check_folder(folder: Path) -> None:
    """The same of all weights in a folder of the Hugging Face layout."""
    for pattern in PATTERNS:
        for file in sorted(folder.glob(pattern)):
            check_file(file)
            if file.suffix == ".bin":
                _check_pickle(file)


def check_loaded(report: Mapping[str, Any], where: str, optional: tuple[str, ...] = ()) -> None:
    """What the library says of the weights it has loaded: `CheckpointError` where it would go on with random numbers.
    optional: beginnings of the names of weights that may be missing."""
    least = optional or "\0"  # none: no name begins so
    mismatched = [entry for entry in report.get("mismatched_keys", ()) if not str(entry[0]).startswith(least)]
    if mismatched:
        name, there, wanted = mismatched[0][:3]
        raise CheckpointError(f"{where}: {name} is of shape {tuple(there)}, its config wants {tuple(wanted)}")
    missing = sorted(name for name in report["missing_keys"] if not name.startswith(least))
    if missing:
        other = sorted(report.get("unexpected_keys", ()))
        instead = f"; the file has {other[0]}" if other else ""
        raise CheckpointError(f"{where}: lacks {len(missing)} weights, {missing[0]} first{instead}")


def check_finite(weights: Iterable[tuple[str, Tensor]], where: str) -> None:
    """`CheckpointError` that names the first weight which holds NaN or infinity."""
    for name, value in weights:
        if value.is_floating_point() and value.numel() and not all(bool(e.isfinite()) for e in torch.aminmax(value)):
            raise CheckpointError(f"{where}: {name} holds NaN or infinite numbers; nothing can be computed with these "
                                  "weights")


def _check_pickle(file: Path) -> None:
    """Names and kinds of numbers, without the numbers."""
    try:
        state = torch.load(file, map_location="meta", weights_only=True)
        kinds = {str(name): value.dtype for name, value in state.items() if isinstance(value, Tensor)}
    except UNREADABLE as error:
        raise CheckpointError(f"{file}: damaged or not a PyTorch checkpoint") from error
    strange = next((name for name, kind in kinds.items() if kind.is_complex or kind.itemsize < 2), None)
    if strange is not None and kinds[strange] != torch.bool:
        raise CheckpointError(f"{file}: {strange} is {kinds[strange]}; quantised or complex weights cannot be read")


def _check_header(file: Path) -> None:
    try:
        with safe_open(file, "pt") as opened:
            kinds = {name: opened.get_slice(name).get_dtype() for name in opened.keys()}  # noqa: SIM118  (no mapping)
    except SafetensorError as error:
        raise CheckpointError(f"{file}: damaged or not a safetensors file ({error})") from error
    strange = next((name for name, kind in kinds.items() if not WHOLE.fullmatch(kind)), None)
    if strange is not None:
        raise CheckpointError(f"{file}: {strange} is {kinds[strange]}; quantised or complex weights cannot be read")
