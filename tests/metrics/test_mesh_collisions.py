"""Triangles that run through each other: every pair looked at one by one, and pairs whose answer is known."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from mld.errors import DataError
from mld.metrics import mesh_collisions
from mld.metrics.mesh_collisions import body_penetration, colliding_pairs

FLAT = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=np.float64)


def parted(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether any of the 17 axes parts two triangles (3, 3)."""
    edges = [[side[(i + 1) % 3] - side[i] for i in range(3)] for side in (one, other)]
    normals = [np.cross(side[0], side[1]) for side in edges]
    axes = [*normals, *(np.cross(a, b) for a in edges[0] for b in edges[1])]
    axes += [np.cross(normal, edge) for normal, side in zip(normals, edges) for edge in side]
    assert len(axes) == 17
    return any(max(one @ a) < min(other @ a) or max(other @ a) < min(one @ a) for a in axes)


def all_pairs(vertices: np.ndarray, faces: np.ndarray) -> list[list[int]]:
    corners = vertices.astype(np.float64)[faces]
    return [
        [i, j] for i, j in combinations(range(len(faces)), 2)
        if not any((a == b).all() for a in corners[i] for b in corners[j]) and not parted(corners[i], corners[j])
    ]  # fmt: skip


def test_a_plain_twin_finds_the_same_pairs(monkeypatch):
    """Random meshes, some points of which are at the same place, in a few portions and in one."""
    found = 0
    for seed in range(4):
        random = np.random.default_rng(seed)
        vertices = random.normal(size=(60, 3)).astype(np.float32)
        vertices[50:] = vertices[:10]
        centres, size = random.integers(0, 60, 80), random.uniform(0.3, 3)
        vertices = np.concatenate([vertices, vertices[centres] + size * random.normal(size=(80, 3)).astype(np.float32)])
        faces = np.stack([centres, np.arange(60, 140), random.integers(0, 60, 80)], axis=1)
        wanted = all_pairs(vertices, faces)
        monkeypatch.setattr(mesh_collisions, "_AT_ONCE", 7 if seed % 2 else 1 << 20)
        assert colliding_pairs(vertices, faces).tolist() == wanted
        found += len(wanted)
    assert found > 400


def test_triangles_on_whole_numbers_that_touch():
    """On whole numbers many triangles touch in a corner, an edge or a plane; touching counts."""
    random = np.random.default_rng(0)
    vertices = random.integers(0, 4, (90, 3)) * np.array([1, 1, 0.5])
    faces = np.arange(90).reshape(30, 3)
    assert colliding_pairs(vertices, faces).tolist() == all_pairs(vertices, faces)


@pytest.mark.parametrize(
    ("other", "collides"),
    [
        (FLAT + [0.2, 0.2, 0], True),  # in one plane, overlapping
        (FLAT + [2, 0, 0], False),  # in one plane, apart
        (FLAT + [0, 0, 1e-6], False),  # above
        ([[0.2, 0.2, -1], [0.2, 0.2, 1], [0.3, 2, 0]], True),  # through
        ([[0.2, 0.2, 0], [0.5, 0.5, 1], [0.1, 0.9, 1]], True),  # a corner on the face
        ([[0.2, 0.2, 1e-6], [0.5, 0.5, 1], [0.1, 0.9, 1]], False),
        ([[0, 0, 0], [0.2, 0.2, 1], [0.2, 0.2, -1]], False),  # through, but neighbours: a corner at the same place
        ([[0.9, 0.9, -1], [0.9, 0.9, 1], [2, 2, 0]], False),  # boxes overlap, triangles do not
        ([[0.3, 0.3, 0]] * 3, True),  # no area
    ],
)
def test_pairs_whose_answer_is_known(other, collides):
    vertices = np.concatenate([FLAT, other])
    assert colliding_pairs(vertices, np.arange(6).reshape(2, 3)).tolist() == ([[0, 1]] if collides else [])


def test_score_is_the_mean_share_of_faces():
    apart, through = np.concatenate([FLAT, FLAT + 5]), np.concatenate([FLAT, FLAT[:, [2, 0, 1]] + [0.1, 0.1, -0.5]])
    assert body_penetration([apart, through], np.arange(6).reshape(2, 3)) == 25


@pytest.mark.parametrize(
    ("vertices", "faces", "words"),
    [
        (np.full((6, 3), np.nan), np.arange(6).reshape(2, 3), "NaN"),
        (np.zeros((5, 3)), np.arange(6).reshape(2, 3), "vertex 5, and the mesh has 5"),
        (np.zeros((6, 3)), -np.arange(6).reshape(2, 3), "vertex -5"),
        (np.zeros((6, 2)), np.arange(6).reshape(2, 3), r"not \(6, 2\)"),
        (np.zeros((6, 3)), np.zeros((0, 3)), r"\(0, 3\)"),
    ],
)
def test_a_broken_mesh_is_refused(vertices, faces, words):
    with pytest.raises(DataError, match=words):
        colliding_pairs(vertices, faces)
    with pytest.raises(DataError, match="no frames"):
        body_penetration([], faces)
