"""The two dimensions of MBench that need a body: `Pose_Quality` and `Body_Penetration` (spec mbench, sections 5 to 7).

SMPL is fitted to joints, and what is fitted is kept in a folder of the caller's choice under a hash of joints, files
and schedule, so both modes share it and nothing stale is used. Nothing is written beside results. By default poses have
the lowest loss of every frame; the published schedule, minutes a clip, comes to about the same poses where it does not
stop in a worse place.
"""

from __future__ import annotations

import hashlib
import importlib.util
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mld.errors import DataError, MldError, missing_extra
from mld.evaluation.suites.mbench.settings import Schedule
from mld.evaluation.suites.mbench.smpl_files import SmplFiles, open_or_reason
from mld.files import atomically, file_hash, parse_json, write_json
from mld.metrics.mesh_collisions import body_penetration
from mld.metrics.mode import Mode
from mld.models.pose_distance import PoseDistance, checkpoint_file
from mld.motion.rig.smplify import SMPL_JOINTS, Fitted, fit_as_published, standing
from mld.motion.rig.smplify_solver import fit

POSE, PENETRATION = "Pose_Quality", "Body_Penetration"
NAMES = (POSE, PENETRATION)
FORMAT = "mld-mbench-pose/1"
NO_WEIGHTS = "no weights of NRDF; name the file or folder of its release by --nrdf"
Progress = Callable[[str, int, int], None]  # what is done, steps done, steps there are


