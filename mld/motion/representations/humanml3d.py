"""The 263-column (HumanML3D, 22 joints, metres, 20 fps) and 251-column (KIT, 21 joints, mm, 12.5 fps) features.

Guo et al., CVPR 2022; evaluation spec 6.3-6.4. Five defects of the published extraction are part of the published
data. Four are part of every trained weight and always repeated: 1 flipped hip term in the heading, 2 arm chains rooted
at the pelvis, 3 heading of frame 0 set to zero, 4 heading filtered over time. The fifth, a wrong sign of the step where
the heading crosses 180 degrees, keeps a clip from decoding to its own joints: it is mended unless `compat=True`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from mld.errors import DataError
from mld.motion import kinematics, rotations
from mld.motion.representations.base import Representation
from mld.motion.skeletons import get_skeleton


@dataclass(frozen=True)
class HumanML3DFeatures(Representation):
    """foot_threshold: squared displacement per frame, in feature units; a foot joint below it is in contact."""

    foot_threshold: float = 0.002

    @property
    def block_sizes(self) -> dict[str, int]:
        joints = self.skeleton.num_joints
        return {
            "root_yaw_velocity": 1,  # half angle, radians per frame
            "root_linear_velocity": 2,  # x and z per frame, in the heading of the next frame
            "root_height": 1,
            "joint_positions": 3 * (joints - 1),  # xz relative to the root, y absolute, in the heading
            "joint_rotations": 6 * (joints - 1),  # relative to the bone before in the chain
            "joint_velocities": 3 * joints,  # per frame, in the heading
            "foot_contacts": len(self.skeleton.left_foot) + len(self.skeleton.right_foot),
        }

    def encode_joints(
        self, joints: Tensor, mask: Tensor | None = None, retarget: bool = True, compat: bool = False
    ) -> Tensor:
        """Joints (B, T, J, 3) to features (B, T-1, D); row t holds frame t and the step to t+1.

        mask (B, T) bool, True for the leading real frames of a row: a row of n frames gets n-1 feature rows, equal to
        those it gets alone, and zeros after. `retarget=False` keeps the bone lengths. `compat=True` repeats defect 5 to
        match published files; otherwise every clip decodes to its own canonical joints. Computed in float64, returned
        in the dtype of the joints.
        Raises `DataError` for NaN, infinity, fewer than two frames, or a mask with gaps.
        """
        lengths = self._lengths(joints, mask)
        held = _hold_last_frame(joints.to(_working_dtype(joints)), lengths)
        if not held.isfinite().all():
            rows = (~held.isfinite()).flatten(1).any(1).nonzero().flatten().tolist()
            raise DataError(f"joints of clip {rows[0]} of the batch hold NaN or infinity; leave that clip out")
        features = self._features(self.canonical_joints(held, retarget), compat)
        real = torch.arange(features.shape[1], device=joints.device) < lengths[:, None] - 1
        return (features * real[..., None]).to(joints.dtype)

    def canonical_joints(self, joints: Tensor, retarget: bool = True) -> Tensor:
        """Joints (B, T, J, 3) on the target skeleton, lowest joint at y = 0, frame 0 over the origin and facing +z."""
        if retarget:
            joints = kinematics.retarget(joints, self.skeleton)
        floor = joints[..., 1].flatten(1).amin(1)
        root = joints[:, 0, 0]
        shift = torch.stack([root[:, 0], floor, root[:, 2]], dim=-1)
        turn = rotations.turn_to_front(kinematics.facing(joints[:, 0], self.skeleton))
        return rotations.apply_turn(turn[:, None, None], joints - shift[:, None, None])

    def _features(self, joints: Tensor, compat: bool) -> Tensor:
        """Canonical joints (B, T, J, 3) to features (B, T-1, D) (evaluation spec 6.3, steps 5-8)."""
        turn = self._heading_turn(joints)
        root, step = joints[:, :, 0], joints[:, 1:] - joints[:, :-1]
        ground = root * root.new_tensor([1.0, 0.0, 1.0])
        now = turn[:, :-1, None]
        quaternions = kinematics.chain_rotations(joints[:, :-1], turn[:, :-1], self.skeleton)
        feet = [*self.skeleton.left_foot, *self.skeleton.right_foot]
        parts = {
            "root_yaw_velocity": kinematics.half_turn_step(turn, compat)[..., None],
            "root_linear_velocity": rotations.apply_turn(turn[:, 1:], step[:, :, 0])[..., [0, 2]],
            "root_height": root[:, :-1, 1:2],
            "joint_positions": rotations.apply_turn(now, (joints - ground[:, :, None])[:, :-1, 1:]).flatten(2),
            "joint_rotations": rotations.quaternion_to_6d(quaternions).flatten(2),
            "joint_velocities": rotations.apply_turn(now, step).flatten(2),
            "foot_contacts": (step[:, :, feet].square().sum(-1) < self.foot_threshold).to(joints.dtype),
        }
        return torch.cat([parts[name] for name in self.block_sizes], dim=-1)

    def _heading_turn(self, joints: Tensor) -> Tensor:
        """Turns (B, T, 2) to the front as the published features have them (compat, defects 1, 3 and 4)."""
        forward = kinematics.smooth_over_time(kinematics.facing(joints, self.skeleton, hip_sign=-1.0))
        turn = rotations.turn_to_front(forward)
        return torch.cat([turn.new_tensor([1.0, 0.0]).expand(len(turn), 1, 2), turn[:, 1:]], dim=1)

    def root_trajectory(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Integrated turn to the front (..., T, 2), a half-angle pair, and root position (..., T, 3) of features."""
        self.check_width(features)
        exact = features.to(_working_dtype(features))
        half = _sum_before(self.block(exact, "root_yaw_velocity")[..., 0])
        turn = rotations.turn_from_half_angle(half)
        x, z = self.block(exact, "root_linear_velocity").unbind(-1)
        velocity = torch.stack([x, torch.zeros_like(x), z], dim=-1)
        moved = rotations.apply_turn(rotations.undo(turn[..., 1:, :]), velocity[..., :-1, :]).cumsum(-2)
        ground = torch.cat([torch.zeros_like(velocity[..., :1, :]), moved], dim=-2)
        height = self.block(exact, "root_height")
        position = torch.cat([ground[..., :1], height, ground[..., 2:]], dim=-1)
        return turn.to(features.dtype), position.to(features.dtype)

    def decode_joints(self, features: Tensor) -> Tensor:
        """Features (..., T, D) to joints (..., T, J, 3) from the position block; row 0 over the origin, facing +z."""
        turn, root = self.root_trajectory(features)
        local = self.block(features, "joint_positions").unflatten(-1, (-1, 3))
        joints = rotations.apply_turn(rotations.undo(turn)[..., None, :], local)
        ground = root * root.new_tensor([1.0, 0.0, 1.0])
        return torch.cat([root[..., None, :], joints + ground[..., None, :]], dim=-2)

    def local_rotations(self, features: Tensor) -> Tensor:
        """Bone rotations (..., T, J-1, 3, 3) of the rotation block, as `kinematics.chain_rotations` defines them."""
        self.check_width(features)
        return rotations.matrix_from_6d(self.block(features, "joint_rotations").unflatten(-1, (-1, 6)))

    def decode_joints_from_rotations(self, features: Tensor) -> Tensor:
        """Features (..., T, D) to joints (..., T, J, 3) by FK of the rotation block with the target bone lengths."""
        turn, root = self.root_trajectory(features)
        front, local = rotations.turn_to_matrix(turn), self.local_rotations(features)
        return kinematics.chain_forward(root, front, local, self.skeleton)

    def mirror(self, features: Tensor) -> Tensor:
        """Features (..., T, D) of the motion with left and right swapped.

        Equal to the features of the mirrored joints with `retarget=False`. The target skeleton of HumanML3D is not
        quite symmetric: with retargeting the two differ by the difference of left and right bone lengths.
        """
        self.check_width(features)
        index, sign = self._mirror_map
        return features[..., index.to(features.device)] * sign.to(features)

    @cached_property
    def _mirror_map(self) -> tuple[Tensor, Tensor]:
        """Column taken and its sign, for each column of the mirrored features."""
        swap = torch.tensor(self.skeleton.mirror_index)
        left, right = len(self.skeleton.left_foot), len(self.skeleton.right_foot)
        moved = {
            "root_yaw_velocity": _swap_columns(torch.tensor([0]), [-1]),
            "root_linear_velocity": _swap_columns(torch.tensor([0]), [-1, 1]),
            "root_height": _swap_columns(torch.tensor([0]), [1]),
            "joint_positions": _swap_columns(swap[1:] - 1, [-1, 1, 1]),
            "joint_rotations": _swap_columns(swap[1:] - 1, [1, -1, -1, -1, 1, 1]),
            "joint_velocities": _swap_columns(swap, [-1, 1, 1]),
            "foot_contacts": _swap_columns(torch.tensor([*range(left, left + right), *range(left)]), [1]),
        }
        with torch.inference_mode(False):  # kept: must stay usable in training
            index = torch.cat([moved[name][0] + part.start for name, part in self.blocks.items()])
            return index, torch.cat([moved[name][1] for name in self.blocks])

    def _lengths(self, joints: Tensor, mask: Tensor | None) -> Tensor:
        """Real frames (B,) of each clip, after checking the shapes."""
        if joints.ndim != 4 or joints.shape[2:] != (self.skeleton.num_joints, 3):
            raise DataError(f"representation '{self.name}' encodes joints (B, T, {self.skeleton.num_joints}, 3), "
                            f"got {tuple(joints.shape)}")
        batch, frames = joints.shape[:2]
        if mask is None:
            lengths = torch.full((batch,), frames, device=joints.device)
        else:
            lengths = mask.sum(1)
            if not torch.equal(mask.bool(), torch.arange(frames, device=mask.device) < lengths[:, None]):
                raise DataError("the mask of a batch has to be True for the first frames of each clip and False after")
        if batch and int(lengths.min()) < 2:
            raise DataError(f"features need at least 2 frames, a clip has {int(lengths.min())}")
        return lengths


