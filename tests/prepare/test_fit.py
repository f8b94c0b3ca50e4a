"""The command `prepare.fit`: SMPL parameters with and without a body model (a small one made here)."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import roma
import torch

from mld.errors import MldError, MotionFormatError
from mld.motion import kinematics
from mld.motion.motion import Motion
from mld.motion.rig.smpl_body import standard_rest
from mld.motion.rig.smpl_fit import PosePrior, fit
from mld.motion.rig.smpl_model import BodyModel
from mld.motion.skeletons import get_skeleton
from prepare.fit import main
from tests.walking import walker

PARENTS = get_skeleton("smpl22").parents
JOINTS = 52
CORNERS = 0.03 * np.array([[1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]])  # a tetrahedron around every joint


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with an SMPL-H-like model: tetrahedra at the joints, two shapes (size, leg length)."""
    rest = np.zeros((JOINTS, 3))
    rest[:22] = standard_rest("smplh")
    tree = np.array([[0, *PARENTS[1:], *[20] * 15, *[21] * 15], range(JOINTS)])
    rest[22:] = rest[tree[0, 22:]] + [[0.01, 0, 0]]
    template = (rest[:, None] + CORNERS).reshape(-1, 3)
    shapes = np.zeros((*template.shape, 3))
    shapes[..., 0] = 0.05 * template
    legs = np.isin(np.arange(JOINTS), [4, 5, 7, 8, 10, 11]).repeat(4)
    shapes[legs, 1, 1] = -0.05
    regressor = np.kron(np.eye(JOINTS), np.full((1, 4), 0.25))
    sides = np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])
    faces = (sides + 4 * np.arange(JOINTS)[:, None, None]).reshape(-1, 3)
    path = tmp_path / "models/smplh/neutral/model.npz"
    path.parent.mkdir(parents=True)
    np.savez(path, v_template=template, shapedirs=shapes, posedirs=np.zeros((*template.shape, 9 * (JOINTS - 1))),
             J_regressor=regressor, kintree_table=tree, weights=np.eye(JOINTS).repeat(4, axis=0), f=faces)
    return tmp_path / "models"


def bodies(models: Path, frames: int = 25) -> tuple[Motion, BodyModel, torch.Tensor]:
    """A motion of that body with known shape and rotations."""
    body = BodyModel.load(models / "smplh/neutral/model.npz")
    rest = body.rest_joints(torch.tensor([1.0, 0.8, 0.0], dtype=torch.float64))
    time = torch.linspace(0, 3, frames, dtype=torch.float64)[:, None, None]
    generator = torch.Generator().manual_seed(1)
    axes = 0.35 * torch.randn(22, 3, generator=generator, dtype=torch.float64)
    local = roma.rotvec_to_rotmat(axes * (time + torch.arange(22)[:, None]).sin())
    root = torch.cat([0.4 * time[:, 0], 0.9 + 0 * time[:, 0], time[:, 0].cos()], dim=1)
    joints, _ = kinematics.forward(root, local, rest - rest[[0, *PARENTS[1:]]], PARENTS)
    return Motion(joints, 20.0), body, local


def test_pose_place_and_shape_are_found(models):
    motion, body, local = bodies(models)
    found, error = fit(motion, body, "smplh", iterations=80)
    assert error < 0.003
    assert found.betas[:2] == pytest.approx([1.0, 0.8], abs=0.1)
    pelvis = roma.rotmat_to_rotvec(found.rotations[:, 0].transpose(-1, -2) @ local[:, 0]).norm(dim=-1)
    assert pelvis.max() < 0.05


def test_command_writes_parameters_and_meshes(models, tmp_path, capsys):
    motion, body, _ = bodies(models)
    motion.save(tmp_path / "a.json")
    done = main([str(tmp_path / "a.json"), str(tmp_path / "out"), "--body-models", str(models), "--mesh"])
    assert done == 0
    assert "mm from the motion's" in capsys.readouterr().out
    with np.load(tmp_path / "out/a_mesh.npz") as mesh:
        corners = mesh["vertices"].reshape(25, JOINTS, 4, 3).mean(2)[:, :22]
        assert mesh["faces"].shape == (4 * JOINTS, 3)
    assert np.linalg.norm(corners - motion.joints.numpy(), axis=-1).mean() < 0.004
    back = Motion.load(tmp_path / "out/a.npz")
    assert (back.joints - motion.joints).norm(dim=-1).mean() < 0.004


