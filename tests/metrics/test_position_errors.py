"""APE and AVE: what they ignore, what they see, and where the two modes differ."""

from __future__ import annotations

import math

import pytest
import torch

from mld.metrics.position_errors import UPSTREAM, PositionErrors, from_local, layout_of, to_local
from mld.motion.skeletons import get_skeleton
from tests.walking import walker

SKELETON = get_skeleton("smpl22")


def errors(
    predicted: torch.Tensor, reference: torch.Tensor, mode: str = "strict", padding: int = 0
) -> dict[str, float]:
    metric = PositionErrors(SKELETON, mode)
    mask = torch.ones(1, len(reference), dtype=torch.bool)
    if padding:  # the two clips are padded with different things
        predicted = torch.cat((predicted, predicted[-1:].repeat(padding, 1, 1) - 2))
        reference = torch.cat((reference, reference[-1:].repeat(padding, 1, 1)))
        mask = torch.cat((mask, torch.zeros(1, padding, dtype=torch.bool)), dim=1)
    metric.update(predicted[None], reference[None], mask)
    return {name: value.item() for name, value in metric.compute().items()}


def turned(joints: torch.Tensor, angle: float) -> torch.Tensor:
    c, s = math.cos(angle), math.sin(angle)
    return joints @ torch.tensor([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]])


def test_the_canonical_form_keeps_the_shape_of_the_motion() -> None:
    """A walk that starts at the origin facing +z comes back up to the height of the floor."""
    joints = walker(40).double()
    found = from_local(to_local(joints, layout_of(SKELETON)))
    a = (found["joints"][:, 1:] - found["joints"][:, :1]).norm(dim=-1)
    b = (joints[:, 1:] - joints[:, :1]).norm(dim=-1)
    torch.testing.assert_close(a, b)
    steps = found["traj"].diff(dim=0).norm(dim=-1)
    torch.testing.assert_close(steps, joints[:, 0, (0, 2)].diff(dim=0).norm(dim=-1))


def test_place_height_and_heading_do_not_matter() -> None:
    joints = walker(40)
    moved = turned(joints, 1.1) + torch.tensor([3.0, 0.4, -2.0])
    for value in errors(moved, joints).values():
        assert value == pytest.approx(0.0, abs=1e-4)


def test_a_raised_hand_is_a_pose_error_only() -> None:
    joints = walker(40)
    other = joints.clone()
    other[:, 20, 1] += 0.22
    found = errors(other, joints)
    assert found["APE_mean_joints"] == pytest.approx(0.01, rel=1e-4)
    assert found["APE_mean_pose"] == pytest.approx(0.22 / 21, rel=1e-4)
    assert found["APE_root"] == pytest.approx(0.0, abs=1e-6)
    assert found["AVE_mean_pose"] == pytest.approx(0.0, abs=1e-6)


def test_strict_does_not_see_padding_and_upstream_does() -> None:
    joints, other = walker(40), walker(40, turning=0.03, phase=0.5)
    assert errors(other, joints, padding=9) == pytest.approx(errors(other, joints))
    assert errors(other, joints, "upstream", padding=9) != pytest.approx(errors(other, joints, "upstream"), rel=1e-3)


def test_the_published_factor() -> None:
    joints, other = walker(40), walker(40, turning=0.03, phase=0.5)
    mask = torch.ones(1, 40, dtype=torch.bool)
    divided, plain = PositionErrors(SKELETON, "upstream"), PositionErrors(SKELETON, "upstream", divide=False)
    for metric in (divided, plain):
        metric.update(other[None], joints[None], mask)
    assert divided.compute()["APE_traj"] * 1.5625 == pytest.approx(plain.compute()["APE_traj"].item())
    assert divided.compute()["AVE_traj"] * 1.5625**2 == pytest.approx(plain.compute()["AVE_traj"].item())


def test_strict_faces_by_hips_and_shoulders() -> None:
    assert layout_of(SKELETON).facing == (2, 1, 17, 16)
    assert layout_of(SKELETON, "upstream") is UPSTREAM["smpl22"]


def test_one_frame_has_no_variance() -> None:
    joints = walker(2)[:1]
    metric = PositionErrors(SKELETON)
    metric.update(joints[None], joints[None], torch.ones(1, 1, dtype=torch.bool))
    scores = metric.scores()
    assert scores["APE_root"].value == pytest.approx(0.0, abs=1e-6)
    assert scores["AVE_root"].value is None
    assert "long enough" in scores["AVE_root"].reason
