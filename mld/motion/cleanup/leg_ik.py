"""Two-bone inverse kinematics: legs that bring their feet to new places, with bones of the same length and the knee
bent to the side it was bent to."""

from __future__ import annotations

import torch
from torch import Tensor

from mld.motion import rotations
from mld.motion.cleanup.contacts import Leg, legs_of
from mld.motion.motion import Motion
from mld.motion.rig.rest_pose import local_rotations
from mld.motion.rotations import quaternion_to_matrix

FOLDED = 0.2  # share of the stretched leg: how close the ankle may come to the hip
STRAIGHT = 0.01  # metres that a knee has to stand out for its own direction to count in full


def reach_of(joints: Tensor, leg: Leg, stretch: float) -> Tensor:
    """How far (T,) the ankle may be from the hip: `stretch` of the leg in metres, more where it was more already."""
    thigh, shank = _lengths(joints, leg)
    distance = (joints[:, leg.ankle] - joints[:, leg.hip]).norm(dim=-1)
    return torch.maximum(stretch * (thigh + shank), distance)


def step_to(joints: Tensor, original: Tensor, leg: Leg, ankle: Tensor, toe: Tensor, longest: Tensor) -> None:
    """Write knee, ankle and foot of a leg into joints (T, J, 3), whose hips are where they have to be.

    original (T, J, 3): the pose that gives bone lengths, the side of the knee and the shape of the foot. ankle, toe
    (T, 3): where they should be; longest (T,): the ankle stays that near the hip. The foot keeps its direction then.
    """
    thigh, shank = _lengths(original, leg)
    hip = joints[:, leg.hip]
    line = ankle - hip
    distance = line.norm(dim=-1)
    reached = torch.minimum(torch.maximum(distance, FOLDED * (thigh + shank)), longest)
    direction = line / distance.clamp_min(1e-9)[:, None]
    side = _knee_side(original, leg, direction)
    along = (thigh**2 - shank**2 + reached**2) / (2 * reached.clamp_min(1e-9))
    out = (thigh**2 - along**2).clamp_min(0).sqrt()
    joints[:, leg.knee] = hip + along[:, None] * direction + out[:, None] * side
    joints[:, leg.ankle] = hip + reached[:, None] * direction
    old = original[:, [*leg.foot]] - original[:, leg.ankle, None]
    turn = rotations.between(_unit(old[:, -1]), _unit(toe - ankle))
    joints[:, [*leg.foot]] = joints[:, leg.ankle, None] + _turned(turn, old)


def follow(motion: Motion, joints: Tensor) -> Tensor | None:
    """Local rotations (T, J, 3, 3) of a motion whose legs were moved to `joints`: each leg bone turns on the shortest
    way from its old direction to its new one. None where the motion has no rotations."""
    if motion.rotations is None:
        return None
    parents, old = motion.skeleton.parents, motion.joints.double()
    world = [motion.rotations[:, 0].double()]
    for joint, parent in enumerate(parents[1:], start=1):
        world.append(world[parent] @ motion.rotations[:, joint].double())
    for leg in legs_of(motion.skeleton):
        for joint, child in ((leg.hip, leg.knee), (leg.knee, leg.ankle), *((j, leg.toe) for j in leg.above_toe)):
            start, end = (_unit(place[:, child] - place[:, joint]) for place in (old, joints))
            world[joint] = quaternion_to_matrix(rotations.between(start, end)) @ world[joint]
        world[leg.toe] = world[leg.above_toe[-1]] @ motion.rotations[:, leg.toe].double()
    return local_rotations(torch.stack(world, dim=1), parents)


def _knee_side(original: Tensor, leg: Leg, direction: Tensor) -> Tensor:
    """Unit vectors (T, 3) across the line from hip to ankle, to where the knee was; a straight leg bends to where the
    toes point."""
    before = original[:, leg.ankle] - original[:, leg.hip]
    turn = rotations.between(_unit(before), direction)
    knee = _across(original[:, leg.knee] - original[:, leg.hip], _unit(before))
    toes = _unit(_across(original[:, leg.toe] - original[:, leg.ankle], _unit(before)))
    doubt = (1 - knee.norm(dim=-1, keepdim=True) / STRAIGHT).clamp_min(0)
    return _unit(_across(_turned(turn, (knee + STRAIGHT * doubt * toes)[:, None])[:, 0], direction))


def _turned(turn: Tensor, vectors: Tensor) -> Tensor:
    """Vectors (T, N, 3) after quaternions (T, 4)."""
    return vectors @ quaternion_to_matrix(turn).transpose(-1, -2)


def _lengths(joints: Tensor, leg: Leg) -> tuple[Tensor, Tensor]:
    thigh = (joints[:, leg.knee] - joints[:, leg.hip]).norm(dim=-1)
    return thigh, (joints[:, leg.ankle] - joints[:, leg.knee]).norm(dim=-1)


def _across(vectors: Tensor, axis: Tensor) -> Tensor:
    return vectors - (vectors * axis).sum(-1, keepdim=True) * axis


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(1e-12)
