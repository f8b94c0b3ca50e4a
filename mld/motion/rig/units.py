"""Which unit of length, and which axis points up: found out from the size and the posture of the body.

Motion files rarely say either. Everything here is a guess that goes into the import report.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mld.motion.rig.guessing import best_found
from mld.motion.rig.rig import Rig

CMU_UNIT = 0.0254 / 0.45  # the length unit of CMU's ASF files, which their BVH conversions keep
_UNITS = {"metres": 1.0, "decimetres": 0.1, "centimetres": 0.01, "millimetres": 0.001, "inches": 0.0254, "feet": 0.3048,
          "CMU units (1/0.45 inch)": CMU_UNIT}  # fmt: skip
_RARE = {"decimetres": 0.1}  # taken where it fits better than others by so much (logarithm of the size)
USUAL_LEG = 0.82  # metres from hip over knee to ankle of a grown person
_USUAL_REACH = 1.35  # metres along the bones from the root of a grown person to the farthest tip
_PLAUSIBLE = 2.0  # a size beyond this factor of the usual one fits no unit
_TOLD = 3.0  # the same where the file says its unit: figures have short legs, and long ones
_Z_UP_SOURCES = {"smpl"}
_STANDS = 0.7  # cosine to the vertical of a body that stands most of the time
_FLOOR = 0.3  # metres from 0 at which feet are taken to stand on the floor


def guess_unit(rig: Rig, told: float | None = None) -> tuple[float, str]:
    """Metres per unit of a rig still in file units, and a sentence on it for the report.

    The legs judge the size, where names tell them: hair, tails, props and what is above the hips may be of any length.
    told: metres per unit as the file itself says; taken where a body of a possible size results.
    """
    leg = _leg(rig)
    size, usual = (leg, USUAL_LEG) if leg > 0 else (_reach(rig), _USUAL_REACH)
    if size <= 0:
        return 1.0, "the bones have no length; the unit was taken to be metres"
    if told is not None and 1 / _TOLD < size * told / usual < _TOLD:
        return told, f"unit as the file says: {told:.4g} m"
    name, unit = nearest_unit(size / usual)
    if not name:
        return unit, f"the size fits no unit of length; scaled by {unit:.4g} to the size of a grown person"
    return unit, f"unit guessed from the size of the {'legs' if leg > 0 else 'body'}: {name}"


def nearest_unit(times: float) -> tuple[str, float]:
    """Name and metres of the unit in which a body that is so many times as large as a grown person, taken in metres, is
    most like one; "" and what makes it as large where none fits."""
    name, unit = min(
        _UNITS.items(), key=lambda entry: abs(math.log(times * entry[1])) + _RARE.get(entry[0], 0.0)
    )  # fmt: skip
    return (name, unit) if 1 / _PLAUSIBLE <= times * unit <= _PLAUSIBLE else ("", 1 / times)


def _leg(rig: Rig) -> float:
    """The mean way (file units) from the hips over the knees to the ankles; 0 where names do not tell them."""
    joints = best_found(rig).joints
    ways = [[joints.get(f"{side}_{part}") for part in ("hip", "knee", "ankle")] for side in "lr"]
    if any(joint is None for way in ways for joint in way):
        return 0.0
    places = rig.rest_positions()
    bones = [places[below] - places[above] for way in ways for above, below in zip(way, way[1:])]
    return float(torch.stack(bones).norm(dim=-1).sum()) / len(ways)


def _reach(rig: Rig) -> float:
    """The longest way (file units) along bones from the root to a tip."""
    lengths = rig.offsets.norm(dim=-1).tolist()
    reach = [0.0] * rig.num_joints
    for joint, parent in enumerate(rig.parents[1:], start=1):
        reach[joint] = reach[parent] + lengths[joint]
    tips = [reach[joint] + float(end.norm()) for joint, end in rig.end_offsets.items()]
    return max([*reach, *tips])


def find_up(joints: Tensor, rest_up: Tensor | None, source: str, up: str | None) -> tuple[Tensor, str]:
    """The turn (3, 3) float64 that takes the file's vertical to y, and a sentence where it is not the usual one.

    joints (T, 22, 3) of smpl22 in the file's axes; rest_up (3,): from hips to head in the rest pose, if a body stands
    in it; up: the axis when it is known. A body that lies down does not decide: then the usual axis of the kind of file
    is kept (y; z for SMPL files).
    """
    if up is not None:
        note = "" if up == "y" else f"vertical axis as given: {up}"
        return _turn(up.lstrip("+-").lower(), -1.0 if up.startswith("-") else 1.0), note
    usual = 2 if source in _Z_UP_SOURCES else 1
    ankles = (joints[:, 7] + joints[:, 8]) / 2
    body = joints[:, 15] - ankles
    mean = (body / body.norm(dim=-1, keepdim=True).clamp_min(1e-9)).mean(0)
    axis = int(mean.abs().argmax())
    sign = 1.0 if mean[axis] > 0 else -1.0
    if (axis == usual and sign > 0) or abs(float(mean[axis])) < _STANDS:
        return _turn("xyz"[usual], 1.0), "z points up, as is usual in these files" if usual == 2 else ""
    rests_so = rest_up is not None and float(rest_up[axis]) * sign > _STANDS
    floor = float(joints[:, [7, 8, 10, 11], axis].min())
    if rests_so or (sign > 0 and abs(floor) < _FLOOR):
        name = ("-" if sign < 0 else "") + "xyz"[axis]
        return _turn("xyz"[axis], sign), f"vertical axis guessed from the posture: {name}; y is up now"
    kept = "xyz"[usual]
    if axis == usual:
        return _turn(kept, 1.0), f"the body stands on its head most of the time; {kept} was taken to be up"
    return _turn(kept, 1.0), f"the body lies along {'xyz'[axis]} most of the time; {kept} was taken to be up"


def turn_up(rotations: Tensor, turn: Tensor) -> Tensor:
    """Local rotations (T, J, 3, 3) with the root turned by (3, 3)."""
    turned = rotations.clone()
    turned[:, 0] = turn.to(rotations) @ rotations[:, 0]
    return turned


def _turn(axis: str, sign: float) -> Tensor:
    """Rotation (3, 3) that takes the axis, or its opposite, to y: a quarter or half turn, exact."""
    turn = {
        "x": [[0.0, -sign, 0.0], [sign, 0.0, 0.0], [0.0, 0.0, 1.0]],
        "y": [[1.0, 0.0, 0.0], [0.0, sign, 0.0], [0.0, 0.0, sign]],
        "z": [[1.0, 0.0, 0.0], [0.0, 0.0, sign], [0.0, -sign, 0.0]],
    }[axis]
    return torch.tensor(turn, dtype=torch.float64)
