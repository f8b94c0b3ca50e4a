"""Joints that move against their parent: what carries the body keeps its way, bones keep their length.

Where a body travels below a root that stands still (an armature, a game engine's root), everything from the root down
to the joint that carries the hips keeps its place in each frame. Joints below are held at their median place, unless
the body would then be elsewhere than the file says.
"""

from __future__ import annotations

import dataclasses

from torch import Tensor

from mld.motion.rig.mapping import Found
from mld.motion.rig.rig import RigMotion, pruned_to

_OFF = 0.1  # of the length of a leg: mapped joints may be so far from where the file puts them
_NOTED = 0.01  # of the length of a leg: smaller movement is not worth a word
_MOST_COMPARED = 1000  # frames


def without_loose_joints(source: RigMotion, found: Found, notes: list[str]) -> RigMotion:
    """The motion with shifts only where the hips' way needs them, or where the body would else leave its place."""
    if not source.shifts:
        return source
    needed = set(found.joints.values())
    _, index = pruned_to(source.frames(slice(0, 1)), needed)
    carrying = _carrying(source, found)
    shifts = {joint: shift for joint, shift in source.shifts.items() if joint in index}
    kept = {joint: shift for joint, shift in shifts.items() if joint in carrying}
    leg = _leg(source, found)
    held = dataclasses.replace(source, shifts=kept)
    if len(kept) == len(shifts):
        return held
    loose = dataclasses.replace(source, shifts=shifts)
    names = ", ".join(f"'{source.rig.joint_names[joint]}'" for joint in sorted(set(shifts) - set(kept))[:4])
    names += " ..." if len(shifts) - len(kept) > 4 else ""
    off = _difference(loose, held, needed)
    if off > _OFF * leg:
        notes.append(f"{names} move against their parents; held there, joints would be up to {off:.2f} m from where "
                     "the file puts them, so they move as in the file and bones change their length")
        return loose
    if off > _NOTED * leg:
        notes.append(f"{names} move against their parents; held at their median place, which puts joints up to "
                     f"{off:.2f} m from where the file has them")
    return held


def _carrying(source: RigMotion, found: Found) -> set[int]:
    """The root, the lowest joint that both hips lie at or below, and those between."""
    ways = []
    for side in "lr":
        joint, way = found.joints[f"{side}_hip"], set()
        while joint >= 0:
            way.add(joint)
            joint = source.rig.parents[joint]
        ways.append(way)
    return ways[0] & ways[1]


def _leg(source: RigMotion, found: Found) -> float:
    """Metres from hip to ankle along the bones of the left leg at rest."""
    rest = source.rig.rest_positions()
    hip, knee, ankle = (rest[found.joints[f"l_{part}"]] for part in ("hip", "knee", "ankle"))
    return float((knee - hip).norm() + (ankle - knee).norm())


def _difference(one: RigMotion, other: RigMotion, joints: set[int]) -> float:
    """The largest distance in metres between the places of `joints` in two motions, in frames spread over them."""
    step = -(-one.num_frames // _MOST_COMPARED)
    places: list[Tensor] = []
    for motion in (one, other):
        small, index = pruned_to(motion.frames(slice(None, None, step)), joints)
        places.append(small.positions()[:, [index[joint] for joint in sorted(joints)]])
    return float((places[0] - places[1]).norm(dim=-1).max())
