"""The lowest SMPLify loss of many frames at once, each by steps of its own (Levenberg and Marquardt).

All terms of the loss are squares, or as good as such, and how joints move with rotation vectors is known in closed
form. So some twenty small systems of 85 unknowns take the place of thousands of gradients, and what a frame gets does
not depend on which frames are solved with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mld.motion import kinematics
from mld.motion.motion import Motion
from mld.motion.rig import smplify
from mld.motion.rig.rigging import to_rig
from mld.motion.rig.smpl_body import NUM_JOINTS
from mld.motion.rig.smpl_fit import PosePrior
from mld.motion.rig.smpl_model import BodyModel
from mld.motion.rig.smplify import JOINTS, REST, SIGMA, SMPL_JOINTS, Fitted, OnStep, Start
from mld.motion.rotations import matrix_to_rotvec, rotvec_to_matrix
from mld.motion.skeletons import get_skeleton

STEPS, TOLERANCE = 60, 1e-7  # most steps; share of the loss below which a step is the last one
TOGETHER = 512  # frames in memory at a time
_TURNS = 3 * SMPL_JOINTS  # columns of the pose, then shape, then place


def fit(
    clips: Sequence[Tensor], body: BodyModel, prior: PosePrior | None, start: Start = REST,
    device: str | torch.device = "cpu", on_step: OnStep | None = None,
) -> list[Fitted]:  # fmt: skip
    """Poses of clips (T, 22, 3), y up, metres, 20 fps. start: the pose that poses are held near. `DataError` as in
    `smplify.standing`."""
    goals = [smplify.standing(clip) for clip in clips]
    turns = [_solved(goal) for goal in goals]
    frames = torch.cat(goals).double().split(TOGETHER) if goals else ()
    parts = zip(frames, torch.cat(turns).split(TOGETHER) if turns else ())
    found = []
    for number, (goal, pose) in enumerate(parts):
        found.append(_Problem(goal.to(device), body, prior, start).solve(pose.to(device)))
        if on_step is not None:
            on_step(number + 1, len(frames))
    lengths = [len(goal) for goal in goals]
    poses, errors = (torch.cat(part).split(lengths) for part in zip(*found)) if found else ((), ())
    return [Fitted(pose.float(), goal[:, 0], float(apart.mean())) for pose, goal, apart in zip(poses, goals, errors)]


def _solved(goal: Tensor) -> Tensor:
    """Rotation vectors (T, 24, 3) float64 solved from joints (T, 22, 3), hands at rest."""
    turns = matrix_to_rotvec(to_rig(Motion(goal, 20.0)).rotations.double())
    return torch.nn.functional.pad(turns, (0, 0, 0, SMPL_JOINTS - NUM_JOINTS))


class _Problem:
    """Frames goal (T, 22, 3) float64 and what their loss is made of, all where `goal` is."""

    def __init__(self, goal: Tensor, body: BodyModel, prior: PosePrior | None, start: Start) -> None:
        self.goal, self.prior = goal, None if prior is None else prior.to(goal)
        self.body, self.kept = body, start.pose.to(goal)[1:].flatten()
        self.parents = get_skeleton("smpl22").parents
        average, change = (part.to(goal) for part in body.joints_of_shape)
        tops = [0, *self.parents[1:]]
        self.average, self.change = average, change
        self.bones, self.bone_change = average - average[tops], change - change[tops]
        self.betas = start.betas.to(goal)[: change.shape[-1]]
        below = torch.zeros(NUM_JOINTS, NUM_JOINTS, dtype=torch.bool)
        for joint, parent in enumerate(self.parents[1:], start=1):
            below[joint] = below[parent]
            below[joint, parent] = True
        self.below = below.to(goal)[..., None, None]  # [joint, k]: whether the turn of k moves the joint

    def solve(self, pose: Tensor) -> tuple[Tensor, Tensor]:
        """Poses (T, 24, 3) from poses to begin with, and mean distances of joints (T,), on the CPU."""
        betas = self.betas.expand(len(pose), -1)
        place = smplify.first_place(smplify.model_joints(self.body, pose, betas), self.goal)
        x = torch.cat([pose.flatten(1), betas, place.flatten(1)], dim=1)
        loss, damping = self.loss(x), torch.full((len(x), 1), 1e-3, dtype=x.dtype, device=x.device)
        for _ in range(STEPS):
            gradient, curvature = self.slopes(x)
            scale = curvature.diagonal(dim1=-2, dim2=-1)
            system = curvature + torch.diag_embed(damping * scale + 1e-9)
            factor, _ = torch.linalg.cholesky_ex(system)  # a frame without one is refused by its loss
            tried = x - torch.cholesky_solve(gradient[..., None], factor)[..., 0]
            after = self.loss(tried)
            better = after < loss
            settled = (loss - after).abs() <= TOLERANCE * loss.abs()
            x, loss = torch.where(better[:, None], tried, x), torch.where(better, after, loss)
            damping = torch.where(better[:, None], damping / 4, damping * 8).clamp(1e-9, 1e9)
            if settled.all():
                break
        pose, betas, place = self.parts(x)
        apart = (smplify.model_joints(self.body, pose, betas) + place - self.goal).norm(dim=-1).mean(1)
        return pose.cpu(), apart.cpu()

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pose (T, 24, 3), shape (T, B) and place (T, 1, 3) of unknowns (T, 72 + B + 3)."""
        return x[:, :_TURNS].unflatten(1, (-1, 3)), x[:, _TURNS:-3], x[:, None, -3:]

    def loss(self, x: Tensor) -> Tensor:
        """Loss (T,), as published."""
        pose, betas, place = self.parts(x)
        joints = smplify.model_joints(self.body, pose, betas)
        return smplify.body_loss(self.prior, pose[:, 1:].flatten(1), self.kept, betas, joints, place, self.goal)

    def slopes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (T, N) of the loss and its curvature (T, N, N), in which second derivatives of joints are left out
        (Gauss and Newton)."""
        pose, betas, place = self.parts(x)
        joints, moves = self.moves(pose, betas)
        apart = (joints + place - self.goal).flatten(1)
        size = SIGMA**2 + apart.square()
        root = JOINTS * SIGMA * apart / size.sqrt()  # its square is the term of the joints
        by_x = JOINTS * SIGMA**3 / size.pow(1.5)
        rows = by_x[..., None] * moves
        gradient = 2 * torch.einsum("tmn,tm->tn", rows, root)
        curvature = 2 * rows.transpose(1, 2) @ rows
        own = torch.zeros_like(x)  # curvature of terms of single unknowns
        body = slice(3, _TURNS)
        gradient[:, body] += 2 * smplify.KEEP**2 * (x[:, body] - self.kept)
        own[:, body] += 2 * smplify.KEEP**2
        gradient[:, _TURNS:-3] += 2 * smplify.SHAPE**2 * betas
        own[:, _TURNS:-3] += 2 * smplify.SHAPE**2
        bent, signs = [3 + angle for angle in smplify.BENT], x.new_tensor(smplify.BENDS)
        cost = smplify.ANGLES**2 * smplify.angle_prior(x[:, body])
        gradient[:, bent] += 2 * signs * cost
        own[:, bent] += 4 * cost
        if self.prior is not None:
            nearest = self.prior.by_gaussian(pose[:, 1:]).argmin(-1)
            chosen = self.prior.apart(pose[:, 1:])[torch.arange(len(x), device=x.device), nearest]
            precisions = smplify.POSE**2 * self.prior.precisions[nearest]
            gradient[:, body] += torch.einsum("tij,tj->ti", precisions, chosen)
            curvature[:, body, body] += precisions
        return gradient, curvature + torch.diag_embed(own)

    def moves(self, pose: Tensor, betas: Tensor) -> tuple[Tensor, Tensor]:
        """Joints (T, 22, 3), and how they move with the unknowns, (T, 66, N)."""
        local = rotvec_to_matrix(pose[:, :NUM_JOINTS])
        bones = self.bones + torch.einsum("jcb,tb->tjc", self.bone_change, betas)
        root = self.average[0] + torch.einsum("cb,tb->tc", self.change[0], betas)
        joints, world = kinematics.forward(root, local, bones, self.parents)
        above = torch.cat([torch.eye(3).to(world).expand(len(pose), 1, 3, 3), world[:, list(self.parents[1:])]], dim=1)
        axes = above @ _left_jacobian(pose[:, :NUM_JOINTS])  # what a change of each rotation vector turns about
        arms = joints[:, :, None] - joints[:, None]  # [joint, k]: from k to the joint
        turned = torch.linalg.cross(axes[:, None], arms[..., None], dim=-2) * self.below
        by_turn = turned.permute(0, 1, 3, 2, 4).reshape(len(pose), 3 * NUM_JOINTS, 3 * NUM_JOINTS)
        hands = by_turn.new_zeros(len(pose), 3 * NUM_JOINTS, _TURNS - 3 * NUM_JOINTS)
        grown = [self.change[0].expand(len(pose), -1, -1)]
        for joint, parent in enumerate(self.parents[1:], start=1):
            grown.append(grown[parent] + world[:, parent] @ self.bone_change[joint])
        shifted = torch.eye(3).to(world).repeat(NUM_JOINTS, 1).expand(len(pose), -1, -1)
        return joints, torch.cat([by_turn, hands, torch.stack(grown, dim=1).flatten(1, 2), shifted], dim=-1)


def _left_jacobian(turns: Tensor) -> Tensor:
    """(..., 3, 3): the turn, as a rotation vector to the left, that a small change of a rotation vector makes."""
    angle = turns.norm(dim=-1)[..., None, None]
    small = angle < 1e-4
    safe = angle.masked_fill(small, 1)
    first = torch.where(small, 0.5 - angle.square() / 24, (1 - safe.cos()) / safe.square())
    second = torch.where(small, 1 / 6 - angle.square() / 120, (safe - safe.sin()) / safe.pow(3))
    x, y, z = turns.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    return torch.eye(3).to(turns) + first * cross + second * cross @ cross
