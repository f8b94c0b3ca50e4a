"""Cropping to whole tokens with the coin flip of the published protocol (spec evaluation 7.1)."""

from __future__ import annotations

import numpy as np


def coin_flip_crop(num_frames: int, unit_length: int, rng: np.random.Generator) -> tuple[int, int]:
    """Start and stop of a random crop of `num_frames` frames to whole units.

    In one case of three a further unit is given up (never the last one), and the crop starts at any frame it can.
    Units of ten frames or more are always kept, as published. A clip shorter than one unit is returned whole."""
    units = num_frames // unit_length
    if unit_length < 10 and rng.integers(3) == 2:
        units -= 1
    length = max(units, 1) * unit_length
    if length >= num_frames:
        return 0, num_frames
    start = int(rng.integers(num_frames - length + 1))
    return start, start + length


def window_crop(num_frames: int, window: int, rng: np.random.Generator) -> tuple[int, int]:
    """Start and stop of a random window; a clip that is not longer than the window is returned whole."""
    if num_frames <= window:
        return 0, num_frames
    start = int(rng.integers(num_frames - window + 1))
    return start, start + window


def random_stretch(num_frames: int, shortest: int, rng: np.random.Generator) -> tuple[int, int]:
    """Start and stop of a stretch of any length from `shortest` to the whole, all lengths alike, anywhere."""
    length = int(rng.integers(min(shortest, num_frames), num_frames + 1))
    start = int(rng.integers(num_frames - length + 1))
    return start, start + length
