"""`.glb`, `.gltf` (and `.vrm`, `.vrma`): the animation of a humanoid as a rig that rests as the nodes of the file do.

Of several animations the one that moves most joints is taken. Scales have to be even and still.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import roma
import torch
from torch import Tensor

from mld.motion.formats.gltf_file import GltfFile
from mld.motion.formats.gltf_tracks import Track, frame_times, read_tracks
from mld.motion.formats.limits import shown
from mld.motion.formats.options import ReadOptions
from mld.motion.rig.rig import Rig, RigMotion, distinct_names
from mld.motion.rig.units import guess_unit

_MOST_NODES = 10_000
_LONGEST_NAME = 200
_MOVES = 0.001  # of its bone: how far a joint may be from its place before it counts as moving
_IDENTITY = (0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class _Node:
    """A node at rest: translation (3,), rotation quaternion (4,) x y z w, even scale."""

    name: str
    translation: np.ndarray
    rotation: np.ndarray
    scale: float


def read_rig(path: Path, options: ReadOptions | None = None) -> RigMotion:
    """The animated skeleton in metres; `MotionFormatError` names the part of the file that is damaged."""
    options = options or ReadOptions()
    file = GltfFile(Path(path))
    notes: list[str] = []
    parents, order = _tree(file)
    nodes = [_node(file, index, notes) for index in range(len(parents))]
    tracks = read_tracks(file, notes)
    kept = _skeleton(file, parents, order, {node for node, _ in tracks})
    above = _ancestors(parents, kept[0])
    times, fps = frame_times(file, list(tracks.values()), options.fps, len(kept) + len(above))
    return _assemble(file, nodes, parents, above, kept, tracks, times, fps, options, notes)


def _tree(file: GltfFile) -> tuple[list[int], list[int]]:
    """Parents of all nodes (-1 for none), and the nodes in an order with parents first."""
    items = file.items("nodes")
    if not items or len(items) > _MOST_NODES:
        raise file.error(f"{len(items)} nodes; a skeleton has some, and at most {_MOST_NODES}")
    parents = [-1] * len(items)
    for index, item in enumerate(items):
        children = item.get("children", [])
        if not isinstance(children, list):
            raise file.error(f"nodes[{index}].children is not a list")
        for child in children:
            file.item("nodes", child)
            if parents[child] >= 0:
                raise file.error(f"nodes[{child}] is the child of two nodes")
            parents[child] = index
    order, waiting = [], [index for index, parent in enumerate(parents) if parent < 0][::-1]
    while waiting:
        index = waiting.pop()
        order.append(index)
        waiting += reversed(items[index].get("children", []))
    if len(order) < len(items):
        loop = min(set(range(len(items))) - set(order))
        raise file.error(f"nodes[{loop}] is its own ancestor")
    return parents, order


def _node(file: GltfFile, index: int, notes: list[str]) -> _Node:
    item, where = file.items("nodes")[index], f"nodes[{index}]"
    name = shown(item.get("name") or f"node {index}", _LONGEST_NAME)
    if "matrix" in item:
        matrix = file.numbers(item, "matrix", (0.0,) * 16, where).reshape(4, 4).T
        scales = np.linalg.norm(matrix[:3, :3], axis=0)
        turn = torch.from_numpy(matrix[:3, :3] / np.maximum(scales, 1e-12))
        rotation = roma.rotmat_to_unitquat(roma.special_procrustes(turn)).numpy()
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
    return _Node(name, translation, rotation / length, scale)


def _skeleton(file: GltfFile, parents: list[int], order: list[int], moving: set[int]) -> list[int]:
    """The nodes of the skeleton, parents first: the joints of the skin that moves most, or else all that moves, and
    what connects them."""
    skins = [{j for j in skin.get("joints", []) if type(j) is int and 0 <= j < len(parents)}
             for skin in file.items("skins") if isinstance(skin.get("joints"), list)]  # fmt: skip
    joints = max(skins, key=lambda skin: len(skin & moving), default=set())
    wanted = joints if joints & moving else moving
    # The lowest node above all of them, found by counting how many lie at or below each.
    below = [int(index in wanted) for index in range(len(parents))]
    for index in reversed(order):
        if parents[index] >= 0:
            below[parents[index]] += below[index]
    tops = [index for index in order if below[index] == len(wanted)]
    if not tops:
        raise file.error("the joints that move have no common root")
    reached = {tops[-1]}
    kept = []
    for index in order:
        if index in reached or (parents[index] in reached and below[index]):
            reached.add(index)
            kept.append(index)
    return kept


def _assemble(
    file: GltfFile, nodes: list[_Node], parents: list[int], above: list[int], kept: list[int],
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
    names, more = distinct_names(_human_names(file, nodes, kept))
    rig = Rig(names, (-1, *(index[parents[node]] for node in kept[1:])), torch.stack(offsets))
    unit, note = (options.unit, "") if options.unit else guess_unit(rig, 1.0)
    notes = [text for text in (*notes, *more, note) if text]
    shifts = {joint: shift * unit for joint, shift in shifts.items()}
    return RigMotion(
        rig.scaled(unit), torch.stack(rotations, dim=1), root * unit, fps, "gltf", tuple(notes), shifts=shifts
    )


def _ancestors(parents: list[int], node: int) -> list[int]:
    above = []
    while parents[node] >= 0:
        node = parents[node]
        above.append(node)
    return above[::-1]


def _moves(node: _Node, index: int, tracks: dict[tuple[int, str], Track], times: np.ndarray) -> tuple[Tensor, Tensor]:
    """Translation (T, 3) and rotation (T, 3, 3) of a node in its parent."""
    shift = torch.from_numpy(node.translation).expand(len(times), 3)
    turn = torch.from_numpy(node.rotation).expand(len(times), 4)
    if (index, "translation") in tracks:
        shift = torch.from_numpy(tracks[index, "translation"].at(times))
    if (index, "rotation") in tracks:
        turn = torch.from_numpy(tracks[index, "rotation"].at(times))
    return shift, _matrix(turn)


def _matrix(quaternion: Tensor) -> Tensor:
    return roma.unitquat_to_rotmat(quaternion / quaternion.norm(dim=-1, keepdim=True).clamp_min(1e-12))


def _human_names(file: GltfFile, nodes: list[_Node], kept: list[int]) -> list[str]:
    """Names of the kept nodes; those of a VRM humanoid by what the file says that they are."""
    names = {index: nodes[index].name for index in kept}
    extensions = file.document.get("extensions")
    for key in ("VRM", "VRMC_vrm", "VRMC_vrm_animation"):
        humanoid = extensions.get(key, {}) if isinstance(extensions, dict) else {}
        humanoid = humanoid.get("humanoid") if isinstance(humanoid, dict) else None
        bones = humanoid.get("humanBones") if isinstance(humanoid, dict) else None
        if isinstance(bones, list):
            bones = {shown(bone.get("bone")): bone for bone in bones if isinstance(bone, dict)}
        for name, bone in bones.items() if isinstance(bones, dict) else ():
            if isinstance(bone, dict) and type(bone.get("node")) is int and bone["node"] in names:
                names[bone["node"]] = shown(name)
    return [names[index] for index in kept]
