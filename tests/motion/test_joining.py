"""One motion behind another: joints as they are stitched, rotations of both kept."""

from __future__ import annotations

import dataclasses

import pytest
import roma
import torch

from mld.data.config import DataConfig
from mld.data.sources.opening import build_source
from mld.errors import DataError
from mld.motion import kinematics, stitch
from mld.motion.joining import behind
from mld.motion.motion import Motion
from mld.motion.representations.registry import get_representation
from mld.motion.rig.rest_pose import offsets_of, solve

CLIPS = build_source(DataConfig(procedural_size=12, representation="motion272", max_frames=300), "train")
REPRESENTATION = get_representation("motion272")


def captured(number: int) -> Motion:
    """A made-up motion whose forearms roll about themselves, which positions do not tell."""
    motion = REPRESENTATION.decode(CLIPS[number].features)
    local, offsets = solve(motion)
    for name, end in (("l_elbow", "l_wrist"), ("r_elbow", "r_wrist")):
        joint, bone = motion.skeleton.index(name), offsets[motion.skeleton.index(end)]
        angle = torch.linspace(0.5, 1.5, motion.num_frames, dtype=torch.float64)[:, None]
        local[:, joint] = local[:, joint] @ roma.rotvec_to_rotmat(angle * bone / bone.norm())
    return dataclasses.replace(motion, rotations=local.float(), translation=motion.joints[:, 0])


def angles(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Degrees between rotations (..., 3, 3)."""
    return torch.rad2deg(roma.rotmat_to_rotvec(a.double() @ b.double().transpose(-1, -2)).norm(dim=-1))


@pytest.mark.parametrize(("one", "two"), [(0, 1), (2, 3), (4, 5), (6, 7), (8, 8)])
def test_rotations_of_both_are_kept(one: int, two: int) -> None:
    head, rest = captured(one), captured(two)
    joined = behind(head, rest)
    assert torch.equal(joined.joints, stitch.extend(head.joints, rest.joints, head.skeleton))
    assert torch.equal(joined.rotations[: head.num_frames], head.rotations)
    later = joined.rotations[head.num_frames + stitch.LONGEST_BLEND :]
    own = rest.rotations[stitch.LONGEST_BLEND :]
    assert torch.equal(later[:, 1:], own[:, 1:])
    turns = later[:, 0] @ own[:, 0].transpose(-1, -2)  # all by one yaw
    assert angles(turns, turns[:1].expand_as(turns)).max() < 0.05 and abs(float(turns[0, 1, 1]) - 1) < 1e-5


@pytest.mark.parametrize(("one", "two"), [(0, 1), (2, 3), (4, 5), (6, 7)])
def test_they_lead_to_the_joints_and_do_not_jump(one: int, two: int) -> None:
    head, rest = captured(one), captured(two)
    joined = behind(head, rest)
    root = joined.joints[:, 0].double()
    placed = kinematics.forward(root, joined.rotations.double(), offsets_of(joined), joined.skeleton.parents)[0]
    apart = (placed - joined.joints).norm(dim=-1)
    window = slice(head.num_frames, head.num_frames + stitch.LONGEST_BLEND)
    assert apart.max() < 0.08 and apart[window].mean() < 0.02  # metres
    steps = angles(joined.rotations[1:], joined.rotations[:-1])
    around = steps[head.num_frames - 2 : head.num_frames + stitch.LONGEST_BLEND]
    usual = max(angles(motion.rotations[1:], motion.rotations[:-1]).max() for motion in (head, rest))
    assert around.max() < usual + 25  # degrees a frame: BLEND_TURN and what the motion does itself


def test_without_rotations_of_both_there_are_none() -> None:
    head, rest = captured(0), captured(1)
    bare = dataclasses.replace(rest, rotations=None, translation=None)
    assert behind(head, bare).rotations is None and behind(bare, head).rotations is None
    assert torch.equal(behind(head, bare).joints, behind(head, rest).joints)


def test_a_single_frame_follows() -> None:
    head, rest = captured(0), captured(1).crop(0, 1)
    assert behind(head, rest).num_frames == head.num_frames + 1


def test_other_frame_rates_are_refused() -> None:
    head, rest = captured(0), captured(1)
    with pytest.raises(DataError, match="one skeleton and frame rate"):
        behind(head, dataclasses.replace(rest, fps=20.0))
