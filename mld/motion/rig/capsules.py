"""A body out of tapered capsules around the bones of a rig: our own mesh, free to share, made in a few milliseconds.

Every part moves rigidly with one joint, and neighbours share a round end there, so that no joint tears or pinches.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import yaml

from mld.motion.rig.rig import Rig
from mld.motion.skeletons import Skeleton

COLUMNS, CAP_ROWS = 16, 5


@dataclass(frozen=True, eq=False)
class Part:
    """Mesh pieces of one colour in the rest pose: vertices and normals (V, 3) float32, the joint that moves each vertex
    (V,) uint8, triangles (F, 3) uint32 counter-clockwise from outside."""

    name: str
    colour: tuple[float, float, float]
    vertices: np.ndarray
    normals: np.ndarray
    joints: np.ndarray
    faces: np.ndarray


def capsule_body(rig: Rig, skeleton: Skeleton, size: float) -> list[Part]:
    """The body of a rig with the joints of `skeleton` (names may differ), in metres, the root at its rest position.

    size: of the body, 1.0 for the one of the skeleton's table (`rest_pose.size_of`).
    """
    places = dict(zip(skeleton.joint_names, rig.rest_positions().numpy()))
    for joint, end in rig.end_offsets.items():
        name = skeleton.joint_names[joint]
        places[f"end {name}"] = places[name] + end.numpy()
        places[f"mid {name}"] = places[name] + end.numpy() / 2
    pieces: dict[str, list[tuple]] = {}
    for joint, start, end, first, last, stretch, colour in _table()[skeleton.name]:
        mesh = capsule(places[start], places[end], first * size, last * size, np.array(stretch))
        pieces.setdefault(colour, []).append((*mesh, skeleton.index(joint)))
    return [_joined(colour, found) for colour, found in pieces.items()]


def capsule(
    start: np.ndarray, end: np.ndarray, first: float, last: float, stretch: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (V, 3), normals (V, 3) and triangles (F, 3) of the hull of two balls around start and end (3,), whose
    radii `first` and `last` are then stretched along x, y and z."""
    length = float(np.linalg.norm(end - start))
    axis = (end - start) / length if length > 1e-9 else np.array([0.0, 1.0, 0.0])
    side = np.cross(axis, np.eye(3)[int(np.abs(axis).argmin())])
    side /= np.linalg.norm(side)
    tangent = np.arccos(-np.clip((first - last) / max(length, 1e-9), -0.95, 0.95))  # where cone and balls meet
    rows = np.concatenate([np.linspace(0, tangent, CAP_ROWS + 1)[1:], np.linspace(tangent, np.pi, CAP_ROWS + 1)[:-1]])
    turn = np.arange(COLUMNS) * 2 * np.pi / COLUMNS
    around = np.cos(turn)[:, None] * side + np.sin(turn)[:, None] * np.cross(axis, side)
    ring = -np.cos(rows)[:, None, None] * axis + np.sin(rows)[:, None, None] * around
    directions = np.concatenate([-axis[None], ring.reshape(-1, 3), axis[None]])
    at_start = np.arange(len(directions)) < 1 + CAP_ROWS * COLUMNS
    centres = np.where(at_start[:, None], start, end)
    vertices = centres + directions * stretch * np.where(at_start, first, last)[:, None]
    normals = directions / stretch
    return vertices, normals / np.linalg.norm(normals, axis=1, keepdims=True), _faces(2 * CAP_ROWS)


@lru_cache(maxsize=1)
def _faces(rows: int) -> np.ndarray:
    """Triangles of a pole, `rows` rings of COLUMNS vertices, and the other pole."""
    column = np.arange(COLUMNS)
    following = (column + 1) % COLUMNS
    low = 1 + COLUMNS * np.arange(rows - 1)[:, None]
    a, b, c, d = low + column, low + following, low + COLUMNS + column, low + COLUMNS + following
    top = 1 + COLUMNS * (rows - 1)
    pole, last = np.zeros(COLUMNS, dtype=int), np.full(COLUMNS, 1 + COLUMNS * rows)
    return np.concatenate([
        np.stack([pole, 1 + following, 1 + column], axis=-1),
        np.stack([a, b, d], axis=-1).reshape(-1, 3),
        np.stack([a, d, c], axis=-1).reshape(-1, 3),
        np.stack([top + column, top + following, last], axis=-1),
    ])


def _joined(colour: str, pieces: list[tuple]) -> Part:
    counts = [len(vertices) for vertices, *_ in pieces]
    starts = np.cumsum([0, *counts[:-1]])
    vertices, normals, faces, joints = zip(*pieces)
    return Part(
        name=colour,
        colour=tuple(_table()["colours"][colour]),
        vertices=np.concatenate(vertices).astype(np.float32),
        normals=np.concatenate(normals).astype(np.float32),
        joints=np.repeat(np.array(joints, dtype=np.uint8), counts),
        faces=np.concatenate([mesh + start for mesh, start in zip(faces, starts)]).astype(np.uint32),
    )


@lru_cache(maxsize=1)
def _table() -> dict:
    return yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
