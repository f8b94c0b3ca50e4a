"""SMPLify over joints: the solver against gradients and against the published schedule, on a small made-up body."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from mld.errors import DataError, MldError
from mld.motion.rig import smplify, smplify_solver
from mld.motion.rig.smpl_fit import PosePrior
from mld.motion.rig.smpl_model import BodyModel
from mld.motion.rig.smplify import Start, body_loss, fit_as_published, model_joints
from mld.motion.rig.smplify_solver import _Problem, fit
from tests.motion import small_smpl


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    small_smpl.write_body(folder), small_smpl.write_prior(folder), small_smpl.write_start(folder)
    return folder


@pytest.fixture(scope="module")
def parts(models) -> tuple[BodyModel, PosePrior, Start]:
    return (BodyModel.load(models / "smpl/SMPL_NEUTRAL.npz"), PosePrior.load(models / "gmm_08.npz"),
            Start.load(models / "neutral_smpl_mean_params.npz"))  # fmt: skip


def moving(body: BodyModel, frames: int) -> torch.Tensor:
    pose, path = small_smpl.poses(frames)
    betas = torch.zeros(frames, 10, dtype=torch.float64)
    betas[:, :2] = torch.tensor([0.6, 0.4])
    return (model_joints(body, pose, betas) + path).float()


def test_slopes_are_those_of_the_loss(parts):
    """The closed form against automatic differentiation, at unknowns that fit nothing, some turns near zero."""
    body, prior, start = parts
    goal = moving(body, 4).double()
    problem = _Problem(goal, body, prior, start)
    random = torch.Generator().manual_seed(3)
    x = 0.4 * torch.randn(4, 85, generator=random, dtype=torch.float64)
    x[1, :9] *= 1e-6
    x.requires_grad_()
    joints, moves = problem.moves(*problem.parts(x)[:2])
    for row in (0, 10, 40, 65):
        slope, = torch.autograd.grad(joints.flatten(1)[:, row].sum(), x, retain_graph=True)
        assert torch.allclose(slope[:, :-3], moves[:, row, :-3].detach(), atol=1e-6)
    assert torch.equal(moves[0, :, -3:], torch.eye(3).double().repeat(22, 1))
    wanted, = torch.autograd.grad(problem.loss(x).sum(), x)
    gradient, curvature = problem.slopes(x.detach())
    assert (gradient - wanted).abs().max() < 1e-6 * wanted.abs().max()
    assert (torch.linalg.eigvalsh(curvature) > -1e-6).all()


def test_solver_finds_what_the_published_schedule_comes_to(parts):
    """The twin: L-BFGS from one mean pose. With a single Gaussian there is one valley, so both are in it."""
    body, mixture, start = parts
    prior = PosePrior(mixture.means[:1], mixture.precisions[:1], mixture.log_weights[:1])
    joints, calls = moving(body, 3), []
    slow = fit_as_published(joints, body, prior, start, stages=(3, 6), on_step=lambda *step: calls.append(step))
    fast = fit([joints], body, prior, start)[0]
    assert calls[-1] == (9, 9)
    assert fast.error < 0.01 and slow.error < 0.01
    goal = smplify.standing(joints).double()
    fast_loss, slow_loss = (least(found, body, prior, start, goal) for found in (fast, slow))
    assert slow_loss / 1.01 <= fast_loss <= slow_loss * 1.00001
    assert (fast.pose - slow.pose)[:, 1:].abs().mean() < 0.03


def least(found, body, prior, start, goal) -> float:
    """The loss of poses with the best shape and place for them."""
    pose, frames = found.pose.double(), len(goal)
    betas = torch.zeros(frames, 10, dtype=torch.float64, requires_grad=True)
    place = smplify.first_place(model_joints(body, pose, betas.detach()), goal).requires_grad_()
    solver = torch.optim.LBFGS([betas, place], max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        solver.zero_grad()
        total = body_loss(prior, pose[:, 1:].flatten(1), start.pose[1:].flatten(), betas,
                          model_joints(body, pose, betas), place, goal).sum()  # fmt: skip
        total.backward()
        return total

    solver.step(closure)
    return closure().item()


def test_a_frame_does_not_depend_on_what_is_fitted_with_it(parts, monkeypatch):
    body, prior, start = parts
    one, other = moving(body, 9), moving(body, 5).flip(0)
    monkeypatch.setattr(smplify_solver, "TOGETHER", 4)
    steps = []
    together = fit([one, other], body, prior, start, on_step=lambda *step: steps.append(step))
    alone = [fit([clip], body, prior, start)[0] for clip in (one, other)]
    for a, b in zip(together, alone):
        assert (a.pose - b.pose).abs().max() < 1e-3
        assert a.error == pytest.approx(b.error, abs=1e-5)
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert fit([], body, prior, start) == []


def test_joints_are_found_and_the_input_stays_as_it_is(parts):
    body, prior, start = parts
    joints = moving(body, 8) + torch.tensor([0, 0.7, 0])
    before = joints.clone()
    found = fit([joints], body, None)[0]
    assert torch.equal(joints, before)
    assert found.error < 0.02
    assert smplify.standing(joints)[..., 1].min() == 0
    assert (fit([joints], body, prior, start)[0].pose - found.pose).abs().max() > 1e-3


def test_meshes_have_the_average_shape_and_begin_where_the_model_rests(parts):
    body, prior, start = parts
    found = fit([moving(body, 5)], body, prior, start)[0]
    vertices = torch.cat(list(found.meshes(body)))
    centres = vertices.reshape(5, 24, 4, 3).mean(2)
    assert torch.allclose(centres[0, 0], body.joints_of_shape[0][0].float(), atol=5e-3)
    wanted = model_joints(body, found.pose, torch.zeros(5, 10)) + (found.path - found.path[0])[:, None]
    assert (centres[:, :22] - wanted).abs().max() < 0.02  # poses bulge
    hands = smplify.Fitted(found.pose.clone().index_fill_(1, torch.tensor([22]), 1.0), found.path, 0.0)
    assert not torch.equal(torch.cat(list(hands.meshes(body))), vertices)


def test_one_frame_can_be_fitted(parts):
    assert fit([moving(parts[0], 1)], *parts)[0].pose.shape == (1, 24, 3)


@pytest.mark.parametrize(
    ("joints", "words"),
    [
        (torch.full((3, 22, 3), math.nan), "NaN"), (torch.zeros(3, 24, 3), "(3, 24, 3)"),
        (torch.zeros(0, 22, 3), "(0, 22, 3)"),
    ],
)  # fmt: skip
def test_joints_that_have_no_pose(parts, joints, words):
    for run in (lambda: fit([joints], *parts), lambda: fit_as_published(joints, *parts)):
        with pytest.raises(DataError) as refused:
            run()
        assert words in str(refused.value)


def test_files_of_another_kind_are_refused(tmp_path, models):
    body = BodyModel.load(small_smpl.write_body(tmp_path, joints=52))
    with pytest.raises(DataError, match="has 52 joints"):
        smplify.check_body(body)
    whole = BodyModel.load(models / "smpl/SMPL_NEUTRAL.npz")
    assert smplify.check_body(whole) is whole
    with pytest.raises(DataError, match="NaN or infinite"):
        smplify.check_body(dataclasses.replace(whole, weights=whole.weights * math.nan))
    np.savez(tmp_path / "start.npz", pose=np.zeros(66), shape=np.zeros(10))
    np.savez(tmp_path / "nan.npz", pose=np.full(72, np.nan), shape=np.zeros(10))
    (tmp_path / "cut.npz").write_bytes((models / "neutral_smpl_mean_params.npz").read_bytes()[:100])
    for name, words in (("start", "72 numbers"), ("nan", "NaN"), ("cut", "not a readable npz")):
        with pytest.raises(MldError, match=words):
            Start.load(tmp_path / f"{name}.npz")
