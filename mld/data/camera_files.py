"""SMPL-X parameters as estimators of motion in videos write them, in the axes of a camera, to 276 canonical columns.

What `convert_hmr_to_motion` of the published code does (spec vimogen 1.6, 8.1): out of `global_orient` (T, 3),
`body_pose` (T, 63) and `transl` (T, 3) a file with `motion` (T-1, 276), `extrinsic` (T-1, 9) and `intrinsic` (3, 3).
The body is the average one: a shape in the file is not used, as published.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mld.data.convert_files import CAMERAS_FOLDER, Converted
from mld.errors import DataError, MotionFormatError, RequestError
from mld.files import atomically, write_array
from mld.motion import edit, kinematics
from mld.motion.formats.archives import open_arrays
from mld.motion.formats.options import ReadOptions
from mld.motion.formats.pt import real_arrays
from mld.motion.formats.smpl_npz import NAMES, rate_of, rig_of
from mld.motion.formats.torch_file import open_torch
from mld.motion.motion import Motion
from mld.motion.representations.camera import Seen, from_camera
from mld.motion.representations.motion276 import Body, motion276
from mld.motion.rig.smpl_body import MODELS_VARIABLE, model_rest, standard_rest
from mld.reading import check_file

SUFFIXES = (".pt", ".pth", ".npz")
LENS = ("focal_length", "width", "height")
PARAMETERS = ("global_orient", "body_pose", "transl")


@dataclass(frozen=True)
class Estimated:
    """What an estimator says of one person. rotations (T, 22, 3, 3) and pelvis (T, 3) as the camera sees them, at `fps`
    if that is known. lens: focal length, width and height of the picture, in pixels, None where one is missing."""

    rotations: Tensor
    pelvis: Tensor
    fps: float | None
    lens: tuple[float, float, float] | None


@dataclass(frozen=True)
class Rest:
    """Rest joints (22, 3) of the average SMPL-X body, metres, and where they are from."""

    joints: Tensor
    note: str

    @classmethod
    def find(cls, folder: Path | None = None) -> Rest:
        """Those of the user's body model, in `folder` or that of the environment; without one those of a standard body.
        `RequestError` where `folder` has none."""
        found = model_rest("smplx", "neutral", np.zeros(10), folder)
        if found is not None:
            return cls(found[0], f"joints of the body model {found[1].name}")
        if folder is not None:
            raise RequestError(f"--body-models {folder}: it holds no smplx/SMPLX_NEUTRAL.npz")
        told = f"no body model (--body-models, or {MODELS_VARIABLE})"
        return cls(standard_rest("smplx"), f"{told}, so bones are those of a standard body")


def convert_hmr(
    named: Sequence[Path], out: Path, rest: Rest, fps: float | None = None, keep_frames: bool = False,
    floor: bool = True, suffix: str = ".pt",
) -> Iterator[Converted]:  # fmt: skip
    """Write every file that is named or lies in a named folder; of `out` with a suffix that one file alone.

    fps: frame rate of the videos; files may say their own. Motions of a known rate are resampled to that of the columns
    unless `keep_frames`. A file that cannot be used is left out. `DataError` before anything is written where two files
    would get one name, or one is there already."""
    targets = _targets(named, out, suffix)
    for path, target in targets.items():
        try:
            found = read_estimate(path, rest, fps)
            motion, note = at_rate(found, rest, keep_frames)
            seen = columns_of(motion, floor)
            save_seen(target, seen, found.lens)
        except DataError as error:
            where = "" if str(path) in str(error) else f"{path}: "
            yield Converted(f"left out: {where}{error}", failed=True)
        else:
            lens = "" if found.lens else "; no focal_length, width and height, so the intrinsic is the identity"
            frames, rows = len(found.pelvis), tuple(seen.features.shape)
            yield Converted(f"{path} ({frames} frames, {note}{lens}) -> {target} {rows}")


def read_estimate(path: Path, rest: Rest, fps: float | None = None) -> Estimated:
    """The parameters in a file; `MotionFormatError` says what is missing or wrong."""
    check_file(path)
    if path.suffix.lower() == ".npz":
        arrays, present = open_arrays(path, (*NAMES, *LENS), optional=NAMES)
        content: Mapping[str, Any] = arrays
    elif path.suffix.lower() in SUFFIXES:
        content = open_torch(path)
        if not isinstance(content, dict):
            raise MotionFormatError(f"{path}: holds no dictionary with {', '.join(PARAMETERS)}")
        arrays, present = real_arrays(content), [str(key) for key in content]
    else:
        raise MotionFormatError(f"{path}: SMPL-X parameters are read from {', '.join(SUFFIXES)}")
    if missing := [name for name in PARAMETERS if name not in arrays]:
        raise MotionFormatError(f"{path}: no array '{missing[0]}'; it has {', '.join(present[:10]) or 'nothing'}")
    known = {name: arrays[name] for name in PARAMETERS}
    known |= {"rest_joints": rest.joints.numpy(), "surface_model_type": np.array("smplx")}
    rate = fps or rate_of(path, arrays)
    rig = rig_of(path, known, list(known), ReadOptions(rate or motion276().fps))
    if len(rig.rotations) < 2:
        raise MotionFormatError(f"{path}: {len(rig.rotations)} frame; columns are of a frame and the step to the next")
    lens = [_number(content.get(name)) for name in LENS]
    whole = all(number is not None and 0 < number < 1e6 for number in lens)
    return Estimated(rig.rotations, rig.translation, rate, tuple(lens) if whole else None)  # type: ignore[arg-type]


def at_rate(found: Estimated, rest: Rest, keep_frames: bool = False) -> tuple[Motion, str]:
    """The motion at the frame rate of the columns, rotations on the shortest arcs, and what was done. Its joints, as
    the camera sees them, are those of the body."""
    wanted = motion276().fps
    motion = _posed(found.rotations, found.pelvis, found.fps or wanted, rest)
    if found.fps is None:
        return motion, f"frames as they are, taken for {wanted:g} fps (--fps)"
    if keep_frames or found.fps == wanted:
        return motion, f"frames as they are, {found.fps:g} fps"
    motion = edit.resample(motion, wanted)
    posed = _posed(motion.rotations.double(), motion.translation.double(), wanted, rest)  # type: ignore[union-attr]
    return posed, f"{found.fps:g} fps made {wanted:g}"


def columns_of(motion: Motion, floor: bool = True) -> Seen:
    """Canonical columns of a motion as a camera sees it, and that camera."""
    edit.check_finite(motion)
    body = Body(motion.rotations.double(), motion.translation.double(), motion.joints.double())  # type: ignore[union-attr]
    return from_camera(motion276().columns_of(body).float(), floor)


def save_seen(target: Path, seen: Seen, lens: tuple[float, float, float] | None) -> None:
    """Write motion and camera: `.pt` as published, or `.npy` with the camera in `cameras/<name>.npz` beside it."""
    camera = {"extrinsic": seen.extrinsic.clone(), "intrinsic": intrinsic(lens)}
    if target.suffix == ".npy":
        with atomically(target) as new:
            write_array(new, seen.features.numpy())
        with atomically(target.parent / CAMERAS_FOLDER / f"{target.stem}.npz") as new, open(new, "wb") as stream:
            np.savez(stream, **{name: part.numpy() for name, part in camera.items()})
        return
    with atomically(target) as new:
        torch.save({"motion": seen.features.clone(), **camera}, new)


def intrinsic(lens: tuple[float, float, float] | None) -> Tensor:
    """K (3, 3) of focal length, width and height in pixels; the identity where they are not known."""
    if lens is None:
        return torch.eye(3)
    focal, width, height = lens
    return torch.tensor([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])


def _posed(rotations: Tensor, pelvis: Tensor, fps: float, rest: Rest) -> Motion:
    skeleton = motion276().skeleton
    offsets = rest.joints.clone()
    offsets[1:] -= rest.joints[list(skeleton.parents[1:])]
    joints, _ = kinematics.forward(pelvis, rotations, offsets.to(pelvis), skeleton.parents)
    return dataclasses.replace(Motion(joints, fps, skeleton), rotations=rotations, translation=pelvis)


def _number(value: Any) -> float | None:
    """A number, the only one or the first of an array (0-d, (T,), (T, 1)); none where there is no number."""
    if isinstance(value, torch.Tensor):
        value = value.detach().float().numpy()
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and value.size:
        value = value.reshape(-1)[0].item()
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _targets(named: Sequence[Path], out: Path, suffix: str) -> dict[Path, Path]:
    files: dict[Path, Path] = {}
    for path in named:
        if path.is_dir():
            below = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
            if not below:
                raise MotionFormatError(f"{path}: no file of SMPL-X parameters ({', '.join(SUFFIXES)}) in this folder")
            files |= {file: file.relative_to(path) for file in below}
        elif path.is_file():
            files[path] = Path(path.name)
        else:
            raise MotionFormatError(f"{path}: there is no such file or folder")
    if out.suffix in (".pt", ".npy"):
        if len(files) != 1:
            raise RequestError(f"{out} is one file, {len(files)} are to be converted; name a folder")
        return dict.fromkeys(files, out)
    targets: dict[Path, Path] = {}
    for path, place in files.items():
        target = out / place.with_suffix(suffix)
        if target in targets.values():
            first = next(other for other, known in targets.items() if known == target)
            raise DataError(f"{first} and {path} would both become {target}; convert them apart")
        if target.resolve() == path.resolve():
            raise DataError(f"{target}: would be written over what is read; name another folder")
        targets[path] = target
    return targets
