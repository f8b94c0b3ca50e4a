"""The 263-column (HumanML3D, 22 joints, metres, 20 fps) and 251-column (KIT, 21 joints, mm, 12.5 fps) features.

Guo et al., CVPR 2022; evaluation spec 6.3-6.4. Five defects of the published extraction are part of the published
data. Four are part of every trained weight and always repeated: 1 flipped hip term in the heading, 2 arm chains rooted
at the pelvis, 3 heading of frame 0 set to zero, 4 heading filtered over time. The fifth, a wrong sign of the step where
the heading crosses 180 degrees, keeps a clip from decoding to its own joints: it is mended unless `compat=True`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from mld.errors import DataError
from mld.motion import kinematics, rotations
from mld.motion.motion import Motion
from mld.motion.representations import fixed_bones
from mld.motion.representations.base import Representation, swapped_columns, working_dtype
from mld.motion.representations.reconciling import corrections
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

    @property
    def roles(self) -> dict[str, tuple[str, ...]]:
        return {
            "root": ("root_yaw_velocity", "root_linear_velocity", "root_height"), "positions": ("joint_positions",),
            "rotations": ("joint_rotations",), "velocities": ("joint_velocities",), "contacts": ("foot_contacts",),
        }  # fmt: skip

    finishes = "whole"  # a row holds the step to the next one, which a piece does not have
    feature_bias = 25.0
    # Yaw velocity of the published statistics, radians per frame.
    evaluator_std = (0, 1e-3)

    def encode(self, motion: Motion, retarget: bool = True, compat: bool = False) -> Tensor:
        """Features (T-1, D) float32 of the joints of a motion of T frames, resampled first where its frame rate
        differs. `retarget` and `compat` as for `encode_joints`. The rotations of these columns are those of bones, seen
        from their joints: rotations of the motion are not looked at, and `decode` gives none.

        Raises `DataError` for another skeleton, fewer than two frames, NaN or infinity.
        """
        joints = self.resampled(motion).joints / self.skeleton.metres_per_unit
        return self.encode_joints(joints[None], retarget=retarget, compat=compat)[0]

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
        lengths = self.clip_lengths(joints, mask, least=2)
        held = _hold_last_frame(joints.to(working_dtype(joints)), lengths)
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
        turn, position, _ = self._root(features, None)
        return turn.to(features.dtype), position.to(features.dtype)

    def _root(self, features: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor, tuple]:
        """Turn and root position of rows after `state`, which is the half angle (...) and the position (..., 3) over
        the ground of the row that comes next."""
        self.check_width(features)
        exact = features.to(working_dtype(features))
        steps = self.block(exact, "root_yaw_velocity")[..., 0]
        start = (torch.zeros_like(steps[..., 0]), torch.zeros_like(exact[..., 0, :3])) if state is None else state
        half = torch.cat([start[0][..., None], start[0][..., None] + steps.cumsum(-1)], dim=-1)
        turn = rotations.turn_from_half_angle(half)
        x, z = self.block(exact, "root_linear_velocity").unbind(-1)
        velocity = torch.stack([x, torch.zeros_like(x), z], dim=-1)
        moved = rotations.apply_turn(rotations.undo(turn[..., 1:, :]), velocity).cumsum(-2)
        ground = torch.cat([start[1][..., None, :], start[1][..., None, :] + moved], dim=-2)
        height = self.block(exact, "root_height")
        position = torch.cat([ground[..., :-1, :1], height, ground[..., :-1, 2:]], dim=-1)
        return turn[..., :-1, :], position, (half[..., -1], ground[..., -1, :])

    def follow(self, features: Tensor, state: tuple | None = None) -> tuple[Tensor, tuple]:
        """Joints from the position block; the first row of a motion is over the origin, facing +z."""
        turn, root, state = self._root(features, state)
        turn, root = turn.to(features.dtype), root.to(features.dtype)
        local = self.block(features, "joint_positions").unflatten(-1, (-1, 3))
        joints = rotations.apply_turn(rotations.undo(turn)[..., None, :], local)
        ground = root * root.new_tensor([1.0, 0.0, 1.0])
        return torch.cat([root[..., None, :], joints + ground[..., None, :]], dim=-2), state

    def local_rotations(self, features: Tensor) -> Tensor:
        """Bone rotations (..., T, J-1, 3, 3) of the rotation block, as `kinematics.chain_rotations` defines them."""
        self.check_width(features)
        return rotations.matrix_from_6d(self.block(features, "joint_rotations").unflatten(-1, (-1, 6)))

    def decode_joints_from_rotations(self, features: Tensor) -> Tensor:
        """Features (..., T, D) to joints (..., T, J, 3) by FK of the rotation block with the target bone lengths."""
        turn, root = self.root_trajectory(features)
        front, local = rotations.turn_to_matrix(turn), self.local_rotations(features)
        return kinematics.chain_forward(root, front, local, self.skeleton)

    def steadied(
        self, features: Tensor, mask: Tensor | None = None, before: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        exact, poses, step, turn = self._poses(features)
        told = self.block(exact, "joint_velocities").unflatten(-1, (-1, 3))[:, :-1]
        slips = told - (_seen_from_before(poses[:, 1:], step, turn) - poses[:, :-1])
        front = self._root(exact, None)[0][:, :, None]
        slips = rotations.apply_turn(rotations.undo(front[:, :-1]), slips).flatten(2)
        moved = corrections(torch.nn.functional.pad(slips, (0, 0, 0, 1)), mask).unflatten(-1, (-1, 3))
        poses = poses + rotations.apply_turn(front, moved)
        return self._with_poses(exact, poses, step, turn, mask).to(features.dtype), None

    def with_fixed_bones(
        self, features: Tensor, mask: Tensor | None = None, before: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        exact, poses, step, turn = self._poses(features)
        poses = fixed_bones.fixed(poses, self.skeleton)
        return self._with_poses(exact, poses, step, turn, mask).to(features.dtype), None

    def _poses(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of features (B, T, D), exact: themselves, poses (B, T, J, 3) in the heading, the root over the origin; steps
        of the root (B, T-1, 3) in the heading of the later row, and the turns into that (B, T-1, 2)."""
        self.check_width(features)
        exact = features.to(working_dtype(features))
        root = torch.nn.functional.pad(self.block(exact, "root_height"), (1, 1))
        poses = torch.cat([root[..., None, :], self.block(exact, "joint_positions").unflatten(-1, (-1, 3))], dim=-2)
        x, z = self.block(exact, "root_linear_velocity")[:, :-1].unbind(-1)
        turn = rotations.turn_from_half_angle(self.block(exact, "root_yaw_velocity")[:, :-1, 0])
        return exact, poses, torch.stack([x, torch.zeros_like(x), z], dim=-1), turn

    def _with_poses(self, exact: Tensor, poses: Tensor, step: Tensor, turn: Tensor, mask: Tensor | None) -> Tensor:
        """The features with other poses, whose roots are off the origin by what they moved: steps, velocities follow.
        The last row of a motion keeps its own, as where they lead to is not known."""
        poses, moved = fixed_bones.over_root(poses)
        step = step + moved[:, 1:] - rotations.apply_turn(turn, moved[:, :-1])
        velocity = _seen_from_before(poses[:, 1:], step, turn) - poses[:, :-1]
        parts = {name: self.block(exact, name) for name in self.block_sizes}
        parts |= {"root_height": poses[..., 0, 1:2], "joint_positions": poses[..., 1:, :].flatten(-2)}
        for name, new in (("root_linear_velocity", step[..., [0, 2]]), ("joint_velocities", velocity.flatten(-2))):
            old = parts[name]
            new = new if mask is None else torch.where(mask[:, 1:, None], new, old[:, :-1])
            parts[name] = torch.cat([new, old[:, -1:]], dim=1)
        return torch.cat([parts[name] for name in self.block_sizes], dim=-1)

    follows = ("rotations", "velocities", "contacts")

    def completed(self, features: Tensor, roles: Collection[str], mask: Tensor | None = None) -> Tensor:
        """As in the base. The last row of a motion, which has no next one, steps on in its pose. Numbers that are none
        stay where they are and spoil no other row."""
        self.check_width(features)
        rows = features.shape[1]
        counts = features.new_full((len(features),), rows).long() if mask is None else mask.sum(1).clamp(min=1)
        places = torch.minimum(torch.arange(rows + 1, device=features.device), counts[:, None] - 1)
        exact = features.to(working_dtype(features))
        joints = self.decode_joints(exact.gather(1, places[..., None].expand(-1, -1, self.width))).nan_to_num()
        real = torch.arange(rows + 1, device=features.device) <= counts[:, None]
        found, filled = self.encode_joints(joints, real, retarget=False).to(features.dtype), features.clone()
        for name in (name for role in roles for name in self.roles[role]):
            filled[..., self.blocks[name]] = found[..., self.blocks[name]]
        return filled

    def still(self, row: Tensor) -> Tensor:
        row = row.clone()
        for name in ("root_yaw_velocity", "root_linear_velocity", "joint_velocities"):
            row[..., self.blocks[name]] = 0
        row[..., self.blocks["foot_contacts"]] = 1
        return row

    @property
    def mirrored_blocks(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Mirrored features equal the features of the mirrored joints with `retarget=False`. The target skeleton of
        HumanML3D is not quite symmetric: with retargeting the two differ by that of left and right bone lengths."""
        swap = torch.tensor(self.skeleton.mirror_index)
        left, right = len(self.skeleton.left_foot), len(self.skeleton.right_foot)
        return {
            "root_yaw_velocity": swapped_columns(torch.tensor([0]), [-1]),
            "root_linear_velocity": swapped_columns(torch.tensor([0]), [-1, 1]),
            "root_height": swapped_columns(torch.tensor([0]), [1]),
            "joint_positions": swapped_columns(swap[1:] - 1, [-1, 1, 1]),
            "joint_rotations": swapped_columns(swap[1:] - 1, [1, -1, -1, -1, 1, 1]),
            "joint_velocities": swapped_columns(swap, [-1, 1, 1]),
            "foot_contacts": swapped_columns(torch.tensor([*range(left, left + right), *range(left)]), [1]),
        }


def _seen_from_before(poses: Tensor, step: Tensor, turn: Tensor) -> Tensor:
    """Poses (..., T-1, J, 3), after steps (..., T-1, 3) in their own heading, in the heading of the row before."""
    return rotations.apply_turn(rotations.undo(turn)[..., None, :], poses + step[..., None, :])


def _hold_last_frame(joints: Tensor, lengths: Tensor) -> Tensor:
    """Padding frames replaced by the last real one: they then change neither floor nor heading filter."""
    frames = torch.arange(joints.shape[1], device=joints.device)
    index = torch.minimum(frames, lengths[:, None] - 1)
    return joints[torch.arange(len(joints), device=joints.device)[:, None], index]


def humanml3d() -> HumanML3DFeatures:
    return HumanML3DFeatures("humanml3d", 20.0, get_skeleton("smpl22"), foot_threshold=0.002)


def kit() -> HumanML3DFeatures:
    """The threshold is in mm^2, so contacts are almost always 0 (as published)."""
    return HumanML3DFeatures("kit", 12.5, get_skeleton("kit21"), foot_threshold=0.05)
