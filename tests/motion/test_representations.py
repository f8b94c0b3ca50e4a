import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mld.errors import ConfigError, DataError
from mld.motion import edit, kinematics, rotations
from mld.motion.motion import Motion
from mld.motion.representations.registry import get_representation, representation_of_width
from tests.motion.moves import random_joints, random_motion

NAMES = ["humanml3d", "kit"]
seeds = st.integers(0, 100_000)
few = settings(max_examples=8, deadline=None)


def _close(got, wanted, representation, metres=1e-6):
    """Equal within `metres` (in the unit of the features), contacts bit by bit."""
    torch.testing.assert_close(got, wanted, atol=metres / representation.skeleton.metres_per_unit, rtol=0)
    contacts = representation.blocks["foot_contacts"]
    assert torch.equal(got[..., contacts], wanted[..., contacts])


@pytest.mark.parametrize("name, width, fps", [("humanml3d", 263, 20.0), ("kit", 251, 12.5)])
def test_blocks_cover_the_columns_once(name, width, fps):
    representation = get_representation(name)
    assert (representation.width, representation.fps) == (width, fps)
    covered = [column for part in representation.blocks.values() for column in range(part.start, part.stop)]
    assert covered == list(range(width))
    assert representation is representation_of_width(width)


def test_unknown_representation_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'humanml3d'"):
        get_representation("humanml")


