"""Curves over time: smoothing, speed, stretches where something holds, peaks, cycles. Times are in seconds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

Array = NDArray[np.float64]
Span = tuple[int, int]  # first frame, frame after the last


def smooth(curve: Array, sigma: float, fps: float) -> Array:
    """A curve (T, ...) under a Gaussian of `sigma` seconds; the ends are held."""
    width = sigma * fps
    if len(curve) < 2 or width < 0.2:
        return curve
    return gaussian_filter1d(curve, width, axis=0, mode="nearest", truncate=3.0)


def rate(curve: Array, fps: float) -> Array:
    """Central differences per second of a curve (T, ...); zeros for a single frame."""
    if len(curve) < 2:
        return np.zeros_like(curve)
    return np.gradient(curve, 1.0 / fps, axis=0)


def spans(mask: NDArray[np.bool_], fps: float, least: float = 0.0, gap: float = 0.0) -> list[Span]:
    """Stretches where `mask` (T,) holds; stretches less than `gap` seconds apart are one, shorter than `least` none."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    found: list[Span] = []
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist()):
        if found and start - found[-1][1] < gap * fps:
            found[-1] = (found[-1][0], stop)
        else:
            found.append((start, stop))
    return [(start, stop) for start, stop in found if stop - start >= least * fps]


def peaks(curve: Array, fps: float, prominence: float, apart: float = 0.15, height: float | None = None) -> list[int]:
    """Frames of the maxima of a curve (T,) that stand out by `prominence`; those at the very ends do not count."""
    if len(curve) < 3:
        return []
    found, _ = find_peaks(curve, prominence=prominence, distance=max(1, round(apart * fps)), height=height)
    return [int(frame) for frame in found]


def peaks_and_ends(
    curve: Array, fps: float, prominence: float, apart: float = 0.15, height: float | None = None
) -> list[int]:
    """`peaks`, with those that a clip begins or ends in: the curve is taken to come from its minimum and to go
    there."""
    low = float(curve.min())
    padded = np.concatenate([[low], curve, [low]])
    return [frame - 1 for frame in peaks(padded, fps, prominence, apart, height)]


def turning_points(curve: Array, least: float) -> list[int]:
    """Frames where a curve (T,) turns back by at least `least`, with its first and last frame (a zigzag of
    extremes)."""
    if len(curve) < 2:
        return [0]
    points, low, high, way = [0], 0, 0, 0
    for frame, value in enumerate(curve):
        if value > curve[high]:
            high = frame
        if value < curve[low]:
            low = frame
        if way >= 0 and curve[high] - value >= least:
            if high > points[-1]:
                points.append(high)
            way, low, high = -1, frame, frame
        elif way <= 0 and value - curve[low] >= least:
            if low > points[-1]:
                points.append(low)
            way, low, high = 1, frame, frame
    last = high if way > 0 else low if way < 0 else len(curve) - 1
    if last > points[-1]:
        points.append(last)
    if points[-1] != len(curve) - 1:
        points.append(len(curve) - 1)
    return points


def swings(curve: Array, least: float) -> int:
    """How often a curve (T,) goes one way by at least `least`: two swings are a cycle."""
    points = turning_points(curve, least)
    return sum(abs(curve[b] - curve[a]) >= least for a, b in zip(points, points[1:]))


def grow(curve: Array, peak: int, level: float) -> Span:
    """The stretch around `peak` where a curve (T,) stays above `level`."""
    start = stop = peak
    while start > 0 and curve[start - 1] > level:
        start -= 1
    while stop < len(curve) - 1 and curve[stop + 1] > level:
        stop += 1
    return start, stop + 1
