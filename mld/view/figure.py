"""Contact sheets: one PNG that shows motions at a glance, drawn with Pillow alone.

One row per motion: caption, poses equally spaced in time from left to right, seen three-quarters from the front in
the direction the person faces first, and a map of the root path from above that shows distance and turns.
Shapes are drawn three times larger and reduced (antialiasing); letters are set at the final size.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from mld.files import atomically
from mld.motion.motion import Motion
from mld.view.scene import (
    BACKGROUND,
    FAINT_INK,
    GROUND,
    INK,
    Camera,
    draw_figure,
    draw_legend,
    draw_shadow,
    facing_yaw,
    floor_height,
    legend_width,
    positions,
)
from mld.view.text import font, wrap

SUPERSAMPLING = 3
NUM_POSES = 10
CELL = 118  # pixels per pose
STRIP_HEIGHT = 208  # pixels for the poses of one row
MAP = 168  # side of the root map, pixels
MARGIN = 22
PNG_COLOURS = 200  # a palette makes the file three times smaller; the figures have few colours
TITLE_SIZE, SMALL_SIZE = 17, 12
PIXELS_PER_METRE = 94.0
VIEW_FROM_FACING = np.deg2rad(-52.0)
ELEVATION = np.deg2rad(14.0)
RULE = (222, 224, 222)
HEADING, START = (214, 48, 49), (46, 160, 90)


def contact_sheet(motions: Sequence[Motion], path: str | os.PathLike, titles: Sequence[str] = ()) -> None:
    """Write the contact sheet of `motions` as a PNG. See `draw_contact_sheet`."""
    sheet = draw_contact_sheet(motions, titles).quantize(PNG_COLOURS, dither=Image.Dither.NONE)
    with atomically(path) as new:
        sheet.save(new, format="PNG", optimize=True)


def draw_contact_sheet(motions: Sequence[Motion], titles: Sequence[str] = ()) -> Image.Image:
    """Draw the sheet: one row per motion, headed by the title at the same position (rows past the titles have none).

    Raises ValueError where there is no motion to draw, or where there are more titles than motions.
    """
    if not motions:
        raise ValueError("a contact sheet needs at least one motion")
    if len(titles) > len(motions):
        raise ValueError(f"{len(titles)} titles were given for {len(motions)} motions")
    rows = [_row(motion, titles[i] if i < len(titles) else "") for i, motion in enumerate(motions)]
    sheet = Image.new("RGB", (rows[0].width, sum(row.height for row in rows) + MARGIN), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    top = MARGIN // 2
    for index, row in enumerate(rows):
        sheet.paste(row, (0, top))
        if index:
            draw.line((MARGIN, top, sheet.width - MARGIN, top), fill=RULE)
        top += row.height
    return sheet


def _row(motion: Motion, title: str) -> Image.Image:
    width = 2 * MARGIN + NUM_POSES * CELL + MAP + 10
    facts = f"{motion.duration:.1f} s, {motion.num_frames} frames at {motion.fps:g} fps"
    facts_width = font(SMALL_SIZE).getlength(facts)
    lines = wrap(title, TITLE_SIZE, width - 4 * MARGIN - facts_width - legend_width())
    header = 12 + 21 * max(1, len(lines))
    row = Image.new("RGB", (width, header + STRIP_HEIGHT + 24), BACKGROUND)
    draw = ImageDraw.Draw(row)
    for number, line in enumerate(lines):
        draw.text((MARGIN, 10 + 21 * number), line, fill=INK, font=font(TITLE_SIZE))
    draw.text((width - MARGIN - facts_width, 13), facts, fill=FAINT_INK, font=font(SMALL_SIZE))
    draw_legend(draw, (width - 2 * MARGIN - facts_width - legend_width(), 13))

    frames = np.unique(np.linspace(0, motion.num_frames - 1, NUM_POSES).round().astype(int))
    row.paste(_reduced(_poses(motion, frames)), (MARGIN, header))
    for column, frame in enumerate(frames):
        centre = (MARGIN + (column + 0.5) * CELL, header + STRIP_HEIGHT + 4)
        draw.text(centre, f"{frame / motion.fps:.1f} s", fill=FAINT_INK, font=font(SMALL_SIZE), anchor="ma")
    left, top = width - MARGIN - MAP, header + (STRIP_HEIGHT - MAP) // 2 + 4
    picture, step, length = _root_map(motion, frames)
    row.paste(_reduced(picture), (left, top))
    legend = f"from above: path {length:.1f} m, grid {step:g} m"
    centre = (left + MAP / 2, header + STRIP_HEIGHT + 4)
    draw.text(centre, legend, fill=FAINT_INK, font=font(SMALL_SIZE - 1), anchor="ma")
    return row


def _reduced(picture: Image.Image) -> Image.Image:
    return picture.reduce(SUPERSAMPLING)


def _poses(motion: Motion, frames: np.ndarray) -> Image.Image:
    """The chosen frames side by side, each with its root over the middle of its cell."""
    joints, floor = positions(motion), floor_height(motion)
    yaw = float(facing_yaw(motion)) + VIEW_FROM_FACING
    scale = _fitting_scale(joints[frames], yaw, floor)
    strip = Image.new("RGB", (NUM_POSES * CELL * SUPERSAMPLING, STRIP_HEIGHT * SUPERSAMPLING), BACKGROUND)
    draw = ImageDraw.Draw(strip)
    ground = (STRIP_HEIGHT - 30) * SUPERSAMPLING
    depth = 0.75 * np.sin(ELEVATION) * scale * SUPERSAMPLING
    draw.rectangle((0, ground - depth, strip.width, ground + depth), fill=GROUND)
    cameras = [
        Camera(
            target=(joints[frame, 0, 0], floor, joints[frame, 0, 2]),
            yaw=yaw,
            elevation=float(ELEVATION),
            scale=scale * SUPERSAMPLING,
            centre=((column + 0.5) * CELL * SUPERSAMPLING, ground),
        )
        for column, frame in enumerate(frames)
    ]
    for camera, frame in zip(cameras, frames):
        draw_shadow(draw, camera, joints[frame], motion.skeleton, floor)
    for camera, frame in zip(cameras, frames):
        draw_figure(draw, camera, joints[frame], motion.skeleton)
    return strip


def _fitting_scale(poses: np.ndarray, yaw: float, floor: float) -> float:
    """Pixels per metre: the usual scale, or less where a pose is taller than the strip or much wider than its cell."""
    local = poses - poses[:, :1] * [1, 0, 1]
    pixels, _ = Camera((0.0, floor, 0.0), yaw, float(ELEVATION), 1.0, (0.0, 0.0)).project(local)
    highest, widest = float(-pixels[..., 1].min()) + 0.15, 2 * float(np.abs(pixels[..., 0]).max())
    return min(PIXELS_PER_METRE, (STRIP_HEIGHT - 34) / max(highest, 0.1), 1.5 * CELL / max(widest, 0.1))


def _root_map(motion: Motion, frames: np.ndarray) -> tuple[Image.Image, float, float]:
    """The root path from above with the first heading up: picture, grid step (m), path length (m)."""
    start = float(facing_yaw(motion))
    path = positions(motion)[:, 0, [0, 2]]
    length = float(np.linalg.norm(np.diff(path, axis=0), axis=-1).sum())
    path = path - path[0]
    forward, left = np.array([np.sin(start), np.cos(start)]), np.array([np.cos(start), -np.sin(start)])
    plan = np.stack([-(path @ left), -(path @ forward)], axis=-1)  # x right, y down, metres
    middle = (plan.max(axis=0) + plan.min(axis=0)) / 2
    span = max(float((plan.max(axis=0) - plan.min(axis=0)).max()), 1.4)
    side = MAP * SUPERSAMPLING
    scale = 0.78 * side / span
    step = next(s for s in (0.5, 1.0, 2.0, 5.0, 10.0, 50.0, 1e3) if span / s <= 8)

    picture = Image.new("RGB", (side, side), (255, 255, 255))
    draw = ImageDraw.Draw(picture)
    origin = side / 2 - scale * middle
    for axis in (0, 1):
        for number in range(int(-origin[axis] / (step * scale)) - 1, int((side - origin[axis]) / (step * scale)) + 2):
            at = origin[axis] + number * step * scale
            draw.line((at, 0, at, side) if axis == 0 else (0, at, side, at), fill=RULE, width=SUPERSAMPLING)
    points = origin + scale * plan
    _path_line(draw, points)
    headings = facing_yaw(motion, slice(None)) - start
    for frame in frames:
        tip = points[frame] + 0.07 * side * np.array([-np.sin(headings[frame]), -np.cos(headings[frame])])
        draw.line((*points[frame], *tip), fill=HEADING, width=2 * SUPERSAMPLING)
        _dot(draw, points[frame], 2.2 * SUPERSAMPLING, INK)
    _dot(draw, points[0], 4.5 * SUPERSAMPLING, START)
    draw.rectangle((0, 0, side - 1, side - 1), outline=RULE, width=SUPERSAMPLING)
    return picture, step, length


def _path_line(draw: ImageDraw.ImageDraw, points: np.ndarray) -> None:
    if len(points) > 1:
        draw.line([tuple(point) for point in points], fill=FAINT_INK, width=2 * SUPERSAMPLING, joint="curve")


def _dot(draw: ImageDraw.ImageDraw, point: np.ndarray, radius: float, colour: tuple[int, int, int]) -> None:
    x, y = point
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
