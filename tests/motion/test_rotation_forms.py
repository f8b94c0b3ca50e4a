"""Forms of rotations, beside those of a library and of the definition; gradients where a rotation is none."""

from __future__ import annotations

import math

import pytest
import roma
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from mld.motion import rotations

CLOSE = {"atol": 1e-12, "rtol": 1e-12}
LENGTHS = (0.0, 1e-12, 1e-8, 1e-4, 0.5, 2.0, math.pi - 1e-6, math.pi)


def _vectors(count: int = 200) -> Tensor:
    """Rotation vectors (N, 3) float64 of all lengths up to half a turn."""
    axes = torch.nn.functional.normalize(torch.randn(count, 3, dtype=torch.float64, generator=_seeded()), dim=-1)
    lengths = torch.tensor(LENGTHS, dtype=torch.float64).repeat(count // len(LENGTHS) + 1)[:count]
    return torch.cat([axes * lengths[:, None], torch.eye(3, dtype=torch.float64) * math.pi])


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_vectors_become_the_matrices_of_two_libraries() -> None:
    vectors = _vectors()
    found = rotations.rotvec_to_matrix(vectors)
    torch.testing.assert_close(found, roma.rotvec_to_rotmat(vectors), **CLOSE)
    torch.testing.assert_close(found, torch.from_numpy(Rotation.from_rotvec(vectors.numpy()).as_matrix()), **CLOSE)


def test_matrices_become_vectors_and_the_same_matrices_again() -> None:
    vectors = _vectors()
    matrices = rotations.rotvec_to_matrix(vectors)
    again = rotations.matrix_to_rotvec(matrices)
    assert float(again.norm(dim=-1).max()) <= math.pi + 1e-12
    torch.testing.assert_close(rotations.rotvec_to_matrix(again), matrices, **CLOSE)
    less = vectors.norm(dim=-1) < 3  # of half a turn the opposite vector is as good
    torch.testing.assert_close(again[less], vectors[less], atol=1e-12, rtol=1e-7)


def test_quaternions_of_matrices() -> None:
    matrices = rotations.rotvec_to_matrix(_vectors())
    found, library = rotations.matrix_to_quaternion(matrices), roma.rotmat_to_unitquat(matrices)
    same = torch.where((found * library).sum(-1, keepdim=True) < 0, -library, library)
    torch.testing.assert_close(found, same, **CLOSE)
    assert (found.gather(-1, found.abs().argmax(-1, keepdim=True)) > 0).all()
    torch.testing.assert_close(rotations.quaternion_to_matrix(found), matrices, **CLOSE)


@pytest.mark.parametrize("shape", [(0, 3, 3), (3, 3), (2, 5, 3, 3)])
def test_any_number_of_matrices(shape: tuple[int, ...]) -> None:
    matrices = torch.eye(3).expand(shape).contiguous()
    assert torch.equal(rotations.rotvec_to_matrix(rotations.matrix_to_rotvec(matrices)), matrices)
    assert torch.equal(rotations.nearest_rotation(matrices).abs(), matrices)


def test_the_nearest_rotation_is_that_of_the_library() -> None:
    """Of noisy and of mirrored matrices; a matrix that is one stays."""
    noisy = torch.randn(100, 3, 3, dtype=torch.float64, generator=_seeded())
    found = rotations.nearest_rotation(noisy)
    torch.testing.assert_close(torch.linalg.det(found), torch.ones(100, dtype=torch.float64), **CLOSE)
    torch.testing.assert_close(found, roma.special_procrustes(noisy), atol=1e-8, rtol=1e-8)
    turns = rotations.rotvec_to_matrix(_vectors())
    torch.testing.assert_close(rotations.nearest_rotation(turns), turns, **CLOSE)


def test_six_numbers_are_made_square_as_the_library_does() -> None:
    raw = torch.randn(50, 6, dtype=torch.float64, generator=_seeded())
    library = roma.special_gramschmidt(raw.unflatten(-1, (2, 3)).transpose(-1, -2))
    torch.testing.assert_close(rotations.matrix_from_6d(raw), library, **CLOSE)
    assert rotations.matrix_from_6d(torch.zeros(2, 6)).isfinite().all()


def test_gradients_where_nothing_turns() -> None:
    """Solvers start at no rotation at all."""
    zero = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(rotations.rotvec_to_matrix, torch.randn(4, 3, dtype=torch.float64).requires_grad_())
    assert torch.autograd.gradcheck(rotations.rotvec_to_matrix, zero)

    def there_and_back(vector: Tensor) -> Tensor:
        return rotations.matrix_to_rotvec(rotations.rotvec_to_matrix(vector))

    (slope,) = torch.autograd.grad(there_and_back(zero).sum(), zero)
    torch.testing.assert_close(slope, torch.ones_like(slope))
    jacobian = torch.func.vmap(torch.func.jacfwd(rotations.rotvec_to_matrix))(zero.detach())
    assert jacobian.isfinite().all()
