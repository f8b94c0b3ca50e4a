"""The frames of a video, drawn as H.264 keeps pictures: brightness (Y) of every pixel, colour (U, V) of one in four.

A perspective camera looks three-quarters from the front and follows the root smoothly over a ground grid, so that
travel is seen against the ground; the path walked so far stays on the floor. The caption is set below the picture, a
legend of left and right above it.

All is painted once, as brightness, twice as large and then reduced (antialiasing). As no two colours are equally
bright, the brightness of the large canvas tells the colours, too. That is far less to paint than an RGB canvas, and the
encoder has nothing to convert. Grid, shadow and letters are greys.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw
from scipy.ndimage import gaussian_filter1d

from mld.motion.motion import Motion
from mld.view.scene import (
    BACKGROUND,
    CHAIN_COLOURS,
    FAINT_INK,
    INK,
    Camera,
    Colour,
    draw_legend,
    facing_yaw,
    figure_shapes,
    fill,
    floor_height,
    legend_width,
    positions,
    shadow_shapes,
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
TRAIL_STEP, TRAIL_PIXELS = 0.1, 8  # between its corners: metres, and pixels of the large canvas
CAPTION_SIZE, SECONDS_SIZE = 17, 13
LEGEND = (12, 10)  # its upper left corner, even as one colour for four pixels asks
CHUNK = 32  # frames whose shapes are computed together
TO_YUV = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255  # BT.601

Planes = tuple[Image.Image, Image.Image, Image.Image]  # Y (HEIGHT, WIDTH), U and V of half the size each way
Lettering = list[tuple[int, Image.Image | int, Image.Image, tuple[int, int]]]  # of a plane: number, ink, cover, place


@lru_cache(maxsize=64)
def yuv(colour: Colour) -> Colour:
    """A colour in the limited range of BT.601, as players expect it."""
    y, u, v = (TO_YUV @ colour + [16, 128, 128]).round().astype(int).tolist()
    return y, u, v


def brightness_of(colour: Colour) -> int:
    return yuv(colour)[0]


def _tables() -> tuple[list[int], list[int]]:
    """U and V by Y: no two colours of a canvas are equally bright, and whatever else is on it is grey."""
    known = {y: (u, v) for y, u, v in map(yuv, (*CHAIN_COLOURS, TRAIL))}
    grey = yuv(BACKGROUND)[1:]
    both = [known.get(y, grey) for y in range(256)]
    return [u for u, _ in both], [v for _, v in both]


def draw_frames(motion: Motion, title: str = "") -> Iterator[Planes]:
    """One picture per frame of the motion."""
    lines = wrap(title, CAPTION_SIZE, WIDTH - 40)
    floor = floor_height(motion)
    camera = _camera(motion, floor, below=24 * len(lines))
    targets = camera.target
    joints = positions(motion)
    trail = _Trail(joints[:, 0] * [1, 0, 1] + [0, floor, 0])
    caption = _caption(lines) if lines else []
    paper = brightness_of(BACKGROUND)
    canvas = Image.new("L", (WIDTH * SUPERSAMPLING, HEIGHT * SUPERSAMPLING))  # one for all: new memory takes its time
    draw = ImageDraw.Draw(canvas)
    for first in range(0, len(joints), CHUNK):
        part = joints[first : first + CHUNK]
        there = _at(camera, targets[first : first + CHUNK])
        shadows = shadow_shapes(there, part, motion.skeleton, floor)
        figures = figure_shapes(there, part, motion.skeleton)
        for frame, (grid, shadow, figure) in enumerate(zip(_grid(there, floor), shadows, figures), start=first):
            canvas.paste(paper, (0, 0, *canvas.size))
            for line, shade in grid:
                draw.line(line, fill=shade)
            walked = trail.draw(draw, _at(camera, targets[frame, 0]), frame)
            fill(draw, shadow, brightness_of)
            fill(draw, figure, brightness_of)
            planes = _planes(canvas, walked, [number for shape in figure for ball in shape.balls for number in ball])
            for plane, ink, cover, place in (*_legend(), *caption, *_seconds(f"{frame / motion.fps:.1f} s")):
                planes[plane].paste(ink, place, cover)
            yield planes


def picture(planes: Planes) -> Image.Image:
    """A frame as an RGB picture, for what is no video."""
    wide = [plane.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR).point(COLOUR_RANGE) for plane in planes[1:]]
    return Image.merge("YCbCr", (planes[0].point(BRIGHTNESS_RANGE), *wide)).convert("RGB")


def _full(span: float, middle: float) -> list[int]:
    """A table from the limited range to 0 ... 255."""
    values = (np.arange(256) - (16 if middle == 0 else 128)) * 255 / span + middle
    return values.round().clip(0, 255).astype(int).tolist()


COLOUR_OF_BRIGHTNESS = _tables()
BRIGHTNESS_RANGE, COLOUR_RANGE = _full(219, 0), _full(224, 128)


def _planes(canvas: Image.Image, *coloured: list[float]) -> Planes:
    """The canvas reduced to a picture. coloured: x, y, x, y ... of things that have colour; no more than a box around
    each is looked at."""
    planes = [Image.new("L", (WIDTH // 2, HEIGHT // 2), value) for value in yuv(BACKGROUND)[1:]]
    for corners in filter(None, coloured):
        left, right = _span(corners[::2], WIDTH // 2)
        upper, lower = _span(corners[1::2], HEIGHT // 2)
        if left >= right or upper >= lower:
            continue
        box = tuple(2 * SUPERSAMPLING * end for end in (left, upper, right, lower))
        half = canvas.resize((2 * (right - left), 2 * (lower - upper)), Image.Resampling.NEAREST, box)
        for plane, table in zip(planes, COLOUR_OF_BRIGHTNESS):
            plane.paste(half.point(table).reduce(2), (left, upper))
    return canvas.reduce(SUPERSAMPLING), planes[0], planes[1]


def _span(places: list[float], size: int) -> tuple[int, int]:
    """Between which pixels of a plane for colour, `size` of them, places of the canvas lie; with room for lines."""
    return (
        max(math.floor(min(places) / (2 * SUPERSAMPLING)) - 2, 0),
        min(math.ceil(max(places) / (2 * SUPERSAMPLING)) + 2, size),
    )


class _Trail:
    """The way (T, 3) over the ground, with corners no nearer to each other than need be, in the world and when seen."""

    def __init__(self, way: np.ndarray) -> None:
        self.way, kept = way, [0]
        for frame in range(1, len(way)):
            if np.abs(way[frame] - way[kept[-1]]).max() >= TRAIL_STEP:
                kept.append(frame)
        self.kept = np.array(kept)

    def draw(self, draw: ImageDraw.ImageDraw, camera: Camera, frame: int) -> list[float]:
        """What was walked until a frame; x, y, x, y ... of the corners that are drawn."""
        corners = np.concatenate((self.way[self.kept[self.kept < frame]], self.way[frame : frame + 1]))
        pixels, _ = camera.project(corners)
        passed = np.abs(pixels[1:] - pixels[:-1]).max(-1).cumsum() // TRAIL_PIXELS
        seen = np.ones(len(pixels), dtype=bool)  # the first, the last, and some between
        seen[1:-1] = passed[1:] != passed[:-1]
        line = pixels[seen].ravel().tolist()
        if len(line) > 2:
            draw.line(line, fill=brightness_of(TRAIL), width=3 * SUPERSAMPLING)
        return line if len(line) > 2 else []


def _camera(motion: Motion, floor: float, below: float) -> Camera:
    """The camera of all frames; its target (T, 1, 3) follows the smoothed root over the ground, `below` pixels stay
    free."""
    joints = positions(motion)
    height = max(float(joints[..., 1].max()) - floor + 0.2, 1.6)
    follow = gaussian_filter1d(joints[:, 0], FOLLOW_SECONDS * motion.fps, axis=0, mode="nearest")
    reach = float(np.abs(joints[..., [0, 2]] - follow[:, None, [0, 2]]).max())
    extent = max(height, 1.2 * reach)
    yaw = float(facing_yaw(motion)) + float(VIEW_FROM_FACING)
    scale = 0.80 * (HEIGHT - below) / extent * SUPERSAMPLING
    centre = (WIDTH / 2 * SUPERSAMPLING, (HEIGHT - below) * 0.52 * SUPERSAMPLING)
    target = (follow * [1, 0, 1] + [0, floor + height / 2, 0])[:, None]
    return Camera(target, yaw, float(ELEVATION), scale, centre, distance=2.6 * extent)


def _grid(camera: Camera, floor: float) -> list[list[tuple[list[float], int]]]:
    """Half-metre squares around the camera's target (F, 1, 3), fixed in the world, every second line darker: lines of
    every frame with their brightness.

    Pillow draws lines two pixels wide as polygons, which takes long. Steep lines go there and back beside it; flat
    ones, of which Pillow makes hardly more than a pixel, have that little more as contrast."""
    middle = np.asarray(camera.target)[:, 0, [0, 2], None]  # (F, 2, 1)
    first, last = np.ceil(2 * (middle - GRID_HALF)), np.floor(2 * (middle + GRID_HALF))  # half metres
    steps = np.minimum(first + np.arange(int(4 * GRID_HALF) + 1), last)  # (F, axes, N)
    ends = np.empty((*steps.shape, 2, 3))
    ends[..., 1] = floor
    for axis in (0, 1):
        ends[:, axis, ..., 2 * axis] = steps[:, axis, :, None] / 2
        ends[:, axis, ..., 2 - 2 * axis] = middle[:, 1 - axis, None] + np.array([-GRID_HALF, GRID_HALF])
    ends = _before_camera(ends.reshape(len(ends), -1, 2, 3), camera)
    pixels, _ = camera.project(ends.reshape(len(ends), -1, 3))
    there = pixels.reshape(*ends.shape[:2], 4)  # x, y, x, y
    run, rise = np.abs(there[..., 2:] - there[..., :2]).transpose(2, 0, 1)
    flat = 2 * rise < run
    beside = np.where((rise > run)[..., None], [1, 0, 1, 0], [0, 1, 0, 1])
    both = np.concatenate((there, there[..., [2, 3, 0, 1]] + beside), axis=-1)
    paper = brightness_of(BACKGROUND)
    inks = np.where(steps % 2 == 0, brightness_of(GRID_MAIN), brightness_of(GRID_LINE)).reshape(flat.shape)
    shades = paper - (paper - inks) * np.where(flat, 1 + rise / np.maximum(run, 1), 1)
    return [
        [(line[: 4 if one else 8], shade) for line, one, shade in zip(*frame)]
        for frame in zip(both.tolist(), flat.tolist(), shades.round().astype(int).tolist())
    ]


def _before_camera(ends: np.ndarray, camera: Camera) -> np.ndarray:
    """Shorten grid lines (F, N, 2, 3) that run past the camera: move the nearer end to half the camera's distance."""
    _, near = camera.project(ends.reshape(len(ends), -1, 3))
    near, limit = near.reshape(ends.shape[:-1]), 0.5 * camera.distance
    share = np.clip((limit - near[..., ::-1]) / (near - near[..., ::-1] + 1e-9), 0.0, 1.0)
    share = np.where(near > limit, share, 1.0)
    return ends[..., ::-1, :] + share[..., None] * (ends - ends[..., ::-1, :])


