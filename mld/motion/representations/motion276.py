"""The 276 columns of ViMoGen: 22 joints of an SMPL-X body, metres, z up, 20 fps; row t is frame t and the step to t+1.

Spec vimogen, section 1. Frame 0 stands over the origin, faces +y, and has its right at +x. Rotations are the first two
columns of matrices written row by row. As published, places are followed along the steps from the first row on: the
absolute places of later rows are not used, so that rows become joints one by one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from mld.errors import DataError, nearest
from mld.motion import kinematics, rotations
from mld.motion.motion import Motion
from mld.motion.representations.base import swapped_columns
from mld.motion.representations.body import BodyRepresentation
from mld.motion.representations.reconciling import reconciled
from mld.motion.skeletons import get_skeleton

# Joint 0 of the SMPL-X body at rest: an SMPL-X translation puts the pelvis at this point plus itself.
REST_PELVIS = (0.003123255, -0.351407439, 0.012036549)
# Between z up, facing +y, and y up, facing +z; its own inverse.
AXES = ((-1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.0))
Recovery = Literal["velocity", "absolute", "equal_length"]
RECOVERIES: tuple[Recovery, ...] = ("velocity", "absolute", "equal_length")
_LEFT_HIP, _RIGHT_HIP = 1, 2
_SMALLEST = 1e-9  # metres between hips that have a direction
_LOWEST = 0.05  # of the frames, by their lowest joint, are below the floor: single ones do not lift the whole
_PELVIS_OFF = 0.01  # metres between the two places of the pelvis in features of motions


class Body(NamedTuple):
    """Local rotations (..., T, J, 3, 3), the root's relative to the world; pelvis (..., T, 3); joints (..., T, J, 3).

    In any axes: all three turn alike, which SMPL-X's own translation (pelvis less `REST_PELVIS`) does not."""

    rotations: Tensor
    pelvis: Tensor
    joints: Tensor

    def turned(self, turn: Tensor) -> Body:
        """The body in other axes, by a matrix (3, 3)."""
        root = turn @ self.rotations[..., 0, :, :]
        local = torch.cat([root[..., None, :, :], self.rotations[..., 1:, :, :]], dim=-3)
        return Body(local, self.pelvis @ turn.T, self.joints @ turn.T)


