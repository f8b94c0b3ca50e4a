"""The plain twin of `mld.view.frames`: every frame on an RGB canvas twice as large, bone by bone, then reduced; the
encoder converts colours and searches well. What the fast way draws has to look the same."""

from __future__ import annotations

from collections.abc import Iterator

import imageio_ffmpeg
import numpy as np
from PIL import Image, ImageDraw

from mld.view import frames, scene
from mld.view.feet import with_heels
from mld.view.frames import HEIGHT, SUPERSAMPLING, WIDTH
from mld.view.text import font, wrap


def render(motion, title: str = "") -> Iterator[Image.Image]:
    """One RGB picture per frame."""
    lines = wrap(title, frames.CAPTION_SIZE, WIDTH - 40)
    floor, joints = scene.floor_height(motion), scene.positions(motion)
    camera = frames._camera(motion, floor, below=24 * len(lines))
    way = joints[:, 0] * [1, 0, 1] + [0, floor, 0]
    for frame, target in enumerate(camera.target[:, 0]):
        here = frames._at(camera, target)
        canvas = Image.new("RGB", (WIDTH * SUPERSAMPLING, HEIGHT * SUPERSAMPLING), scene.BACKGROUND)
        draw = ImageDraw.Draw(canvas)
        _grid(draw, here, floor)
        if frame:
            trail, _ = here.project(way[: frame + 1])
            draw.line(trail.ravel().tolist(), fill=frames.TRAIL, width=3 * SUPERSAMPLING, joint="curve")
        _shadow(draw, here, joints[frame], motion.skeleton, floor)
        _figure(draw, here, joints[frame], motion.skeleton)
        picture = canvas.reduce(SUPERSAMPLING)
        letters = ImageDraw.Draw(picture)
        for number, line in enumerate(reversed(lines)):
            place = (WIDTH / 2, HEIGHT - 14 - 22 * number)
            letters.text(place, line, fill=scene.INK, font=font(frames.CAPTION_SIZE), anchor="ms")
        scene.draw_legend(letters, frames.LEGEND)
        seconds = f"{frame / motion.fps:.1f} s"
        letters.text((WIDTH - 12, 10), seconds, fill=scene.FAINT_INK, font=font(frames.SECONDS_SIZE), anchor="ra")
        yield picture


def video(motion, path, title: str = "") -> None:
    """An MP4 of the same frames, encoded with care."""
    writer = imageio_ffmpeg.write_frames(
        str(path), (WIDTH, HEIGHT), fps=float(motion.fps), codec="libx264", pix_fmt_in="rgb24", pix_fmt_out="yuv420p",
        quality=None, macro_block_size=2, ffmpeg_log_level="error",
        output_params=["-preset", "veryfast", "-crf", "21", "-movflags", "+faststart"],
    )  # fmt: skip
    writer.send(None)
    for frame in render(motion, title):
        writer.send(frame.tobytes())
    writer.close()


def _grid(draw, camera, floor: float) -> None:
    middle = np.asarray(camera.target)[[0, 2]]
    for axis in (0, 1):
        first, last = np.ceil(2 * (middle[axis] - frames.GRID_HALF)), np.floor(2 * (middle[axis] + frames.GRID_HALF))
        at = np.arange(first, last + 1) / 2
        ends = np.empty((len(at), 2, 3))
        ends[..., 1] = floor
        ends[..., 2 * axis] = at[:, None]
        ends[..., 2 - 2 * axis] = middle[1 - axis] + np.array([-frames.GRID_HALF, frames.GRID_HALF])
        (pixels,), _ = camera.project(frames._before_camera(ends[None], camera))
        for value, line in zip(at, pixels):
            colour = frames.GRID_MAIN if float(value).is_integer() else frames.GRID_LINE
            draw.line(line.ravel().tolist(), fill=colour, width=SUPERSAMPLING)


def _shadow(draw, camera, joints: np.ndarray, skeleton, floor: float) -> None:
    flat = with_heels(joints, skeleton)
    flat[:, 1] = floor
    pixels, near = camera.project(flat)
    width = 1.6 * scene.BONE_WIDTH * camera.scale * float(np.mean(camera.zoom(near)))
    for lines, _ in scene.parts(skeleton):
        for start, end in lines:
            _rounded_line(draw, pixels[start], pixels[end], width, scene.SHADOW, flatten=0.5)


def _figure(draw, camera, joints: np.ndarray, skeleton) -> None:
    pixels, near = camera.project(with_heels(joints, skeleton))
    outline = max(1.0, 0.012 * camera.scale)
    trunk = skeleton.chains[scene.SPINE][:2]
    for lines, colour in sorted(scene.parts(skeleton), key=lambda part: float(np.mean(near[np.array(part[0])]))):
        zoom = camera.scale * float(camera.zoom(np.mean(near[np.array(lines)])))
        for grow, paint in ((2 * outline, scene.BACKGROUND), (0.0, colour)):
            for start, end in lines:
                _rounded_line(draw, pixels[start], pixels[end], scene.BONE_WIDTH * zoom + grow, paint)
            if lines[0] == trunk:
                _head(draw, camera, joints, skeleton, scene.HEAD_RADIUS * zoom + grow / 2, paint)


def _head(draw, camera, joints: np.ndarray, skeleton, radius: float, colour) -> None:
    neck, head = (joints[index] for index in skeleton.chains[scene.SPINE][-2:])
    direction = (head - neck) / max(float(np.linalg.norm(head - neck)), 1e-6)
    (x, y), _ = camera.project(head + 0.5 * scene.HEAD_RADIUS * direction)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _rounded_line(draw, start, end, width: float, colour, flatten: float = 1.0) -> None:
    half, tall = width / 2, width / 2 * flatten
    draw.line((*start, *end), fill=colour, width=max(1, round(width * (1 + flatten) / 2)))
    for x, y in (start, end):
        draw.ellipse((x - half, y - tall, x + half, y + tall), fill=colour)
