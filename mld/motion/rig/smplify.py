"""Joints to poses of SMPL as MBench has it: the loss of SMPLify over joints (Bogo et al. 2016; spec mbench, section 5).

Every frame is a problem of its own: nothing ties it to the next one, shapes are free in each, and a fitted shape is not
used further. `fit` finds the lowest loss of every frame by itself, from rotations that are solved from the joints
(`smplify_solver`). `fit_as_published` runs the published schedule: all frames of a clip in one problem, from one mean
pose, by L-BFGS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mld.errors import DataError, MotionFormatError
from mld.motion import kinematics
from mld.motion.formats.archives import open_arrays
from mld.motion.rig.smpl_body import NUM_JOINTS
from mld.motion.rig.smpl_fit import PosePrior
from mld.motion.rig.smpl_model import NUM_BETAS, BodyModel
from mld.motion.rotations import rotvec_to_matrix
from mld.motion.skeletons import get_skeleton

SMPL_JOINTS = 24
SIGMA = 100.0  # metres; of the Geman-McClure function
JOINTS, POSE, ANGLES, SHAPE, KEEP = 600.0, 4.78 * 1.5, 15.2, 5.0, 5.0  # weights, squared in the loss
DEPTH, TRUNK = 100.0, (2, 1, 17, 16)  # of the first stage: weight of the place, and the joints of hips and shoulders
BENT, BENDS = (52, 55, 9, 12), (1.0, -1.0, -1.0, -1.0)  # angles of elbows and knees, and the way they do not bend
STAGES = (10, 150)  # calls of L-BFGS in each stage, as published
OnStep = Callable[[int, int], None]  # steps done, most steps there are


@dataclass(frozen=True, eq=False)
class Start:
    """The pose and shape that published code begins from and that poses are held near: rotation vectors (24, 3),
    betas (B,)."""

    pose: Tensor
    betas: Tensor

    @classmethod
    def load(cls, path: str | Path) -> Start:
        """`pose` (72,) and `shape` (10,) of an .npz file; `MotionFormatError` when they are not in it."""
        arrays, _ = open_arrays(Path(path), ("pose", "shape"))
        sizes = {name: int(np.size(array)) for name, array in arrays.items()}
        if sizes != {"pose": 3 * SMPL_JOINTS, "shape": NUM_BETAS}:
            raise MotionFormatError(f"{path}: not a mean pose of SMPL, 'pose' of 72 numbers and 'shape' of 10")
        pose, betas = (torch.from_numpy(np.array(arrays[name], dtype=np.float64)) for name in ("pose", "shape"))
        if not (pose.isfinite().all() and betas.isfinite().all()):
            raise MotionFormatError(f"{path}: the mean pose holds NaN or infinity; copy the file again")
        return cls(pose.reshape(-1, 3), betas.reshape(-1))


REST = Start(torch.zeros(SMPL_JOINTS, 3, dtype=torch.float64), torch.zeros(NUM_BETAS, dtype=torch.float64))


@dataclass(frozen=True, eq=False)
class Fitted:
    """Rotation vectors pose (T, 24, 3) float32, the pelvis' path (T, 3), metres, and how far the fitted joints are from
    the motion's, mean metres."""

    pose: Tensor
    path: Tensor
    error: float

    def meshes(self, body: BodyModel) -> Iterator[Tensor]:
        """Vertices (t, V, 3) of consecutive frames, of the average shape; the first frame is where the model rests."""
        pelvis = body.joints_of_shape[0][0].float() + self.path - self.path[0]
        return body.meshes(rotvec_to_matrix(self.pose), pelvis, torch.zeros(body.shapes.shape[-1]))


def gmof(apart: Tensor) -> Tensor:
    """Geman and McClure's function of differences, element by element."""
    return SIGMA**2 * apart.square() / (SIGMA**2 + apart.square())


def angle_prior(body: Tensor) -> Tensor:
    """(T, 4): what elbows and knees cost that bend the wrong way, of rotation vectors (T, 69)."""
    return (body[:, list(BENT)] * body.new_tensor(BENDS)).exp().square()


def camera_loss(joints: Tensor, place: Tensor, first: Tensor, goal: Tensor) -> Tensor:
    """Loss (T,) of the first stage: model joints and goal (T, 22, 3), place and where it began (T, 1, 3). The term of
    the place counts for each of the four joints, as published."""
    apart = goal[:, TRUNK] - (joints[:, TRUNK] + place)
    return (apart.square() + DEPTH**2 * (place - first).square()).sum((1, 2))


