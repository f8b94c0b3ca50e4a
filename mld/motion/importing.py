"""Open any motion file and say what was done: `import_report(path) -> (Motion, MappingReport)`."""

from __future__ import annotations

import dataclasses
import logging
import re
from pathlib import Path
from types import ModuleType

import torch

from mld.errors import DataError, MotionFormatError
from mld.motion.edit import check_finite, transform
from mld.motion.formats import reader
from mld.motion.formats.clips import is_taken_note
from mld.motion.formats.options import ReadOptions
from mld.motion.formats.placing import told
from mld.motion.motion import Motion
from mld.motion.plausibility import check_possible, posture, remarks
from mld.motion.rig.jumps import longest_part
from mld.motion.rig.mapping import JointMapping, get_mapping
from mld.motion.rig.retarget import MappingReport, to_smpl22
from mld.motion.rig.rig import RigMotion

log = logging.getLogger(__name__)
_FLOOR_QUANTILE = 0.005  # of the frames, by height of the lowest joint: single frames of noise do not set the floor
_LEVEL_QUANTILE, _FEW_BELOW = 0.1, 0.1  # below the level that is reached again and again, metres: frames are wrong
_CONTACT_HEIGHT, _CONTACT_SPEED = 0.08, 0.3  # metres above the floor, metres per second
_SKATING = 0.25  # metres per second on the floor that the report warns of


def import_report(
    path: str | Path,
    fps: float | None = None,
    mapping: JointMapping | str | Path | None = None,
    unit: float | None = None,
    up: str | None = None,
    skeleton: str | Path | None = None,
    clip: str | int | None = None,
) -> tuple[Motion, MappingReport]:
    """The motion of a file on the model skeleton, and what was mapped, guessed and noticed.

    fps: the frame rate, for files that hold none or a wrong one; mapping: a joint table, its name or its file; unit:
    metres per unit of the file; up: its vertical axis; skeleton: the ASF file of an AMC file;
    clip: the name or number, from 1, of an animation of a file with several (`clip_names`). Raises
    `MotionFormatError` naming the file, and the line or offset where it is damaged.
    """
    path = Path(path)
    module = reader(path)
    options = ReadOptions(fps, unit, up, None if skeleton is None else Path(skeleton), clip)
    if isinstance(mapping, (str, Path)):
        mapping = get_mapping(mapping)
    try:
        if clip is not None and not hasattr(module, "clip_names"):
            raise MotionFormatError(f"{path}: {path.suffix} files hold one motion, so there is no animation '{clip}'")
        found, notes = _read(path, module, options)
        if isinstance(found, RigMotion):
            motion, report = to_smpl22(found, mapping, up, path.stem if fps is None else "")
            notes = [*notes, *report.notes]
        else:
            motion, report = found, MappingReport(path.suffix.lstrip("."), "", found.num_frames, found.fps, {})
            notes = [*notes, *filter(None, [posture(motion)])]
        odd = remarks(check_possible(check_finite(motion)))
        warnings = tuple(dict.fromkeys([*filter(is_taken_note, notes), *report.warnings, *odd]))
        said = tuple(dict.fromkeys([*notes, *warnings]))
        return motion, dataclasses.replace(report, notes=said, warnings=warnings)
    except OSError as error:
        raise MotionFormatError(f"{path}: cannot be read ({error.strerror or error})") from error
    except MotionFormatError:
        raise
    except DataError as error:
        raise MotionFormatError(f"{path}: {error}") from error


def load(path: str | Path, fps: float | None = None, clip: str | int | None = None) -> Motion:
    """The motion of a file; what is odd about it is logged as one line of warning. clip: as in `import_report`."""
    motion, report = import_report(path, fps=fps, clip=clip)
    if report.warnings:
        log.warning("%s: %s", path, "; ".join(report.warnings))
    return motion


def _read(path: Path, module: ModuleType, options: ReadOptions) -> tuple[Motion | RigMotion, list[str]]:
    """What a file holds, joints or a rig that moves, and notes; unit and axis of joints as they are given."""
    if hasattr(module, "read_rig"):
        return module.read_rig(path, options), []
    if hasattr(module, "read_noted"):
        return module.read_noted(path, options)
    return told(module.read(path, options.fps), options), []


def clip_names(path: str | Path) -> tuple[str, ...]:
    """Names of the motions of a file that may hold several (glTF, batches, results); empty for others. Raises
    `MotionFormatError` for a damaged file."""
    path = Path(path)
    module = reader(path)
    try:
        return module.clip_names(path) if hasattr(module, "clip_names") else ()
    except OSError as error:
        raise MotionFormatError(f"{path}: cannot be read ({error.strerror or error})") from error


def each_clip(path: Path) -> tuple[str | None, ...]:
    """Names of the motions of a file that holds several; None alone for others, and for a damaged one, as opening it
    says what is wrong."""
    try:
        names = clip_names(path)
    except DataError:
        return (None,)
    return names if len(names) > 1 else (None,)


def clip_stem(stem: str, clip: str | None) -> str:
    """A name for a file of one of several motions."""
    return stem if clip is None else f"{stem}_" + re.sub(r"[^\w-]+", "_", clip).strip("_")


def on_floor(motion: Motion) -> tuple[Motion, str]:
    """The motion with its floor at y = 0, and a sentence on floor and feet.

    The floor is where the lowest joint is in the longest part without jumps, a few frames below it left aside.
    """
    steady = motion.joints[longest_part(motion.joints, motion.fps)]
    lowest = steady[..., 1].min(dim=1).values.double()
    floor = float(torch.quantile(lowest, _FLOOR_QUANTILE))
    level = float(torch.quantile(lowest, _LEVEL_QUANTILE))
    if level - floor > _FEW_BELOW:  # a few frames are far below where the feet are again and again
        floor = level
    motion = transform(motion, y=-floor)
    feet = motion.joints[:, [*motion.skeleton.left_foot, *motion.skeleton.right_foot]]
    if motion.num_frames < 2:
        return motion, f"floor: moved by {-floor:+.3f} m"
    speed = (feet[1:] - feet[:-1]).norm(dim=-1) * motion.fps
    down = (feet[1:, :, 1] < _CONTACT_HEIGHT) & (feet[:-1, :, 1] < _CONTACT_HEIGHT)
    still = down & (speed < _CONTACT_SPEED)
    standing = float(still.any(1).double().mean())
    text = f"floor: moved by {-floor:+.3f} m; a foot stands on it in {standing:.0%} of frames"
    sliding = float(speed[down].median()) if down.any() else 0.0
    if sliding > _SKATING:
        text += f"; feet near the floor move at {sliding:.2f} m/s (sliding, or another floor)"
    return motion, text
