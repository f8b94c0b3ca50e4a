"""Joint metrics: known values, invariances, batches equal single clips."""

from __future__ import annotations

import pytest
import torch

from mld.metrics.completion import CompletionErrors, hidden_frames
from mld.metrics.joints import JointErrors, acceleration_error, mpjpe, pa_mpjpe, procrustes

GENERATOR = torch.Generator().manual_seed(3)


def clip(frames: int = 12, joints: int = 22) -> torch.Tensor:
    return torch.randn(frames, joints, 3, generator=GENERATOR)


def rotation(angle: float) -> torch.Tensor:
    turn = torch.tensor(angle)
    return torch.tensor([[turn.cos(), 0, turn.sin()], [0, 1, 0], [-turn.sin(), 0, turn.cos()]])


def test_mpjpe_ignores_a_shift_and_measures_a_moved_joint() -> None:
    reference = clip()
    moved = reference.clone() + 5.0
    assert torch.allclose(mpjpe(moved, reference), torch.zeros(12), atol=1e-5)
    moved[:, 7, 0] += 0.22
    assert torch.allclose(mpjpe(moved, reference), torch.full((12,), 0.01), atol=1e-5)


def test_pa_mpjpe_ignores_shift_turn_and_size() -> None:
    reference = clip()
    assert pa_mpjpe(1.7 * reference @ rotation(0.9) + 2.0, reference).max() < 1e-4


def test_procrustes_does_not_reflect() -> None:
    reference = clip()
    mirrored = reference * torch.tensor([-1.0, 1.0, 1.0])
    assert pa_mpjpe(mirrored, reference).min() > 0.1


def test_procrustes_of_a_collapsed_pose_is_finite() -> None:
    assert torch.isfinite(procrustes(torch.zeros(2, 22, 3), clip(2))).all()


def test_acceleration_ignores_constant_velocity() -> None:
    reference = clip()
    drift = torch.arange(12.0)[:, None, None] * torch.tensor([0.3, 0.0, -0.1])
    assert acceleration_error(reference + drift, reference).max() < 1e-5


def test_padding_changes_nothing_in_strict_mode() -> None:
    clips = [(clip(length), clip(length)) for length in (9, 14)]
    single, batch = JointErrors(), JointErrors()
    predicted, reference = torch.randn(2, 2, 14, 22, 3)
    mask = torch.zeros(2, 14, dtype=torch.bool)
    for row, (p, r) in enumerate(clips):
        single.update(p[None], r[None], torch.ones(1, len(p), dtype=torch.bool))
        predicted[row, : len(p)], reference[row, : len(p)], mask[row, : len(p)] = p, r, True
    batch.update(predicted, reference, mask)
    for name, value in single.compute().items():
        assert batch.compute()[name].item() == pytest.approx(value.item(), rel=1e-6)


@pytest.mark.parametrize(("kind", "expected"), [("pred", slice(9, 47)), ("inbetween", slice(11, 36))])
def test_hidden_frames(kind: str, expected: slice) -> None:
    assert hidden_frames(kind, 47, 60) == expected


@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_short_clips_have_hidden_frames(length: int) -> None:
    for kind in ("pred", "inbetween"):
        assert len(range(length)[hidden_frames(kind, length, length)]) >= 1


def test_completion_distance_is_the_norm_over_all_coordinates() -> None:
    reference = torch.zeros(1, 20, 22, 3)
    moved = reference.clone()
    moved[:, 4:, :, 0] = 0.5
    metric = CompletionErrors("pred")
    metric.update(moved, reference, torch.ones(1, 20, dtype=torch.bool))
    assert metric.compute()["ADE"].item() == pytest.approx(0.5 * 22**0.5)
    assert metric.compute()["FDE"].item() == pytest.approx(0.5 * 22**0.5)
