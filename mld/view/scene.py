"""The stick figure itself, shared by pictures and videos: colours, cameras and the shapes of bones.

Right leg red, left leg blue, right arm orange, left arm cyan, spine dark: a legend says so. Parts are painted from far
to near, each over a background-coloured outline, so that crossing limbs stay readable without any 3D library. World:
metres, y up. The shapes of all frames are computed together, so that painting a frame is drawing some lines with round
ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import ImageDraw

from mld.motion.motion import Motion
from mld.motion.skeletons import Skeleton
from mld.view.feet import foot_lines, with_heels
from mld.view.text import font

BACKGROUND = (250, 250, 248)
GROUND = (236, 237, 234)
SHADOW = (214, 216, 213)
INK = (38, 42, 50)
FAINT_INK = (128, 134, 142)
# In the order of `Skeleton.chains`: right leg, left leg, spine, right arm, left arm.
CHAIN_COLOURS = ((214, 48, 49), (38, 96, 202), (58, 63, 74), (240, 144, 20), (20, 172, 196))
SPINE = 2  # index of the spine chain
BONE_WIDTH = 0.052  # metres
HEAD_RADIUS = 0.095  # metres
SIDES = (("left", (4, 1)), ("right", (3, 0)))  # words of the legend, and the chains whose colours they explain
LEGEND_SIZE, LEGEND_DOT, LEGEND_STEP = 12, 8, 11  # pixels: letters, dots, and from one dot to the next

Colour = tuple[int, int, int]


class Shape(NamedTuple):
    """A line with round ends, in pixels. line: x, y, x, y; empty for a single ball. width: of the line, whole pixels.
    balls: boxes x0, y0, x1, y1 of the ellipses at its ends."""

    line: list[float]
    width: int
    balls: list[list[float]]
    colour: Colour


@dataclass(frozen=True)
class Camera:
    """Looks from `yaw` (rad, 0 = from +z, counter-clockwise seen from above) and `elevation` (rad) at `target` (3,).

    The target lands on pixel `centre`; there one metre is `scale` pixels. `distance` (m) gives perspective, inf none. A
    target (F, 1, 3) is one for each frame of points (F, N, 3).
    """

    target: tuple[float, float, float] | np.ndarray
    yaw: float
    elevation: float
    scale: float
    centre: tuple[float, float]
    distance: float = float("inf")

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World points (..., 3) -> pixels (..., 2) and nearness (...): metres towards the camera from the target."""
        sin_y, cos_y, sin_e, cos_e = np.sin(self.yaw), np.cos(self.yaw), np.sin(self.elevation), np.cos(self.elevation)
        axes = np.array(
            [[cos_y, 0.0, -sin_y], [-sin_y * sin_e, cos_e, -cos_y * sin_e], [sin_y * cos_e, sin_e, cos_y * cos_e]]
        )
        right, up, near = np.moveaxis((np.asarray(points, dtype=np.float64) - self.target) @ axes.T, -1, 0)
        zoom = self.scale * self.zoom(near)
        return np.stack([self.centre[0] + zoom * right, self.centre[1] - zoom * up], axis=-1), near

    def zoom(self, near: np.ndarray) -> np.ndarray:
        """Perspective magnification at a nearness (m), 1 at the target."""
        if not np.isfinite(self.distance):
            return np.ones_like(near)
        return self.distance / np.maximum(self.distance - near, 0.2)


Part = tuple[list[tuple[int, int]], Colour]


def parts(skeleton: Skeleton) -> list[Part]:
    """What is painted as one: the trunk with the head, each foot with its heel, and every other bone by itself.

    A part is its lines, between joints `with_heels`, and a colour: that of the chain, past the fifth that of the spine.
    """
    feet = foot_lines(skeleton)
    found: list[Part] = []
    for index, chain in enumerate(skeleton.chains):
        colour = CHAIN_COLOURS[index if index < len(CHAIN_COLOURS) else SPINE]
        lines = list(zip(chain[:-1], chain[1:]))
        if index == SPINE:
            found.append((lines, colour))
            continue
        if index < len(feet):
            ankle, heel, toes = feet[index]
            at = chain.index(ankle)
            found.append(([(ankle, heel), (heel, toes), *lines[at:]], colour))
            lines = lines[:at]
        found += [([line], colour) for line in lines]
    return found


