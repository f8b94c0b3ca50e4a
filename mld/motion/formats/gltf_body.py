"""Which nodes of a glTF file are the body: by the humanoid that the file names, a skin, or the tree that is like one.

Cameras, props, faces and expressions may be animated beside it; bones of the body without keys rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from mld.motion.formats.gltf_file import GltfFile
from mld.motion.formats.limits import shown
from mld.motion.rig.guessing import best_found
from mld.motion.rig.rig import Rig, distinct_names

_MOST_NODES = 10_000
_MOST_JUDGED = 1000  # nodes of a part of the file that may be a body


@dataclass(frozen=True)
class Node:
    """A node at rest: translation (3,), rotation quaternion (4,) x y z w, even scale."""

    name: str
    translation: np.ndarray
    rotation: np.ndarray
    scale: float


def node_tree(file: GltfFile) -> tuple[list[int], list[int]]:
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


def body_nodes(file: GltfFile, nodes: list[Node], parents: list[int], order: list[int], moving: set[int]) -> list[int]:
    """The nodes of the skeleton, parents first, with what connects them: of what may be it, the first in which all
    joints of a body can be told, or else that in which most can."""
    best: tuple[int, list[int]] | None = None
    for wanted in _candidates(file, parents, order, moving):
        kept = _connected(parents, order, wanted)
        if not moving.intersection(kept) and not moving.intersection(ancestors(parents, kept[0])):
            continue
        found = best_found(_rest(file, nodes, parents, kept)) if len(kept) <= _MOST_JUDGED else None
        if found is not None and not found.lacking:
            return kept
        told = 0 if found is None else len(found.joints)
        if best is None or told > best[0]:
            best = told, kept
    if best is None:
        raise file.error("none of the joints of a body moves")
    return best[1]


def ancestors(parents: list[int], node: int) -> list[int]:
    """The nodes above one, topmost first."""
    above = []
    while parents[node] >= 0:
        node = parents[node]
        above.append(node)
    return above[::-1]


def human_names(file: GltfFile, nodes: list[Node], kept: list[int]) -> list[str]:
    """Names of the kept nodes; those of a VRM humanoid by what the file says that they are."""
    return [_humanoid(file).get(index, nodes[index].name) for index in kept]


def _candidates(file: GltfFile, parents: list[int], order: list[int], moving: set[int]) -> Iterator[set[int]]:
    """Sets of nodes that may be a body, the most likely first."""
    humanoid = set(_humanoid(file))
    if humanoid:
        yield humanoid
    skins = [{j for j in skin.get("joints", []) if type(j) is int and 0 <= j < len(parents)}
             for skin in file.items("skins") if isinstance(skin.get("joints"), list)]  # fmt: skip
    joints = max(skins, key=lambda skin: len(skin & moving), default=set())
    if joints & moving:
        yield joints
    top = [-1] * len(parents)
    for node in order:
        top[node] = node if parents[node] < 0 else top[parents[node]]
    tops = {top[node]: sum(top[other] == top[node] for other in moving) for node in sorted(moving)}
    largest = sorted(tops, key=lambda node: -tops[node])[:8]
    if not joints & moving and largest:
        yield {node for node in moving if top[node] == largest[0]}
    for root in largest:
        yield {node for node in order if top[node] == root}


def _connected(parents: list[int], order: list[int], wanted: set[int]) -> list[int]:
    """The wanted nodes that share a topmost node with most others, and those between them, parents first."""
    below = [int(index in wanted) for index in range(len(parents))]  # how many lie at or below each
    for index in reversed(order):
        if parents[index] >= 0:
            below[parents[index]] += below[index]
    most = max(below[index] for index in order if parents[index] < 0)
    reached = {[index for index in order if below[index] == most][-1]}
    kept = []
    for index in order:
        if index in reached or (parents[index] in reached and below[index]):
            reached.add(index)
            kept.append(index)
    return kept


def _rest(file: GltfFile, nodes: list[Node], parents: list[int], kept: list[int]) -> Rig:
    """The kept nodes as a rig whose bones have their lengths at rest, along the axes of their parents."""
    names, _ = distinct_names(human_names(file, nodes, kept))
    index = {node: joint for joint, node in enumerate(kept)}
    scale: dict[int, float] = {}
    offsets = np.zeros((len(kept), 3))
    for joint, node in enumerate(kept):
        above = scale.get(parents[node], 1.0)
        scale[node] = above * nodes[node].scale
        offsets[joint] = nodes[node].translation * above
    return Rig(names, (-1, *(index[parents[node]] for node in kept[1:])), torch.from_numpy(offsets))


def _humanoid(file: GltfFile) -> dict[int, str]:
    """Names of bones by node, where the file names those of a humanoid."""
    found: dict[int, str] = {}
    extensions = file.document.get("extensions")
    for key in ("VRM", "VRMC_vrm", "VRMC_vrm_animation"):
        humanoid = extensions.get(key, {}) if isinstance(extensions, dict) else {}
        humanoid = humanoid.get("humanoid") if isinstance(humanoid, dict) else None
        bones = humanoid.get("humanBones") if isinstance(humanoid, dict) else None
        if isinstance(bones, list):
            bones = {shown(bone.get("bone")): bone for bone in bones if isinstance(bone, dict)}
        for name, bone in bones.items() if isinstance(bones, dict) else ():
            node = bone.get("node") if isinstance(bone, dict) else None
            if type(node) is int and 0 <= node < len(file.items("nodes")):
                found[node] = shown(name)
    return found
