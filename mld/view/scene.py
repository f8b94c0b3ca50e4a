"""The stick figure itself, shared by pictures and videos: colours, cameras and painting of bones with Pillow.

Right leg red, left leg blue, right arm orange, left arm cyan, spine dark. Bones are painted from far to near, each over
a background-coloured outline, so that crossing limbs stay readable without any 3D library. World: metres, y up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import ImageDraw

from mld.motion.motion import Motion
from mld.motion.skeletons import Skeleton

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


def bones(skeleton: Skeleton) -> list[tuple[int, int, tuple[int, int, int]]]:
    """(parent joint, child joint, colour) of every bone, coloured by chain; chains past the fifth as spine."""
    found = []
    for index, chain in enumerate(skeleton.chains):
        colour = CHAIN_COLOURS[index] if index < len(CHAIN_COLOURS) else CHAIN_COLOURS[SPINE]
        found += [(parent, child, colour) for parent, child in zip(chain[:-1], chain[1:])]
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
    flat = np.array(joints)
    flat[:, 1] = floor
    pixels, near = camera.project(flat)
    width = 1.6 * BONE_WIDTH * camera.scale * float(np.mean(camera.zoom(near)))
    for parent, child, _ in bones(skeleton):
        _rounded_line(draw, pixels[parent], pixels[child], width, SHADOW, flatten=0.5)


def draw_figure(draw: ImageDraw.ImageDraw, camera: Camera, joints: np.ndarray, skeleton: Skeleton) -> None:
    """The figure of one frame (J, 3): limbs bone by bone and the spine with its head as one part, far parts first."""
    pixels, near = camera.project(joints)
    outline = max(1.0, 0.012 * camera.scale)
    spine = skeleton.chains[SPINE]
    trunk = list(zip(spine[:-1], spine[1:]))
    parts = [([(start, end)], colour) for start, end, colour in bones(skeleton) if (start, end) not in trunk]
    parts.append((trunk, CHAIN_COLOURS[SPINE]))
    for part, colour in sorted(parts, key=lambda entry: float(np.mean(near[np.array(entry[0])]))):
        zoom = camera.scale * float(camera.zoom(np.mean(near[np.array(part)])))
        for grow, paint in ((2 * outline, BACKGROUND), (0.0, colour)):
            for start, end in part:
                _rounded_line(draw, pixels[start], pixels[end], BONE_WIDTH * zoom + grow, paint)
            if part is trunk:
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