def _swap_columns(rows: Tensor, signs: list[int]) -> tuple[Tensor, Tensor]:
    """Column index and sign of a block of `len(rows)` groups of `len(signs)` columns, group i taken from rows[i]."""
    width = len(signs)
    index = (rows[:, None] * width + torch.arange(width)).flatten()
    return index, torch.tensor(signs, dtype=torch.float32).repeat(len(rows))


def _sum_before(values: Tensor) -> Tensor:
    """Sum over the frames before each frame, along the last dimension."""
    return torch.cat([torch.zeros_like(values[..., :1]), values[..., :-1].cumsum(-1)], dim=-1)


def _hold_last_frame(joints: Tensor, lengths: Tensor) -> Tensor:
    """Padding frames replaced by the last real one: they then change neither floor nor heading filter."""
    frames = torch.arange(joints.shape[1], device=joints.device)
    index = torch.minimum(frames, lengths[:, None] - 1)
    return joints[torch.arange(len(joints), device=joints.device)[:, None], index]


def _working_dtype(tensor: Tensor) -> torch.dtype:
    """float64 (contact bits and long sums need it), where the device has it."""
    return torch.float32 if tensor.device.type == "mps" else torch.float64


def humanml3d() -> HumanML3DFeatures:
    return HumanML3DFeatures("humanml3d", 20.0, get_skeleton("smpl22"), foot_threshold=0.002)


def kit() -> HumanML3DFeatures:
    """The threshold is in mm^2, so contacts are almost always 0 (as published)."""
    return HumanML3DFeatures("kit", 12.5, get_skeleton("kit21"), foot_threshold=0.05)
