"""Where a triangle mesh runs through itself: the dimension Body_Penetration of MBench (ViMoGen, arXiv 2510.26794).

Two triangles collide when none of 17 axes parts them: their normals, the cross products of their edges, and of each
normal with its edges, touching included (Gottschalk 1996). Pairs with a vertex at the same place are neighbours and do
not count; every other pair does, wherever it is on the body. Published code has room for 8 candidates of each triangle
and does not check that; here there is no limit (spec mbench, section 7).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from mld.errors import DataError

_AT_ONCE = 1 << 20  # pairs in memory at a time


def body_penetration(frames: Iterable[np.ndarray], faces: np.ndarray) -> float:
    """100 x colliding pairs / faces, mean over frames: vertices (V, 3) each, metres, and faces (F, 3).

    `DataError` where there is no frame, for vertices that are not finite and faces that do not fit them."""
    shares = [100 * len(colliding_pairs(vertices, faces)) / len(faces) for vertices in frames]
    if not shares:
        raise DataError("a mesh of no frames has no collisions to count")
    return float(np.mean(shares))


def colliding_pairs(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Pairs (P, 2) int64 of triangles that collide, smaller index first, sorted: vertices (V, 3), faces (F, 3).

    `DataError` for vertices that are not finite and faces that do not fit them."""
    vertices, faces = np.asarray(vertices, dtype=np.float64), np.asarray(faces, dtype=np.int64)
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3 or not len(faces):
        raise DataError(f"a mesh has vertices (V, 3) and faces (F, 3), not {vertices.shape} and {faces.shape}")
    if not np.isfinite(vertices).all():
        raise DataError("a vertex of the mesh is NaN or infinite; leave that frame out")
    if faces.min() < 0 or faces.max() >= len(vertices):
        wrong = faces.max() if faces.min() >= 0 else faces.min()
        raise DataError(f"a face names vertex {wrong}, and the mesh has {len(vertices)}")
    corners = vertices[faces]
    found = [pairs[_collide(corners[pairs[:, 0]], corners[pairs[:, 1]])] for pairs in _near(corners, faces)]
    pairs = np.sort(np.concatenate([np.empty((0, 2), dtype=np.int64), *found]), axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _near(corners: np.ndarray, faces: np.ndarray) -> Iterator[np.ndarray]:
    """Pairs (n, 2) whose boxes touch and that share no vertex, from a sweep along the longest axis of the mesh."""
    low, high = corners.min(1), corners.max(1)
    order = np.argsort(-np.ptp(low, axis=0), kind="stable")
    rank = np.argsort(low[:, order[0]], kind="stable")
    low, high = low[rank][:, order], high[rank][:, order]
    after = np.arange(1, len(rank) + 1)
    count = np.searchsorted(low[:, 0], high[:, 0], side="right") - after  # of boxes that follow and begin within
    for first, last in _portions(count):
        one = np.repeat(np.arange(first, last), count[first:last])
        other = np.arange(len(one)) + np.repeat(after[first:last] - _offsets(count[first:last]), count[first:last])
        for axis in (1, 2):
            touch = (low[one, axis] <= high[other, axis]) & (low[other, axis] <= high[one, axis])
            one, other = one[touch], other[touch]
        pairs = np.stack([rank[one], rank[other]], axis=1)
        a, b = faces[pairs[:, 0]], faces[pairs[:, 1]]
        pairs = pairs[~(a[:, :, None] == b[:, None]).any((1, 2))]
        a, b = corners[pairs[:, 0]], corners[pairs[:, 1]]
        yield pairs[~(a[:, :, None] == b[:, None]).all(-1).any((1, 2))]


def _offsets(count: np.ndarray) -> np.ndarray:
    return np.cumsum(count) - count


def _portions(count: np.ndarray) -> Iterator[tuple[int, int]]:
    """Ranges of boxes that have about `_AT_ONCE` pairs together; a single box may have more."""
    total, first = np.cumsum(count), 0
    while first < len(count):
        last = int(np.searchsorted(total, (total[first - 1] if first else 0) + _AT_ONCE, side="right"))
        yield first, max(last, first + 1)
        first = max(last, first + 1)


def _collide(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Which pairs of triangles (n, 3, 3) meet. Most are parted by a normal, so the other axes see few of them."""
    edges = [corners[:, (1, 2, 0)] - corners for corners in (one, other)]
    normals = [np.cross(side[:, 0], side[:, 1]) for side in edges]
    meet = _overlap(one, other, np.stack(normals, axis=1))
    left = np.flatnonzero(meet)
    edges, normals = [side[left] for side in edges], [normal[left] for normal in normals]
    across = np.cross(edges[0][:, :, None], edges[1][:, None]).reshape(-1, 9, 3)
    within = [np.cross(normal[:, None], side) for normal, side in zip(normals, edges)]
    meet[left] = _overlap(one[left], other[left], np.concatenate([across, *within], axis=1))
    return meet


def _overlap(one: np.ndarray, other: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Whether the shadows of triangles (n, 3, 3) touch on all of their axes (n, k, 3)."""
    a, b = (np.einsum("nki,nci->cnk", axes, corners) for corners in (one, other))
    return ((a.min(0) <= b.max(0)) & (b.min(0) <= a.max(0))).all(-1)
