"""The T-pose of a skeleton, and rotations from joints: the pose of every joint that takes the T-pose to the motion.

Joints with several children (pelvis, chest) turn as rigid bodies, fitted to all their bones, hips above all; others
swing their bone onto its direction. A body with bones of fixed length and a rigid pelvis and chest comes back exactly.
For others (of networks, of some skeletons) spine and limbs aim at where the next joint is, so that hands and feet do
not drift. Twist about a bone, which positions leave open, comes from `mld.motion.rig.twist`. No angle is special.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
import yaml
from torch import Tensor

from mld.motion.motion import Motion
from mld.motion.rig import twist
from mld.motion.rotations import nearest_rotation
from mld.motion.skeletons import get_skeleton

_ROUNDS = 2  # of fitting the rest shape of a rigid joint; one is enough where it is rigid
_MOST_FITTED = 500  # frames that the rounds but the last look at
_CHUNK = 512  # frames at a time, which stay in the cache
_LIMB_WEIGHT = 4.0  # of bones that lead to a limb, among those of a rigid joint


@dataclass(frozen=True, eq=False)
class RestPose:
    """directions (J, 3): unit vectors of the bones that end in the joints, zero for the root. ends: metres from leaf
    joints to the end of their bones, by joint. twist: joints that share a twist of the spine."""

    directions: Tensor
    ends: dict[int, Tensor]
    limbs: tuple[twist.Limb, ...]
    twist: tuple[int, ...]


@lru_cache
def rest_pose(skeleton_name: str) -> RestPose:
    """The T-pose of a registered skeleton."""
    table = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))[skeleton_name]
    index = get_skeleton(skeleton_name).index
    directions = torch.zeros(get_skeleton(skeleton_name).num_joints, 3, dtype=torch.float64)
    for name, direction in table["directions"].items():
        directions[index(name)] = _unit(torch.tensor(direction, dtype=torch.float64))
    limbs = tuple(
        twist.Limb(index(upper), index(lower), index(end), (float(x), float(y), float(z)), foot and index(foot))
        for upper, lower, end, (x, y, z), foot in table["limbs"]
    )
    ends = {index(name): torch.tensor(end, dtype=torch.float64) for name, end in table["ends"].items()}
    return RestPose(directions, ends, limbs, tuple(index(name) for name in table["twist"]))


def size_of(motion: Motion) -> float:
    """How large the body is: its leg bones over those of the skeleton's table (1.0 for the table's own body)."""
    skeleton = motion.skeleton
    legs = list(skeleton.leg_joints)
    bones = motion.joints[:, legs] - motion.joints[:, [skeleton.parents[leg] for leg in legs]]
    usual = sum(skeleton.bone_lengths[leg] for leg in legs) * skeleton.metres_per_unit
    return float(bones.norm(dim=-1).median(dim=0).values.sum()) / usual


def solve(motion: Motion, offsets: Tensor | None = None, clips: int = 1) -> tuple[Tensor, Tensor]:
    """Local rotations (T, J, 3, 3) and rest offsets (J, 3) in metres, float64, from the joints of a motion.

    Rest offsets have the median bone lengths and the directions of the T-pose; bones that leave a joint with several
    children keep the angles between them that they have in the motion. offsets (J, 3): of a known body, which are used
    and given back as they are. clips: the frames are those of so many motions of one length, one after the other; of a
    known body each has the rotations that it has alone.
    """
    skeleton, rest = motion.skeleton, rest_pose(motion.skeleton.name)
    known = offsets is not None
    bones, fitted = _bones(motion, rest)
    offsets = fitted if offsets is None else offsets.double()
    parents = skeleton.parents
    children = [[c for c, p in enumerate(parents) if p == joint] for joint in range(skeleton.num_joints)]
    limbs = {limb.upper: limb for limb in rest.limbs}
    aiming = {*rest.twist, *(joint for limb in rest.limbs for joint in (limb.upper, limb.lower))}
    rigid = {j: _rigid(bones[:, c], offsets, c, list(limbs), known) for j, c in enumerate(children) if len(c) > 1}
    only_child = {joint: c[0] for joint, c in enumerate(children) if len(c) == 1}
    roll = _spine_twist(rest, bones, offsets, only_child, rigid)
    world: list[Tensor] = []
    places = [motion.joints[:, 0].double()]
    for joint, parent in enumerate(parents):
        if joint:
            places.append(places[parent] + world[parent] @ offsets[joint])
        frame = rigid[joint] if joint in rigid else world[parent]
        if joint in only_child:
            child = only_child[joint]
            if joint in aiming:
                bones[:, child] = motion.joints[:, child].double() - places[joint]
            frame = twist.swing(frame, offsets[child], bones[:, child])
            if joint in limbs:
                frame = twist.turn_limb(frame, bones, offsets, limbs[joint], motion.fps, clips)
            elif joint in rest.twist:
                frame = twist.turn_about(bones[:, child], roll) @ frame
        world.append(frame)
    return local_rotations(torch.stack(world, dim=1), parents), offsets


def offsets_of(motion: Motion) -> Tensor:
    """Rest offsets (J, 3) float64 in metres that the rotations of a motion imply: each bone seen from its parent's
    frame, averaged over time. For a motion that has rotations."""
    rotations = motion.rotations
    assert rotations is not None
    world = [rotations[:, 0].double()]
    for joint, parent in enumerate(motion.skeleton.parents[1:], start=1):
        world.append(world[parent] @ rotations[:, joint].double())
    parents = list(motion.skeleton.parents[1:])
    bones = (motion.joints[:, 1:] - motion.joints[:, parents]).double()
    seen = torch.einsum("tjyx,tjy->tjx", torch.stack(world, dim=1)[:, parents], bones).mean(0)
    return torch.cat([torch.zeros(1, 3, dtype=torch.float64), seen])


def local_rotations(world: Tensor, parents: tuple[int, ...]) -> Tensor:
    """Rotations relative to the parent from world rotations (T, J, 3, 3)."""
    local, above = world.clone(), list(parents[1:])
    for first in range(0, len(world), _CHUNK):
        part = world[first : first + _CHUNK]
        local[first : first + _CHUNK, 1:] = part[:, above].transpose(-1, -2) @ part[:, 1:]
    return local


def _bones(motion: Motion, rest: RestPose) -> tuple[Tensor, Tensor]:
    """Bone vectors (T, J, 3), zero for the root, and the T-pose (J, 3) with their median lengths."""
    joints, parents = motion.joints.double(), list(motion.skeleton.parents[1:])
    bones = torch.cat([torch.zeros_like(joints[:, :1]), joints[:, 1:] - joints[:, parents]], dim=1)
    return bones, rest.directions * bones.norm(dim=-1).median(dim=0).values[:, None]


def _rigid(bones: Tensor, offsets: Tensor, children: list[int], limbs: list[int], known: bool) -> Tensor:
    """World rotations (T, 3, 3) of the rigid body of bones (T, K, 3) to `children`; writes its shape into `offsets`,
    unless that is known.

    Generalised Procrustes analysis: turn the shape onto each frame, average the frames seen from it, repeat.
    """
    upright = offsets[children]
    weights = upright.new_tensor([_LIMB_WEIGHT if child in limbs else 1.0 for child in children])[:, None]
    if known:
        return _procrustes(weights * upright, bones)
    shape = upright
    some = bones[:: -(-len(bones) // _MOST_FITTED)]
    for seen in (*[some] * (_ROUNDS - 1), bones):
        frames = _procrustes(weights * shape, seen)
        shape = torch.einsum("tyx,tky->tkx", frames, seen).mean(0)
    back = _procrustes(shape, upright[None])[0]
    offsets[children] = shape @ back.T
    return frames @ back.T


def _procrustes(shape: Tensor, bones: Tensor) -> Tensor:
    """Rotations (T, 3, 3) that best take vectors (K, 3) to bones (T, K, 3)."""
    return nearest_rotation(torch.einsum("tky,kx->tyx", bones, shape))


def _spine_twist(rest: RestPose, bones: Tensor, offsets: Tensor, only_child: dict[int, int],
                 rigid: dict[int, Tensor]) -> Tensor:
    """The angle (T,) by which each joint of the spine is rolled so that the chest does not take all of the twist."""
    frame = rigid[0]
    for joint in rest.twist:
        frame = twist.swing(frame, offsets[only_child[joint]], bones[:, only_child[joint]])
    chest = only_child[rest.twist[-1]]
    return twist.angle_about(frame.transpose(-1, -2) @ rigid[chest], offsets[chest]) / (len(rest.twist) + 1)


def _unit(vector: Tensor) -> Tensor:
    return vector / vector.norm(dim=-1, keepdim=True).clamp_min(1e-12)
