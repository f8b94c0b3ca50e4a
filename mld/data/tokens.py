"""Ready-made motion tokens from a folder of `<id>.npy` files, (k, L) or (L,), one per file of the dataset.

A clip that is a timed stretch of its file gets the tokens of that stretch (spec motiongpt 1.5).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mld.data.sources.humanml3d import HumanML3DSource
from mld.errors import DataError
from mld.reading import read_array


def read_tokens(folder: str | Path, source: HumanML3DSource, unit_length: int = 4) -> dict[str, Tensor]:
    """Tokens (k, L) int64 of every clip of `source`, by clip name; `unit_length`: frames per token.

    `DataError` for a missing or unusable file, or tokens that do not fit the length of the clip."""
    folder = Path(folder).expanduser()
    files: dict[str, Tensor] = {}
    tokens = {}
    for index in range(len(source)):
        sample = source.sample(index)
        path = folder / f"{sample.file}.npy"
        if sample.file not in files:
            files[sample.file] = _read(path)
        part = segment_tokens(files[sample.file], sample.start, sample.stop, unit_length)
        if not part.shape[1]:
            where = f"frames {sample.start} to {sample.stop}"
            raise DataError(f"{path}: no token for {where}; extract the tokens again")
        tokens[sample.name] = part
    return tokens


def segment_tokens(tokens: Tensor, start: int, stop: int, unit_length: int) -> Tensor:
    """The tokens (..., l) of frames [start, stop) out of (..., L), cut at whole tokens."""
    return tokens[..., start // unit_length : stop // unit_length]


def _read(path: Path) -> Tensor:
    try:
        tokens = read_array(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable file of motion tokens ({error})") from error
    if tokens.ndim not in (1, 2) or tokens.dtype.kind not in "iu":
        raise DataError(f"{path}: tokens are integers (L,) or (k, L), not {tokens.dtype} {tokens.shape}")
    return torch.from_numpy(np.atleast_2d(tokens).astype(np.int64))
