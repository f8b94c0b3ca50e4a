"""From a file's own skeleton to smpl22: `to_smpl22(rig_motion) -> Motion and a report of what was mapped and guessed`.

Joint positions carry the motion. Local rotations are kept only where the source stands in a T-pose at rest and has all
joints of smpl22, so that they mean what they mean for smpl22; elsewhere exporters solve them from the joints.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
import yaml
from torch import Tensor

from mld.motion import kinematics
from mld.motion.motion import Motion
from mld.motion.rig.guessing import find_joints
from mld.motion.rig.loose_joints import without_loose_joints
from mld.motion.rig.mapping import Found, JointMapping
from mld.motion.rig.placement import Placement, place_joints
from mld.motion.rig.proportions import never_upright
from mld.motion.rig.rest_pose import local_rotations, offsets_of, rest_pose
from mld.motion.rig.rig import RigMotion, pruned_to
from mld.motion.rig.units import find_up, turn_up
from mld.motion.skeletons import get_skeleton

_JUMP = 5.0  # a first frame is a pose of its own if the step after it is so many times the usual one
_LEAST_JUMP = 4.0  # metres per second, mean over joints
_LEAST_STEP, _AT_REST = 1.0, 0.01  # the same after the file's own rest pose; numbers of a matrix near the identity
_MOST_REST_FRAMES = 8
_HELD = 1e-4  # metres between frames of a rest pose that is held
_T_POSE = 0.93  # cosine between rest bones and those of the T-pose (21 degrees)
_MOST_CHECKED = 500  # frames
_RIGID = 0.001  # metres that joints may be off when bones of fixed length are turned by the rotations


@dataclass(frozen=True)
class MappingReport:
    """What the import of one file decided. mapped: source joint by joint of smpl22; guessed: joints whose source was
    guessed from its name; derived: joints placed by proportion; unused: joints of the file that play no part; notes:
    sentences on unit, axis, frame rate and oddities; warnings: those of them that a user should see in any case."""

    source: str
    table: str
    frames: int
    fps: float
    mapped: dict[str, str]
    guessed: tuple[str, ...] = ()
    derived: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The report as lines of text."""
        head = f"{self.source}: {self.frames} frames at {self.fps:g} fps"
        if self.table:
            head += f", joint table '{self.table}', {len(self.mapped)} of 22 joints taken from the file"
        lines = [head]
        if self.guessed:
            lines.append("guessed from names: " + ", ".join(f"{name} = {self.mapped[name]}" for name in self.guessed))
        if self.derived:
            lines.append("placed by proportion: " + ", ".join(self.derived))
        return [*lines, *self.notes]


def to_smpl22(
    source: RigMotion, mapping: JointMapping | None = None, up: str | None = None, file_name: str = ""
) -> tuple[Motion, MappingReport]:
    """The motion on smpl22 at the source's frame rate, and the report.

    mapping: a joint table, found by itself when None; up: the vertical axis of the source ("y", "z", "-x" ...), found
    from the posture when None; file_name: by which known wrong frame rates are recognised. Raises `DataError` when the
    joints of a body cannot be told.
    """
    notes = list(source.notes)
    found = find_joints(source.rig, mapping)
    source = without_loose_joints(source, found, notes)
    source = _with_missing_bones(source, found.mapping, notes)
    source = _with_true_rate(source, found.mapping, file_name, notes)
    placement = place_joints(source, found)
    source, joints, frames = _carried(source, placement)
    source, joints, frames = _without_rest_pose(source, joints, frames, found.mapping, notes)
    turn, note = find_up(joints, placement.up if placement.rest_is_reference else None, source.source, up or source.up)
    notes += [note] if note else []
    rotations = _own_rotations(source, found, placement, frames)
    joints = joints @ turn.T.to(joints)
    if placement.mirrored:
        notes.append("the toes point backwards for these sides: the file is mirrored, so x was negated")
        joints, rotations = joints * joints.new_tensor([-1.0, 1.0, 1.0]), None
    motion = Motion(joints, source.fps)
    if rotations is not None:
        rotations = turn_up(rotations, turn)
        if _reproduces(motion, rotations):
            motion = dataclasses.replace(motion, rotations=rotations, translation=joints[:, 0])
    report = _report(source, found, placement, motion, notes)
    return motion, dataclasses.replace(report, warnings=tuple(never_upright(placement.upright)))


def _report(source: RigMotion, found: Found, placement: Placement, motion: Motion, notes: list[str]) -> MappingReport:
    names = source.rig.joint_names
    ends = {target: "end of " if target in found.ends else "" for target in found.joints}
    return MappingReport(
        source=source.source,
        table=found.mapping.name,
        frames=motion.num_frames,
        fps=motion.fps,
        mapped={target: ends[target] + names[joint] for target, joint in found.joints.items()},
        guessed=tuple(sorted(found.guessed)),
        derived=placement.derived,
        unused=tuple(name for joint, name in enumerate(names) if joint not in set(found.joints.values())),
        notes=tuple(notes),
    )