class PoseScorer:
    """body_models: the user's folder (smpl/SMPL_NEUTRAL.npz; SMPLify's gmm_08 and mean pose), by default that of the
    environment. nrdf: weights of NRDF. cache: folder of what was fitted, None for no cache.

    mode: "upstream" feeds NRDF the joints of published numbers, and wants SMPLify's own prior and mean pose; "strict"
    feeds the body's joints and does without these files. schedule: how poses are fitted, in either mode.

    broken: dimensions that cannot be computed though what they need was named."""

    def __init__(
        self, body_models: Path | None, nrdf: Path | None, mode: Mode = "strict", device: str | torch.device = "cpu",
        cache: Path | None = None, schedule: Schedule = "lowest", progress: Progress | None = None,
    ) -> None:  # fmt: skip
        self.mode, self.device, self.cache, self.schedule = mode, device, cache, schedule
        self._tell: Progress = progress or (lambda what, done, total: None)
        self._files, self._no_body = open_or_reason(body_models)
        self.broken = frozenset(NAMES if body_models is not None and self._files is None else ())
        if self._files is not None and mode == "upstream" and (missing := self._files.missing()):
            self._files, self._no_body = None, missing
        self._nrdf, self._no_nrdf, self._weights = None, NO_WEIGHTS, "none"
        if nrdf is not None:
            try:
                self._nrdf = PoseDistance.load(nrdf).to(device)
                self._weights = file_hash(checkpoint_file(Path(nrdf)))[:16]
            except MldError as error:
                self._no_nrdf, self.broken = str(error), self.broken | {POSE}
        else:
            self.broken -= {POSE}

    @property
    def identity(self) -> str:
        """What numbers depend on besides the motion: mode, schedule and files by their hashes."""
        return f"{self.mode} {self._fitting} nrdf:{self._weights}"

    @property
    def _fitting(self) -> str:
        hashes = {} if self._files is None else self._files.hashes
        return " ".join([self.schedule, *(f"{name}:{value}" for name, value in hashes.items())])

    def reasons(self, pose: Tensor | None = None, vertices: Tensor | None = None) -> dict[str, str]:
        """Why dimensions cannot be computed; none for those that can. pose, vertices: what a file already has."""
        found: dict[str, str] = {}
        if self._nrdf is None:
            found[POSE] = self._no_nrdf
        elif self._files is None and pose is None:
            found[POSE] = self._no_body
        if self._files is None:
            found[PENETRATION] = self._no_body
        elif vertices is None and importlib.util.find_spec("smplx") is None:
            found[PENETRATION] = str(missing_extra("smplx", "smpl"))
        return found

    def scores(
        self, joints: Tensor, pose: Tensor | None = None, vertices: Tensor | None = None, names: Sequence[str] = NAMES
    ) -> dict[str, float]:
        """The dimensions of joints (T, 22, 3), metres, y up, 20 fps, that can be computed.

        pose (T, 24, 3), vertices (T, V, 3): of a file that published tools fitted, taken as they are. `DataError` for
        joints of another shape and for NaN."""
        if pose is not None and POSE in names and not pose.isfinite().all():
            raise DataError("the poses that the file has hold NaN or infinity; without them they are fitted anew")
        reasons, scores = self.reasons(pose, vertices), dict[str, float]()
        if POSE in names and POSE not in reasons:
            scores[POSE] = self._nrdf.score(self.fitted(joints).pose if pose is None else pose, self.mode)
        if PENETRATION in names and PENETRATION not in reasons:
            scores[PENETRATION] = self._penetration(joints) if vertices is None else self._collisions(list(vertices))
        return scores

    def fitted(self, joints: Tensor) -> Fitted:
        """Poses of joints (T, 22, 3), out of the cache where they are in it. `DataError` without a body model."""
        return self.fit_all([joints])[0]

    def fit_all(self, clips: Sequence[Tensor]) -> list[Fitted]:
        """The same for many clips; those that are not in the cache are fitted together."""
        if self._files is None:
            raise DataError(self._no_body)
        keys = [self._key(clip) for clip in clips]
        found = {key: self._read(key, len(clip)) for key, clip in zip(keys, clips)}
        new = {key: clip for key, clip in zip(keys, clips) if found[key] is None}
        for key, poses in zip(new, self._fit(list(new.values()), self._files)):
            found[key] = poses
            self._write(key, poses)
        return [found[key] for key in keys]

    def _fit(self, clips: list[Tensor], files: SmplFiles) -> Iterator[Fitted]:
        """Poses of clips, one after the other, so that what is done is kept when a later one fails."""
        if self.schedule == "published":
            for clip in clips:
                yield fit_as_published(clip, files.body, files.prior, files.start, self.device,
                                       on_step=lambda done, total: self._tell("fit", done, total))  # fmt: skip
        else:
            yield from fit(clips, files.body, files.prior, files.start, self.device,
                           on_step=lambda done, total: self._tell("fit", done, total))  # fmt: skip

    def _penetration(self, joints: Tensor) -> float:
        place = None if self.cache is None else self.cache / f"{self._key(joints)}.json"
        if place is not None and (known := _number(place)) is not None:
            return known
        meshes = (frame for part in self.fitted(joints).meshes(self._files.body) for frame in part)
        value = self._collisions(meshes, len(joints))
        if place is not None:
            write_json(place, {"format": FORMAT, PENETRATION: value})
        return value

    def _collisions(self, meshes: Sequence[Tensor] | Iterator[Tensor], total: int | None = None) -> float:
        total = len(meshes) if total is None else total

        def frames() -> Iterator[np.ndarray]:
            for number, mesh in enumerate(meshes, start=1):
                yield mesh.numpy()
                self._tell("collisions", number, total)

        return body_penetration(frames(), self._files.body.faces)

    def _key(self, joints: Tensor) -> str:
        """Of the joints, where they stand on the floor left out, of the files and of the schedule."""
        numbers = standing(joints).contiguous().numpy()
        return hashlib.sha256(f"{FORMAT} {self._fitting} {numbers.shape}".encode() + numbers.tobytes()).hexdigest()[:32]

    def _read(self, key: str, frames: int) -> Fitted | None:
        if self.cache is None:
            return None
        try:
            with np.load(self.cache / f"{key}.npz", allow_pickle=False) as kept:
                pose, path, error = (torch.from_numpy(kept[name]) for name in ("pose", "path", "error"))
        except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
            return None  # none, or cut short: it is fitted again
        whole = pose.shape == (frames, SMPL_JOINTS, 3) and path.shape == (frames, 3) and pose.isfinite().all()
        return Fitted(pose, path, float(error)) if whole else None

    def _write(self, key: str, poses: Fitted) -> None:
        if self.cache is not None:
            arrays = {"pose": poses.pose.numpy(), "path": poses.path.numpy(), "error": np.array(poses.error)}
            with atomically(self.cache / f"{key}.npz") as new, open(new, "wb") as file:
                np.savez(file, allow_pickle=False, **arrays)


def _number(place: Path) -> float | None:
    """A kept score; none where the file is missing or damaged."""
    try:
        kept = parse_json(place.read_text(encoding="utf-8"))
        return float(kept[PENETRATION]) if kept["format"] == FORMAT else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
