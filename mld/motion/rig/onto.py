"""From smpl22 onto any humanoid rig: `carry_onto(motion, rig) -> RigMotion`, the way back of `to_smpl22`.

Limb bones of the rig point where those of the motion do, whatever pose the rig rests in (T-pose, A-pose, arms down);
pelvis, trunk, head, feet turn from rest as they do in the motion; fingers, hair and what else the motion does not know
stay as they rest on their parent. The path is scaled by the length of the legs. Only the root is moved. A rig that
rests upright begins where it rests and faces as it does there; one that lies is set upright, facing +z.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor

from mld.errors import DataError
from mld.motion.carry import on_skeleton
from mld.motion.motion import Motion
from mld.motion.rig import twist
from mld.motion.rig.guessing import find_joints
from mld.motion.rig.mapping import Found
from mld.motion.rig.rest_pose import local_rotations
from mld.motion.rig.rig import Rig, RigMotion
from mld.motion.rig.rigging import to_rig
from mld.motion.skeletons import get_skeleton

_NEXT = {"hip": "knee", "knee": "ankle", "shoulder": "elbow", "elbow": "wrist"}  # bones that are aimed
_SPINE = ("spine1", "spine2", "spine3")
_TRUNK = [get_skeleton("smpl22").index(name) for name in ("pelvis", *_SPINE, "neck")]
_ON_FLOOR = 0.15  # of the legs: a rest pose whose lowest joint is not farther from y = 0 stands on that floor
_LEAST_LEG = 1e-4  # metres


def carry_onto(motion: Motion, rig: Rig, found: Found | None = None) -> RigMotion:
    """The motion on a rig. found: which joints of it are which, told from names where it is left out. `DataError` for a
    rig in which no body is found, or whose legs have no length."""
    source = to_rig(on_skeleton(motion, "smpl22"))
    positions, turned = (values.double() for values in source.forward())
    rest, index = source.rig.offsets, get_skeleton("smpl22").index
    legs = source.rig.rest_positions()
    at_rest = dict(zip(get_skeleton("smpl22").joint_names, legs))
    body = _Body(rig, without_swapped_sides(rig, found or find_joints(rig)), _axes(at_rest)[0])
    turns = body.rest_turns(dict(zip(at_rest, rest)))
    bent = {
        joint: twist.swing(turned[:, index(body.drivers[joint])], *(_span(trunk, start, stop) for trunk in (
            legs[_TRUNK], positions[:, _TRUNK])))
        for joint, start, stop in body.spine
    }  # fmt: skip
    standing = (body.facing @ body.to_body).expand(len(turned), 3, 3)
    world: list[Tensor] = []
    for joint, parent in enumerate(rig.parents):
        target = body.drivers.get(joint)
        if target is not None:
            turn = bent[joint] if joint in bent else turned[:, index(target)]
            world.append(body.facing @ turn @ turns[joint])
        else:
            world.append(world[parent] if parent >= 0 else standing)
    rotations = local_rotations(torch.stack(world, dim=1), rig.parents)
    scale = body.leg / float(sum((rest[index(f"{side}_{part}")]).norm() for side in "lr" for part in ("knee", "ankle")))
    ankles = float((legs[index("l_ankle"), 1] + legs[index("r_ankle"), 1]) / 2)
    hips = (positions[:, index("l_hip")] + positions[:, index("r_hip")]) / 2
    origin = (legs[index("l_hip")] + legs[index("r_hip")]) / 2  # where the hips of the motion are at rest
    origin = torch.stack([origin[0], hips.new_tensor(ankles - body.ankle_height / scale), origin[2]])
    wanted = scale * (hips - origin) @ body.facing.T + body.start
    still = RigMotion(rig, rotations, torch.zeros(len(hips), 3), motion.fps)
    reached = still.positions()[:, [body.found.joints["l_hip"], body.found.joints["r_hip"]]].double().mean(1)
    return dataclasses.replace(still, translation=(wanted - reached).float(), source="smpl22")


def check_rig(rig: Rig, found: Found) -> None:
    """`DataError` where `carry_onto` would raise one."""
    _Body(rig, found, torch.eye(3, dtype=torch.float64))


def without_swapped_sides(rig: Rig, found: Found) -> Found:
    """`found`, left and right exchanged where the toes say that names and axes do not fit."""
    feet = [f"{side}_foot" for side in "lr"]
    if any(foot not in found.joints for foot in feet):
        return found
    places = rig.rest_positions()
    at = {name: places[joint] for name, joint in found.joints.items()}
    up = at["head" if "head" in at else "neck"] - (at["l_hip"] + at["r_hip"]) / 2
    forward = torch.linalg.cross(at["l_hip"] - at["r_hip"], up)
    if all(float((at[foot] - at[f"{foot[0]}_ankle"]) @ forward) < 0 for foot in feet):
        other = {"l_": "r_", "r_": "l_"}
        swapped = {other.get(name[:2], name[:2]) + name[2:]: joint for name, joint in found.joints.items()}
        return dataclasses.replace(found, joints=swapped)
    return found


def _axes(at: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Left, up, forward (3, 3) of a body at rest, by rows, and the middle of its hips (3,). Up is the axis that the
    trunk is nearest to: bodies lean."""
    hips = (at["l_hip"] + at["r_hip"]) / 2
    trunk = at["head" if "head" in at else "neck"] - hips
    axis = int(trunk.abs().argmax())
    up = torch.zeros(3, dtype=torch.float64)
    up[axis] = 1.0 if float(trunk[axis]) > 0 else -1.0
    across = at["l_hip"] - at["r_hip"]
    across = across - up * (across @ up)
    if float(across.norm()) < _LEAST_LEG:
        raise DataError("the hips lie in one place: no body stands on them")
    across = across / across.norm()
    return torch.stack([across, up, torch.linalg.cross(across, up)]), hips