def _with_missing_bones(source: RigMotion, mapping: JointMapping, notes: list[str]) -> RigMotion:
    """The rig with bones of no length, that the table knows of, made as long as the bone below them."""
    names, offsets = source.rig.joint_names, source.rig.offsets.clone()
    for joints, like, times in mapping.missing_bones:
        present = [names.index(name) for name in joints if name in names]
        if like not in names or not present or float(offsets[present].norm(dim=-1).max()) > 1e-4:
            continue
        offsets[present] = offsets[names.index(like)] * times
        length = float(offsets[present[0]].norm()) * 100
        notes.append(
            f"the bone to {', '.join(names[joint] for joint in present)} has no length in the file; "
            f"{length:.0f} cm were put back, {times:g} times the bone to '{like}'"
        )
    return dataclasses.replace(source, rig=dataclasses.replace(source.rig, offsets=offsets))


def _with_true_rate(source: RigMotion, mapping: JointMapping, file_name: str, notes: list[str]) -> RigMotion:
    """The motion at the rate it was captured at, where files are known to say another."""
    for entry in _frame_rates():
        fits = mapping.name in entry["tables"] and abs(source.fps - entry["says"]) < 0.01 * entry["says"]
        if fits and re.match(entry["files"], file_name):
            notes.append(f"the file says {entry['says']} frames per second, taken as {entry['was']}: {entry['why']}")
            return dataclasses.replace(source, fps=float(entry["was"]))
    return source


@lru_cache(maxsize=1)
def _frame_rates() -> list[dict]:
    return yaml.safe_load(Path(__file__).with_name("frame_rates.yaml").read_text(encoding="utf-8"))


def _carried(source: RigMotion, placement: Placement) -> tuple[RigMotion, Tensor, Tensor]:
    """Joints (T, 22, 3) in the axes of the file, and world rotations (T, 22, 3, 3) of the joints that carry them."""
    pruned, index = pruned_to(source, set(placement.bones))
    positions, frames = pruned.forward()
    bones = [index[bone] for bone in placement.bones]
    if not placement.points.any():
        return source, positions[:, bones], frames[:, bones]
    frames = frames[:, bones]
    points = placement.points.to(frames)
    return source, positions[:, bones] + (frames @ points[..., None]).squeeze(-1), frames


def _without_rest_pose(
    source: RigMotion, joints: Tensor, frames: Tensor, mapping: JointMapping, notes: list[str]
) -> tuple[RigMotion, Tensor, Tensor]:
    """Leaves out the first frames where the body jumps after them, and the table says that they may be a rest pose or
    they are that of the file, held as long as it may be."""
    if len(joints) <= 2 * _MOST_REST_FRAMES:
        return source, joints, frames
    turned = (source.rotations[0, 1:] - torch.eye(3)).abs()
    at_rest = not turned.numel() or float(turned.max()) < _AT_REST
    if not mapping.rest_pose_first and not at_rest:
        return source, joints, frames
    least = _LEAST_STEP if at_rest else _LEAST_JUMP
    body = joints - joints[:, :1]
    steps = (body[1:] - body[:-1]).norm(dim=-1).mean(-1)
    first = steps[: len(joints) // 2 if at_rest else _MOST_REST_FRAMES]
    jumps = first > max(least / source.fps, _JUMP * float(steps.median()))
    held = jumps | (first < _HELD) if at_rest else jumps
    count = max((held.long().cumprod(0).bool() & jumps).nonzero()[:, 0].tolist(), default=-1) + 1
    if count:
        notes.append(f"a rest pose at the start was left out (frames: {count})")
    return source.crop(count), joints[count:], frames[count:]


def _own_rotations(source: RigMotion, found: Found, placement: Placement, frames: Tensor) -> Tensor | None:
    """Local rotations (T, 22, 3, 3) of a source that has every joint of smpl22 and rests in the T-pose, else None."""
    skeleton = get_skeleton("smpl22")
    if placement.derived or found.ends or found.guessed or not placement.rest_is_reference:
        return None
    rest = source.rig.rest_positions()[[found.joints[name] for name in skeleton.joint_names]]
    bones = rest[1:] - rest[list(skeleton.parents[1:])]
    wanted = rest_pose("smpl22").directions[1:]
    cosines = (bones * wanted).sum(-1) / bones.norm(dim=-1).clamp_min(1e-9)
    limbs = [skeleton.index(f"{side}_{part}") - 1 for side in "lr" for part in ("knee", "ankle", "elbow", "wrist")]
    return local_rotations(frames, skeleton.parents) if float(cosines[limbs].min()) > _T_POSE else None


def _reproduces(motion: Motion, rotations: Tensor) -> bool:
    """Whether turning bones of fixed length by the rotations gives the joints; looked at in some of the frames."""
    frames = torch.linspace(0, motion.num_frames - 1, min(motion.num_frames, _MOST_CHECKED)).round().long()
    joints, turns = motion.joints[frames], rotations[frames]
    offsets = offsets_of(Motion(joints, motion.fps, rotations=turns)).to(turns)
    turned, _ = kinematics.forward(joints[:, 0], turns, offsets, motion.skeleton.parents)
    return float((turned - joints).norm(dim=-1).max()) < _RIGID
