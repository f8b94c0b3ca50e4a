"""Joints of a file brought to metres and y up, as they are told or as the size of the body says."""

from __future__ import annotations

import dataclasses

import torch

from mld.motion.formats.options import ReadOptions
from mld.motion.motion import Motion
from mld.motion.rig.units import USUAL_LEG, find_up, nearest_unit, turn_up
from mld.motion.skeletons import Skeleton

_LONGEST_LEG = 2.2  # metres; legs in feet are longer


def told(motion: Motion, options: ReadOptions) -> Motion:
    """The motion with the unit and the vertical axis of the options, where they are given."""
    joints, moved, turned = motion.joints, motion.translation, motion.rotations
    if options.unit is not None:
        joints = joints * options.unit
        moved = None if moved is None else moved * options.unit
    if options.up is not None:
        turn = find_up(joints, None, "", options.up)[0].to(joints)
        joints = joints @ turn.T
        moved = None if moved is None else moved @ turn.T
        turned = None if turned is None else turn_up(turned, turn)
    return dataclasses.replace(motion, joints=joints, translation=moved, rotations=turned)


def guess_metres(joints: torch.Tensor, skeleton: Skeleton) -> tuple[float, str]:
    """Metres per unit of joints (T, J, 3) by the length of the legs, and a sentence where it is not metres. Legs that
    may be those of a person, or that fit no unit, are taken to be in metres."""
    bones = [(skeleton.index(f"{side}_{a}"), skeleton.index(f"{side}_{b}")) for side in "lr"
             for a, b in (("hip", "knee"), ("knee", "ankle"))]  # fmt: skip
    leg = sum(float((joints[:, b] - joints[:, a]).norm(dim=-1).median()) for a, b in bones) / 2
    if not leg > _LONGEST_LEG:
        return 1.0, ""
    name, unit = nearest_unit(leg / USUAL_LEG)
    if not name:
        return 1.0, ""
    return unit, f"the legs are {leg:.4g} units long, so joints were taken to be in {name}"
