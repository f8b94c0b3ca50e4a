"""The 272 columns of MotionStreamer and MotionMillion: 22 joints, metres, y up, 30 fps, a row for every frame.

Spec motion_272. The heading is that of the pelvis' own z axis, and each row holds the step from the row before: so rows
become joints one by one, with a heading and a place as the only state. Rotations are the first two *rows* of matrices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mld.errors import DataError
from mld.motion import rotations
from mld.motion.motion import Motion
from mld.motion.representations import fixed_bones
from mld.motion.representations.base import swapped_columns
from mld.motion.representations.body import BodyRepresentation
from mld.motion.representations.reconciling import onward
from mld.motion.skeletons import get_skeleton

_SMALLEST = 1e-6  # a heading below this length, or this near to a line, has no direction


class Place(NamedTuple):
    """Where a motion has come to: to_front (..., 3, 3) from the world into the heading, ground (..., 3) metres."""

    to_front: Tensor
    ground: Tensor


@dataclass(frozen=True)
class Motion272(BodyRepresentation):
    """compat: turn by the whole rotation of the heading columns, as published, in place of its yaw. Both are the same
    for features of motions; those of a network hold a little tilt, which adds up and lets long streams lean over."""

    compat: bool = False

    mirrors_joints = True
    finishes = "pieces"

    @property
    def block_sizes(self) -> dict[str, int]:
        joints = self.skeleton.num_joints
        return {
            "root_velocity": 2,  # x and z since the last frame, metres, in the heading of that frame
            "heading_delta": 6,  # rotation from the last heading to this one
            "joint_positions": 3 * joints,  # xz relative to the root, y above the floor, in the heading
            "joint_velocities": 3 * joints,  # of joint_positions since the last frame
            "joint_rotations": 6 * joints,  # relative to the parent, the root's to the heading
        }

    @property
    def roles(self) -> dict[str, tuple[str, ...]]:
        return {
            "root": ("root_velocity", "heading_delta"), "positions": ("joint_positions",),
            "velocities": ("joint_velocities",), "rotations": ("joint_rotations",),
        }  # fmt: skip

    def rows(self, frames: int) -> int:
        """As many as frames: row 0 has zero steps."""
        return frames

    def encode_body(self, joints: Tensor, local: Tensor) -> Tensor:
        """Joints (..., T, J, 3) and local rotations (..., T, J, 3, 3), y up, to features (..., T, D) (section 3)."""
        to_front = _yaw_matrix(-heading(local[..., 0, :, :]))
        floor = joints[..., 1].flatten(-2).amin(-1)
        root = joints[..., 0, :]
        shift = torch.stack([root[..., 0], floor[..., None].expand(root.shape[:-1]), root[..., 2]], dim=-1)
        seen = (joints - shift[..., None, :]) @ to_front.transpose(-1, -2)
        step = torch.einsum("...ij,...j->...i", to_front[..., :-1, :, :], root[..., 1:, :] - root[..., :-1, :])
        turn = to_front[..., 1:, :, :] @ to_front[..., :-1, :, :].transpose(-1, -2)
        unturned = torch.eye(3).to(turn).expand_as(to_front[..., :1, :, :])
        own = torch.cat([(to_front @ local[..., 0, :, :])[..., None, :, :], local[..., 1:, :, :]], dim=-3)
        return torch.cat([
            _from_zero(step[..., [0, 2]]), to_6d(torch.cat([unturned, turn], dim=-3)), seen.flatten(-2),
            _from_zero((seen[..., 1:, :, :] - seen[..., :-1, :, :]).flatten(-2)), to_6d(own).flatten(-2),
        ], dim=-1)  # fmt: skip

    def follow(self, features: Tensor, state: Place | None = None) -> tuple[Tensor, Place]:
        """Joints (..., n, J, 3) from the position block. A motion begins at the origin and faces +z; a part of one
        begins with its first step from there (section 4)."""
        exact = self.exact(features)
        to_front, ground = self._path(exact, state)
        local = self.block(exact, "joint_positions").unflatten(-1, (-1, 3))
        joints = local @ to_front + ground[..., None, :]
        return joints.to(features.dtype), Place(to_front[..., -1, :, :], ground[..., -1, :])

    def decode_rotations(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features (..., T, D) to local rotations (..., T, J, 3, 3), the root's relative to the world, and positions of
        the pelvis (..., T, 3): at its height above the floor, not less its rest position as SMPL's translation."""
        exact = self.exact(features)
        to_front, ground = self._path(exact, None)
        local = from_6d(self.block(exact, "joint_rotations").unflatten(-1, (-1, 6)))
        root = to_front.transpose(-1, -2) @ local[..., 0, :, :]
        height = self.block(exact, "joint_positions")[..., 1]
        place = torch.stack([ground[..., 0], height, ground[..., 2]], dim=-1)
        local = torch.cat([root[..., None, :, :], local[..., 1:, :, :]], dim=-3)
        return local.to(features.dtype), place.to(features.dtype)

    def decode(self, features: Tensor) -> Motion:
        """The motion, in metres, of raw features (T, D), with rotations; its joints are those of `decode_joints`.

        Raises `DataError` for features that are not of one motion, and for rows of padding."""
        turns = self.block(self.exact(self.of_one_motion(features)), "heading_delta")
        first, second = turns[:, :3], turns[:, 3:]
        spread = torch.linalg.cross(first, second).norm(dim=-1) / first.norm(dim=-1) / second.norm(dim=-1)
        known = (first.norm(dim=-1) > _SMALLEST) & (second.norm(dim=-1) > _SMALLEST) & (spread > _SMALLEST)
        if not known.all():
            frame = int((~known).int().argmax())
            raise DataError(f"columns 2:8 are no rotation at frame {frame}; rows have to be raw features without "
                            "padding")
        return super().decode(features)

    def still(self, row: Tensor) -> Tensor:
        row = row.clone()
        for name in ("root_velocity", "joint_velocities"):
            row[..., self.blocks[name]] = 0
        row[..., self.blocks["heading_delta"]] = to_6d(torch.eye(3)).to(row)
        return row

    def part(self, features: Tensor, start: int, stop: int) -> Tensor:
        """Without a step before the first row, and on the floor: as if the frames were encoded by themselves
        (supplement 2.1)."""
        found = features[start:stop].clone()
        if len(found):
            found[0] = self.still(found[0])
            heights = found[:, self.blocks["joint_positions"]][:, 1::3]
            found[:, self.blocks["joint_positions"]][:, 1::3] = heights - heights.min()
        return found

    def steadied(
        self, features: Tensor, mask: Tensor | None = None, before: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Row by row, as rows come: places relative to the root and their velocities. The mask is not read."""
        exact = self.exact(features)
        places = self.block(exact, "joint_positions").unflatten(-1, (-1, 3))
        told = self.block(exact, "joint_velocities").unflatten(-1, (-1, 3))
        made, moved = _before(before, places)
        slips = told - torch.cat([(made - moved)[:, None], places], dim=1).diff(dim=1)
        begins = (made == 0).flatten(1).all(1)[:, None, None]
        slips = torch.cat([slips[:, :1].masked_fill(begins[:, None], 0.0), slips[:, 1:]], dim=1)
        moves = onward(slips.flatten(2), moved.flatten(1)).unflatten(-1, (-1, 3))
        poses = places + moves
        after = torch.cat([poses[:, -1], moves[:, -1]], dim=1)
        return self._with_poses(exact, poses, made).to(features.dtype), after

    def with_fixed_bones(
        self, features: Tensor, mask: Tensor | None = None, before: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Row by row, as rows come. The mask is not read."""
        exact = self.exact(features)
        places = self.block(exact, "joint_positions").unflatten(-1, (-1, 3))
        poses, (made, _) = fixed_bones.fixed(places, self.skeleton), _before(before, places)
        after = torch.cat([poses[:, -1], torch.zeros_like(made)], dim=1)
        return self._with_poses(exact, poses, made).to(features.dtype), after

    def _with_poses(self, exact: Tensor, poses: Tensor, before: Tensor) -> Tensor:
        """The features (B, T, D) with other poses (B, T, J, 3), whose roots are off the origin by what they moved,
        after the pose `before` (B, J, 3): steps and velocities follow. The first row of a motion keeps its own."""
        begins = (before == 0).flatten(1).all(1)[:, None]
        placed, moved = fixed_bones.over_root(torch.cat([before[:, None], poses], dim=1))
        turn = self._turns(self.block(exact, "heading_delta")[..., None, :])[..., 0, :, :]  # of each row by itself
        step = torch.einsum("...ji,...j->...i", turn, moved[:, 1:]) - moved[:, :-1]
        parts = {name: self.block(exact, name) for name in self.block_sizes}
        parts["joint_positions"] = placed[:, 1:].flatten(2)
        for name, new in (("root_velocity", parts["root_velocity"] + step[..., [0, 2]]),
                          ("joint_velocities", placed.diff(dim=1).flatten(2))):  # fmt: skip
            first = torch.where(begins, parts[name][:, 0], new[:, 0])
            parts[name] = torch.cat([first[:, None], new[:, 1:]], dim=1)
        return torch.cat([parts[name] for name in self.block_sizes], dim=-1)

    @property
    def mirrored_blocks(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Positions are those of the mirrored joints; where a body is not symmetric, so are not its bones."""
        swap, one = torch.tensor(self.skeleton.mirror_index), torch.tensor([0])
        return {
            "root_velocity": swapped_columns(one, [-1, 1]),
            "heading_delta": swapped_columns(one, [1, -1, -1, -1, 1, 1]),
            "joint_positions": swapped_columns(swap, [-1, 1, 1]),
            "joint_velocities": swapped_columns(swap, [-1, 1, 1]),
            "joint_rotations": swapped_columns(swap, [1, -1, -1, -1, 1, 1]),
        }

    def _path(self, exact: Tensor, state: Place | None) -> tuple[Tensor, Tensor]:
        """From the world into the heading (..., n, 3, 3), and places over the ground (..., n, 3), of rows that come
        after `state`."""
        turn = self._turns(self.block(exact, "heading_delta"))
        if state is not None:
            state = Place(*state)
        else:
            state = Place(torch.eye(3).to(turn).expand_as(turn[..., 0, :, :]), torch.zeros_like(exact[..., 0, :3]))
        to_front = turn @ state.to_front[..., None, :, :]
        before = torch.cat([state.to_front[..., None, :, :], to_front[..., :-1, :, :]], dim=-3)
        x, z = self.block(exact, "root_velocity").unbind(-1)
        step = torch.stack([x, torch.zeros_like(x), z], dim=-1)
        moved = torch.einsum("...ji,...j->...i", before, step) * exact.new_tensor([1.0, 0.0, 1.0])
        return to_front, state.ground[..., None, :] + moved.cumsum(-2)

    def _turns(self, steps: Tensor) -> Tensor:
        """Products (..., n, 3, 3) of all turns up to each row, from heading columns (..., n, 6)."""
        if not self.compat:
            yaw = torch.atan2(steps[..., 2], steps[..., 0])
            return _yaw_matrix(yaw.cumsum(-1))
        return rotations.chained(from_6d(steps))


def _before(before: Tensor | None, places: Tensor) -> tuple[Tensor, Tensor]:
    """The last pose that was made, and what was added to it (B, J, 3) each; zeros before a motion."""
    if before is None:
        return torch.zeros_like(places[:, 0]), torch.zeros_like(places[:, 0])
    made, moved = before.to(places).chunk(2, dim=1)
    return made, moved


def to_6d(matrix: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) to their first two rows (..., 6), one after the other."""
    return matrix[..., :2, :].flatten(-2)


def from_6d(vector: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) from two raw rows (..., 6) by Gram-Schmidt."""
    return rotations.matrix_from_6d(vector).transpose(-1, -2)


def heading(root: Tensor) -> Tensor:
    """Yaw (...) in radians of the z axis of rotations (..., 3, 3): the heading of these features (section 2)."""
    return torch.atan2(root[..., 0, 2], root[..., 2, 2])


def _yaw_matrix(yaw: Tensor) -> Tensor:
    return rotations.turn_to_matrix(rotations.turn_from_half_angle(yaw / 2))


def _from_zero(steps: Tensor) -> Tensor:
    """Steps (..., T-1, C) with a row of zeros before them."""
    return torch.nn.functional.pad(steps, (0, 0, 1, 0))


def motion272() -> Motion272:
    return Motion272("motion272", 30.0, get_skeleton("smpl22"))
