"""Uploaded motion files: opened within limits, with messages that name the file and never a place on the server."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mld.errors import MldError, RequestError
from mld.motion.motion import Motion
from mld.serve.page.forms import LARGEST_UPLOAD, LONGEST_CLIP

BESIDE = (".asf", ".bin")  # files that belong to a motion file: the skeleton of an AMC file, the data of a glTF file


@dataclass(frozen=True, eq=False)
class Given:
    """A motion that was given. name: of its file; notes: what the import has to say."""

    motion: Motion
    name: str
    notes: tuple[str, ...] = ()


def open_upload(files: Sequence[str], work: Path) -> Given:
    """The motion of an upload, which may bring the files that belong to it. `RequestError` in words for the page."""
    from mld.motion.importing import import_report, on_floor

    with tempfile.TemporaryDirectory(dir=work) as folder:
        path, skeleton = _beside_each_other([Path(file) for file in files], Path(folder))
        try:
            motion, report = import_report(path, skeleton=skeleton)
            motion, _ = on_floor(motion)
        except MldError as error:
            raise RequestError(str(error).replace(f"{folder}/", "")) from error
    if motion.duration > LONGEST_CLIP:
        raise RequestError(f"{path.name} lasts {motion.duration:.0f} s; up to {LONGEST_CLIP:g} s are taken here. "
                           "Cut it, or use the command `demo`.")
    return Given(motion, path.name, tuple(report.lines()))


def _beside_each_other(files: Sequence[Path], folder: Path) -> tuple[Path, Path | None]:
    """Copies of the files in one folder, under their own names: the motion file, and the skeleton if there is one."""
    gone = [file.name for file in files if not file.is_file()]
    if gone:
        raise RequestError(f"{gone[0]} is no longer here; please upload it again.")
    sizes = sum(file.stat().st_size for file in files)
    if sizes > LARGEST_UPLOAD * 1_000_000:
        raise RequestError(f"{files[0].name}: {sizes / 1e6:.0f} MB are more than the {LARGEST_UPLOAD} MB taken here.")
    main = [file for file in files if file.suffix.lower() not in BESIDE] or list(files[:1])
    if len(main) > 1:
        raise RequestError(f"One motion at a time, please: {main[0].name} or {main[1].name}?")
    copies = [Path(shutil.copy(file, folder)) for file in files]
    skeleton = next((copy for copy in copies if copy.suffix.lower() == ".asf"), None)
    path = folder / main[0].name
    return path, skeleton if skeleton != path else None
