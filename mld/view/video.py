"""Stick-figure videos: H.264 MP4 through imageio-ffmpeg, GIF through Pillow. How the frames look: `mld.view.frames`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from mld.errors import missing_extra
from mld.files import atomically
from mld.motion.edit import resample
from mld.motion.motion import Motion
from mld.view.frames import HEIGHT, WIDTH, draw_frames, picture

GIF_SIZE = (400, 300)  # pixels
GIF_COLOURS = 64
GIF_FPS = 25.0  # at most; players slow down shorter delays, which come in steps of 10 ms
# x264's fastest preset with what costs little and keeps files small: arithmetic coding, frames between frames, and
# quantisers that follow the picture. One thread keeps up with the drawing; more only cost.
ENCODING = [
    "-threads", "1", "-preset", "ultrafast", "-crf", "28", "-x264-params", "cabac=1:bframes=3:b-adapt=0:aq-mode=1",
    "-movflags", "+faststart",
]  # fmt: skip
OnFrame = Callable[[int, int], None]  # told after every frame how many are drawn, and of how many


def video(motion: Motion, path: str | os.PathLike, title: str = "", on_frame: OnFrame | None = None) -> None:
    """Write `motion` as an MP4 at its own frame rate, with `title` as caption. MldError: no imageio-ffmpeg."""
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise missing_extra("imageio-ffmpeg", "all") from error
    with atomically(path) as new:
        _encode(imageio_ffmpeg, new, motion, title, on_frame)


def _encode(imageio_ffmpeg, path: Path, motion: Motion, title: str, on_frame: OnFrame | None) -> None:
    writer = imageio_ffmpeg.write_frames(
        str(path), (WIDTH, HEIGHT), fps=float(motion.fps), codec="libx264", pix_fmt_in="yuv420p",
        pix_fmt_out="yuv420p", quality=None, macro_block_size=2, ffmpeg_log_level="error", output_params=ENCODING,
    )  # fmt: skip
    writer.send(None)
    try:
        for number, planes in enumerate(draw_frames(motion, title), start=1):
            writer.send(b"".join(plane.tobytes() for plane in planes))
            if on_frame is not None:
                on_frame(number, motion.num_frames)
    finally:
        writer.close()


def gif(motion: Motion, path: str | os.PathLike, title: str = "", on_frame: OnFrame | None = None) -> None:
    """Write `motion` as an animated GIF that repeats, at its own frame rate or 25 frames per second if that is less."""
    shown = resample(motion, min(motion.fps, GIF_FPS))
    palette = None
    pictures: list[Image.Image] = []
    for frame in map(picture, draw_frames(shown, title)):
        small = frame.resize(GIF_SIZE, Image.Resampling.LANCZOS)
        palette = palette or small.quantize(GIF_COLOURS)
        pictures.append(small.quantize(palette=palette, dither=Image.Dither.NONE))
        if on_frame is not None:
            on_frame(len(pictures), shown.num_frames)
    ends = [round(100 * (number + 1) / shown.fps) for number in range(len(pictures))]
    delays = [10 * (end - start) for start, end in zip([0, *ends], ends)]
    with atomically(path) as new:
        pictures[0].save(new, format="GIF", save_all=True, append_images=pictures[1:], duration=delays, loop=0)
