"""276 columns of a network made into one body: features of motions stay, errors become smaller, known rows stay."""

from dataclasses import replace

import pytest
import torch

from mld.motion.motion import Motion
from mld.motion.representations.reconciling import reconciled
from mld.motion.representations.registry import get_representation
from tests.walking import walker

COLUMNS = get_representation("motion276")
ABSOLUTE = replace(COLUMNS, integrate=False)
PLACES, STEPS = COLUMNS.blocks["joint_positions"], COLUMNS.blocks["joint_velocities"]


@pytest.fixture(scope="module")
def foreign() -> torch.Tensor:
    """Features (80, 276) of a walk of some body."""
    return COLUMNS.encode(Motion(walker(81, turning=0.02), 20.0))


@pytest.fixture(scope="module")
def walk(foreign: torch.Tensor) -> torch.Tensor:
    """Features (79, 276) of the walk on the skeleton's own body."""
    return COLUMNS.encode(Motion(COLUMNS.decode_joints_from_rotations(foreign), 20.0))


def nobody(features: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(features), dtype=torch.bool)


def foretold(features: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Features as of a network: each joint is off by 5 cm all the time, with errors of 3 cm in places and of 1 cm in
    steps besides, those of the root alike."""
    noisy, generator = features.clone(), torch.Generator().manual_seed(seed)
    noisy[:, PLACES] += 0.05 * torch.randn(66, generator=generator)
    for name, size in (("joint_positions", 0.03), ("joint_velocities", 0.01), ("root_translation", 0.03),
                       ("root_translation_velocity", 0.01)):  # fmt: skip
        columns = COLUMNS.blocks[name]
        noisy[:, columns] += size * torch.randn(noisy[:, columns].shape, generator=generator)
    return noisy


def off(joints: torch.Tensor, truth: torch.Tensor) -> float:
    return float((joints - truth).norm(dim=-1).mean())


def test_features_of_a_motion_stay_what_they_are(walk: torch.Tensor) -> None:
    found = COLUMNS.reconciled(walk, nobody(walk))
    height = torch.zeros(276)  # the lowest frames of all are on the floor, not the lowest one
    height[PLACES.start + 2 : PLACES.stop : 3] = height[COLUMNS.blocks["root_translation"].start + 2] = 0.03
    assert ((found - walk).abs() <= height + 2e-5)[:-1].all(), (found - walk).abs().amax(0)


@pytest.mark.parametrize("seed", range(3))
def test_what_agrees_is_nearer_than_places_alone_and_than_steps_alone(walk: torch.Tensor, seed: int) -> None:
    noisy, truth = foretold(walk, seed), COLUMNS.decode_joints(walk)
    found = COLUMNS.decode_joints(COLUMNS.reconciled(noisy, nobody(walk)))
    assert off(found, truth) < 0.5 * off(ABSOLUTE.decode_joints(noisy), truth)
    assert off(found, truth) < 0.5 * off(COLUMNS.decode_joints(noisy), truth)
    assert float(found.diff(n=3, dim=0).norm(dim=-1).mean()) < 0.4 * float(
        ABSOLUTE.decode_joints(noisy).diff(n=3, dim=0).norm(dim=-1).mean()
    )


def test_bones_are_those_of_the_body(walk: torch.Tensor) -> None:
    joints = COLUMNS.decode_joints(COLUMNS.reconciled(foretold(walk), nobody(walk)))
    lengths = (joints[:, 1:] - joints[:, list(COLUMNS.skeleton.parents[1:])]).norm(dim=-1)
    wanted = COLUMNS.standard_offsets[1:].norm(dim=-1).float()
    torch.testing.assert_close(lengths, wanted.expand_as(lengths), atol=1e-4, rtol=0)
    assert abs(float(joints[..., 1].amin(-1).quantile(0.05))) < 1e-4, "it stands on the floor"


def test_both_ways_of_decoding_are_then_one(walk: torch.Tensor) -> None:
    found = COLUMNS.reconciled(foretold(walk), nobody(walk))
    torch.testing.assert_close(COLUMNS.decode_joints(found), ABSOLUTE.decode_joints(found), atol=1e-4, rtol=0)
    by_rotations = COLUMNS.decode_joints_from_rotations(found)
    torch.testing.assert_close(COLUMNS.decode_joints(found), by_rotations, atol=1e-4, rtol=0)


def test_known_rows_stay_and_lend_their_bones(foreign: torch.Tensor) -> None:
    """Also of a body that is not the skeleton's: what follows is of that body, in the same place."""
    known = nobody(foreign)
    known[:20] = True
    moved = foreign.clone()
    moved[20:, PLACES] += 0.2  # a jump that neither steps nor rotations speak of
    found = COLUMNS.reconciled(moved, known)
    torch.testing.assert_close(found[:20], foreign[:20], atol=1e-4, rtol=0)
    torch.testing.assert_close(COLUMNS.decode_joints(found), COLUMNS.decode_joints(foreign), atol=1e-3, rtol=0)


def test_known_places_draw_the_others_along() -> None:
    places, known = torch.zeros(30, 3), torch.zeros(30, dtype=torch.bool)
    known[:10] = True
    places[10:] = 0.2  # a jump that no step speaks of
    found = reconciled(places, torch.zeros(30, 3), known)
    assert float(found[:10].abs().max()) < 1e-4 and float(found[10].max()) < 0.06
    assert float(found[-1].min()) > 0.19


def test_single_rows_and_other_representations_stay(walk: torch.Tensor) -> None:
    single = COLUMNS.reconciled(walk[:1], nobody(walk[:1]))
    assert single.shape == (1, 276) and bool(single.isfinite().all())
    other = torch.randn(9, 272)
    assert get_representation("motion272").reconciled(other, nobody(other)) is other