def _at(camera: Camera, target: np.ndarray) -> Camera:
    return dataclasses.replace(camera, target=target)


def _caption(lines: list[str]) -> Lettering:
    """The caption over the foot of the picture."""
    mask = Image.new("L", (WIDTH, 22 * len(lines) + 14), 0)
    for number, line in enumerate(reversed(lines)):
        place = (WIDTH / 2, mask.height - 14 - 22 * number)
        ImageDraw.Draw(mask).text(place, line, fill=255, font=font(CAPTION_SIZE), anchor="ms")
    return _lettering(mask, INK, (0, HEIGHT - mask.height))


@lru_cache(maxsize=64)
def _seconds(text: str) -> Lettering:
    """The time, in the upper right corner."""
    face = font(SECONDS_SIZE)
    mask = Image.new("L", (2 * math.ceil(face.getlength(text) / 2), 2 * SECONDS_SIZE), 0)
    ImageDraw.Draw(mask).text((mask.width, 0), text, fill=255, font=face, anchor="ra")
    return _lettering(mask, FAINT_INK, (WIDTH - 12 - mask.width, 10))


def _lettering(mask: Image.Image, ink: Colour, corner: tuple[int, int]) -> Lettering:
    """Letters of one colour, in all planes: what is below them shows through in none. Sizes and places are even."""
    (x, y), (brightness, u, v) = corner, yuv(ink)
    half = mask.reduce(2)
    return [(0, brightness, mask, corner), (1, u, half, (x // 2, y // 2)), (2, v, half, (x // 2, y // 2))]


@lru_cache(maxsize=1)
def _legend() -> Lettering:
    """What is left and what is right, in the upper left corner."""
    size = (2 * math.ceil(legend_width() / 2), 20)
    paper: dict = {}
    for name in ("black", "white", FAINT_INK):  # on its own ink it is nothing but ink
        paper[name] = Image.new("RGB", size, name)
        draw_legend(ImageDraw.Draw(paper[name]), (0, 0))
    cover = 1 - np.asarray(ImageChops.difference(paper["white"], paper["black"]).getchannel(0)) / 255
    values = np.moveaxis(np.asarray(paper[FAINT_INK]) @ TO_YUV.T + [16, 128, 128], -1, 0)
    found: Lettering = []
    for plane, side in enumerate((1, 2, 2)):
        thick = _means(cover, side)
        value = _means(cover * values[plane], side) / np.maximum(thick, 1e-9)
        layer, mask = (Image.fromarray(one.round().astype(np.uint8)) for one in (value, 255 * thick))
        found.append((plane, layer, mask, (LEGEND[0] // side, LEGEND[1] // side)))
    return found


def _means(plane: np.ndarray, side: int) -> np.ndarray:
    """(H, W) -> (H / side, W / side)"""
    height, width = plane.shape
    return plane.reshape(height // side, side, width // side, side).mean(axis=(1, 3))
