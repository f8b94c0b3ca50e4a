"""Stick-figure videos: H.264 MP4 through imageio-ffmpeg, GIF through Pillow, frames drawn with Pillow.

A perspective camera looks three-quarters from the front and follows the root smoothly over a ground grid, so that
travel is seen against the ground; the path walked so far stays on the floor. The caption is set below the picture, a
legend of left and right above it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter1d

from mld.errors import missing_extra
from mld.files import atomically
from mld.motion.edit import resample
from mld.motion.motion import Motion
from mld.view.scene import (
    BACKGROUND,
    FAINT_INK,
    INK,
    Camera,
    draw_figure,
    draw_legend,
    draw_shadow,
    facing_yaw,
    floor_height,
    positions,
)
from mld.view.text import font, wrap

WIDTH, HEIGHT = 640, 480  # pixels, even as yuv420p asks
SUPERSAMPLING = 2
VIEW_FROM_FACING = np.deg2rad(-40.0)
ELEVATION = np.deg2rad(16.0)
FOLLOW_SECONDS = 0.6  # standard deviation of the camera's smoothing
GRID_HALF = 4.5  # metres of grid around the camera's target
GRID_LINE, GRID_MAIN = (228, 231, 228), (198, 203, 200)
TRAIL = (150, 190, 160)
CAPTION_SIZE = 17
GIF_SIZE = (400, 300)  # pixels
GIF_COLOURS = 64
GIF_FPS = 25.0  # at most; players slow down shorter delays, which come in steps of 10 ms


def video(motion: Motion, path: str | os.PathLike, title: str = "") -> None:
    """Write `motion` as an MP4 at its own frame rate, with `title` as caption. MldError: no imageio-ffmpeg."""
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise missing_extra("imageio-ffmpeg", "all") from error
    with atomically(path) as new:
        _encode(imageio_ffmpeg, new, motion, title)


def _encode(imageio_ffmpeg, path: Path, motion: Motion, title: str) -> None:
    writer = imageio_ffmpeg.write_frames(
        str(path),
        (WIDTH, HEIGHT),
        fps=float(motion.fps),
        codec="libx264",
        pix_fmt_in="rgb24",
        pix_fmt_out="yuv420p",
        quality=None,
        macro_block_size=2,
        ffmpeg_log_level="error",
        output_params=["-preset", "veryfast", "-crf", "21", "-movflags", "+faststart"],
    )
    writer.send(None)
    try:
        for frame in render_frames(motion, title):
            writer.send(frame.tobytes())
    finally:
        writer.close()


def gif(motion: Motion, path: str | os.PathLike, title: str = "") -> None:
    """Write `motion` as an animated GIF that repeats, at its own frame rate or 25 frames per second if that is less."""
    shown = resample(motion, min(motion.fps, GIF_FPS))
    palette = None
    pictures = []
    for frame in render_frames(shown, title):
        small = frame.resize(GIF_SIZE, Image.Resampling.LANCZOS)
        palette = palette or small.quantize(GIF_COLOURS)
        pictures.append(small.quantize(palette=palette, dither=Image.Dither.NONE))
    ends = [round(100 * (number + 1) / shown.fps) for number in range(len(pictures))]
    delays = [10 * (end - start) for start, end in zip([0, *ends], ends)]
    with atomically(path) as new:
        pictures[0].save(new, format="GIF", save_all=True, append_images=pictures[1:], duration=delays, loop=0)


def render_frames(motion: Motion, title: str = "") -> Iterator[Image.Image]:
    """One RGB picture (WIDTH x HEIGHT) per frame of the motion."""
    lines = wrap(title, CAPTION_SIZE, WIDTH - 40)
    floor = floor_height(motion)
    cameras = _cameras(motion, floor, below=24 * len(lines))
    joints = positions(motion)
    path = joints[:, 0] * [1, 0, 1] + [0, floor, 0]
    for frame, camera in enumerate(cameras):
        canvas = Image.new("RGB", (WIDTH * SUPERSAMPLING, HEIGHT * SUPERSAMPLING), BACKGROUND)
        draw = ImageDraw.Draw(canvas)
        _draw_grid(draw, camera, floor)
        if frame:
            trail, _ = camera.project(path[: frame + 1])
            draw.line(trail.ravel().tolist(), fill=TRAIL, width=3 * SUPERSAMPLING, joint="curve")
        draw_shadow(draw, camera, joints[frame], motion.skeleton, floor)
        draw_figure(draw, camera, joints[frame], motion.skeleton)
        picture = canvas.reduce(SUPERSAMPLING)
        _letter(ImageDraw.Draw(picture), lines, frame / motion.fps)
        yield picture


def _cameras(motion: Motion, floor: float, below: float) -> list[Camera]:
    """One camera per frame; the target follows the smoothed root over the ground, `below` pixels stay free."""
    joints = positions(motion)
    height = max(float(joints[..., 1].max()) - floor + 0.2, 1.6)
    follow = gaussian_filter1d(joints[:, 0], FOLLOW_SECONDS * motion.fps, axis=0, mode="nearest")
    reach = float(np.abs(joints[..., [0, 2]] - follow[:, None, [0, 2]]).max())
    extent = max(height, 1.2 * reach)
    yaw = float(facing_yaw(motion)) + float(VIEW_FROM_FACING)
    scale = 0.80 * (HEIGHT - below) / extent * SUPERSAMPLING
    centre = (WIDTH / 2 * SUPERSAMPLING, (HEIGHT - below) * 0.52 * SUPERSAMPLING)
    return [
        Camera((float(x), floor + height / 2, float(z)), yaw, float(ELEVATION), scale, centre, distance=2.6 * extent)
        for x, _, z in follow
    ]


def _draw_grid(draw: ImageDraw.ImageDraw, camera: Camera, floor: float) -> None:
    """Half-metre squares around the camera's target, fixed in the world, every second line darker."""
    middle = np.array(camera.target)[[0, 2]]
    for axis in (0, 1):
        first, last = np.ceil(2 * (middle[axis] - GRID_HALF)), np.floor(2 * (middle[axis] + GRID_HALF))
        at = np.arange(first, last + 1) / 2
        ends = np.empty((len(at), 2, 3))
        ends[..., 1] = floor
        ends[..., 2 * axis] = at[:, None]
        ends[..., 2 - 2 * axis] = middle[1 - axis] + np.array([-GRID_HALF, GRID_HALF])
        pixels, near = camera.project(_before_camera(ends, camera))
        for value, line in zip(at, pixels):
            colour = GRID_MAIN if float(value).is_integer() else GRID_LINE
            draw.line(line.ravel().tolist(), fill=colour, width=SUPERSAMPLING)


def _before_camera(ends: np.ndarray, camera: Camera) -> np.ndarray:
    """Shorten grid lines (N, 2, 3) that run past the camera: move the nearer end to half the camera's distance."""
    _, near = camera.project(ends)
    limit = 0.5 * camera.distance
    share = np.clip((limit - near[:, ::-1]) / (near - near[:, ::-1] + 1e-9), 0.0, 1.0)
    share = np.where(near > limit, share, 1.0)
    return ends[:, ::-1] + share[..., None] * (ends - ends[:, ::-1])


def _letter(draw: ImageDraw.ImageDraw, lines: list[str], seconds: float) -> None:
    for number, line in enumerate(reversed(lines)):
        position = (WIDTH / 2, HEIGHT - 14 - 22 * number)
        draw.text(position, line, fill=INK, font=font(CAPTION_SIZE), anchor="ms")
    draw_legend(draw, (12, 10))
    draw.text((WIDTH - 12, 10), f"{seconds:.1f} s", fill=FAINT_INK, font=font(13), anchor="ra")