def body_loss(
    prior: PosePrior | None, body: Tensor, kept: Tensor, betas: Tensor, joints: Tensor, place: Tensor, goal: Tensor
) -> Tensor:
    """Loss (T,) of the second stage: rotation vectors of the body and those they are kept near (T, 69), shapes (T, B),
    model joints and goal (T, 22, 3), place (T, 1, 3)."""
    loss = JOINTS**2 * gmof(joints + place - goal).sum((1, 2)) + ANGLES**2 * angle_prior(body).sum(1)
    loss = loss + SHAPE**2 * betas.square().sum(1) + KEEP**2 * (body - kept).square().sum(1)
    return loss if prior is None else loss + POSE**2 * prior(body)


def model_joints(body: BodyModel, pose: Tensor, betas: Tensor) -> Tensor:
    """Joints (T, 22, 3) of rotation vectors (T, 24, 3) and shapes (T, B), the pelvis at its rest place."""
    average, change = (part.to(pose) for part in body.joints_of_shape)
    rest = average + torch.einsum("jcb,tb->tjc", change, betas)
    parents = get_skeleton("smpl22").parents
    offsets = rest - rest[:, [0, *parents[1:]]]
    return kinematics.forward(rest[:, 0], rotvec_to_matrix(pose[:, :NUM_JOINTS]), offsets, parents)[0]


def standing(joints: Tensor) -> Tensor:
    """A copy (T, 22, 3) float32 whose lowest joint of all frames is at height 0, y up. `DataError` for another number
    of joints and for NaN."""
    if joints.ndim != 3 or joints.shape[1:] != (NUM_JOINTS, 3) or not len(joints):
        raise DataError(f"joints have the shape {tuple(joints.shape)}; SMPL is fitted to (frames, {NUM_JOINTS}, 3)")
    if not joints.isfinite().all():
        raise DataError("joints hold NaN or infinity, so no pose fits them; leave that motion out")
    joints = joints.detach().float().cpu()
    return joints - joints.new_tensor([0, 1, 0]) * joints[..., 1].min()


def check_body(body: BodyModel, where: str = "the body model") -> BodyModel:
    """`DataError` for a body that is not SMPL's, of 24 joints, or that has numbers which are not finite."""
    parts = (body.template, body.shapes, body.poses, body.regressor, body.weights)
    if not all(bool(part.isfinite().all()) for part in parts):
        raise DataError(f"{where} holds NaN or infinite numbers; copy the file again")
    if body.num_joints != SMPL_JOINTS:
        raise DataError(f"{where} has {body.num_joints} joints; MBench fits SMPL, which has {SMPL_JOINTS}")
    return body


def first_place(joints: Tensor, goal: Tensor) -> Tensor:
    """Mean step (T, 1, 3) from model joints to the goal's over hips and shoulders."""
    return (goal[:, TRUNK] - joints[:, TRUNK]).mean(1, keepdim=True)


def fit_as_published(
    joints: Tensor, body: BodyModel, prior: PosePrior | None, start: Start = REST, device: str | torch.device = "cpu",
    stages: Sequence[int] = STAGES, on_step: OnStep | None = None,
) -> Fitted:  # fmt: skip
    """Poses of one clip (T, 22, 3), y up, metres, by the published schedule: minutes. `DataError` as in `standing`."""
    goal, frames = standing(joints).to(device), len(joints)
    prior = None if prior is None else prior.to(goal)
    pose = start.pose.to(goal).repeat(frames, 1, 1)
    betas = start.betas.to(goal)[: body.shapes.shape[-1]].repeat(frames, 1)
    root, kept = pose[:, :1].clone(), pose[:, 1:].flatten(1)
    turns = kept.clone()
    first = first_place(model_joints(body, pose, betas), goal)
    place = first.clone()

    def joints_now() -> Tensor:
        return model_joints(body, torch.cat([root, turns.unflatten(1, (-1, 3))], dim=1), betas)

    def stage_one() -> Tensor:
        return camera_loss(joints_now(), place, first, goal).sum()

    def stage_two() -> Tensor:
        return body_loss(prior, turns, kept, betas, joints_now(), place, goal).sum()

    done = 0
    for loss, free, steps in zip((stage_one, stage_two), ((root, place), (turns, betas, root, place)), stages):
        solver = torch.optim.LBFGS([part.requires_grad_() for part in free], lr=1e-2, max_iter=150,
                                   line_search_fn="strong_wolfe")  # fmt: skip

        def closure(solver: torch.optim.LBFGS = solver, loss: Callable[[], Tensor] = loss) -> Tensor:
            solver.zero_grad()
            total = loss()
            total.backward()
            return total

        for _ in range(steps):
            solver.step(closure)
            done += 1
            if on_step is not None:
                on_step(done, sum(stages))
    with torch.no_grad():
        apart = (joints_now() + place - goal).norm(dim=-1).mean()
        found = torch.cat([root, turns.unflatten(1, (-1, 3))], dim=1)
    return Fitted(found.detach().float().cpu(), goal[:, 0].cpu(), float(apart))