@dataclass(frozen=True)
class Motion276(BodyRepresentation):
    """integrate: follow the steps of the columns, as published; otherwise take the absolute places of every row. Both
    are the same for features of motions."""

    integrate: bool = True

    least_frames = 2
    absolute = True
    averages_std = False  # as published: every column has a std of its own

    @property
    def block_sizes(self) -> dict[str, int]:
        joints = self.skeleton.num_joints
        return {
            "joint_rotations": 6 * (joints - 1),  # relative to the parent
            "joint_positions": 3 * joints,
            "joint_velocities": 3 * joints,  # to the next frame
            "root_rotation": 6,
            "root_rotation_velocity": 6,  # R[t+1] R[t]^T
            "root_translation": 3,  # of SMPL-X: pelvis less its rest position
            "root_translation_velocity": 3,
        }

    @property
    def roles(self) -> dict[str, tuple[str, ...]]:
        return {
            "rotations": ("joint_rotations",), "positions": ("joint_positions",), "velocities": ("joint_velocities",),
            "root": ("root_rotation", "root_rotation_velocity", "root_translation", "root_translation_velocity"),
        }  # fmt: skip

    @property
    def pose_blocks(self) -> tuple[str, ...]:
        """Places of a motion out of a video are not to be relied on, its turns are (3.7)."""
        return ("joint_rotations", "root_rotation", "root_rotation_velocity")

    def encode_body(self, joints: Tensor, local: Tensor) -> Tensor:
        """Joints (T, J, 3) and local rotations (T, J, 3, 3), y up, to features (T-1, D) of the canonical clip."""
        upright = Body(local, joints[..., 0, :], joints).turned(_axes(joints))
        return self.columns_of(canonical(upright)[0])

    def columns_of(self, body: Body) -> Tensor:
        """Features (..., T-1, D) of a body in the axes that it has."""
        pose, root = to_6d(body.rotations[..., 1:, :, :]).flatten(-2), body.rotations[..., 0, :, :]
        place = body.pelvis - body.pelvis.new_tensor(REST_PELVIS)
        joints, spin = body.joints.flatten(-2), root[..., 1:, :, :] @ root[..., :-1, :, :].transpose(-1, -2)
        return torch.cat([
            pose[..., :-1, :], joints[..., :-1, :], joints[..., 1:, :] - joints[..., :-1, :],
            to_6d(root)[..., :-1, :], to_6d(spin), place[..., :-1, :], place[..., 1:, :] - place[..., :-1, :],
        ], dim=-1)  # fmt: skip

    def body_of(self, features: Tensor, extra_frame: bool = False) -> Body:
        """The body of features (..., T, D) in the axes of the columns; with `extra_frame` also where the last steps
        lead, in the last pose (T+1 frames)."""
        exact = self.exact(features)
        pose = from_6d(self.block(exact, "joint_rotations").unflatten(-1, (-1, 6)))
        root = from_6d(self.block(exact, "root_rotation"))
        joints, place = self.block(exact, "joint_positions"), self.block(exact, "root_translation")
        if self.integrate or extra_frame:
            root = _turned_on(root[..., 0, :, :], from_6d(self.block(exact, "root_rotation_velocity")))
            joints = _moved_on(joints[..., 0, :], self.block(exact, "joint_velocities"))
            place = _moved_on(place[..., 0, :], self.block(exact, "root_translation_velocity"))
        if extra_frame:
            pose = torch.cat([pose, pose[..., -1:, :, :, :]], dim=-4)
        frames = pose.shape[-4]
        local = torch.cat([root[..., :frames, None, :, :], pose], dim=-3)
        pelvis = place[..., :frames, :] + place.new_tensor(REST_PELVIS)
        return Body(local, pelvis, joints[..., :frames, :].unflatten(-1, (-1, 3)))

    def follow(self, features: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Joints (..., n, J, 3), y up, facing +z at the start. The state: joints (..., 3 J) of the row that comes."""
        exact = self.exact(features)
        places = self.block(exact, "joint_positions")
        if self.integrate:
            start = places[..., 0, :] if state is None else state
            places = _moved_on(start, self.block(exact, "joint_velocities"))
            places, state = places[..., :-1, :], places[..., -1, :]
        joints = places.unflatten(-1, (-1, 3)) @ _axes(exact).T
        return joints.to(features.dtype), state

    def decode_rotations(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features (..., T, D) to local rotations (..., T, J, 3, 3), the root's relative to the world, and positions of
        the pelvis (..., T, 3), y up."""
        body = self.body_of(features)
        body = body.turned(_axes(body.pelvis))
        return body.rotations.to(features.dtype), body.pelvis.to(features.dtype)

    def recovered(self, features: Tensor, recovery: Recovery = "velocity") -> Motion:
        """The motion of features (T, D) by one of the published ways: along the steps of velocities, by the absolute
        places and turns of each row, or along the steps to the frame after the last row (T+1 frames).

        On features of a motion all three agree; those of networks drift along their steps."""
        if recovery not in RECOVERIES:
            raise DataError(f"no recovery '{recovery}'; {nearest(recovery, RECOVERIES)}")
        features = self.of_one_motion(features)
        by = replace(self, integrate=recovery != "absolute")
        body = by.body_of(features, extra_frame=recovery == "equal_length")
        body = Body(*(part.float() for part in body.turned(_axes(body.pelvis))))
        return Motion(body.joints, self.fps, self.skeleton, body.rotations, body.pelvis)

    def still(self, row: Tensor) -> Tensor:
        row = row.clone()
        for name in ("joint_velocities", "root_translation_velocity"):
            row[..., self.blocks[name]] = 0
        row[..., self.blocks["root_rotation_velocity"]] = to_6d(torch.eye(3)).to(row)
        return row

    def part(self, features: Tensor, start: int, stop: int) -> Tensor:
        """In axes of their own: the first frame over the origin, the lowest joint on the floor."""
        body = self.body_of(features[start:stop], extra_frame=True)
        return self.columns_of(canonical(body)[0]).to(features)

    def moved(self, features: Tensor, yaw: Tensor, shift: Tensor) -> Tensor:
        axes, (sine, cosine) = _axes(features).double(), (yaw.double().sin(), yaw.double().cos())
        zero, one = torch.zeros_like(sine), torch.ones_like(sine)
        turn = torch.stack([cosine, zero, sine, zero, one, zero, -sine, zero, cosine]).unflatten(0, (3, 3))
        body, step = self.body_of(features, extra_frame=True).turned(axes @ turn @ axes), axes @ shift.double()
        return self.columns_of(Body(body.rotations, body.pelvis + step, body.joints + step)).to(features)

    def reconciled(self, features: Tensor, known: Tensor) -> Tensor:
        """Features of one body: the root's way agrees with its places and its steps, joints are where the rotations
        have them. Bones are those of the known rows, else of the skeleton's table, with its feet on the floor.

        A network's places of joints are off by centimetres, each another way, as they are spread over metres of the
        world; its rotations are not."""
        exact = self.exact(features)
        body = replace(self, integrate=False).body_of(exact)
        pelvis = reconciled(body.pelvis, self.block(exact, "root_translation_velocity"), known)
        pelvis = torch.cat([pelvis, pelvis[-1:] + self.block(exact, "root_translation_velocity")[-1:]])
        last = body.rotations[-1:].clone()  # the frame that the last steps lead to
        last[0, 0] = from_6d(self.block(exact, "root_rotation_velocity")[-1]) @ last[0, 0]
        local, bones = torch.cat([body.rotations, last]), self.standard_offsets.to(exact)
        if known.any():
            bones = self._bones(Body(*(part[known] for part in body)))
        joints, _ = kinematics.forward(pelvis, local, bones, self.skeleton.parents)
        if not known.any():
            sunk = torch.stack([pelvis.new_zeros(()), pelvis.new_zeros(()), joints[..., 2].amin(-1).quantile(_LOWEST)])
            pelvis, joints = pelvis - sunk, joints - sunk
        return self.columns_of(Body(local, pelvis, joints)).to(features)

    def _bones(self, body: Body) -> Tensor:
        """Bones (J, 3) in the axes of the joints they leave, their mean over frames."""
        parents = list(self.skeleton.parents[1:])
        nothing = body.joints.new_zeros(len(parents) + 1, 3)
        _, world = kinematics.forward(body.pelvis, body.rotations, nothing, self.skeleton.parents)
        apart = (body.joints[:, 1:] - body.joints[:, parents])[..., None]
        own = (world[:, parents].transpose(-1, -2) @ apart)[..., 0].mean(0)
        return torch.cat([nothing[:1], own])

    def of_wider(self, rows: Tensor) -> Tensor | None:
        """The first columns of rows that repeat some of them behind (426, as an early release has them), told by the
        pelvis, which both joints and translation place."""
        if rows.shape[-1] <= self.width:
            return None
        features = rows[..., : self.width]
        pelvis = self.block(features, "root_translation") + rows.new_tensor(REST_PELVIS)
        off = (pelvis - self.block(features, "joint_positions")[..., :3]).abs().amax(-1)
        return features if bool((off < _PELVIS_OFF).all()) else None

    def mirror(self, features: Tensor) -> Tensor:
        """Features (..., T, D) of the motion with left and right swapped."""
        mirrored = super().mirror(features)
        # It is the pelvis that changes sides, and the translation is the pelvis less this.
        mirrored[..., self.blocks["root_translation"].start] -= 2 * REST_PELVIS[0]
        return mirrored

    @property
    def mirrored_blocks(self) -> dict[str, tuple[Tensor, Tensor]]:
        swap, one = torch.tensor(self.skeleton.mirror_index), torch.tensor([0])
        matrix, vector = [1, -1, -1, 1, -1, 1], [-1, 1, 1]
        return {
            "joint_rotations": swapped_columns(swap[1:] - 1, matrix),
            "joint_positions": swapped_columns(swap, vector),
            "joint_velocities": swapped_columns(swap, vector),
            "root_rotation": swapped_columns(one, matrix),
            "root_rotation_velocity": swapped_columns(one, matrix),
            "root_translation": swapped_columns(one, vector),
            "root_translation_velocity": swapped_columns(one, vector),
        }


def to_6d(matrix: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) to their first two columns, row by row (..., 6)."""
    return matrix[..., :2].flatten(-2)


def from_6d(vector: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) from two raw columns, row by row (..., 6), by Gram-Schmidt."""
    return rotations.matrix_from_6d(vector.unflatten(-1, (3, 2)).transpose(-1, -2).flatten(-2))


def canonical(body: Body, floor: bool = True) -> tuple[Body, Tensor, Tensor]:
    """A body, z up, placed as these features have it, the turn (3, 3) and the shift (3,) that lead there (1.5).

    Frame 0 is over the origin with its left hip to right hip along +x. The lowest joint of all frames is at z = 0, or
    without `floor` the pelvis of frame 0. T frames, not batched.
    """
    across, up = body.joints[0, _RIGHT_HIP] - body.joints[0, _LEFT_HIP], body.joints.new_tensor([0.0, 0.0, 1.0])
    right = across * (1 - up)
    right = right / right.norm() if right.norm() > _SMALLEST else body.joints.new_tensor([1.0, 0.0, 0.0])
    turn = torch.stack([right, torch.linalg.cross(up, right), up])
    body = body.turned(turn)
    shift = -body.pelvis[0]
    if floor:
        shift = torch.cat([shift[:2], -body.joints[..., 2].min()[None]])
    return Body(body.rotations, body.pelvis + shift, body.joints + shift), turn, shift


def _axes(like: Tensor) -> Tensor:
    return like.new_tensor(AXES)


def _moved_on(start: Tensor, steps: Tensor) -> Tensor:
    """Places (..., n+1, C) from a place (..., C) along steps (..., n, C)."""
    return torch.cat([start[..., None, :], start[..., None, :] + steps.cumsum(-2)], dim=-2)


def _turned_on(start: Tensor, steps: Tensor) -> Tensor:
    """Rotations (..., n+1, 3, 3) from one (..., 3, 3) along the turns (..., n, 3, 3) that follow each other."""
    return rotations.chained(torch.cat([start[..., None, :, :], steps], dim=-3))


def motion276() -> Motion276:
    return Motion276("motion276", 20.0, get_skeleton("smpl22"))
