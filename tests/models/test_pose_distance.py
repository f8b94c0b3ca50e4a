"""The network of NRDF: its score in both modes, and files that are not its weights."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from scipy.spatial.transform import Rotation

from mld.errors import CheckpointError, DataError
from mld.models.pose_distance import PoseDistance, to_quaternions


@pytest.fixture
def network() -> PoseDistance:
    torch.manual_seed(0)
    return PoseDistance(5, 3, (8, 6)).eval()


def poses(frames: int = 7) -> torch.Tensor:
    return 0.8 * torch.randn(frames, 24, 3, generator=torch.Generator().manual_seed(1))


def save(network: PoseDistance, path: Path, **changed) -> Path:
    state = {**network.state_dict(), "dec.net.0.net.0.weight": torch.zeros(10, 6)}
    state = {key: value for key, value in {**state, **changed}.items() if value is not None}
    torch.save({"epoch": 3, "model_state_dict": state, "optimizer_state_dict": {}}, path)
    return path


def test_heading_counts_only_as_published(network):
    turned = poses().clone()
    turned[:, 0] += torch.tensor([0, 1.0, 0])
    assert network.score(turned) == network.score(poses())
    assert network.score(turned, "upstream") != network.score(poses(), "upstream")
    fingers = poses().clone()
    fingers[:, 22:] = 0
    assert network.score(fingers) == network.score(poses()[:, :22])


def test_score_is_the_mean_of_the_frames(network):
    alone = [network.score(pose[None]) for pose in poses()]
    assert network.score(poses()) == pytest.approx(sum(alone) / 7, rel=1e-6)


def test_every_joint_reaches_the_distance(network):
    quaternions = to_quaternions(poses()[:, 1:22]).requires_grad_()
    network(quaternions).sum().backward()
    assert (quaternions.grad.abs().amax((0, 2)) > 0).all()


def test_quaternions_are_those_of_scipy():
    turns = torch.cat([poses().double().flatten(0, 1), 1e-9 * poses(1)[0].double(), torch.zeros(1, 3).double()])
    wanted = torch.from_numpy(Rotation.from_rotvec(turns.numpy()).as_quat()).roll(1, dims=-1)
    found = to_quaternions(turns)
    assert torch.minimum((found - wanted).norm(dim=-1), (found + wanted).norm(dim=-1)).max() < 1e-12


def test_files_of_every_kind_give_the_same(network, tmp_path):
    (tmp_path / "nrdf/checkpoints").mkdir(parents=True)
    file = save(network, tmp_path / "nrdf/checkpoints/checkpoint_epoch_best.tar")
    save_file(network.state_dict(), tmp_path / "nrdf.safetensors")
    for path in (file, tmp_path / "nrdf", tmp_path / "nrdf/checkpoints", tmp_path / "nrdf.safetensors"):
        assert PoseDistance.load(path).score(poses()) == network.score(poses())


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"dfnet.lin0.weight": None, "dfnet.lin1.weight": None, "dfnet.lin2.weight": None}, "not a pose distance"),
        ({"enc.net.7.net.0.bias": None}, "1 missing: enc.net.7.net.0.bias"),
        ({"extra": torch.zeros(2)}, "1 unexpected: extra"),
        ({"dfnet.lin1.weight": torch.zeros(6, 9)}, "of shape"),
        ({"dfnet.lin2.weight": torch.zeros(3, 6)}, "gives 3 numbers"),
        ({"dfnet.lin1.bias": torch.full((6,), math.nan)}, "NaN"),
        ({"enc.net.0.net.2.weight": torch.zeros(3)}, "expected 2 numbers"),
    ],
)
def test_weights_of_another_network_are_refused(network, tmp_path, changed, words):
    with pytest.raises(CheckpointError, match=words) as refused:
        PoseDistance.load(save(network, tmp_path / "a.tar", **changed))
    assert "a.tar" in str(refused.value)


def test_a_damaged_file_is_refused(network, tmp_path):
    file = save(network, tmp_path / "a.tar")
    file.write_bytes(file.read_bytes()[:900])
    (tmp_path / "b.tar").write_text("<html>not found</html>")
    for path in (file, tmp_path / "b.tar", tmp_path / "none.tar", tmp_path):
        with pytest.raises(CheckpointError):
            PoseDistance.load(path)


@pytest.mark.parametrize(("pose", "words"), [
    (torch.zeros(0, 24, 3), "(0, 24, 3)"), (torch.zeros(3, 21, 3), "at least 22"),
    (torch.zeros(3, 24, 4), "(3, 24, 4)"), (torch.full((2, 24, 3), math.nan), "NaN"),
])  # fmt: skip
def test_poses_that_have_no_distance(network, pose, words):
    with pytest.raises(DataError) as refused:
        network.score(pose)
    assert words in str(refused.value)
