"""Generated motion on one body: bones of fixed lengths, one rest pose, and the rotations that go with them.

Networks make positions, so every clip has bones of its own lengths. An avatar has one body: what is exported has the
representation's body in every clip, or that of the motion it goes on from, whose frames stay exactly as they are.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from mld.engine.request import Answer
from mld.engine.timeline import kept_frames
from mld.example import Clip
from mld.models.contracts.tokens import TokenLayout
from mld.motion import kinematics
from mld.motion.motion import Motion
from mld.motion.rig.rest_pose import rest_pose, solve
from mld.motion.skeletons import Skeleton


def on_one_body(motion: Motion, kept: Tensor) -> Motion:
    """The motion with local rotations, its generated joints moved to where a body of fixed bones has them.

    kept (T,) bool: given frames, which stay. Without any the whole is moved by one height, so that feet are as far
    from the floor as before in the median frame."""
    skeleton, old = motion.skeleton, motion.joints.double()
    if kept.any():
        offsets = solve(Motion(motion.joints[kept], motion.fps, skeleton))[1]
    else:
        offsets = body_offsets(skeleton)
    lengths = offsets[1:].norm(dim=-1)
    joints = kinematics.place(old[:, 0], kinematics.bone_directions(old, skeleton) * lengths[:, None], skeleton)
    fixed = dataclasses.replace(motion, joints=torch.where(kept[:, None, None], old, joints), rotations=None)
    rotations, _ = solve(fixed, offsets)
    placed, _ = kinematics.forward(old[:, 0], rotations, offsets, skeleton.parents)
    if kept.any():
        placed = torch.where(kept[:, None, None], old, placed)
    else:
        placed = placed + placed.new_tensor([0.0, 1.0, 0.0]) * (old[..., 1].amin(1) - placed[..., 1].amin(1)).median()
    return dataclasses.replace(motion, joints=placed.float(), rotations=rotations.float(), translation=None)


def on_model_body(joints: Tensor, skeleton: Skeleton) -> Tensor:
    """Joints (T, J, 3) with the bone lengths of the skeleton's own body, moved by one height, so that feet are as far
    from the floor as before in the median frame."""
    old = joints.detach().cpu().double()
    lengths = body_offsets(skeleton)[1:].norm(dim=-1)
    placed = kinematics.place(old[:, 0], kinematics.bone_directions(old, skeleton) * lengths[:, None], skeleton)
    height = (old[..., 1].amin(1) - placed[..., 1].amin(1)).median()
    return (placed + placed.new_tensor([0.0, 1.0, 0.0]) * height).float()


def body_offsets(skeleton: Skeleton) -> Tensor:
    """Rest offsets (J, 3) float64 in metres of a skeleton's own body: its bone lengths in the T-pose."""
    lengths = torch.tensor(skeleton.bone_lengths, dtype=torch.float64) * skeleton.metres_per_unit
    return rest_pose(skeleton.name).directions * lengths[:, None]


def given_frames(answer: Answer, layout: TokenLayout) -> Tensor:
    """Which frames (T,) bool of an answer come from its prompt: the first clip starts it, the second ends it."""
    assert answer.motion is not None
    kept = torch.zeros(answer.motion.num_frames, dtype=torch.bool)
    lengths = [kept_frames(part, layout) for part in answer.request.prompt if isinstance(part, Clip)]
    if lengths:
        kept[: lengths[0]] = True
    if len(lengths) > 1:
        kept[-lengths[-1] :] = True
    return kept
