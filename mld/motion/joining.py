"""One motion behind another, with the rotations of both: positions as `mld.motion.stitch` joins them, and turns that
lead from the pose of one into that of the other.

Rotations are not solved from the joined positions, so what a recording knows of twist stays. Where motions meet, the
turn that is left between them fades out; each joint with one bone then aims it where the joined positions have it.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from mld.errors import DataError
from mld.motion import kinematics, stitch
from mld.motion.motion import Motion
from mld.motion.rig.rest_pose import local_rotations
from mld.motion.rotations import matrix_to_rotvec, rotvec_to_matrix


def behind(head: Motion, rest: Motion) -> Motion:
    """`head`, unchanged, and all of `rest`, moved and blended to meet it; with rotations where both have them.

    `DataError` for motions of two skeletons or frame rates."""
    if head.skeleton.name != rest.skeleton.name or head.fps != rest.fps:
        raise DataError(f"motions of one skeleton and frame rate can be joined, not {head!r} and {rest!r}")
    skeleton = head.skeleton
    joints = stitch.extend(head.joints, rest.joints, skeleton)
    if head.rotations is None or rest.rotations is None:
        return dataclasses.replace(head, joints=joints, rotations=None, translation=None)
    yaw = stitch.yaw_of_join(head.joints, rest.joints, skeleton)
    turned = rest.rotations.double()
    upwards = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    turned[:, 0] = rotvec_to_matrix(yaw.double() * upwards) @ turned[:, 0]
    few, parents = min(stitch.LONGEST_BLEND, rest.num_frames), skeleton.parents
    after = _world(turned[:few], parents)
    seen = _bones(stitch.turn(rest.joints[:few], yaw), parents)
    bones = _bones(joints[head.num_frames : head.num_frames + few], parents)
    blended = _aimed(_faded(_world(head.rotations[-1:].double(), parents)[0], after), after, seen, bones, parents)
    local = torch.cat((head.rotations, local_rotations(blended, parents).float(), turned[few:].float()))
    return dataclasses.replace(head, joints=joints, rotations=local, translation=joints[:, 0])


def _faded(last: Tensor, after: Tensor) -> Tensor:
    """World rotations (T, J, 3, 3) that begin at `last` (J, 3, 3) and become those of `after`."""
    left = matrix_to_rotvec(last @ after[0].transpose(-1, -2))
    needed = math.ceil(1.5 * left.norm(dim=-1).max().item() / stitch.BLEND_TURN)
    window = max(stitch.BLEND_FRAMES, min(needed, stitch.LONGEST_BLEND))
    time = ((torch.arange(len(after)) + 1) / window).clamp(max=1)
    share = 1 - stitch.smooth_step(time.to(after))
    return rotvec_to_matrix(share[:, None, None] * left) @ after


def _aimed(turned: Tensor, after: Tensor, seen: Tensor, bones: Tensor, parents: tuple[int, ...]) -> Tensor:
    """`turned` (T, J, 3, 3), each joint with one bone swung so that this bone, which is that of `seen` (T, J, 3) where
    the joint is turned as in `after`, points along that of `bones`."""
    children = [[child for child, parent in enumerate(parents) if parent == joint] for joint in range(len(parents))]
    joints = [joint for joint, own in enumerate(children) if len(own) == 1]
    ends = [children[joint][0] for joint in joints]
    moved = turned[:, joints] @ after[:, joints].transpose(-1, -2)
    expected = (moved @ seen[:, ends, :, None]).squeeze(-1)
    found = turned.clone()
    swings = rotvec_to_matrix(stitch.turn_between(_unit(expected), _unit(bones[:, ends])))
    found[:, joints] = swings @ turned[:, joints]
    return found


def _world(local: Tensor, parents: tuple[int, ...]) -> Tensor:
    """World rotations (T, J, 3, 3) from those relative to the parent."""
    places = local.new_zeros(*local.shape[:2], 3)  # what is asked of FK here is turns alone
    return kinematics.forward(places[:, 0], local, places, parents)[1]


def _bones(joints: Tensor, parents: tuple[int, ...]) -> Tensor:
    """Vectors (T, J, 3) float64 that end in the joints, zero for the root."""
    joints = joints.double()
    return torch.cat((torch.zeros_like(joints[:, :1]), joints[:, 1:] - joints[:, list(parents[1:])]), dim=1)


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(1e-12)