@few
@given(seeds, st.sampled_from(NAMES))
def test_decoding_gives_the_canonical_joints(seed, name):
    """For clips whose heading stays within 180 degrees, as defect 5 breaks the others."""
    representation = get_representation(name)
    joints = random_joints(seed, 40, representation.skeleton, turn=0.6)[None]
    canonical = representation.canonical_joints(joints)[:, :-1]
    features = representation.encode_joints(joints)
    tolerance = 1e-6 / representation.skeleton.metres_per_unit
    torch.testing.assert_close(representation.decode_joints(features), canonical, atol=tolerance, rtol=0)
    from_rotations = representation.decode_joints_from_rotations(features)
    torch.testing.assert_close(from_rotations, canonical, atol=tolerance, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_that_turns_round_decodes_only_without_defect_5(name):
    representation = get_representation(name)
    still = random_joints(11, 240, representation.skeleton, turn=0.2)
    spin = kinematics.yaw_turn(torch.linspace(0, 4 * math.pi, 240, dtype=torch.float64))
    joints = rotations.apply_turn(spin[:, None], still)[None]
    canonical = representation.canonical_joints(joints)[:, :-1]
    errors = {}
    for compat in (True, False):
        decoded = representation.decode_joints(representation.encode_joints(joints, compat=compat))
        errors[compat] = float((decoded - canonical).abs().max()) * representation.skeleton.metres_per_unit
    assert errors[False] < 1e-6 and errors[True] > 0.05


@few
@given(seeds, st.sampled_from(NAMES), st.floats(-3, 3), st.floats(-2, 2), st.floats(-2, 2))
def test_features_do_not_depend_on_place_and_heading(seed, name, yaw, x, z):
    representation = get_representation(name)
    joints = random_joints(seed, 40, representation.skeleton)[None]
    shift = torch.tensor([x, 0.3, z], dtype=torch.float64) / representation.skeleton.metres_per_unit
    moved = rotations.apply_turn(kinematics.yaw_turn(yaw), joints) + shift
    _close(representation.encode_joints(moved), representation.encode_joints(joints), representation)


@few
@given(seeds, st.sampled_from(NAMES))
def test_mirrored_features_are_features_of_mirrored_joints(seed, name):
    """Exactly so with the clip's own bones; the target skeleton has left and right bones of unequal length."""
    representation = get_representation(name)
    joints = random_joints(seed, 40, representation.skeleton)[None]
    mirrored = kinematics.mirror(joints, representation.skeleton)
    features = representation.encode_joints(joints, retarget=False)
    _close(representation.mirror(features), representation.encode_joints(mirrored, retarget=False), representation)
    assert torch.equal(representation.mirror(representation.mirror(features)), features)
    near = representation.decode_joints(representation.mirror(representation.encode_joints(joints)))
    exact = representation.decode_joints(representation.encode_joints(mirrored))
    assert (near - exact).abs().max() * representation.skeleton.metres_per_unit < 0.08


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("retarget", [True, False])
def test_a_masked_batch_gives_each_clip_its_own_features(name, retarget):
    representation = get_representation(name)
    lengths = [2, 61, 130, 97]
    clips = [random_joints(seed, length, representation.skeleton) for seed, length in enumerate(lengths)]
    batch = torch.full((4, 130, *clips[0].shape[1:]), float("nan"), dtype=torch.float64)
    for row, clip in zip(batch, clips):
        row[: len(clip)] = clip
    mask = torch.arange(130) < torch.tensor(lengths)[:, None]
    features = representation.encode_joints(batch, mask, retarget=retarget)
    assert features.shape == (4, 129, representation.width)
    for row, clip in zip(features, clips):
        alone = representation.encode_joints(clip[None], retarget=retarget)[0]
        _close(row[: len(alone)], alone, representation, metres=1e-12)
        assert not row[len(alone):].any()


@pytest.mark.parametrize("name", NAMES)
def test_float32_is_enough(name):
    representation = get_representation(name)
    joints = random_joints(5, 80, representation.skeleton)[None]
    features = representation.encode_joints(joints.float())
    assert features.dtype == torch.float32
    exact = representation.encode_joints(joints.float().double())
    tolerance = 1e-6 / representation.skeleton.metres_per_unit
    torch.testing.assert_close(features.double(), exact, atol=tolerance, rtol=1e-6)
    decoded = representation.decode_joints(features).double()
    torch.testing.assert_close(decoded, representation.decode_joints(exact), atol=10 * tolerance, rtol=1e-6)
    assert representation.decode_joints(features.half()).dtype == torch.float16


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("name", NAMES)
def test_the_gpu_gives_the_same(name):
    representation = get_representation(name)
    joints = torch.stack([random_joints(seed, 50, representation.skeleton) for seed in range(3)])
    mask = torch.arange(50) < torch.tensor([50, 20, 35])[:, None]
    features = representation.encode_joints(joints, mask)
    _close(representation.encode_joints(joints.cuda(), mask.cuda()).cpu(), features, representation)
    decoded = representation.decode_joints(features)
    torch.testing.assert_close(representation.decode_joints(features.cuda()).cpu(), decoded)
    assert torch.equal(representation.mirror(features.cuda()).cpu(), representation.mirror(features))


def test_a_facing_that_is_exactly_backwards_gives_no_nan():
    """Hips wider than shoulders: the published heading (hip term flipped) is exactly backwards, which is 0/0 there."""
    representation = get_representation("humanml3d")
    skeleton = representation.skeleton
    offsets = skeleton.offsets[1:].clone()
    mirrored = offsets[[joint - 1 for joint in skeleton.mirror_index[1:]]] * torch.tensor([-1.0, 1.0, 1.0])
    offsets = (offsets + mirrored) / 2
    for side in ("l_hip", "r_hip"):
        offsets[skeleton.index(side) - 1] *= 5
    pose = kinematics.place(torch.tensor([0.0, 1.0, 0.0]).double(), offsets, skeleton)
    still = pose.expand(1, 30, 22, 3)
    assert float(kinematics.facing(still, skeleton, hip_sign=-1.0)[0, 0, 1]) == -1.0
    features = representation.encode_joints(still, retarget=False)
    assert features.isfinite().all()
    decoded = representation.decode_joints(features)
    torch.testing.assert_close(decoded, representation.canonical_joints(still, retarget=False)[:, :-1])


def test_coinciding_joints_give_no_nan():
    representation = get_representation("humanml3d")
    assert representation.encode_joints(torch.zeros(1, 5, 22, 3)).isfinite().all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_bad_numbers_are_refused_by_clip(bad):
    joints = torch.stack([random_joints(seed, 10, get_representation("kit").skeleton) for seed in range(3)])
    joints[1, 4, 7, 2] = bad
    with pytest.raises(DataError, match="clip 1 of the batch"):
        get_representation("kit").encode_joints(joints)


def test_bad_shapes_and_masks_are_refused():
    representation = get_representation("humanml3d")
    with pytest.raises(DataError, match=r"\(B, T, 22, 3\)"):
        representation.encode_joints(torch.zeros(10, 22, 3))
    with pytest.raises(DataError, match="at least 2 frames"):
        representation.encode_joints(torch.zeros(1, 1, 22, 3))
    with pytest.raises(DataError, match="True for the first frames"):
        representation.encode_joints(torch.zeros(1, 3, 22, 3), torch.tensor([[True, False, True]]))
    for function in (representation.decode_joints, representation.mirror, representation.local_rotations):
        with pytest.raises(DataError, match="263"):
            function(torch.zeros(10, 251))
    with pytest.raises(DataError, match="features of one motion"):
        representation.decode(torch.zeros(2, 5, 263))


@pytest.mark.parametrize("name", NAMES)
def test_a_motion_goes_through_in_metres(name):
    representation = get_representation(name)
    motion = random_motion(2, 60, representation.skeleton.name, turn=0.6)
    features = representation.encode(motion)
    assert features.shape == (59, representation.width) and features.dtype == torch.float32
    again = representation.decode(features)
    assert (again.fps, again.skeleton, again.num_frames) == (representation.fps, representation.skeleton, 59)
    metres = representation.skeleton.metres_per_unit
    wanted = representation.canonical_joints(motion.joints[None] / metres)[0, :-1] * metres
    torch.testing.assert_close(again.joints, wanted.float(), atol=1e-5, rtol=0)
    assert 0.5 < float(again.joints[..., 1].max()) < 3.0


def test_another_frame_rate_is_resampled():
    motion = random_motion(3, 61)
    fast = Motion(edit.resample(motion, 60).joints, 60.0, motion.skeleton)
    features = get_representation("humanml3d").encode(fast)
    assert len(features) == 60
    torch.testing.assert_close(features, get_representation("humanml3d").encode(motion), atol=1e-4, rtol=0)


def test_decoding_lets_gradients_through_after_inference_mode():
    representation = get_representation("humanml3d")
    with torch.inference_mode():
        representation.mirror(torch.randn(4, 263))
    features = torch.randn(2, 5, 263, requires_grad=True)
    representation.decode_joints(representation.mirror(features)).square().sum().backward()
    assert features.grad.isfinite().all() and features.grad[..., 0].abs().max() > 0


def test_the_yaw_velocity_is_half_the_heading_step():
    """A still pose on a turntable: a constant step of the filtered heading, away from frame 0 and the clip's ends."""
    representation = get_representation("humanml3d")
    pose = kinematics.place(torch.tensor([0.0, 0.9, 0.0]).double(), representation.skeleton.offsets[1:],
                            representation.skeleton)
    angles = 0.002 * torch.arange(400, dtype=torch.float64)
    joints = rotations.apply_turn(kinematics.yaw_turn(angles)[:, None], pose[None])[None]
    features = representation.encode_joints(joints, retarget=False)
    middle = representation.block(features, "root_yaw_velocity")[0, 100:300, 0]
    torch.testing.assert_close(middle, torch.full((200,), -0.001).double(), atol=1e-6, rtol=0)
    height = representation.block(features, "root_height")[0, 0, 0]
    assert math.isclose(height, joints[0, 0, 0, 1] - joints[..., 1].min(), rel_tol=1e-9)