def test_smplx_poses_the_saved_parameters_where_the_motion_is(models, tmp_path):
    """trans is less the rest pelvis, so the mesh code of SMPL puts the body on the floor and not 0.22 m below."""
    lbs = pytest.importorskip("smplx.lbs").lbs
    motion, body, _ = bodies(models)
    motion.save(tmp_path / "a.json")
    main([str(tmp_path / "a.json"), str(tmp_path / "a.npz"), "--body-models", str(models), "--up", "y"])
    with np.load(tmp_path / "a.npz") as data:
        betas, poses, trans = (torch.from_numpy(data[name]).float() for name in ("betas", "poses", "trans"))
    _, joints = lbs(betas[None].expand(25, -1), poses, body.template, body.shapes,
                    body.poses.reshape(-1, body.poses.shape[-1]).T, body.regressor, body.parents, body.weights)
    assert (joints[:, :22] + trans[:, None] - motion.joints).norm(dim=-1).mean() < 0.004


def test_without_a_body_model_rotations_are_solved(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("MLD_BODY_MODELS", raising=False)
    motion = Motion(walker(12, yaw=3.1), 20.0)
    motion.save(tmp_path / "walk.json")
    assert main([str(tmp_path / "walk.json"), str(tmp_path / "walk.npz"), "--model", "smplx"]) == 0
    assert "no body model" in capsys.readouterr().out
    assert (Motion.load(tmp_path / "walk.npz").joints - motion.joints).norm(dim=-1).max() < 1e-3


def test_a_prior_draws_the_pose_to_what_is_likely(models, tmp_path):
    motion, body, _ = bodies(models)
    free, _ = fit(motion, body, "smplh", iterations=20)
    prior = {"means": np.zeros((2, 69)), "covars": np.tile(1e-4 * np.eye(69), (2, 1, 1)), "weights": np.full(2, 0.5)}
    np.savez(tmp_path / "prior.npz", **prior)
    with open(tmp_path / "prior.pkl", "wb") as file:
        pickle.dump(prior, file, protocol=2)
    sizes = []
    for name in ("prior.npz", "prior.pkl"):
        held, _ = fit(motion, body, "smplh", prior=PosePrior.load(tmp_path / name), iterations=20)
        sizes.append(float(roma.rotmat_to_rotvec(held.rotations[:, 1:]).norm(dim=-1).mean()))
    assert sizes[0] == pytest.approx(sizes[1])
    assert sizes[0] < 0.9 * float(roma.rotmat_to_rotvec(free.rotations[:, 1:]).norm(dim=-1).mean())


def test_a_pickle_with_code_in_it_is_not_run(tmp_path):
    class Code:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    (tmp_path / "prior.pkl").write_bytes(pickle.dumps({"means": Code()}))
    with pytest.raises(MotionFormatError, match="not opened"):
        PosePrior.load(tmp_path / "prior.pkl")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["a.json", "b.json", "out.npz"], "one file for 2"),
        (["a.json", "x/a.json", "out"], "two of the files"),
        (["a.json", "out", "--mesh"], "--mesh needs"),
        (["a.json", "out", "--pose-prior", "p.npz"], "--pose-prior is for"),
        (["a.json", "out", "--body-models", "nowhere"], "no .npz file of smplh"),
    ],
)
def test_wrong_usage_is_said_before_any_work(options, words, monkeypatch):
    monkeypatch.delenv("MLD_BODY_MODELS", raising=False)
    with pytest.raises(MldError, match=words):
        main(options)


@pytest.mark.parametrize("broken", ["v_template", "weights", "kintree_table"])
def test_a_damaged_body_model_is_refused(models, broken):
    path = models / "smplh/neutral/model.npz"
    with np.load(path) as found:
        arrays = dict(found)
    np.savez(path, **{name: array[..., :-1] if name == broken else array for name, array in arrays.items()})
    with pytest.raises(MotionFormatError, match="do not fit"):
        BodyModel.load(path)
