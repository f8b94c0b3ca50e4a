import math

import numpy as np
import roma
import torch
from scipy.spatial.transform import Rotation, Slerp

from mld.motion import rotations


def _unit(*shape, seed=0):
    vectors = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return vectors / vectors.norm(dim=-1, keepdim=True)


def test_between_takes_a_to_b():
    a, b = _unit(50, 3, seed=1), _unit(50, 3, seed=2)
    torch.testing.assert_close(roma.quat_action(rotations.between(a, b), a), b)


def test_between_antiparallel_or_zero_is_the_identity():
    up, none = torch.tensor([[0.0, 1.0, 0.0]]), torch.zeros(1, 3)
    identity = [[0.0, 0.0, 0.0, 1.0]]
    assert rotations.between(up, -up).tolist() == identity
    assert rotations.between(up, none).tolist() == identity


def test_relative_is_inverse_times():
    a, b = _unit(20, 4, seed=3), _unit(20, 4, seed=4)
    torch.testing.assert_close(rotations.relative(a, b), roma.quat_product(roma.quat_conjugation(a), b))


def test_6d_round_trip():
    quaternion = _unit(20, 4, seed=5)
    matrix = roma.unitquat_to_rotmat(quaternion)
    columns = rotations.matrix_to_6d(matrix)
    torch.testing.assert_close(columns, rotations.quaternion_to_6d(quaternion))
    torch.testing.assert_close(rotations.matrix_from_6d(columns), matrix)
    assert columns[0].tolist() == [*matrix[0, :, 0].tolist(), *matrix[0, :, 1].tolist()]


def test_turn_to_front():
    angles = torch.linspace(-3.1, 3.1, 40, dtype=torch.float64)
    forward = torch.stack([angles.sin(), angles.cos()], dim=-1) * 3
    turn = rotations.turn_to_front(forward)
    assert (turn[:, 0] >= 0).all()
    world = torch.stack([forward[:, 0], torch.zeros(40).double(), forward[:, 1]], dim=-1)
    front = rotations.apply_turn(turn, world)
    torch.testing.assert_close(front, torch.tensor([0.0, 0.0, 3.0]).double().expand(40, 3), atol=1e-12, rtol=0)
    torch.testing.assert_close(rotations.apply_turn(rotations.undo(turn), front), world)
    by_matrix = (rotations.turn_to_matrix(turn) @ world[..., None])[..., 0]
    torch.testing.assert_close(by_matrix, front)


def test_turn_to_front_without_an_answer_is_the_identity():
    for direction in ([0.0, -1.0], [0.0, 0.0]):
        assert rotations.turn_to_front(torch.tensor(direction)).tolist() == [1.0, 0.0]


def test_slerp_agrees_with_scipy_and_takes_the_short_way():
    ends = Rotation.random(2, random_state=0)
    fraction = np.linspace(0, 1, 7)
    wanted = Slerp([0, 1], ends)(fraction).as_matrix()
    start, end = (torch.tensor(ends[i].as_matrix()).expand(7, 3, 3) for i in (0, 1))
    torch.testing.assert_close(rotations.slerp(start, end, torch.tensor(fraction)), torch.tensor(wanted))
    halfway = rotations.slerp(*(rotations.turn_to_matrix(rotations.turn_from_half_angle(torch.tensor([a / 2]).double()))
                                for a in (math.radians(170), math.radians(-170))), torch.tensor([0.5]).double())
    back = rotations.turn_to_matrix(rotations.turn_from_half_angle(torch.tensor([math.pi / 2]).double()))
    torch.testing.assert_close(halfway, back)
