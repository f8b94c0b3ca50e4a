"""The animation of a glTF file: one track per node and property, sampled at the frames of an even frame rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mld.motion.formats.clips import Clip, listed, named, place_of, taken_note
from mld.motion.formats.gltf_file import GltfFile
from mld.motion.formats.limits import refuse_bomb, shown
from mld.motion.formats.options import HIGHEST_FPS, LOWEST_FPS

_SPARSE_FPS, _LEAST_FPS = 30.0, 10.0  # key frames farther apart than 1/10 s are sampled at 30 frames per second
_REACHED = 0.999  # of the way to the next key: there already, as times are rounded in files
_INTERPOLATIONS = ("LINEAR", "STEP", "CUBICSPLINE")
_WIDTHS = {"translation": 3, "rotation": 4}


@dataclass(frozen=True)
class Track:
    """times (K,) seconds, rising; values (K, W), for CUBICSPLINE (K, 3, W): in-tangent, value, out-tangent."""

    times: np.ndarray
    values: np.ndarray
    interpolation: str
    is_rotation: bool

    def at(self, times: np.ndarray) -> np.ndarray:
        """Values (T, W) at times (T,); before the first and after the last key, those of that key."""
        cubic = self.interpolation == "CUBICSPLINE"
        keys = self.values[:, 1] if cubic else self.values
        if len(self.times) == 1:
            return np.repeat(keys, len(times), axis=0)
        before = np.clip(np.searchsorted(self.times, times, side="right") - 1, 0, len(self.times) - 2)
        span = (self.times[before + 1] - self.times[before])[:, None]
        share = np.clip((times[:, None] - self.times[before][:, None]) / span, 0.0, 1.0)
        start, end = keys[before], keys[before + 1]
        if self.interpolation == "STEP":
            return np.where(share > _REACHED, end, start)
        if cubic:
            return _hermite(start, self.values[before, 2] * span, end, self.values[before + 1, 0] * span, share)
        return _slerp(start, end, share) if self.is_rotation else start + (end - start) * share


def clips_of(file: GltfFile) -> list[Clip]:
    """Place in the file and name of each animation that turns joints."""
    items = file.items("animations")
    clips = [clip for clip in named([str(item.get("name") or "") for item in items])
             if any(kind == "rotation" for _, kind in _tracks(file, clip[0]))]  # fmt: skip
    if not clips:
        raise file.error("it holds no animation that turns joints")
    return clips


def read_tracks(file: GltfFile, notes: list[str], clip: str | int | None = None) -> dict[tuple[int, str], Track]:
    """Tracks by node and "translation" or "rotation": of the animation asked for by name or number, from 1, or of that
    which turns most nodes."""
    clips = clips_of(file)
    if clip is not None:
        place = place_of(clips, clip)
        if place is None:
            raise file.error(f"it has no animation '{shown(str(clip))}'; it has {listed(clips)}")
    else:
        place = max(clips, key=lambda entry: sum(kind == "rotation" for _, kind in _tracks(file, entry[0])))[0]
        notes += taken_note(clips, place, "animations")
    chosen = _tracks(file, place)
    loaded: dict[int, np.ndarray] = {}
    return {key: _load(file, sampler, key[1], loaded) for key, sampler in chosen.items()}


def frame_times(file: GltfFile, tracks: list[Track], fps: float | None, joints: int) -> tuple[np.ndarray, float]:
    """Times (T,) of the frames in seconds and the frame rate: as given, as this toolkit notes it in the file, or that
    of the key frames."""
    start, end = min(t.times[0] for t in tracks), max(t.times[-1] for t in tracks)
    fps = fps or _noted_rate(file) or _rate(max(tracks, key=lambda track: len(track.times)).times)
    count = int((end - start) * fps + 0.5 if end > start else 0) + 1
    refuse_bomb(file.path, file.size, count, joints)
    return start + np.arange(count) / fps, fps


def _noted_rate(file: GltfFile) -> float | None:
    """`asset.extras.fps`, which `mld.motion.formats.gltf` writes."""
    asset = file.document.get("asset")
    extras = asset.get("extras") if isinstance(asset, dict) else None
    rate = extras.get("fps") if isinstance(extras, dict) else None
    return float(rate) if isinstance(rate, (int, float)) and LOWEST_FPS <= rate <= HIGHEST_FPS else None


def _rate(times: np.ndarray) -> float:
    if len(times) < 2:
        return _SPARSE_FPS
    rate = 1.0 / float(np.median(np.diff(times)))
    if not max(_LEAST_FPS, LOWEST_FPS) <= rate <= HIGHEST_FPS:
        return _SPARSE_FPS
    half = round(rate * 2) / 2  # 12.5 is a rate too
    return half if abs(half - rate) < 2e-3 * rate else rate


def _tracks(file: GltfFile, number: int) -> dict[tuple[int, str], dict]:
    """Samplers by node and property of one animation."""
    animation, where = file.items("animations")[number], f"animations[{number}]"
    channels, samplers = animation.get("channels"), animation.get("samplers")
    if not isinstance(channels, list) or not isinstance(samplers, list):
        raise file.error(f"{where} has no channels and samplers")
    found = {}
    for place, channel in enumerate(channels):
        target = channel.get("target") if isinstance(channel, dict) else None
        sampler = channel.get("sampler") if isinstance(channel, dict) else None
        known = samplers[sampler] if type(sampler) is int and 0 <= sampler < len(samplers) else None
        if not isinstance(target, dict) or not isinstance(known, dict):
            raise file.error(f"{where}.channels[{place}] has no target or no sampler")
        if shown(target.get("path")) in _WIDTHS and "node" in target:
            file.item("nodes", target["node"])
            found[target["node"], target["path"]] = known
    return found


def _load(file: GltfFile, sampler: dict, path: str, loaded: dict[int, np.ndarray]) -> Track:
    """One sampler's keys, checked; accessors that several samplers share are read once."""
    arrays = []
    for key in ("input", "output"):
        index: Any = sampler.get(key)
        file.item("accessors", index)  # refuses what is no index
        if index not in loaded:
            loaded[index] = file.accessor(index)
        arrays.append(loaded[index])
    (times, values), width = arrays, _WIDTHS[path]
    interpolation = sampler.get("interpolation", "LINEAR")
    where = f"the sampler with input {sampler.get('input')}"
    if interpolation not in _INTERPOLATIONS:
        raise file.error(f"{where} has the interpolation '{shown(interpolation)}'")
    per_key = 3 if interpolation == "CUBICSPLINE" else 1
    if times.shape[1] != 1 or values.shape != (len(times) * per_key, width):
        raise file.error(f"{where}: {times.shape} times and {values.shape} values do not fit")
    times = times[:, 0]
    if (np.diff(times) <= 0).any() or not (np.abs(times) < 1e6).all() or not (np.abs(values) < 1e8).all():
        raise file.error(f"{where}: its times do not rise, or its numbers are too large")
    return Track(
        times, values.reshape(len(times), 3, width) if per_key == 3 else values, interpolation, path == "rotation"
    )


def _hermite(start: np.ndarray, leave: np.ndarray, end: np.ndarray, arrive: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Cubic between values and their tangents (glTF 2.0, appendix C.5)."""
    s2, s3 = s * s, s * s * s
    return (2 * s3 - 3 * s2 + 1) * start + (s3 - 2 * s2 + s) * leave + (3 * s2 - 2 * s3) * end + (s3 - s2) * arrive


def _slerp(start: np.ndarray, end: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Quaternions (T, 4) on the shortest arcs."""
    start = start / np.maximum(np.linalg.norm(start, axis=-1, keepdims=True), 1e-12)
    end = end / np.maximum(np.linalg.norm(end, axis=-1, keepdims=True), 1e-12)
    dot = (start * end).sum(-1, keepdims=True)
    end, dot = np.where(dot < 0, -end, end), np.clip(np.abs(dot), 0.0, 1.0)
    angle = np.arccos(dot)
    near = angle < 1e-4
    sine = np.where(near, 1.0, np.sin(angle))
    first = np.where(near, 1 - share, np.sin((1 - share) * angle) / sine)
    second = np.where(near, share, np.sin(share * angle) / sine)
    return first * start + second * end
