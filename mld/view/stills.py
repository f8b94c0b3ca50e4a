"""Single frames of a motion as pictures, seen by a camera that stands still, so that what moves is the body alone.

It looks three-quarters from the front at all places the body comes to. A grid of the ground, half a metre wide, shows
how far it goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw

from mld.motion.motion import Motion
from mld.view.frames import ELEVATION, GRID_LINE, GRID_MAIN, VIEW_FROM_FACING
from mld.view.scene import (
    BACKGROUND,
    FAINT_INK,
    Camera,
    draw_figure,
    draw_legend,
    draw_shadow,
    facing_yaw,
    floor_height,
    positions,
)
from mld.view.text import font

WIDTH, HEIGHT = 640, 480  # pixels
SUPERSAMPLING = 2
FILLED = (0.86, 0.80)  # of width and height by all places of the body
TALLEST = 0.42  # of the height by a metre, at most
MARGIN = 1.0  # metres of grid around the way
MOST_LINES = 60  # of the grid each way
SECONDS_SIZE = 14


def stills(motion: Motion, frames: Sequence[int], lettered: bool = True) -> Iterator[Image.Image]:
    """A picture (640 x 480, RGB) of each of these frames; lettered: with the legend and its time in the corners."""
    joints, floor = positions(motion), floor_height(motion)
    camera = fixed_camera(motion)
    ground = _ground(camera, joints, floor)
    for frame in frames:
        canvas = ground.copy()
        draw = ImageDraw.Draw(canvas)
        draw_shadow(draw, camera, joints[frame], motion.skeleton, floor)
        draw_figure(draw, camera, joints[frame], motion.skeleton)
        picture = canvas.reduce(SUPERSAMPLING)
        if not lettered:
            yield picture
            continue
        letters = ImageDraw.Draw(picture)
        draw_legend(letters, (12, 10))
        letters.text((WIDTH - 12, 10), f"{frame / motion.fps:.1f} s", fill=FAINT_INK, font=font(SECONDS_SIZE),
                     anchor="ra")  # fmt: skip
        yield picture


def fixed_camera(motion: Motion) -> Camera:
    """The camera of all frames: every joint of every frame, and the ground below it, is in the picture."""
    joints, floor = positions(motion), floor_height(motion)
    seen = np.concatenate([joints, joints * [1, 0, 1] + [0, floor, 0]], axis=1).reshape(-1, 3)
    middle = (seen.min(0) + seen.max(0)) / 2
    extent = max(float(np.linalg.norm(seen.max(0) - seen.min(0))), 1.8)
    yaw = float(facing_yaw(motion)) + float(VIEW_FROM_FACING)
    place = (float(middle[0]), float(middle[1]), float(middle[2]))
    pixels, _ = Camera(place, yaw, float(ELEVATION), 1.0, (0.0, 0.0), distance=2.6 * extent).project(seen)
    low, high = pixels.min(0), pixels.max(0)
    room = np.array([WIDTH, HEIGHT]) * FILLED
    scale = min(*(room / np.maximum(high - low, 1e-6)), TALLEST * HEIGHT)
    centre = np.array([WIDTH, HEIGHT]) / 2 - scale * (low + high) / 2
    x, y = (centre * SUPERSAMPLING).tolist()
    return Camera(place, yaw, float(ELEVATION), float(scale) * SUPERSAMPLING, (x, y), distance=2.6 * extent)


def _ground(camera: Camera, joints: np.ndarray, floor: float) -> Image.Image:
    """The empty canvas with its grid, every second line darker."""
    canvas = Image.new("RGB", (WIDTH * SUPERSAMPLING, HEIGHT * SUPERSAMPLING), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    way = joints[..., [0, 2]].reshape(-1, 2)
    first, last = np.floor(2 * (way.min(0) - MARGIN)), np.ceil(2 * (way.max(0) + MARGIN))
    step = max(1, int(np.ceil((last - first).max() / MOST_LINES)))
    for axis in (0, 1):
        for number in np.arange(first[axis], last[axis] + 1, step):
            ends = np.full((2, 3), floor)
            ends[:, 2 * axis] = number / 2
            ends[:, 2 - 2 * axis] = first[1 - axis] / 2, last[1 - axis] / 2
            line, _ = camera.project(ends)
            draw.line(line.ravel().tolist(), fill=GRID_MAIN if number % 2 == 0 else GRID_LINE, width=SUPERSAMPLING)
    return canvas
