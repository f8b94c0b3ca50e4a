"""`.glb`, `.gltf` (and `.vrm`, `.vrma`): the animation of a humanoid as a rig that rests as the nodes of the file do.

Of several animations the one that moves most joints is taken, unless one is asked for. Scales have to be even and
still.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mld.motion.formats.gltf_body import Node, ancestors, body_nodes, human_names, node_tree
from mld.motion.formats.gltf_file import GltfFile
from mld.motion.formats.gltf_tracks import Track, clips_of, frame_times, read_tracks
from mld.motion.formats.limits import shown
from mld.motion.formats.options import ReadOptions
from mld.motion.rig.rig import Rig, RigMotion, distinct_names
from mld.motion.rig.units import guess_unit
from mld.motion.rotations import matrix_to_quaternion, nearest_rotation, quaternion_to_matrix

_LONGEST_NAME = 200
_MOVES = 0.001  # of its bone: how far a joint may be from its place before it counts as moving
_IDENTITY = (0.0, 0.0, 0.0, 1.0)


def read_rig(path: Path, options: ReadOptions | None = None) -> RigMotion:
    """The animated skeleton in metres; `MotionFormatError` names the part of the file that is damaged."""
    options = options or ReadOptions()
    file = GltfFile(Path(path))
    notes: list[str] = []
    parents, order = node_tree(file)
    nodes = [_node(file, index, notes) for index in range(len(parents))]
    tracks = read_tracks(file, notes, options.clip)
    kept = body_nodes(file, nodes, parents, order, {node for node, _ in tracks})
    above = ancestors(parents, kept[0])
    body = {*above, *kept}
    tracks = {key: track for key, track in tracks.items() if key[0] in body}
    times, fps = frame_times(file, list(tracks.values()), options.fps, len(kept) + len(above))
    return _assemble(file, nodes, parents, above, kept, tracks, times, fps, options, notes)


def clip_names(path: Path) -> tuple[str, ...]:
    """Names of the animations of a file that turn joints; those without a name, or with that of another, by number."""
    return tuple(name for _, name in clips_of(GltfFile(Path(path))))


def _node(file: GltfFile, index: int, notes: list[str]) -> Node:
    item, where = file.items("nodes")[index], f"nodes[{index}]"
    name = shown(item.get("name") or f"node {index}", _LONGEST_NAME)
    if "matrix" in item:
        matrix = file.numbers(item, "matrix", (0.0,) * 16, where).reshape(4, 4).T
        scales = np.linalg.norm(matrix[:3, :3], axis=0)
        turn = torch.from_numpy(matrix[:3, :3] / np.maximum(scales, 1e-12))
        rotation = matrix_to_quaternion(nearest_rotation(turn)).numpy()
        translation = matrix[:3, 3]
    else:
        translation = file.numbers(item, "translation", (0.0, 0.0, 0.0), where)
        rotation = file.numbers(item, "rotation", _IDENTITY, where)
        scales = file.numbers(item, "scale", (1.0, 1.0, 1.0), where)
    length = float(np.linalg.norm(rotation))
    scale = float(scales.mean())
    if length < 1e-6 or scale <= 0:
        raise file.error(f"{where} has a rotation of no length, or a scale that is not above 0")
    if float(np.ptp(scales)) > 0.01 * scale:
        notes.append(f"node '{name}' is scaled unevenly; the mean was taken")
    return Node(name, translation, rotation / length, scale)


def _assemble(
    file: GltfFile, nodes: list[Node], parents: list[int], above: list[int], kept: list[int],
    tracks: dict[tuple[int, str], Track], times: np.ndarray, fps: float, options: ReadOptions, notes: list[str],
) -> RigMotion:  # fmt: skip
    """Nodes turn as they do in the file, seen from their pose at rest: so the rig rests in that pose.

    A joint's world rotation W(t) becomes W(t) W(rest)^-1, and its offset is the rest bone in world axes.
    """
    world: dict[int, tuple[Tensor, Tensor, Tensor, float]] = {}
    frames = torch.eye(3, dtype=torch.float64).expand(len(times), 3, 3)
    state = (frames, torch.zeros(len(times), 3, dtype=torch.float64), frames[:1], 1.0)
    offsets, rotations, shifts = [], [], {}
    index = {node: joint for joint, node in enumerate(kept)}
    for node in [*above, *kept]:
        turn, place, rest, scale = world.get(parents[node], state)
        shift, local = _moves(nodes[node], node, tracks, times)
        own_rest = rest @ _matrix(torch.from_numpy(nodes[node].rotation)[None])
        if node in index and node != kept[0]:
            bone = shift.contiguous().median(dim=0).values
            offsets.append(rest[0] @ (bone * scale))
            if float((shift - bone).norm(dim=-1).max()) > _MOVES * float(bone.norm()) + 1e-6:
                shifts[index[node]] = (shift * scale) @ rest[0].T
        place = place + (turn @ (shift * scale)[..., None]).squeeze(-1)
        turned = turn @ local
        world[node] = (turned, place, own_rest, scale * nodes[node].scale)
        if node in index:
            seen = turned @ own_rest.transpose(-1, -2)
            if node != kept[0]:
                seen = (turn @ rest.transpose(-1, -2)).transpose(-1, -2) @ seen
            rotations.append(seen)
    root = world[kept[0]][1]
    offsets.insert(0, root[0])
    names, more = distinct_names(human_names(file, nodes, kept))
    rig = Rig(names, (-1, *(index[parents[node]] for node in kept[1:])), torch.stack(offsets))
    unit, note = (options.unit, "") if options.unit else guess_unit(rig, 1.0)
    notes = [text for text in (*notes, *more, note) if text]
    shifts = {joint: shift * unit for joint, shift in shifts.items()}
    return RigMotion(
        rig.scaled(unit), torch.stack(rotations, dim=1), root * unit, fps, "gltf", tuple(notes), shifts=shifts
    )


def _moves(node: Node, index: int, tracks: dict[tuple[int, str], Track], times: np.ndarray) -> tuple[Tensor, Tensor]:
    """Translation (T, 3) and rotation (T, 3, 3) of a node in its parent."""
    shift = torch.from_numpy(node.translation).expand(len(times), 3)
    turn = torch.from_numpy(node.rotation).expand(len(times), 4)
    if (index, "translation") in tracks:
        shift = torch.from_numpy(tracks[index, "translation"].at(times))
    if (index, "rotation") in tracks:
        turn = torch.from_numpy(tracks[index, "rotation"].at(times))
    return shift, _matrix(turn)


def _matrix(quaternion: Tensor) -> Tensor:
    return quaternion_to_matrix(quaternion / quaternion.norm(dim=-1, keepdim=True).clamp_min(1e-12))
