"""Physical sanity: each number sees its own defect and no other; short and broken motions give reasons."""

from __future__ import annotations

import pytest
import torch

from mld.errors import DataError
from mld.metrics import physical, transitions
from mld.metrics.physical import PhysicalSanity, jerk, skating
from mld.metrics.transitions import TransitionJerk
from mld.motion.skeletons import get_skeleton
from tests.walking import walker

SKELETON = get_skeleton("smpl22")


def sanity(joints: torch.Tensor) -> dict[str, float]:
    metric = PhysicalSanity(SKELETON, 20.0)
    metric.update([joints])
    return {name: value.item() for name, value in metric.compute().items()}


def test_skating_sees_a_sliding_foot_on_the_ground_only() -> None:
    joints = torch.zeros(20, 22, 3)
    joints[:, :, 1] = 1.0
    joints[:, 10, 1] = 0.02
    assert not skating(joints, (10, 11), 20.0).any()
    joints[:, 10, 2] = torch.arange(20) * 0.04
    assert skating(joints, (10, 11), 20.0)[1:-1].all()
    joints[:, 10, 1] = 0.2
    assert not skating(joints, (10, 11), 20.0).any()


def test_padding_lowers_the_skating_ratio_unless_lengths_are_given() -> None:
    joints = torch.zeros(1, 40, 22, 3)
    joints[0, :20, 10, 2] = torch.arange(20) * 0.04
    joints[0, 20:] = joints[0, 19]
    padded = physical.skating_ratio(joints, (10, 11), 20.0)
    cut = physical.skating_ratio(joints, (10, 11), 20.0, [20])
    assert 0 < padded.item() < cut.item()


def test_labelled_skating_counts_pairs_with_a_contact() -> None:
    joints = torch.zeros(10, 22, 3)
    joints[:, 10, 0] = torch.arange(10) * 0.02  # 0.4 m/s
    contacts = torch.zeros(10, 2, dtype=torch.bool)
    contacts[:6, 0] = True
    assert [int(n) for n in physical.labelled_skating(joints, contacts, (10, 11), 20.0)] == [5, 5]
    assert [int(n) for n in physical.labelled_skating(0.1 * joints, contacts, (10, 11), 20.0)] == [0, 5]


def test_jerk_of_a_parabola_is_zero() -> None:
    time = torch.arange(10.0)[:, None, None]
    assert jerk((0.01 * time**2).expand(10, 22, 3)).max() < 1e-5
    assert sanity((0.01 * time**2).expand(10, 22, 3))["jerk"] < 1e-2


def test_a_plain_walk_is_sane_and_every_defect_shows_in_its_number() -> None:
    joints = walker(40)
    low = joints[..., 1].min()
    grounded = joints - torch.tensor([0.0, 1.0, 0.0]) * low
    good = sanity(grounded)
    assert good["penetration"] == pytest.approx(0.0, abs=1e-3)
    assert good["bone_drift"] == pytest.approx(0.0, abs=1e-3)
    up, down = torch.tensor([0.0, 0.3, 0.0]), torch.tensor([0.0, -0.1, 0.0])
    assert sanity(grounded + up)["floating"] == 1.0
    assert sanity(grounded + down)["penetration"] > 60
    assert sanity(grounded + down)["floating"] == 0.0
    breathing = grounded * (1 + 0.1 * torch.sin(torch.arange(40.0)))[:, None, None]
    assert sanity(breathing)["bone_drift"] > 5
    assert good["bone_spread"] == pytest.approx(0.0, abs=1e-3)
    lengths = [float((grounded[0, child] - grounded[0, SKELETON.parents[child]]).norm()) for child in range(1, 22)]
    factors = 1 + 0.1 * torch.sin(torch.arange(40.0))
    by_hand = 100 * float(factors.max() - factors.min()) * sum(lengths) / 21
    assert sanity(breathing)["bone_spread"] == pytest.approx(by_hand, rel=1e-4)
    assert sanity(grounded + 0.01 * torch.randn(40, 22, 3))["jerk"] > 2 * good["jerk"]


def test_short_motions_count_where_they_can_and_nan_is_a_reason() -> None:
    metric = PhysicalSanity(SKELETON, 20.0)
    metric.update([walker(3)])
    scores = metric.scores()
    assert scores["jerk"].value is None
    assert scores["skating"].value is not None
    metric.update([walker(8), walker(8) * torch.nan])
    assert all(score.value is None and "item" in score.reason for score in metric.scores().values())


def test_windows_around_transitions() -> None:
    joints = walker(100)
    windows, lengths = transitions.windows_around(joints, [50, 5, 98], 30)
    assert windows.shape == (3, 30, 22, 3)
    assert lengths.tolist() == [30, 20, 17]
    assert torch.equal(windows[0], joints[35:65])
    assert torch.equal(windows[1, :20], joints[:20])
    assert torch.equal(windows[2, 17:], joints[-1:].expand(13, -1, -1))


def test_a_jump_at_the_transition_is_the_peak() -> None:
    joints = walker(100)
    jump = joints.clone()
    jump[50:] += 0.1
    found = {}
    for name, clip in (("smooth", joints), ("jump", jump)):
        metric = TransitionJerk("humanml3d")
        metric.update(*transitions.windows_around(clip, [50], 60))
        found[name] = metric.scores()
    # the third difference of a step of 0.1 in three coordinates is 0.3, -0.6, 0.3
    assert found["jump"]["peak_jerk"].value == pytest.approx(0.6, abs=0.05)
    assert found["smooth"]["peak_jerk"].value < 0.1
    assert found["jump"]["area_under_jerk"].value > found["smooth"]["area_under_jerk"].value


def test_strict_leaves_out_what_is_beyond_a_short_window() -> None:
    joints = walker(60)[None].repeat(2, 1, 1, 1) + 0.01 * torch.randn(2, 60, 22, 3)
    lengths = torch.tensor([60, 20])
    full = transitions.window_jerk(joints, torch.tensor([60, 60]))
    partial = transitions.window_jerk(joints, lengths)
    assert torch.equal(partial[1, 17:], torch.zeros(40))
    torch.testing.assert_close(transitions.jerk_curve(partial, lengths)[17:], full[0, 17:])
    torch.testing.assert_close(transitions.jerk_curve(partial)[17:], full[0, 17:] / 2)


def test_the_jerk_of_real_motion_is_named_measured_or_missing() -> None:
    assert transitions.measure_real_jerk([walker(40), walker(2)]) == pytest.approx(jerk(walker(40)).mean().item())
    with pytest.raises(DataError, match="4 frames"):
        transitions.measure_real_jerk([walker(2)])
    with pytest.raises(DataError, match="babel"):
        TransitionJerk("amass")
    metric = TransitionJerk(None)
    metric.update(walker(60)[None], torch.tensor([60]))
    assert metric.scores()["peak_jerk"].value is not None
    assert "real" in metric.scores()["area_under_jerk"].reason
