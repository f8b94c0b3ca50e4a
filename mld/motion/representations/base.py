"""What a representation is: named feature blocks with roles, a motion to features and back, all at once or in a stream.

Slices, widths and statistics follow from the declared block sizes; no other file knows a column number, and no file
outside this folder the name of a block: they ask for the columns of a role.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from mld.errors import DataError
from mld.motion import edit
from mld.motion.carry import on_skeleton
from mld.motion.motion import Motion
from mld.motion.skeletons import Skeleton

ROLES = ("root", "positions", "velocities", "rotations", "contacts")


@dataclass(frozen=True)
class Representation(ABC):
    """A way to write motion as feature rows (T, D).

    Tensor methods (`encode_joints`, `decode_joints`) are batched and work in the unit of the features, metres or for
    KIT millimetres (`skeleton.metres_per_unit`). `encode` and `decode` take and give a `Motion` in metres.
    """

    name: str
    fps: float
    skeleton: Skeleton

    @property
    @abstractmethod
    def block_sizes(self) -> dict[str, int]:
        """Columns of each named block, in order."""

    @property
    @abstractmethod
    def roles(self) -> dict[str, tuple[str, ...]]:
        """The blocks of each role of `ROLES`; a role that is absent has none, and every block has one role.

        root: where the body is, how it is turned, and the steps of both; positions, velocities: of joints; rotations:
        of joints relative to their parent; contacts: of the feet, 0 or 1.
        """

    @abstractmethod
    def encode_joints(self, joints: Tensor, mask: Tensor | None = None) -> Tensor:
        """Joints (B, T, J, 3) to features (B, rows(T), D); mask (B, T) bool, True for the leading real frames."""

    @abstractmethod
    def encode(self, motion: Motion) -> Tensor:
        """Features (rows(T), D) float32 of a motion of T frames, resampled first where its frame rate differs."""

    @abstractmethod
    def follow(self, features: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Joints (..., n, J, 3) of rows (..., n, D) that come after `state`, and the state after them.

        The state is heading and position, constant in size; None stands for the start of a motion."""

    @abstractmethod
    def still(self, row: Tensor) -> Tensor:
        """The row (..., D) of a body that stands in the pose of `row` without moving, both feet on the ground."""

    @property
    @abstractmethod
    def mirrored_blocks(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Column within the block and sign, by block, of the features with left and right swapped
        (`swapped_columns`)."""

    # Whether mirrored features are those that mirrored joints are encoded to.
    mirrors_joints: ClassVar[bool] = False
    # Whether rows hold places in the world of their motion's first frame, so that clips of one world have to share it.
    absolute: ClassVar[bool] = False
    # Statistics: whether the columns of a block share the mean of their standard deviations.
    averages_std: ClassVar[bool] = True
    # How many times smaller the std of root and contacts is made for tokenizers as published.
    feature_bias: ClassVar[float] = 1.0
    # A root column whose std tells statistics of the published evaluator (root and contacts divided by 25) from those
    # of the data, and the value between them; None where there are no such statistics.
    evaluator_std: ClassVar[tuple[int, float] | None] = None

    @cached_property
    def blocks(self) -> dict[str, slice]:
        """Columns of each block by name."""
        ends = list(itertools.accumulate(self.block_sizes.values()))
        return {name: slice(end - size, end) for (name, size), end in zip(self.block_sizes.items(), ends)}

    @property
    def width(self) -> int:
        return sum(self.block_sizes.values())

    def rows(self, frames: int) -> int:
        """Feature rows of a motion of so many frames: where rows describe steps there is one less."""
        return max(frames - 1, 0)

    def block(self, features: Tensor, name: str) -> Tensor:
        """One block (..., size) of features (..., D)."""
        return features[..., self.blocks[name]]

    def columns(self, *roles: str) -> list[int]:
        """The columns of all blocks of these roles, in order; empty where there are none."""
        return self.columns_of_blocks({name for role in roles for name in self.roles.get(role, ())})

    def columns_of_blocks(self, names: Iterable[str]) -> list[int]:
        """The columns of blocks by name, in order; `DataError` for a block that is not there."""
        wanted = set(names)
        if unknown := wanted - set(self.blocks):
            raise DataError(f"'{self.name}' has no block {', '.join(sorted(unknown))}; {', '.join(self.blocks)}")
        return [i for name, part in self.blocks.items() if name in wanted for i in range(part.start, part.stop)]

    @property
    def pose_blocks(self) -> tuple[str, ...]:
        """Blocks that say how a body is posed and turned and not where it is: what is known best of a motion that was
        seen in a video. Positions where there are no rotations."""
        return self.roles.get("rotations") or self.roles.get("positions", ())

    def part(self, features: Tensor, start: int, stop: int) -> Tensor:
        """Rows start..stop-1 of features (T, D) as those of a motion of their own, as evaluators know them.

        Unless a representation says otherwise, no row tells where its motion began: they are what they were."""
        return features[start:stop]

    def moved(self, features: Tensor, yaw: Tensor, shift: Tensor) -> Tensor:
        """Features (T, D) of the motion turned by a yaw (), radians about the y axis, and moved by (3,) metres; what
        they were where no row tells where its motion began."""
        return features

    def reconciled(self, features: Tensor, known: Tensor) -> Tensor:
        """Features (T, D) of a network where columns that say the same twice agree; what is known of rows (T,) is told
        by them alone. What they were where nothing is said twice."""
        return features

    # Whether `steadied` and `with_fixed_bones` take whole motions, or also pieces as they come; None: neither is there.
    finishes: ClassVar[Literal["whole", "pieces"] | None] = None

    def steadied(
        self, features: Tensor, mask: Tensor | None = None, before: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Features (B, T, D) of a network where places and velocities of joints agree: what lies between the places,
        which tremble, and the summed velocities, which drift. And what the rows that come next are told as `before`
        (B, 2 J, 3), None of whole motions. Rotations and contacts are what they were.

        mask (B, T) bool: rows of the motion, the first ones. before: zeros stand for none."""
        raise DataError(f"representation '{self.name}' cannot be steadied")

    def with_fixed_bones(
        self, features: Tensor, mask: Tensor | None = None, before: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Features (B, T, D) of a network, changed as little as gives all bones the lengths of the skeleton, with feet
        that stand where they stood; and what the rows that come next are told as `before` (B, 2 J, 3).

        Places, steps of the root and velocities of joints agree then; the rest is as for `steadied`."""
        raise DataError(f"representation '{self.name}' cannot fix the lengths of bones")

    # Roles whose columns follow from the others, so that `completed` can fill them in.
    follows: ClassVar[tuple[str, ...]] = ()

    def completed(self, features: Tensor, roles: Collection[str], mask: Tensor | None = None) -> Tensor:
        """Features (B, T, D) with the columns of these roles, all in `follows`, as the others have them. mask (B, T)
        bool: rows of the motion, the first ones."""
        raise DataError(f"representation '{self.name}' has no columns that follow from others")

    def of_wider(self, rows: Tensor) -> Tensor | None:
        """The features (T, D) in rows (T, more) of an older form of this representation; None where they are none."""
        return None

    def decode_joints(self, features: Tensor) -> Tensor:
        """Features (..., T, D) to joints (..., T, J, 3) by their positions."""
        return self.follow(features)[0]

    def decode(self, features: Tensor) -> Motion:
        """The motion, in metres, of raw features (T, D); with rotations where the columns have them.

        Raises `DataError` for features that are not of one motion."""
        return Motion(self.decode_joints(self.of_one_motion(features)) * self.skeleton.metres_per_unit, self.fps,
                      self.skeleton)  # fmt: skip

    def stream(self) -> FeatureStream:
        """Recovers joints while features come in; the pieces are those of `decode_joints` of the whole."""
        return FeatureStream(self)

    def mirror(self, features: Tensor) -> Tensor:
        """Features (..., T, D) of the motion with left and right swapped."""
        self.check_width(features)
        index, sign = self._mirror_map
        return features[..., index.to(features.device)] * sign.to(features)

    @cached_property
    def _mirror_map(self) -> tuple[Tensor, Tensor]:
        """Column taken and its sign, for each column of the mirrored features."""
        with torch.inference_mode(False):  # kept: must stay usable in training
            moved = self.mirrored_blocks
            index = torch.cat([moved[name][0] + part.start for name, part in self.blocks.items()])
            return index, torch.cat([moved[name][1] for name in self.blocks])

    def resampled(self, motion: Motion) -> Motion:
        """The motion at the frame rate of the features, on their skeleton; `DataError` for a skeleton that it cannot be
        carried onto, NaN or infinity."""
        return edit.resample(on_skeleton(motion, self.skeleton.name), self.fps)

    def of_one_motion(self, features: Tensor) -> Tensor:
        """Features (T, D) as a plain tensor; `DataError` for another shape."""
        features = torch.as_tensor(features)
        if features.ndim != 2:
            raise DataError(f"decode takes the features of one motion (T, {self.width}), got {tuple(features.shape)}")
        self.check_width(features)
        return features.detach().cpu()

    def check_width(self, features: Tensor) -> None:
        """Raises `DataError` when the last dimension of features is not this representation's width."""
        if features.ndim < 2 or features.shape[-1] != self.width:
            raise DataError(f"representation '{self.name}' has features (..., T, {self.width}), "
                            f"got {tuple(features.shape)}")

    def clip_lengths(self, joints: Tensor, mask: Tensor | None, least: int) -> Tensor:
        """Real frames (B,) of each clip of joints (B, T, J, 3), after checking the shapes and that none is shorter than
        `least`."""
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
        if batch and int(lengths.min()) < least:
            raise DataError(f"features need at least {least} frames, a clip has {int(lengths.min())}")
        return lengths


@dataclass
class FeatureStream:
    """Joints of rows that come in pieces of any length. The state is that of the representation (`follow`)."""

    representation: Representation
    state: Any = None

    def push(self, rows: Tensor) -> Tensor:
        """Joints (..., n, J, 3), in the unit of the features, of the next n raw rows (..., n, D), n at least 1."""
        joints, self.state = self.representation.follow(rows, self.state)
        return joints


def swapped_columns(groups: Tensor, signs: list[int]) -> tuple[Tensor, Tensor]:
    """Column index and sign of a block of `len(groups)` groups of `len(signs)` columns, group i from groups[i]."""
    width = len(signs)
    index = (groups[:, None] * width + torch.arange(width)).flatten()
    return index, torch.tensor(signs, dtype=torch.float32).repeat(len(groups))


def working_dtype(tensor: Tensor) -> torch.dtype:
    """float64 (contact bits and long sums need it), where the device has it."""
    return torch.float32 if tensor.device.type == "mps" else torch.float64
