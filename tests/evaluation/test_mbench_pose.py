"""The pose dimensions of MBench from joints to numbers, on a small made-up body and random weights of NRDF."""

from __future__ import annotations

import importlib.util
import math
import shutil
from pathlib import Path

import pytest
import torch

from mld.errors import DataError
from mld.evaluation.suites.mbench import pose as pose_module
from mld.evaluation.suites.mbench.pose import NAMES, PENETRATION, POSE, PoseScorer
from mld.metrics.mesh_collisions import colliding_pairs
from mld.models.pose_distance import PoseDistance
from mld.motion.rig.smpl_model import BodyModel
from mld.motion.rig.smplify import model_joints
from tests.motion import small_smpl


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    monkeypatch.delenv("MLD_BODY_MODELS", raising=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Body models, SMPLify's files and the weights of NRDF, as a user has them."""
    folder = tmp_path_factory.mktemp("assets")
    small_smpl.write_body(folder), small_smpl.write_prior(folder), small_smpl.write_start(folder)
    (folder / "nrdf/checkpoints").mkdir(parents=True)
    torch.manual_seed(0)
    torch.save({"model_state_dict": PoseDistance(5, 3, (8, 6)).state_dict()},
               folder / "nrdf/checkpoints/checkpoint_epoch_best.tar")  # fmt: skip
    return folder


def moving(folder: Path, frames: int = 6) -> torch.Tensor:
    body = BodyModel.load(folder / "smpl/SMPL_NEUTRAL.npz")
    turns, path = small_smpl.poses(frames)
    return (model_joints(body, turns, torch.zeros(frames, 10).double()) + path).float()


def test_both_dimensions_from_joints(folder, tmp_path):
    joints = moving(folder)
    before, told = joints.clone(), []
    scorer = PoseScorer(folder, folder / "nrdf", cache=tmp_path, progress=lambda *said: told.append(said))
    assert scorer.reasons() == {}
    scores = scorer.scores(joints)
    assert set(scores) == set(NAMES) and scores[POSE] > 0
    body = BodyModel.load(folder / "smpl/SMPL_NEUTRAL.npz")
    meshes = torch.cat(list(scorer.fitted(joints).meshes(body)))
    counts = [len(colliding_pairs(mesh.numpy(), body.faces)) for mesh in meshes]
    assert scores[PENETRATION] == pytest.approx(100 * sum(counts) / 6 / 96) and sum(counts) > 0
    assert torch.equal(joints, before)
    assert told == [("fit", 1, 1), *(("collisions", frame, 6) for frame in range(1, 7))]
    assert scorer.fitted(joints).error < 0.02


def test_hands_in_each_other_collide(tmp_path):
    """Arms straight ahead, and arms so far in that the wrists are at one place."""
    body = BodyModel.load(small_smpl.write_body(tmp_path))
    scores = []
    for inward in (0.0, 0.36):
        turns = torch.zeros(1, 24, 3, dtype=torch.float64)
        turns[:, 16, 1], turns[:, 17, 1] = -math.pi / 2 - inward, math.pi / 2 + inward
        scores.append(PoseScorer(tmp_path, None).scores(model_joints(body, turns, torch.zeros(1, 10).double()).float()))
    assert scores[1][PENETRATION] > scores[0][PENETRATION] + 5


def test_modes_share_the_fit_and_differ_in_what_they_feed(folder, tmp_path):
    joints = moving(folder)
    strict = PoseScorer(folder, folder / "nrdf", cache=tmp_path)
    first = strict.scores(joints)
    told = []
    upstream = PoseScorer(folder, folder / "nrdf", "upstream", cache=tmp_path, progress=lambda *a: told.append(a))
    again = upstream.scores(joints)
    assert told == []
    assert again[PENETRATION] == first[PENETRATION] and again[POSE] != first[POSE]
    assert strict.identity != upstream.identity
    pose = strict.fitted(joints).pose
    assert first[POSE] == PoseDistance.load(folder / "nrdf").score(pose)
    assert again[POSE] == PoseDistance.load(folder / "nrdf").score(pose, "upstream")


def test_a_cache_is_used_once_and_only_for_the_same_input(folder, tmp_path, monkeypatch):
    scorer = PoseScorer(folder, folder / "nrdf", cache=tmp_path)
    joints = moving(folder)
    first = scorer.scores(joints)
    calls, real = [], pose_module.fit
    monkeypatch.setattr(pose_module, "fit", lambda *a, **k: calls.append(len(a[0])) or real(*a, **k))
    assert scorer.scores(joints) == first and sum(calls) == 0
    scorer.fit_all([joints, moving(folder, 5), moving(folder, 4)])
    assert sum(calls) == 2
    scorer.scores(joints + 0.01 * torch.randn(joints.shape, generator=torch.Generator().manual_seed(0)))
    assert sum(calls) == 3
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:20])
    assert scorer.scores(joints) == first and sum(calls) == 4
    other = tmp_path / "models"
    shutil.copytree(folder / "smpl", other / "smpl")
    PoseScorer(other, None, cache=tmp_path).scores(joints)
    assert sum(calls) == 5
    assert not [file for file in folder.rglob("*") if file.suffix in (".npz", ".json") and len(file.stem) == 32]


