"""Where the joints of smpl22 are on another skeleton: found in one reference pose, then carried by its bones.

Limb joints are the source's own. Joints that a skeleton lacks or has elsewhere (pelvis, spine, neck, collars, toes) are
placed where the SMPL body has them, in proportion to the legs. As every point is fixed to one bone, bone lengths change
only as much as the source's do.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mld.motion.rig.mapping import Found
from mld.motion.rig.rig import Rig, RigMotion
from mld.motion.skeletons import get_skeleton

# Of the SMPL body, metres, for legs (hip to ankle along the bones) of 0.826 m; right, up, forward of the body.
_LEG = 0.826
_PELVIS = (0.086, 0.016)  # up and forward of the middle between the hips
_BESIDE = 0.03  # joints of the trunk not so far above the pelvis count as being in its place
_SPINE = {"spine1": 0.239, "spine2": 0.498, "spine3": 0.602}  # of the way from pelvis to neck
_NECK_ABOVE_SHOULDERS = 0.05
_HEAD = (0.089, 0.050)  # up and forward of the neck
_COLLAR = (0.37, 0.045)  # of the way from the middle to the shoulder, and metres below it
_FOOT = (-0.060, 0.125)  # up and forward of the ankle
_WRIST = 0.266  # beyond the elbow
_UPRIGHT = 0.75  # cosine: how straight a pose stands that can serve as reference
_MOST_SEARCHED = 200  # frames looked at for a reference pose


@dataclass(frozen=True, eq=False)
class Placement:
    """bones (22,): the joint of the rig that carries each joint; points (22, 3): where, seen from that joint (metres).

    derived: the joints that are not the source's own. mirrored: the toes point backwards, so left and right of the file
    do not fit its axes. up (3,): from hips to head in the reference pose. rest_is_reference: it is the rest pose.
    upright: how straight the body stands in the reference pose, 1 for legs in line with the trunk.
    """

    bones: tuple[int, ...]
    points: Tensor
    derived: tuple[str, ...]
    mirrored: bool
    up: Tensor
    rest_is_reference: bool
    upright: float


def place_joints(motion: RigMotion, found: Found) -> Placement:
    """Find the joints of smpl22 on the rig of a motion."""
    rig = motion.rig
    positions, frames, is_rest = _reference_pose(motion, found)
    upright = float(_uprightness(rig, positions[None], found))
    body = _Body(rig, found, positions, frames)
    names = get_skeleton("smpl22").joint_names
    placed = [body.place(name) for name in names]
    bones = tuple(bone for bone, _ in placed)
    points = torch.stack([frames[bone].T @ (point - positions[bone]) for bone, point in placed])
    derived = tuple(name for name in names if name not in found.joints)
    return Placement(bones, points, derived, body.mirrored(), body.up, is_rest, upright)


def _reference_pose(motion: RigMotion, found: Found) -> tuple[Tensor, Tensor, bool]:
    """Positions (J, 3) and world rotations (J, 3, 3), float64: the rest pose where a body stands upright in it,
    otherwise the most upright of the frames."""
    rig = motion.rig
    rest, still = rig.rest_positions(), torch.eye(3, dtype=torch.float64).expand(rig.num_joints, 3, 3)
    if float(_uprightness(rig, rest[None], found)) > _UPRIGHT:
        return rest, still, True
    chosen = torch.linspace(0, motion.num_frames - 1, min(motion.num_frames, _MOST_SEARCHED)).round().long()
    positions, frames = motion.frames(chosen).forward()
    best = int(_uprightness(rig, positions.double(), found).argmax())
    return positions[best].double(), frames[best].double(), False


def _uprightness(rig: Rig, positions: Tensor, found: Found) -> Tensor:
    """(T,): the smallest of the cosines between the trunk and each leg, and between thighs and shins."""
    at = {name: positions[:, joint] for name, joint in found.joints.items()}
    middle = (at["l_hip"] + at["r_hip"]) / 2
    trunk = _unit((at["head"] if "head" in at else at["neck"]) - middle)
    worst = torch.ones(len(positions), dtype=positions.dtype)
    for side in "lr":
        thigh, shin = at[f"{side}_knee"] - at[f"{side}_hip"], at[f"{side}_ankle"] - at[f"{side}_knee"]
        worst = torch.minimum(worst, -(trunk * _unit(thigh)).sum(-1))
        worst = torch.minimum(worst, (_unit(thigh) * _unit(shin)).sum(-1))
    return worst


class _Body:
    """The reference pose with the axes of the body, in which the joints are placed."""

    def __init__(self, rig: Rig, found: Found, positions: Tensor, frames: Tensor) -> None:
        self.rig, self.found, self.positions, self.frames = rig, found, positions, frames
        self.hips = (self.at("l_hip") + self.at("r_hip")) / 2
        self.shoulders = (self.at("l_shoulder") + self.at("r_shoulder")) / 2
        across = _unit(self.at("l_hip") - self.at("r_hip"))
        trunk = self.at("head" if "head" in found.joints else "neck") - self.hips
        self.up = _unit(trunk - across * (trunk @ across))
        self.forward = torch.linalg.cross(across, self.up)
        self.scale = float(sum(self._leg(side) for side in "lr")) / 2 / _LEG
        self.root = self._common(found.joints["l_hip"], found.joints["r_hip"])
        self.chest = self._common(found.joints["l_shoulder"], found.joints["r_shoulder"])
        self.pelvis = self.hips + self.offset(*_PELVIS)
        if "pelvis" in found.joints:
            self.pelvis = self.at("pelvis")
        self.trunk = self._trunk()
        self.neck = self._neck()

    def at(self, name: str) -> Tensor:
        """Where the source's own joint is (3,)."""
        joint = self.found.joints[name]
        end = self.frames[joint] @ self.rig.end_offsets[joint] if name in self.found.ends else 0.0
        return self.positions[joint] + end

    def offset(self, up: float, forward: float) -> Tensor:
        return self.scale * (up * self.up + forward * self.forward)

    def mirrored(self) -> bool:
        """Whether both feet point backwards."""
        feet = [f"{side}_foot" for side in "lr"]
        if any(foot not in self.found.joints for foot in feet):
            return False
        return all(float(_unit(self.at(foot) - self.at(foot[:2] + "ankle")) @ self.forward) < -0.3 for foot in feet)

    def place(self, name: str) -> tuple[int, Tensor]:
        """The joint of the rig that carries a joint of smpl22, and where that is (3,)."""
        if name in self.found.joints:
            return self.found.joints[name], self.at(name)
        if name == "pelvis":
            return self.root, self.pelvis
        if name in _SPINE:
            return self._along(_SPINE[name])
        if name == "neck":
            return self._along(1.0)
        if name == "head":
            return self._along(1.0)[0], self.neck + self.offset(*_HEAD)
        side, part = name.split("_")
        if part == "collar":
            share, below = _COLLAR
            shoulder = self.at(f"{side}_shoulder")
            return self.chest, self.shoulders + share * (shoulder - self.shoulders) - self.offset(below, 0.0)
        if part == "foot":
            return self.found.joints[f"{side}_ankle"], self.at(f"{side}_ankle") + self.offset(*_FOOT)
        elbow, shoulder = self.at(f"{side}_elbow"), self.at(f"{side}_shoulder")
        return self.found.joints[f"{side}_elbow"], elbow + self.scale * _WRIST * _unit(elbow - shoulder)

    def _leg(self, side: str) -> Tensor:
        hip, knee, ankle = (self.at(f"{side}_{part}") for part in ("hip", "knee", "ankle"))
        return (knee - hip).norm() + (ankle - knee).norm()

    def _common(self, a: int, b: int) -> int:
        """The lowest joint that both lie below."""
        while a != b:
            a, b = (self.rig.parents[a], b) if a > b else (a, self.rig.parents[b])
        return a

    def _trunk(self) -> list[tuple[int, Tensor]]:
        """Joints of the source from hips to head with their positions; the pelvis stands in for those beside it."""
        joint = self.found.joints["head" if "head" in self.found.joints else "neck"]
        chain = [joint]
        while joint > self.root:
            joint = self.rig.parents[joint]
            chain.append(joint)
        low = [joint for joint in chain if (self.positions[joint] - self.pelvis) @ self.up < _BESIDE * self.scale]
        first = max(low, default=self.root)
        return [(first, self.pelvis)] + [(joint, self.positions[joint]) for joint in chain[::-1] if joint > first]

    def _neck(self) -> Tensor:
        if "neck" in self.found.joints:
            return self.at("neck")
        height = (self.shoulders + self.offset(_NECK_ABOVE_SHOULDERS, 0.0)) @ self.up
        for (_, start), (_, end) in zip(self.trunk, self.trunk[1:]):
            low, high = start @ self.up, end @ self.up
            if high >= height > low:
                return torch.lerp(start, end, (height - low) / (high - low))
        return self.trunk[-1][1]

    def _along(self, share: float) -> tuple[int, Tensor]:
        """The point at a share of the way along the trunk from pelvis to neck, and the joint whose bone it is on."""
        way = [(joint, point) for joint, point in self.trunk if (point - self.neck) @ self.up < -1e-6 * self.scale]
        ways = [*way, (way[-1][0] if way else self.root, self.neck)]
        lengths = [float((b - a).norm()) for (_, a), (_, b) in zip(ways, ways[1:])]
        left = share * sum(lengths)
        for (joint, start), (_, end), length in zip(ways, ways[1:], lengths):
            if left <= length and length > 0:
                return joint, torch.lerp(start, end, left / length)
            left -= length
        return ways[-1]


def _unit(vector: Tensor) -> Tensor:
    return vector / vector.norm(dim=-1, keepdim=True).clamp_min(1e-12)