def positions(motion: Motion) -> np.ndarray:
    """The joints of a motion as an array (T, J, 3) float64, metres."""
    return motion.joints.detach().cpu().numpy().astype(np.float64)


def facing_yaw(motion: Motion, frame: int | slice = 0) -> np.ndarray:
    """Heading of the body in radians (0 = +z, pi/2 = +x) at one frame or at a slice of frames."""
    right_hip, left_hip, right_shoulder, left_shoulder = motion.skeleton.face_joints
    joints = positions(motion)[frame]
    across = joints[..., left_hip, :] - joints[..., right_hip, :]
    across = across + joints[..., left_shoulder, :] - joints[..., right_shoulder, :]
    return np.arctan2(-across[..., 2], across[..., 0])


def floor_height(motion: Motion) -> float:
    """0 for a grounded motion; the lowest joint (m) where the motion clearly stands lower than that."""
    lowest = float(motion.joints[..., 1].min())
    return lowest if lowest < -0.3 else 0.0


def draw_shadow(
    draw: ImageDraw.ImageDraw, camera: Camera, joints: np.ndarray, skeleton: Skeleton, floor: float
) -> None:
    """The figure (J, 3) flattened onto the ground."""
    (shapes,) = shadow_shapes(camera, joints[None], skeleton, floor)
    fill(draw, shapes)


def draw_figure(draw: ImageDraw.ImageDraw, camera: Camera, joints: np.ndarray, skeleton: Skeleton) -> None:
    """The figure of one frame (J, 3)."""
    (shapes,) = figure_shapes(camera, joints[None], skeleton)
    fill(draw, shapes)


def fill(
    draw: ImageDraw.ImageDraw, shapes: Iterable[Shape], ink: Callable[[Colour], int | Colour] = lambda colour: colour
) -> None:
    """Paint shapes. ink: what a colour is called on this canvas."""
    for line, width, balls, colour in shapes:
        paint = ink(colour)
        if line:
            draw.line(line, fill=paint, width=width)
        for ball in balls:
            draw.ellipse(ball, fill=paint)


def shadow_shapes(camera: Camera, joints: np.ndarray, skeleton: Skeleton, floor: float) -> Iterator[list[Shape]]:
    """The shapes of every frame of a figure (F, J, 3) that is flattened onto the ground."""
    pixels, near = camera.project(with_heels(joints, skeleton) * [1, 0, 1] + [0, floor, 0])
    width = 1.6 * BONE_WIDTH * camera.scale * camera.zoom(near).mean(-1)
    lines = [line for lines, _ in parts(skeleton) for line in lines]
    wide = np.broadcast_to(width[:, None], (len(width), len(lines)))
    return _shapes(pixels, lines, wide, [SHADOW] * len(lines), _new_ends([lines]), flatten=0.5)