def test_published_schedule_comes_near(folder, monkeypatch):
    """With fewer calls of it than published, for time's sake."""
    joints = moving(folder, 2)
    real = pose_module.fit_as_published
    monkeypatch.setattr(pose_module, "fit_as_published", lambda *a, **k: real(*a, stages=(2, 3), **k))
    told = []
    slow = PoseScorer(folder, folder / "nrdf", schedule="published", progress=lambda *a: told.append(a))
    assert slow.fitted(joints).error < 0.02
    assert told[-1] == ("fit", 5, 5)
    assert slow.identity != PoseScorer(folder, folder / "nrdf").identity


def test_what_a_file_already_has_is_taken(folder):
    """The cache of the published tools: a pose needs no body model, vertices need its faces alone."""
    joints, given = moving(folder), small_smpl.poses(6)[0].float()
    bare = PoseScorer(None, folder / "nrdf")
    assert POSE in bare.reasons() and POSE not in bare.reasons(pose=given)
    assert bare.scores(joints, pose=given) == {POSE: PoseDistance.load(folder / "nrdf").score(given)}
    scorer = PoseScorer(folder, folder / "nrdf")
    meshes = torch.cat(list(scorer.fitted(joints).meshes(BodyModel.load(folder / "smpl/SMPL_NEUTRAL.npz"))))
    assert scorer.scores(joints, vertices=meshes, names=[PENETRATION]) == scorer.scores(joints, names=[PENETRATION])
    with pytest.raises(DataError, match="the mesh has 10"):
        scorer.scores(joints, vertices=meshes[:, :10], names=[PENETRATION])


def test_reasons_are_one_line_each(folder, tmp_path, monkeypatch):
    (tmp_path / "damaged.tar").write_bytes(b"PK\x03\x04 nothing")
    small_smpl.write_body(tmp_path / "smplh", joints=52)
    shutil.copytree(folder / "smpl", tmp_path / "bare/smpl")
    shutil.copytree(folder / "smpl", tmp_path / "no_start/smpl")
    small_smpl.write_prior(tmp_path / "no_start")
    (tmp_path / "bad/smpl").mkdir(parents=True)
    (tmp_path / "bad/smpl/SMPL_NEUTRAL.npz").write_bytes(b"no npz")
    cases = [
        (PoseScorer(None, None), {POSE: "no weights of NRDF", PENETRATION: "no body model"}),
        (PoseScorer(None, folder / "nrdf"), {POSE: "no body model", PENETRATION: "no body model"}),
        (PoseScorer(tmp_path / "nowhere", None), {POSE: "no weights", PENETRATION: "has no smpl/SMPL_NEUTRAL.npz"}),
        (PoseScorer(folder, tmp_path / "damaged.tar"), {POSE: "damaged"}),
        (PoseScorer(folder, tmp_path), {POSE: "checkpoint_epoch_best.tar"}),
        (PoseScorer(tmp_path / "smplh", folder / "nrdf"), {POSE: "52 joints", PENETRATION: "52 joints"}),
        (PoseScorer(tmp_path / "bad", folder / "nrdf"), {POSE: "npz", PENETRATION: "npz"}),
        (PoseScorer(tmp_path / "bare", folder / "nrdf"), {}),
        (PoseScorer(tmp_path / "bare", folder / "nrdf", "upstream"), {POSE: "gmm_08", PENETRATION: "gmm_08"}),
        (PoseScorer(tmp_path / "no_start", folder / "nrdf", "upstream"), {POSE: "shape", PENETRATION: "mean_params"}),
    ]
    for scorer, wanted in cases:
        found = scorer.reasons()
        assert set(found) == set(wanted)
        assert all(words in found[name] and "\n" not in found[name] and len(found[name]) <= 300
                   for name, words in wanted.items())  # fmt: skip
        assert set(scorer.scores(moving(folder, 2))) == set(NAMES) - set(wanted)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "smplx" in PoseScorer(folder, folder / "nrdf").reasons()[PENETRATION]


@pytest.mark.parametrize(
    ("joints", "words"), [(torch.full((3, 22, 3), math.nan), "NaN"), (torch.zeros(3, 24, 3), "(3, 24, 3)")]
)
def test_joints_of_no_body_are_refused(folder, joints, words):
    with pytest.raises(DataError) as refused:
        PoseScorer(folder, folder / "nrdf").scores(joints)
    assert words in str(refused.value)
    assert PoseScorer(folder, folder / "nrdf").scores(moving(folder, 1))[POSE] > 0
