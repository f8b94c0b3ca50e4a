"""Places and steps of 276 columns that agree: features of motions stay, errors become smaller, known rows stay."""

from dataclasses import replace

import pytest
import torch

from mld.motion.motion import Motion
from mld.motion.representations.registry import get_representation
from tests.walking import walker

COLUMNS = get_representation("motion276")
ABSOLUTE = replace(COLUMNS, integrate=False)


@pytest.fixture(scope="module")
def walk() -> torch.Tensor:
    """Features (80, 276) of a walk."""
    return COLUMNS.encode(Motion(walker(81, turning=0.02), 20.0))


def nobody(features: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(features), dtype=torch.bool)


def foretold(features: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Features as of a network: places with errors of 3 cm, steps with errors of 1 cm."""
    noisy, generator = features.clone(), torch.Generator().manual_seed(seed)
    for name, size in (("joint_positions", 0.03), ("joint_velocities", 0.01)):
        columns = COLUMNS.blocks[name]
        noisy[:, columns] += size * torch.randn(noisy[:, columns].shape, generator=generator)
    return noisy


def test_features_of_a_motion_stay_what_they_are(walk: torch.Tensor) -> None:
    torch.testing.assert_close(COLUMNS.reconciled(walk, nobody(walk)), walk, atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", range(3))
def test_what_agrees_is_nearer_than_places_alone_and_than_steps_alone(walk: torch.Tensor, seed: int) -> None:
    noisy, truth = foretold(walk, seed), COLUMNS.decode_joints(walk)
    found = COLUMNS.decode_joints(COLUMNS.reconciled(noisy, nobody(walk)))

    def off(joints: torch.Tensor) -> float:
        return float((joints - truth).norm(dim=-1).mean())

    assert off(found) < 0.7 * off(ABSOLUTE.decode_joints(noisy))
    assert off(found) < 0.4 * off(COLUMNS.decode_joints(noisy))
    assert float(found.diff(n=3, dim=0).norm(dim=-1).mean()) < 0.3 * float(
        ABSOLUTE.decode_joints(noisy).diff(n=3, dim=0).norm(dim=-1).mean()
    )


def test_both_ways_of_decoding_are_then_one(walk: torch.Tensor) -> None:
    found = COLUMNS.reconciled(foretold(walk), nobody(walk))
    torch.testing.assert_close(COLUMNS.decode_joints(found), ABSOLUTE.decode_joints(found), atol=1e-4, rtol=0)
    turned = COLUMNS.decode(found).rotations, ABSOLUTE.decode(found).rotations
    torch.testing.assert_close(*turned, atol=1e-4, rtol=0)


def test_known_places_stay_and_draw_the_others_along(walk: torch.Tensor) -> None:
    moved, known = walk.clone(), nobody(walk)
    known[:20] = True
    moved[20:, COLUMNS.blocks["joint_positions"]] += 0.2  # a jump that no step speaks of
    found, places = COLUMNS.reconciled(moved, known), COLUMNS.blocks["joint_positions"]
    torch.testing.assert_close(found[:20, places], walk[:20, places], atol=1e-4, rtol=0)
    assert float((found[20, places] - walk[20, places]).abs().max()) < 0.06
    assert float((found[-1, places] - moved[-1, places]).abs().max()) < 0.01


def test_single_rows_and_other_representations_stay(walk: torch.Tensor) -> None:
    torch.testing.assert_close(COLUMNS.reconciled(walk[:1], nobody(walk[:1])), walk[:1], atol=1e-6, rtol=0)
    other = torch.randn(9, 272)
    assert get_representation("motion272").reconciled(other, nobody(other)) is other
