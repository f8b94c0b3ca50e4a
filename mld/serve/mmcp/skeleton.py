"""The skeleton that a client sends, as a rig; and rotations of its joints from and to what goes over the wire.

The contract measures rotations from rest, in frames that are those of the world at rest. Where joints have rest
rotations of their own, clients mean either that (offsets along the axes of the world), or what a glTF file means
(offsets along those of the parent): the reading in which a body stands upright is taken, and rotations are given in
the frame that it implies. A glTF reader finds the same pose in both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mld.errors import DataError, shown
from mld.motion.formats.gltf import quaternions
from mld.motion.rig.guessing import best_found
from mld.motion.rig.mapping import Found
from mld.motion.rig.onto import check_rig, without_swapped_sides
from mld.motion.rig.rig import Rig, RigMotion
from mld.motion.rig.rigging import to_rig
from mld.motion.rotations import quaternion_to_matrix
from mld.motion.skeletons import get_skeleton

MOST_JOINTS = 1000
FARTHEST = 1e4  # metres of a bone


@dataclass(frozen=True, eq=False)
class Character:
    """rig: it rests as the client's skeleton does. found: which of its joints are which. frames (J, 3, 3): of the
    joints at rest, in which rotations go over the wire."""

    rig: Rig
    found: Found
    frames: Tensor

    @property
    def names(self) -> tuple[str, ...]:
        return self.rig.joint_names

    def sent(self, motion: RigMotion) -> Tensor:
        """Rotations of a motion as they go over the wire: unit quaternions (T, J, 4), x y z w."""
        above = [max(parent, 0) for parent in self.rig.parents]
        before = self.frames[above].transpose(-1, -2).clone()
        before[0] = torch.eye(3, dtype=before.dtype)
        return quaternions(before @ motion.rotations.double() @ self.frames)

    def from_rest(self, joint: int, quaternion: Sequence[float]) -> Tensor:
        """The turn (3, 3) from rest, in the world's axes, that a rotation of the wire means."""
        parent = self.rig.parents[joint]
        value = torch.tensor(quaternion, dtype=torch.float64)
        if not value.isfinite().all() or not 1e-6 < float(value.norm()) < 1e6:
            raise DataError(f"the rotation of joint {shown(self.names[joint])} is no quaternion: {list(quaternion)}")
        turn = quaternion_to_matrix(value / value.norm()) @ self.frames[joint].T
        return turn if parent < 0 else self.frames[parent] @ turn


def character(joints: Sequence[Any]) -> Character:
    """joints: the contract's, each with name, parent, rest_translation, rest_rotation, display_name. `DataError` for a
    skeleton on which no body is found."""
    if len(joints) > MOST_JOINTS:
        raise DataError(f"the skeleton has {len(joints)} joints; up to {MOST_JOINTS} are taken (leave out those of the "
                        "face and of props)")  # fmt: skip
    for joint in joints:
        bone = joint.rest_translation
        if not all(math.isfinite(value) and abs(value) < FARTHEST for value in bone):
            raise DataError(f"rest_translation of {_called(joint)} is {shown(list(bone))}; finite metres are needed")
        length = math.hypot(*joint.rest_rotation)
        if not 1e-6 < length < 1e6:
            raise DataError(f"rest_rotation of {_called(joint)} is no quaternion: {shown(list(joint.rest_rotation))}")
    index = {joint.name: place for place, joint in enumerate(joints)}
    parents = tuple(-1 if joint.parent is None else index[joint.parent] for joint in joints)
    order = tuple(joint.name for joint in joints)
    turned = torch.tensor([joint.rest_rotation for joint in joints], dtype=torch.float64)
    own = quaternion_to_matrix(torch.nn.functional.normalize(turned, dim=-1))
    bones = torch.tensor([joint.rest_translation for joint in joints], dtype=torch.float64)
    readings = [(bones, torch.eye(3, dtype=torch.float64).expand(len(joints), 3, 3).clone())]
    if float((own - readings[0][1]).abs().max()) > 1e-4:
        readings.append(_as_nodes(bones, own, parents))
    made = [Rig(order, parents, offsets) for offsets, _ in readings]
    found = best_found(made[0])
    if found.lacking:
        lacking = ", ".join(found.lacking[:4]) + (f" and {more} others" if (more := len(found.lacking) - 4) > 0 else "")
        known = ", ".join(shown(name, 24) for name in order[:3])
        raise DataError(f"cannot tell which joint is {lacking}; name legs and arms in a usual way (LeftUpLeg, thigh_l, "
                        f"l_hip ...). The skeleton has {len(order)} joints: {known} ...")  # fmt: skip
    best = max(range(len(made)), key=lambda one: _upright(made[one], found))
    found = without_swapped_sides(made[best], found)
    check_rig(made[best], found)
    return Character(made[best], found, readings[best][1])


def canonical(skeleton_name: str = "smpl22") -> list[dict[str, Any]]:
    """The skeleton of the models as the contract writes it: the T-pose, standing on the floor, facing +z."""
    from mld.engine.body import body_offsets
    from mld.motion import kinematics
    from mld.motion.motion import Motion

    skeleton = get_skeleton(skeleton_name)
    still = torch.eye(3, dtype=torch.float64).expand(1, skeleton.num_joints, 3, 3)
    root = torch.zeros(1, 3, dtype=torch.float64)
    joints, _ = kinematics.forward(root, still, body_offsets(skeleton), skeleton.parents)
    rig = to_rig(Motion(joints.float(), 20.0, skeleton, rotations=still.float())).rig
    lowest = float(rig.rest_positions()[:, 1].min()) - float(rig.offsets[0, 1])
    offsets = rig.offsets.clone()
    offsets[0, 1] = -lowest  # the contract wants the lowest joint on the floor
    return [
        {"name": name, "parent": None if parent < 0 else skeleton.joint_names[parent],
         "rest_translation": [round(float(value), 6) for value in offset], "rest_rotation": [0.0, 0.0, 0.0, 1.0]}
        for name, parent, offset in zip(skeleton.joint_names, skeleton.parents, offsets)
    ]  # fmt: skip


def _as_nodes(bones: Tensor, own: Tensor, parents: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Offsets (J, 3) in the world's axes and frames (J, 3, 3) of joints that are the nodes of a glTF file."""
    offsets, frames = bones.clone(), own.clone()
    for joint, parent in enumerate(parents):
        if parent >= 0:
            offsets[joint] = frames[parent] @ bones[joint]
            frames[joint] = frames[parent] @ own[joint]
    return offsets, frames


def _upright(rig: Rig, found: Found) -> float:
    """How much like a standing body it rests: the smallest cosine between trunk and thighs, thighs and shins."""
    at = {name: rig.rest_positions()[joint] for name, joint in found.joints.items()}
    trunk = (at["head"] if "head" in at else at["neck"]) - (at["l_hip"] + at["r_hip"]) / 2
    worst = 1.0
    for side in "lr":
        thigh, shin = at[f"{side}_knee"] - at[f"{side}_hip"], at[f"{side}_ankle"] - at[f"{side}_knee"]
        for a, b in ((-trunk, thigh), (thigh, shin)):
            worst = min(worst, float(torch.nn.functional.cosine_similarity(a, b, dim=0)))
    return worst


def _called(joint: Any) -> str:
    return shown(joint.display_name or joint.name)