def _span(trunk: Tensor, start: float, stop: float) -> Tensor:
    """From the point at one share of the way along a trunk (..., 5, 3) to that at another: (..., 3)."""
    lengths = (trunk[..., 1:, :] - trunk[..., :-1, :]).norm(dim=-1)
    marks = torch.cat([torch.zeros_like(lengths[..., :1]), lengths.cumsum(-1)], dim=-1)
    ends = []
    for share in (start, stop):
        way = share * marks[..., -1:]
        bone = (torch.searchsorted(marks.contiguous(), way.contiguous(), right=True) - 1).clamp(0, len(_TRUNK) - 2)
        part = (way - marks.gather(-1, bone)) / lengths.gather(-1, bone).clamp_min(1e-9)
        low, high = (trunk.gather(-2, (bone + more)[..., None].expand(*bone.shape, 3))[..., 0, :] for more in (0, 1))
        ends.append(torch.lerp(low, high, part))
    return ends[1] - ends[0]


class _Body:
    """The rest pose of a rig as a body. to_body (3, 3): takes its axes to `axes` (3, 3), those of the motion's own rig;
    facing (3, 3): from there to where the motion is to begin; drivers: joint of smpl22 that turns a joint of the rig;
    spine: joints of the trunk with the shares of the way from pelvis to neck between which their bones lie; start (3,):
    where it begins on the floor; ankle_height: of the ankles above the floor."""

    def __init__(self, rig: Rig, found: Found, axes: Tensor) -> None:
        self.rig, self.found = rig, found
        self.places = rig.rest_positions()
        own, hips = _axes({name: self.places[joint] for name, joint in found.joints.items()})
        up = own[1]
        self.leg = sum(self._bone(side, part) for side in "lr" for part in ("knee", "ankle"))
        if self.leg < _LEAST_LEG:
            raise DataError("the legs have no length: no body stands on them")
        self.to_body = axes.T @ own
        upright = float(up[1]) == 1.0
        self.facing = self.to_body.T if upright else torch.eye(3, dtype=torch.float64)
        heights = self.places @ up
        lowest = float(heights.min())
        floor = 0.0 if upright and abs(lowest) < _ON_FLOOR * self.leg / 2 else lowest
        self.ankle_height = float((self._at("l_ankle") + self._at("r_ankle")) @ up) / 2 - floor
        self.start = hips * hips.new_tensor([1.0, 0.0, 1.0]) if upright else torch.zeros_like(hips)
        self.drivers = self._drivers()

    def rest_turns(self, offsets: dict[str, Tensor]) -> dict[int, Tensor]:
        """By joint: the turn (3, 3) that takes its rest pose to that of smpl22, whose bones `offsets` (3,) are."""
        turns = dict.fromkeys(self.drivers, self.to_body)
        for side in "lr":
            for part, following in _NEXT.items():
                joint, child = (self.found.joints.get(f"{side}_{name}") for name in (part, following))
                if joint is None:
                    continue
                if child is not None:
                    bone = self.places[child] - self.places[joint]
                    turns[joint] = twist.swing(self.to_body[None], bone, offsets[f"{side}_{following}"][None])[0]
                elif part == "elbow":
                    turns[joint] = turns[self.found.joints[f"{side}_shoulder"]]
            wrist = self.found.joints.get(f"{side}_wrist")
            if wrist is not None:
                turns[wrist] = turns[self.found.joints[f"{side}_elbow"]]
        return turns

    def _drivers(self) -> dict[int, str]:
        found = self.found.joints
        pelvis = found.get("pelvis", self._common(found["l_hip"], found["r_hip"]))
        chest = self._common(found["l_shoulder"], found["r_shoulder"])
        chain = self._above(found["head" if "head" in found else "neck"])
        below = set(chain[chain.index(pelvis):]) if pelvis in chain else set()
        spine = [joint for joint in chain if joint not in below and joint <= chest][::-1]
        self.spine = self._shares([pelvis, *spine, *chain[: 1 + chain.index(spine[-1])][-2:-1]]) if spine else []
        drivers = {joint: "neck" for joint in chain if joint > chest and joint not in below}
        drivers |= {joint: name for name, joint in found.items() if name not in ("pelvis", *_SPINE)}
        for place, joint in enumerate(spine):  # one joint turns as the middle of the spine does, two as its ends
            drivers[joint] = _SPINE[round(2 * place / (len(spine) - 1)) if len(spine) > 1 else 1]
        return drivers | {pelvis: "pelvis"}

    def _shares(self, chain: list[int]) -> list[tuple[int, float, float]]:
        """Where the bones of a chain of joints lie, but for the first one, as shares of the way along it."""
        lengths = [float((self.places[b] - self.places[a]).norm()) for a, b in zip(chain, chain[1:])]
        marks = [sum(lengths[:place]) / max(sum(lengths), 1e-9) for place in range(len(chain))]
        return [(joint, a, b) for joint, a, b in zip(chain[1:-1], marks[1:], marks[2:]) if b > a]

    def _at(self, name: str) -> Tensor:
        return self.places[self.found.joints[name]]

    def _bone(self, side: str, part: str) -> float:
        above = "hip" if part == "knee" else "knee"
        return float((self._at(f"{side}_{part}") - self._at(f"{side}_{above}")).norm())

    def _above(self, joint: int) -> list[int]:
        """The joint and those above it, up to the root."""
        chain = [joint]
        while chain[-1] > 0:
            chain.append(self.rig.parents[chain[-1]])
        return chain

    def _common(self, a: int, b: int) -> int:
        """The lowest joint that both lie below."""
        while a != b:
            a, b = (self.rig.parents[a], b) if a > b else (a, self.rig.parents[b])
        return a
