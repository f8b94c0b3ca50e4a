"""Rows of features as data sets keep them, a file per clip: `.npy` or `.pt`, an array or a dictionary with one.

Unlike `Motion.load` this gives the numbers as they are, not what they decode to.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mld.errors import MotionFormatError
from mld.motion.formats.array_header import PickledError, read_array
from mld.motion.formats.limits import shown
from mld.motion.formats.npy import wider_note
from mld.motion.formats.pickled import read_pickle
from mld.motion.formats.torch_file import open_torch
from mld.motion.representations.base import Representation
from mld.motion.representations.registry import representation_of_width
from mld.reading import check_file, gone_wrong

KEYS = ("motion", "features")
SUFFIXES = (".pt", ".pth", ".npy")
LARGEST = 1e5  # of a column


def read_rows(path: Path, representation: Representation) -> tuple[np.ndarray, str]:
    """Features (T, D) float32 of a file, and a note where they were cut out of wider rows.

    `MotionFormatError` says what is wrong with it: another shape, objects, NaN, damage, no file at all."""
    try:
        check_file(path)
        return rows_of(path, _content(path), representation)
    except FileNotFoundError as error:
        raise MotionFormatError(f"{path}: missing") from error
    except OSError as error:
        raise MotionFormatError(f"{path}: cannot be opened ({error.strerror})") from error


def rows_of(path: Path, content: Any, representation: Representation) -> tuple[np.ndarray, str]:
    """The same of what was in a file: a tensor, an array, or a dictionary with one as `motion`."""
    if isinstance(content, dict):
        held = ", ".join(shown(str(key)) for key in list(content)[:8])
        content = next((content[key] for key in KEYS if key in content), None)
        if content is None:
            raise MotionFormatError(f"{path}: a dictionary without 'motion'; it has {held or 'nothing'}")
    if isinstance(content, torch.Tensor) and not content.is_complex() and content.layout is torch.strided:
        content = content.detach().float().numpy() if content.dtype is not torch.bool else None
    if not isinstance(content, np.ndarray) or content.dtype.kind not in "fiu":
        raise MotionFormatError(f"{path}: holds no array of numbers")
    return _checked(path, content, representation)


def _checked(path: Path, array: np.ndarray, representation: Representation) -> tuple[np.ndarray, str]:
    while array.ndim > 2 and array.shape[0] == 1:  # a batch of one
        array = array[0]
    with np.errstate(over="ignore", invalid="ignore"):
        rows = np.array(array, dtype=np.float32, order="C")
    if rows.ndim != 2 or not rows.size:
        raise MotionFormatError(f"{path}: shape {array.shape}, features of one clip are (T, {representation.width})")
    note = ""
    if rows.shape[1] != representation.width:
        rows, note = _cut(path, rows, representation)
    if not np.isfinite(rows).all():
        bad = ~np.isfinite(rows).all(1)
        raise MotionFormatError(f"{path}: NaN or infinity in {int(bad.sum())} of {len(rows)} frames")
    large = (np.abs(rows) > LARGEST).any(1)
    if large.any():
        raise MotionFormatError(f"{path}: impossible numbers (above {LARGEST:g}), first at frame {int(large.argmax())}")
    return rows, note


def _cut(path: Path, rows: np.ndarray, representation: Representation) -> tuple[np.ndarray, str]:
    features = representation.of_wider(torch.from_numpy(rows))
    if features is not None:
        return features.contiguous().numpy(), wider_note(rows.shape[1], representation)
    other = representation_of_width(rows.shape[1])
    if other is not None:
        advice = f", they are '{other.name}' (data.representation)"
    elif rows.shape[1] > representation.width:
        advice = f", and its first {representation.width} are no motion either (the pelvis is in two places)"
    else:
        advice = ""
    told = f"{rows.shape[1]} columns, '{representation.name}' has {representation.width}"
    raise MotionFormatError(f"{path}: {told}{advice}")


def _content(path: Path) -> Any:
    if told := gone_wrong(path):
        raise MotionFormatError(f"{path}: {told.format('a motion')}")
    if path.suffix.lower() != ".npy":
        return open_torch(path)
    with open(path, "rb") as stream:
        try:
            return read_array(stream, os.fstat(stream.fileno()).st_size)
        except PickledError:
            try:
                found = read_pickle(stream.read())
            except ValueError as error:
                raise MotionFormatError(f"{path}: {error}") from error
            return found[0] if isinstance(found, list) and len(found) == 1 else found
        except ValueError as error:
            raise MotionFormatError(f"{path}: not a readable npy file ({error})") from error
