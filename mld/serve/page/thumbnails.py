"""A motion at a glance, as a small SVG: poses side by side, on no background, readable on light and dark."""

from __future__ import annotations

import numpy as np

from mld.motion.motion import Motion
from mld.view.feet import foot_lines, with_heels
from mld.view.scene import Camera, facing_yaw, floor_height, positions

POSES, CELL, HEIGHT = 6, 46, 84  # poses, pixels
GROUND = 10  # pixels below the feet
VIEW, ELEVATION = np.deg2rad(-48.0), np.deg2rad(10.0)
COLOURS = ("#e2574f", "#4d7fe0", "#8b94a5", "#e89a35", "#27a9bd")  # right leg, left leg, spine, right arm, left arm
SPINE, BONE, HEAD = 2, 0.07, 0.1  # chain, metres, metres


def strip(motion: Motion) -> str:
    """The SVG text of a motion's strip, `POSES * CELL` by `HEIGHT`."""
    frames = np.linspace(0, motion.num_frames - 1, POSES).round().astype(int)
    joints, floor = positions(motion), floor_height(motion)
    yaw = float(facing_yaw(motion)) + VIEW
    scale = _scale(joints[frames], yaw, floor)
    poses = []
    for place, frame in enumerate(frames):
        root, centre = joints[frame, 0], ((place + 0.5) * CELL, HEIGHT - GROUND)
        camera = Camera((root[0], floor, root[2]), yaw, float(ELEVATION), scale, centre)
        poses.append(f'<g opacity="{0.55 + 0.45 * place / (POSES - 1):.2f}">{_pose(camera, joints[frame], motion)}</g>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {POSES * CELL} {HEIGHT}" fill="none" '
        f'stroke-linecap="round" stroke-linejoin="round" stroke-width="{BONE * scale:.1f}">{"".join(poses)}</svg>'
    )


def _pose(camera: Camera, joints: np.ndarray, motion: Motion) -> str:
    """One figure (J, 3): its chains as lines, those of legs on to the heel, the far ones first."""
    pixels, near = camera.project(with_heels(joints, motion.skeleton))
    heels = [(heel, ankle) for ankle, heel, _ in foot_lines(motion.skeleton)]
    parts = []
    for index, chain in enumerate(motion.skeleton.chains):
        chain = (*chain, *heels[index]) if index < len(heels) else chain
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in pixels[list(chain)])
        drawn = f'<polyline points="{points}" stroke="{COLOURS[index if index < len(COLOURS) else SPINE]}"/>'
        if index == SPINE:
            x, y = pixels[chain[-1]]
            drawn += f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{HEAD * camera.scale:.1f}" fill="{COLOURS[SPINE]}"/>'
        parts.append((float(near[list(chain)].mean()), drawn))
    return "".join(drawn for _, drawn in sorted(parts))


def _scale(poses: np.ndarray, yaw: float, floor: float) -> float:
    """Pixels per metre at which every pose (P, J, 3) fits its cell."""
    local = poses - poses[:, :1] * [1, 0, 1]
    pixels, _ = Camera((0.0, floor, 0.0), yaw, float(ELEVATION), 1.0, (0.0, 0.0)).project(local)
    highest, widest = float(-pixels[..., 1].min()) + HEAD, 2 * float(np.abs(pixels[..., 0]).max())
    return min((HEIGHT - GROUND - 4) / max(highest, 1.75), 1.5 * CELL / max(widest, 0.1))
