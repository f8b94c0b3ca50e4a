"""Rigs: validity, forward kinematics against a plain recursion, resampling, names."""

from __future__ import annotations

import pytest
import roma
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mld.errors import DataError
from mld.motion.euler import euler_to_matrix, matrix_to_euler
from mld.motion.formats.numbers import format_numbers, parse_numbers
from mld.motion.rig.rig import Rig, RigMotion, distinct_names


def random_rig(seed: int, joints: int = 7, frames: int = 5) -> RigMotion:
    generator = torch.Generator().manual_seed(seed)
    parents = (-1, *(int(torch.randint(0, joint, (), generator=generator)) for joint in range(1, joints)))
    offsets = torch.randn(joints, 3, generator=generator, dtype=torch.float64)
    turns = roma.rotvec_to_rotmat(torch.randn(frames, joints, 3, generator=generator))
    rig = Rig(tuple(f"joint{i}" for i in range(joints)), parents, offsets)
    return RigMotion(rig, turns, torch.randn(frames, 3, generator=generator), 30.0)


@given(st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_positions_are_those_of_a_plain_recursion(seed):
    motion = random_rig(seed)

    def place(joint, frame):
        parent = motion.rig.parents[joint]
        if parent < 0:
            return motion.translation[frame].double(), motion.rotations[frame, joint].double()
        at, turn = place(parent, frame)
        return at + turn @ motion.rig.offsets[joint], turn @ motion.rotations[frame, joint].double()

    found = motion.positions()
    for joint in range(motion.rig.num_joints):
        assert torch.allclose(found[3, joint].double(), place(joint, 3)[0], atol=1e-5)


def test_the_rest_pose_stands_where_the_root_rests():
    motion = random_rig(3)
    still = RigMotion(motion.rig, torch.eye(3).expand(1, 7, 3, 3), motion.rig.offsets[:1], 30.0)
    assert torch.allclose(still.positions()[0].double(), motion.rig.rest_positions(), atol=1e-6)
    assert torch.allclose(motion.rig.scaled(2.0).rest_positions(), 2 * motion.rig.rest_positions())


def test_resampling_keeps_the_frames_that_fall_together():
    motion = random_rig(1, frames=9)
    faster = motion.resample(60.0)
    assert faster.num_frames == 17 and faster.fps == 60
    assert torch.allclose(faster.positions()[::2], motion.positions(), atol=1e-5)
    assert torch.allclose(faster.rotations @ faster.rotations.transpose(-1, -2), torch.eye(3), atol=1e-5)


@pytest.mark.parametrize(
    ("names", "parents", "message"),
    [(("a", "b"), (-1, 1), "before"), (("a", "b"), (-1, -1), "only root"), (("a", "a"), (-1, 0), "two joints"),
     (("a", "b"), (-1,), "one of each"), ((), (), "one of each")],
)  # fmt: skip
def test_trees_that_are_none_are_refused(names, parents, message):
    with pytest.raises(DataError, match=message):
        Rig(names, parents, torch.zeros(len(names), 3))


def test_a_motion_has_to_fit_its_rig():
    rig = Rig(("a",), (-1,), torch.zeros(1, 3))
    with pytest.raises(DataError, match="do not fit"):
        RigMotion(rig, torch.zeros(2, 3, 3, 3), torch.zeros(2, 3), 20)
    with pytest.raises(DataError, match="0 frames"):
        RigMotion(rig, torch.zeros(0, 1, 3, 3), torch.zeros(0, 3), 20)


def test_names_become_distinct():
    names, notes = distinct_names(["a", "b", "a", "a_2", "a"])
    assert len(set(names)) == 5 and names[:2] == ("a", "b") and len(notes) == 3


@given(st.permutations("XYZ"), st.integers(0, 1000), st.booleans())
@settings(max_examples=40, deadline=None)
def test_euler_angles_go_there_and_back(order, seed, locked):
    order = "".join(order)
    angles = 3 * torch.randn(20, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if locked:
        angles[:, 1] = torch.pi / 2
    matrix = euler_to_matrix(angles, order)
    assert torch.allclose(matrix, roma.euler_to_rotmat(order, list(angles.unbind(-1))), atol=1e-12)
    assert torch.allclose(euler_to_matrix(matrix_to_euler(matrix, order), order), matrix, atol=1e-7)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=30), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_numbers_as_text_read_back(values, decimals):
    table = torch.tensor(values, dtype=torch.float64)[None].numpy()
    text = format_numbers(table, decimals)
    assert text.count(b"\n") == 1
    assert abs(parse_numbers(text) - table[0]).max() <= 0.51 * 10.0**-decimals + 1e-6


def test_text_that_is_no_number_is_refused():
    for text in (b"1 2 x", b"1,2", b"0x10"):
        with pytest.raises(ValueError, match=r"."):
            parse_numbers(text)
    with pytest.raises(ValueError, match="too large"):
        format_numbers(torch.tensor([[float("nan")]]).numpy())
