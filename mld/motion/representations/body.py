"""Representations of 22 SMPL joints that hold positions and ordinary local rotations, as SMPL and BVH have them.

What the 272 and the 276 columns share: rotations are those of the motion or are solved from its joints, and decoding
gives a `Motion` with rotations. Positions and rotations are separate estimates in features of a network.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from mld.errors import DataError
from mld.motion import edit, kinematics
from mld.motion.motion import Motion
from mld.motion.representations.base import Representation, working_dtype
from mld.motion.rig.rest_pose import rest_pose, solve

_ROTATION = 0.5  # determinants of matrices from raw columns are 1, or 0 where these have no direction


class BodyRepresentation(Representation):
    """A representation with the rotations of all joints in its columns."""

    least_frames = 1

    @abstractmethod
    def encode_body(self, joints: Tensor, rotations: Tensor) -> Tensor:
        """Joints (..., T, J, 3) and local rotations (..., T, J, 3, 3), y up, to features (..., rows(T), D)."""

    @abstractmethod
    def decode_rotations(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features (..., T, D) to local rotations (..., T, J, 3, 3), the root's relative to the world, and positions of
        the root (..., T, 3), y up."""

    def encode(self, motion: Motion) -> Tensor:
        """Features (rows(T), D) float32 of a motion of T frames, resampled first where its frame rate differs.

        The rotations are those of the motion; a motion without gets those of the T-pose that lead to its joints
        (`mld.motion.rig.rest_pose.solve`), in which the twist of a bone is a guess. Bones keep their lengths. Raises
        `DataError` for another skeleton, too few frames, NaN or infinity.
        """
        motion = edit.check_finite(self.resampled(motion))
        if motion.num_frames < self.least_frames:
            raise DataError(f"features need at least {self.least_frames} frames, the motion has {motion.num_frames}")
        local = solve(motion)[0] if motion.rotations is None else motion.rotations.double()
        return self.encode_body(motion.joints.double(), local).float()

    def encode_joints(self, joints: Tensor, mask: Tensor | None = None) -> Tensor:
        """Joints (B, T, J, 3) to features (B, rows(T), D), with rotations solved from the joints as `encode` does.

        mask (B, T) bool, True for the leading real frames of a row: it gets the features it gets alone, and zeros
        after. The dtype is kept. Raises `DataError` for NaN, infinity, too few frames, or a mask with gaps.
        """
        lengths = self.clip_lengths(joints, mask, self.least_frames)
        features = joints.new_zeros(len(joints), self.rows(joints.shape[1]), self.width)
        for number, (row, length) in enumerate(zip(joints, lengths.tolist())):
            if not row[:length].isfinite().all():
                raise DataError(f"joints of clip {number} of the batch hold NaN or infinity; leave that clip out")
            exact = row[:length].detach().double().cpu()
            local = solve(Motion(exact, self.fps, self.skeleton))[0]
            features[number, : self.rows(length)] = self.encode_body(exact, local).to(features)
        return features

    def decode(self, features: Tensor) -> Motion:
        """The motion, in metres, of raw features (T, D), with rotations; its joints are those of `decode_joints`.

        Rotations are left out where their columns hold none, as those that were filled with zeros. Raises `DataError`
        for features that are not of one motion."""
        features = self.of_one_motion(features)
        local, root = self.decode_rotations(features)
        joints = self.decode_joints(features)
        if not (torch.linalg.det(local) > _ROTATION).all():
            return Motion(joints, self.fps, self.skeleton)
        return Motion(joints, self.fps, self.skeleton, local, root)

    def decode_joints_from_rotations(self, features: Tensor, offsets: Tensor | None = None) -> Tensor:
        """Features (..., T, D) to joints (..., T, J, 3) by FK of the rotations. offsets (J, 3): the bones of the body
        in the T-pose, metres; those of the skeleton's table when none are given."""
        local, root = self.decode_rotations(features)
        offsets = self.standard_offsets if offsets is None else offsets
        return kinematics.forward(root, local, offsets.to(root), self.skeleton.parents)[0]

    @property
    def standard_offsets(self) -> Tensor:
        """Bones (J, 3) float64 of the skeleton's table in the T-pose, metres."""
        lengths = torch.tensor(self.skeleton.bone_lengths, dtype=torch.float64) * self.skeleton.metres_per_unit
        return rest_pose(self.skeleton.name).directions * lengths[:, None]

    def exact(self, features: Tensor) -> Tensor:
        """Features in the dtype of computation, after a check of their width."""
        self.check_width(features)
        return features.to(working_dtype(features))
