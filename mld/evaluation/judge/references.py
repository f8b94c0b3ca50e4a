"""Reference motions of a meta file: where they are, and what is in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mld.errors import DataError, MldError, shown
from mld.files import file_hash
from mld.motion.edit import resample
from mld.motion.formats.feature_rows import read_rows
from mld.motion.motion import Motion
from mld.motion.plausibility import impossible
from mld.motion.representations.registry import get_representation
from mld.reading import check_file

REPRESENTATION = "motion276"
ABOVE = 4  # folders above the meta file that published paths may begin in


@dataclass(frozen=True)
class Reference:
    """motion: y up, at 20 fps. notes: what is odd about the file."""

    motion: Motion
    file_hash: str
    notes: tuple[str, ...] = ()


def place_of(written: Any, meta: Path, root: Path | None) -> Path:
    """Where a `motion_path` leads. Relative ones begin at `root`; without one at the folder of the meta file or at one
    above it, as published files name theirs from the top of their repository. `DataError` for what is no path."""
    if not isinstance(written, str) or not written.strip() or "\0" in written:
        raise DataError(f"motion_path is {shown(written)}, expected the path of a file")
    path = Path(written).expanduser()
    if root is not None or path.is_absolute():
        return path if root is None else root / path
    folder = meta.resolve().parent
    places = [above / path for above in (folder, *list(folder.parents)[:ABOVE])]
    return next((place for place in places if place.is_file()), places[0])


def read_reference(path: Path, fps: float | None = None) -> Reference:
    """The motion in 276 columns of a file, tensor, array or dictionary with one, by following its steps as published.

    fps: the frame rate of the file; it is then brought to 20 fps. None: its frames count as 20 a second, as published.
    `DataError` says in a line what is wrong with it."""
    columns = get_representation(REPRESENTATION)
    try:
        rows, note = read_rows(path, columns)
        joints = columns.decode_joints(torch.from_numpy(rows))
        motion = Motion(joints, columns.fps if fps is None else fps, columns.skeleton)
        if wrong := impossible(motion.joints):
            raise DataError(f"{path}: {wrong}")
        return Reference(resample(motion, columns.fps), file_hash(path), (note,) if note else ())
    except MldError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def file_hash_of(path: Path) -> str:
    """SHA-256 of a file; "" where it cannot be read."""
    try:
        check_file(path)
        return file_hash(path)
    except OSError:
        return ""


def name_of(entry: Mapping[str, Any], number: int) -> Any:
    """What an entry is called: its global_id, else its id, else the name of its motion file, else its place."""
    for key in ("global_id", "id"):
        if isinstance(entry.get(key), (int, str)) and entry[key] != "":
            return entry[key]
    path = entry.get("motion_path")
    return Path(path).stem if isinstance(path, str) and path else f"entry {number}"
