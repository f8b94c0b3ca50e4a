"""Joints of a file brought to metres and y up, as they are told or as the size of the body says."""

from __future__ import annotations

import dataclasses

import torch

from mld.motion.formats.options import ReadOptions
from mld.motion.motion import Motion
from mld.motion.plausibility import WIDEST, extents
from mld.motion.rig.units import find_up, turn_up

_UNITS = {"metres": 1.0, "centimetres": 0.01, "millimetres": 0.001}
_SMALLEST = 0.1  # metres across a pose


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


def guess_metres(joints: torch.Tensor) -> tuple[float, str]:
    """Metres per unit of joints (T, J, 3) by how far poses reach, and a sentence where it is not metres. A pose that
    fits no unit is taken to be in metres."""
    across = float(extents(joints).median())
    if across > WIDEST:
        for name, unit in _UNITS.items():
            if _SMALLEST < across * unit < WIDEST:
                return unit, f"a pose is {across:.0f} units across, so joints were taken to be in {name}"
    return 1.0, ""