def figure_shapes(camera: Camera, joints: np.ndarray, skeleton: Skeleton) -> Iterator[list[Shape]]:
    """The shapes of every frame of a figure (F, J, 3) in the order of painting: far parts first, each with its outline
    before it, the head as a ball of the trunk."""
    pixels, near = camera.project(with_heels(joints, skeleton))
    groups, colours = zip(*parts(skeleton))
    of_part = [number for number, group in enumerate(groups) for _ in group]
    depth = np.stack([near[:, np.array(group)].mean(axis=(1, 2)) for group in groups], axis=1)  # (F, parts)
    zoom = camera.scale * camera.zoom(depth)
    trunk = next(number for number, group in enumerate(groups) if group[0] == skeleton.chains[SPINE][:2])
    head = _head(camera, joints, skeleton)
    layers = []  # outlines and insides; of each: shapes, heads and colours of the parts, by frame
    for wider, paint in ((2 * max(1.0, 0.012 * camera.scale), [BACKGROUND] * len(groups)), (0.0, colours)):
        widths, inks = BONE_WIDTH * zoom[:, of_part] + wider, [paint[part] for part in of_part]
        shapes = _shapes(pixels, [line for group in groups for line in group], widths, inks, _new_ends(groups))
        balls = _balls(head, 2 * HEAD_RADIUS * zoom[:, [trunk]] + wider).tolist()
        layers.append(zip(shapes, [[Shape([], 0, ball, paint[trunk])] for ball in balls]))
    places = [slice(of_part.index(part), of_part.index(part) + len(group)) for part, group in enumerate(groups)]
    for order, *both in zip(depth.argsort(axis=1, kind="stable").tolist(), *layers):
        yield [
            shape for part in order for bones, ball in both for shape in bones[places[part]] + ball * (part == trunk)
        ]


def _head(camera: Camera, joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Pixels (F, 1, 2) of the middle of the head."""
    neck, head = (joints[:, index] for index in skeleton.chains[SPINE][-2:])
    direction = (head - neck) / np.maximum(np.linalg.norm(head - neck, axis=-1, keepdims=True), 1e-6)
    return camera.project((head + 0.5 * HEAD_RADIUS * direction)[:, None])[0]


def _new_ends(groups: Sequence[Sequence[tuple[int, int]]]) -> list[list[int]]:
    """Which ends of every line get a ball: those that no line before it in its group has."""
    found = []
    for group in groups:
        known: set[int] = set()
        for line in group:
            found.append([side for side, end in enumerate(line) if end not in known])
            known.update(line)
    return found


def _shapes(
    pixels: np.ndarray,
    lines: Sequence[tuple[int, int]],
    width: np.ndarray,
    colours: Sequence[Colour],
    sides: Sequence[Sequence[int]],
    flatten: float = 1.0,
) -> Iterator[list[Shape]]:
    """Of every frame, lines (N) between pixels (F, J, 2), (F, N) pixels wide, with balls at the ends in `sides`.
    `flatten` < 1 squeezes the balls vertically (for shadows lying on the ground)."""
    ends = pixels[:, np.array(lines)]  # (F, N, 2, 2)
    whole = np.maximum(1, (width * (1 + flatten) / 2).round()).astype(int)
    balls = _balls(ends, width[..., None], flatten)
    # Lists are made frame by frame: many that live for long make Python look for garbage in all it has.
    for frame in zip(ends.reshape(*ends.shape[:2], 4), whole, balls):
        yield [
            Shape(line, wide, [at[side] for side in chosen], colour)
            for line, wide, at, chosen, colour in zip(*(array.tolist() for array in frame), sides, colours)
        ]


def _balls(middles: np.ndarray, width: np.ndarray, flatten: float = 1.0) -> np.ndarray:
    """Boxes (..., 4) around (..., 2)."""
    half = width[..., None] / 2 * [1.0, flatten]
    return np.concatenate((middles - half, middles + half), axis=-1)


def draw_legend(draw: ImageDraw.ImageDraw, corner: tuple[float, float]) -> None:
    """Say which colours are left and which right, from an upper left corner on, `legend_width` pixels wide."""
    x, top = corner
    for word, chains in SIDES:
        for chain in chains:
            draw.ellipse((x, top + 4, x + LEGEND_DOT, top + 4 + LEGEND_DOT), fill=CHAIN_COLOURS[chain])
            x += LEGEND_STEP
        draw.text((x, top), word, fill=FAINT_INK, font=font(LEGEND_SIZE))
        x += font(LEGEND_SIZE).getlength(word) + LEGEND_STEP


def legend_width() -> float:
    """Pixels that `draw_legend` takes from left to right."""
    words = sum(font(LEGEND_SIZE).getlength(word) for word, _ in SIDES)
    return words + LEGEND_STEP * (sum(len(chains) for _, chains in SIDES) + len(SIDES) - 1)
