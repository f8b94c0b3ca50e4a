"""A file's own joint hierarchy and its motion, before anything is mapped: what BVH, ASF, SMPL and glTF have in common.

A `Rig` is joints with parents and rest offsets; a `RigMotion` rotates them over time. Both are in metres, and rotations
act on the bones that leave a joint, as in BVH and SMPL. `mld.motion.rig.retarget` maps them onto the model skeleton.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mld.errors import DataError
from mld.motion import kinematics
from mld.motion.edit import resample_positions, resample_rotations, resample_times


@dataclass(frozen=True, eq=False)
class Rig:
    """A tree of J joints, parents before children, joint 0 the root.

    offsets (J, 3): metres from the parent in the rest pose, row 0 the rest position of the root; end_offsets (3,): from
    a leaf joint to the end of its bone, by joint. Raises `DataError` when names, parents and offsets do not fit.
    """

    joint_names: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: Tensor
    end_offsets: Mapping[int, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "joint_names", tuple(self.joint_names))
        object.__setattr__(self, "parents", tuple(int(parent) for parent in self.parents))
        object.__setattr__(self, "offsets", torch.as_tensor(self.offsets, dtype=torch.float64))
        count = len(self.joint_names)
        if count == 0 or len(self.parents) != count or tuple(self.offsets.shape) != (count, 3):
            raise DataError(f"rig: {count} names, {len(self.parents)} parents and offsets {tuple(self.offsets.shape)}; "
                            "there has to be one of each per joint")
        if self.parents[0] != -1 or any(not 0 <= p < joint for joint, p in enumerate(self.parents[1:], start=1)):
            raise DataError("rig: joint 0 has to be the only root, and every parent has to come before its children")
        if len(set(self.joint_names)) < count:
            twice = next(name for i, name in enumerate(self.joint_names) if name in self.joint_names[:i])
            raise DataError(f"rig: two joints are called '{twice}'")
        ends = {int(j): torch.as_tensor(end, dtype=torch.float64) for j, end in self.end_offsets.items()}
        object.__setattr__(self, "end_offsets", ends)

    @property
    def num_joints(self) -> int:
        return len(self.parents)

    def index(self, joint_name: str) -> int:
        """The index of a joint; ValueError when there is none of that name."""
        return self.joint_names.index(joint_name)

    def children(self, joint: int) -> tuple[int, ...]:
        return tuple(child for child, parent in enumerate(self.parents) if parent == joint)

    def rest_positions(self) -> Tensor:
        """Joints (J, 3) of the rest pose (all rotations the identity)."""
        placed = [self.offsets[0]]
        for joint, parent in enumerate(self.parents[1:], start=1):
            placed.append(placed[parent] + self.offsets[joint])
        return torch.stack(placed)

    def scaled(self, factor: float) -> Rig:
        """The rig with all lengths times `factor`."""
        ends = {joint: end * factor for joint, end in self.end_offsets.items()}
        return dataclasses.replace(self, offsets=self.offsets * factor, end_offsets=ends)


@dataclass(frozen=True, eq=False)
class RigMotion:
    """T frames of a rig: local rotations (T, J, 3, 3) relative to the parent, root position `translation` (T, 3) in m.

    `translation` is where the root is, the rest position of the root is not added. shifts: where other joints that
    move against their parent are, seen from it (T, 3) in m, by joint; the rest keep their offsets. source: the kind of
    file it came from ("bvh", "asf/amc", ...); notes: what the reader found odd or decided, one sentence each, for the
    report; up: the vertical axis where the file says it.
    """

    rig: Rig
    rotations: Tensor
    translation: Tensor
    fps: float
    source: str = ""
    notes: tuple[str, ...] = ()
    up: str | None = None
    shifts: Mapping[int, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("rotations", "translation"):
            object.__setattr__(self, name, torch.as_tensor(getattr(self, name), dtype=torch.float32))
        frames = self.translation.shape[0]
        shifts = {int(j): torch.as_tensor(shift, dtype=torch.float32) for j, shift in self.shifts.items()}
        object.__setattr__(self, "shifts", shifts)
        if any(not 0 < j < self.rig.num_joints or tuple(s.shape) != (frames, 3) for j, s in shifts.items()):
            raise DataError("rig motion: shifts are (frames, 3) for joints below the root")
        if tuple(self.rotations.shape) != (frames, self.rig.num_joints, 3, 3) or self.translation.shape[1:] != (3,):
            raise DataError(f"rig motion: rotations {tuple(self.rotations.shape)} and translation "
                            f"{tuple(self.translation.shape)} do not fit {self.rig.num_joints} joints")
        if frames == 0 or not self.fps > 0:
            raise DataError(f"rig motion: {frames} frames at {self.fps} frames per second")

    @property
    def num_frames(self) -> int:
        return self.translation.shape[0]

    def forward(self) -> tuple[Tensor, Tensor]:
        """Joint positions (T, J, 3) in metres and world rotations (T, J, 3, 3)."""
        offsets = self.rig.offsets.to(self.rotations)
        if self.shifts:
            offsets = offsets.expand(self.num_frames, -1, 3).clone()
            for joint, shift in self.shifts.items():
                offsets[:, joint] = shift
        return kinematics.forward(self.translation, self.rotations, offsets, self.rig.parents)

    def positions(self) -> Tensor:
        """Joint positions (T, J, 3) in metres."""
        return self.forward()[0]

    def crop(self, start: int, stop: int | None = None) -> RigMotion:
        """Frames start..stop-1 (Python slice rules)."""
        return self.frames(slice(start, stop))

    def frames(self, chosen: slice | Tensor) -> RigMotion:
        """The frames of a slice, or of indices (N,)."""
        shifts = {joint: shift[chosen] for joint, shift in self.shifts.items()}
        rotations, translation = self.rotations[chosen], self.translation[chosen]
        return dataclasses.replace(self, rotations=rotations, translation=translation, shifts=shifts)

    def resample(self, fps: float) -> RigMotion:
        """The motion at another frame rate: positions linear, rotations on the shortest arcs."""
        if abs(fps - self.fps) < 1e-6:
            return self
        at = resample_times(self.num_frames, self.fps, fps)
        return dataclasses.replace(
            self,
            fps=float(fps),
            rotations=resample_rotations(self.rotations, at),
            translation=resample_positions(self.translation, at),
            shifts={joint: resample_positions(shift, at) for joint, shift in self.shifts.items()},
        )


def pruned_to(source: RigMotion, wanted: set[int]) -> tuple[RigMotion, dict[int, int]]:
    """The motion without the joints (fingers, face) that no wanted joint hangs on, and new indices by old."""
    rig = source.rig
    keep: set[int] = set()
    for joint in wanted:
        while joint >= 0 and joint not in keep:
            keep.add(joint)
            joint = rig.parents[joint]
    kept = sorted(keep)
    index = {old: new for new, old in enumerate(kept)}
    if len(kept) == rig.num_joints:
        return source, index
    parents = tuple(index.get(rig.parents[old], -1) for old in kept)
    small = Rig(tuple(rig.joint_names[old] for old in kept), parents, rig.offsets[kept])
    shifts = {index[joint]: shift for joint, shift in source.shifts.items() if joint in index}
    return RigMotion(small, source.rotations[:, kept], source.translation, source.fps, shifts=shifts), index


def distinct_names(names: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """Names with a number behind those that occur again, and a sentence on each of these."""
    counts: dict[str, int] = {}
    seen: set[str] = set()
    made, notes = [], []
    for name in names:
        new = name
        while new in seen:
            counts[name] = counts.get(name, 1) + 1
            new = f"{name}_{counts[name]}"
        if new != name:
            notes.append(f"another joint is called '{name}' too; it is '{new}' here")
        seen.add(new)
        made.append(new)
    return tuple(made), notes
