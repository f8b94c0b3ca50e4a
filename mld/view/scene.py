"""The stick figure itself, shared by pictures and videos: colours, cameras and painting of bones with Pillow.

Right leg red, left leg blue, right arm orange, left arm cyan, spine dark: a legend says so. Parts are painted from far
to near, each over a background-coloured outline, so that crossing limbs stay readable without any 3D library. World:
metres, y up.
"""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Camera:
    """Looks from `yaw` (rad, 0 = from +z, counter-clockwise seen from above) and `elevation` (rad) at `target` (3,).

    The target lands on pixel `centre`; there one metre is `scale` pixels. `distance` (m) gives perspective, inf none.
    """

    target: tuple[float, float, float]
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


Part = tuple[list[tuple[int, int]], tuple[int, int, int]]


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
    flat = with_heels(joints, skeleton)
    flat[:, 1] = floor
    pixels, near = camera.project(flat)
    width = 1.6 * BONE_WIDTH * camera.scale * float(np.mean(camera.zoom(near)))
    for lines, _ in parts(skeleton):
        for start, end in lines:
            _rounded_line(draw, pixels[start], pixels[end], width, SHADOW, flatten=0.5)


def draw_figure(draw: ImageDraw.ImageDraw, camera: Camera, joints: np.ndarray, skeleton: Skeleton) -> None:
    """The figure of one frame (J, 3), part by part, far parts first."""
    pixels, near = camera.project(with_heels(joints, skeleton))
    outline = max(1.0, 0.012 * camera.scale)
    trunk = skeleton.chains[SPINE][:2]
    for lines, colour in sorted(parts(skeleton), key=lambda part: float(np.mean(near[np.array(part[0])]))):
        zoom = camera.scale * float(camera.zoom(np.mean(near[np.array(lines)])))
        for grow, paint in ((2 * outline, BACKGROUND), (0.0, colour)):
            for start, end in lines:
                _rounded_line(draw, pixels[start], pixels[end], BONE_WIDTH * zoom + grow, paint)
            if lines[0] == trunk:
                _head(draw, camera, joints, skeleton, HEAD_RADIUS * zoom + grow / 2, paint)


def _head(draw, camera: Camera, joints: np.ndarray, skeleton: Skeleton, radius: float, colour) -> None:
    neck, head = (joints[index] for index in skeleton.chains[SPINE][-2:])
    direction = (head - neck) / max(float(np.linalg.norm(head - neck)), 1e-6)
    (x, y), _ = camera.project(head + 0.5 * HEAD_RADIUS * direction)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _rounded_line(draw, start, end, width: float, colour, flatten: float = 1.0) -> None:
    """A line with round ends; `flatten` < 1 squeezes the ends vertically (for shadows lying on the ground)."""
    half, tall = width / 2, width / 2 * flatten
    draw.line((*start, *end), fill=colour, width=max(1, round(width * (1 + flatten) / 2)))
    for x, y in (start, end):
        draw.ellipse((x - half, y - tall, x + half, y + tall), fill=colour)


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
