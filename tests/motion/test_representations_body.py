"""The 272 and 276 columns: joints and rotations there and back, in a stream, mirrored, in batches."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mld.errors import DataError
from mld.motion import edit, kinematics
from mld.motion.motion import Motion
from mld.motion.representations.base import ROLES
from mld.motion.representations.registry import get_representation, representation_names
from mld.motion.rig.rest_pose import offsets_of, solve
from tests.motion.moves import random_joints, random_motion
from tests.walking import walker

NAMES = ["motion272", "motion276"]
seeds = st.integers(0, 100_000)
few = settings(max_examples=8, deadline=None)


def walking(name, frames=50, **options):
    """A walk at the frame rate of the representation, without rotations."""
    return Motion(walker(frames, **options), get_representation(name).fps)


def turned(name, seed=0, frames=50):
    """Joints by FK of random rotations, upright enough to have a heading; both are in the motion."""
    representation = get_representation(name)
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(frames, dtype=torch.float64)[:, None, None] / 20
    speed, phase = (torch.rand(22, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    angles = 0.5 * (time * 3 * speed + 6 * phase).sin()
    angles[:, 0, 1] += 4 * time[:, 0, 0]
    local = torch.linalg.matrix_exp(_cross(angles))
    root = torch.stack([time[:, 0, 0].cos(), 0.9 + 0.1 * time[:, 0, 0].sin(), time[:, 0, 0]], dim=-1)
    offsets = representation.standard_offsets
    joints, _ = kinematics.forward(root, local, offsets, representation.skeleton.parents)
    return Motion(joints, representation.fps, representation.skeleton, local, root)


def _cross(v):
    x, y, z = v.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))


def placed(motion, like):
    """The motion turned about the vertical and moved over the ground and to the floor so that its root, hips and lowest
    joint in frame 0 are where those of `like` are."""
    across = [m.joints[0, 1] - m.joints[0, 2] for m in (motion, like)]
    yaw = [math.atan2(float(a[0]), float(a[2])) for a in across]
    moved = edit.transform(edit.center(motion), yaw=yaw[1] - yaw[0])
    return edit.transform(moved, x=float(like.joints[0, 0, 0]), z=float(like.joints[0, 0, 2]),
                          y=float(like.joints[..., 1].min() - moved.joints[: like.num_frames, :, 1].min()))


def cut(motion, representation):
    return motion.crop(0, representation.rows(motion.num_frames))


@pytest.mark.parametrize("name", representation_names())
def test_roles_cover_every_block_once(name):
    representation = get_representation(name)
    named = [block for blocks in representation.roles.values() for block in blocks]
    assert sorted(named) == sorted(representation.blocks) and set(representation.roles) <= set(ROLES)
    assert sorted(representation.columns(*ROLES)) == list(range(representation.width))
    assert len(representation.columns("positions")) % 3 == 0


@pytest.mark.parametrize("name, width, fps, rows", [("motion272", 272, 30.0, 7), ("motion276", 276, 20.0, 6)])
def test_blocks_cover_the_columns_once(name, width, fps, rows):
    representation = get_representation(name)
    assert (representation.width, representation.fps, representation.rows(7)) == (width, fps, rows)
    covered = [column for part in representation.blocks.values() for column in range(part.start, part.stop)]
    assert covered == list(range(width))


@pytest.mark.parametrize("name", NAMES)
@few
@given(seed=seeds)
def test_joints_come_back_within_a_tenth_of_a_millimetre(name, seed):
    representation = get_representation(name)
    motion = replace(random_motion(seed, 40), fps=representation.fps, rotations=None, translation=None)
    decoded = representation.decode(representation.encode(motion))
    wanted = placed(cut(motion, representation), decoded)
    torch.testing.assert_close(decoded.joints, wanted.joints, atol=1e-4, rtol=0)
    assert decoded.joints[0, 0, [0, 2]].norm() < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_solved_rotations_lead_to_the_joints(name):
    representation = get_representation(name)
    motion = walking(name, turning=0.03)
    features = representation.encode(motion)
    decoded = representation.decode(features)
    placed_joints, _ = kinematics.forward(
        decoded.translation, decoded.rotations, offsets_of(decoded).float(), representation.skeleton.parents
    )
    torch.testing.assert_close(placed_joints, decoded.joints, atol=2e-5, rtol=0)
    from_rotations = representation.decode_joints_from_rotations(features, solve(motion)[1])
    torch.testing.assert_close(from_rotations, decoded.joints, atol=2e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
@few
@given(seed=seeds)
def test_own_rotations_come_back_and_lead_to_the_joints(name, seed):
    representation = get_representation(name)
    motion = turned(name, seed)
    features = representation.encode(motion)
    decoded = representation.decode(features)
    torch.testing.assert_close(decoded.rotations[:, 1:], cut(motion, representation).rotations[:, 1:], atol=1e-5,
                               rtol=0)  # fmt: skip
    joints = representation.decode_joints_from_rotations(features)
    torch.testing.assert_close(joints, decoded.joints, atol=1e-4, rtol=0)
    torch.testing.assert_close(decoded.translation, decoded.joints[:, 0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
@few
@given(seed=seeds, yaw=st.floats(-3, 3), x=st.floats(-2, 2))
def test_features_do_not_depend_on_place_and_heading(name, seed, yaw, x):
    representation = get_representation(name)
    motion = turned(name, seed)
    moved = edit.transform(motion, yaw=yaw, x=x, y=0.3, z=-x)
    torch.testing.assert_close(representation.encode(moved), representation.encode(motion), atol=5e-5, rtol=0)


@few
@given(seeds, st.sampled_from(["humanml3d", "kit", *NAMES]), st.booleans(), st.data())
def test_a_stream_gives_what_the_whole_gives(seed, name, published, data):
    representation = get_representation(name)
    if name == "motion272":
        representation = replace(representation, compat=published)
    if name == "motion276":
        representation = replace(representation, integrate=published)
    generator = torch.Generator().manual_seed(seed)
    joints = random_joints(seed, 40, representation.skeleton)[None]
    features = representation.encode_joints(joints)[0]
    features = features + 0.1 * features.std() * torch.randn(features.shape, generator=generator, dtype=features.dtype)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(features) - 1), max_size=8)))
    stream = representation.stream()
    pieces = [stream.push(piece) for piece in torch.tensor_split(features, cuts)]
    whole = representation.decode_joints(features)
    torch.testing.assert_close(torch.cat(pieces), whole, atol=1e-9, rtol=1e-9)
    assert [len(piece) for piece in pieces] == [b - a for a, b in zip([0, *cuts], [*cuts, len(features)])]


def test_the_yaw_of_the_heading_is_all_there_is_in_features_of_motions():
    representation = get_representation("motion272")
    features = representation.encode(turned("motion272", frames=200)).double()
    published = replace(representation, compat=True)
    torch.testing.assert_close(representation.decode_joints(features), published.decode_joints(features), atol=1e-4,
                               rtol=0)  # fmt: skip


def test_long_streams_do_not_lean_over():
    """Heading columns of a network hold a little tilt; followed as published, it adds up."""
    representation = get_representation("motion272")
    features = representation.encode(walking("motion272", 3000)).double()
    noise = torch.randn(3000, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    features[:, representation.blocks["heading_delta"]] += 0.01 * noise
    spine = {}
    for published in (True, False):
        joints = replace(representation, compat=published).decode_joints(features)
        up = (joints[:, 3] - joints[:, 0]) / (joints[:, 3] - joints[:, 0]).norm(dim=-1, keepdim=True)
        spine[published] = float(up[:, 1].acos().max())
    assert spine[False] < 0.05 < 0.2 < spine[True]


@pytest.mark.parametrize("name", NAMES)
def test_mirrored_twice_is_the_same_and_once_is_the_mirrored_motion(name):
    """Bodies in the T-pose table are not quite symmetric; the walker is."""
    representation = get_representation(name)
    features = representation.encode(turned(name)).double()
    torch.testing.assert_close(representation.mirror(representation.mirror(features)), features, atol=1e-12, rtol=0)
    motion = walking(name, turning=0.02)
    local, _ = solve(motion)
    motion = replace(motion, rotations=local, translation=motion.joints[:, 0])
    mirrored = representation.mirror(representation.encode(motion))
    torch.testing.assert_close(mirrored, representation.encode(edit.mirror(motion)), atol=2e-6, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_masked_batch_gives_each_clip_its_own_features(name):
    representation = get_representation(name)
    lengths = [2, 31, 17]
    batch = torch.full((3, 31, 22, 3), float("nan"), dtype=torch.float64)
    for number, length in enumerate(lengths):
        batch[number, :length] = random_joints(number, length, representation.skeleton)
    features = representation.encode_joints(batch, torch.arange(31) < torch.tensor(lengths)[:, None])
    assert features.shape == (3, representation.rows(31), representation.width)
    for row, joints, length in zip(features, batch, lengths):
        alone = representation.encode_joints(joints[None, :length])[0]
        torch.testing.assert_close(row[: len(alone)], alone)
        assert not row[len(alone):].any()
        one = representation.encode(Motion(joints[:length], representation.fps))
        torch.testing.assert_close(one, alone.float(), atol=1e-3, rtol=0)
    joints = representation.decode_joints(features)
    assert joints.shape == (3, representation.rows(31), 22, 3) and joints.isfinite().all()
    torch.testing.assert_close(joints[1], representation.decode_joints(features[1]))


@pytest.mark.parametrize("name", NAMES)
def test_another_frame_rate_is_resampled_by_slerp(name):
    representation = get_representation(name)
    motion = replace(turned(name, frames=80), fps=47.0)
    features = representation.encode(motion)
    again = edit.resample(motion, representation.fps)
    torch.testing.assert_close(features, representation.encode(again))
    identity = again.rotations.double().transpose(-1, -2) @ again.rotations.double()
    torch.testing.assert_close(identity, torch.eye(3).double().expand_as(identity), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(again.rotations), torch.ones(again.rotations.shape[:2]))
    torch.testing.assert_close(again.translation, again.joints[:, 0])


@pytest.mark.parametrize("name", representation_names())
def test_a_still_row_stands_still(name):
    representation = get_representation(name)
    motion = random_motion(3, 30, representation.skeleton.name)
    features = representation.encode(replace(motion, rotations=None))
    joints = representation.decode_joints(representation.still(features.mean(0)).expand(50, -1))
    assert (joints - joints[:1]).abs().max() * representation.skeleton.metres_per_unit < 1e-6


def test_one_frame_is_a_row_of_272_and_none_of_276():
    motion = walking("motion272", 1)
    features = get_representation("motion272").encode(motion)
    assert features.shape == (1, 272) and not features[0, :2].any() and not features[0, 74:140].any()
    torch.testing.assert_close(get_representation("motion272").decode(features).joints[0],
                               placed(motion, get_representation("motion272").decode(features)).joints[0])
    with pytest.raises(DataError, match="at least 2 frames"):
        get_representation("motion276").encode(walking("motion276", 1))


@pytest.mark.parametrize("name", NAMES)
def test_bad_motions_and_features_are_refused(name):
    representation = get_representation(name)
    joints = walker(10)
    joints[4, 7, 2] = float("nan")
    with pytest.raises(DataError, match="frame 4"):
        representation.encode(Motion(joints, representation.fps))
    with pytest.raises(DataError, match="clip 0 of the batch"):
        representation.encode_joints(joints[None])
    for function in (representation.decode_joints, representation.mirror, representation.decode_rotations):
        with pytest.raises(DataError, match=rf"\(..., T, {representation.width}\)"):
            function(torch.zeros(3, 263))
    with pytest.raises(DataError, match="one motion"):
        representation.decode(torch.zeros(2, 3, representation.width))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("name", NAMES)
def test_the_gpu_gives_the_same(name):
    representation = get_representation(name)
    features = representation.encode(walking(name)).double()
    torch.testing.assert_close(representation.decode_joints(features.cuda()).cpu(),
                               representation.decode_joints(features))
    assert torch.equal(representation.mirror(features.cuda()).cpu(), representation.mirror(features))


@pytest.mark.parametrize("name", NAMES)
def test_a_part_is_what_its_frames_give_alone(name):
    """Without its rotations or places being asked for: up to where it stands, which is where a motion begins."""
    representation = get_representation(name)
    motion = turned(name, seed=3)
    rows = representation.encode(motion)
    alone = replace(
        motion, joints=motion.joints[12:40], rotations=motion.rotations[12:40], translation=motion.translation[12:40]
    )
    wanted = representation.encode(alone)
    found = representation.part(rows, 12, 12 + len(wanted))
    torch.testing.assert_close(found, wanted, atol=2e-5, rtol=1e-4)
    assert torch.equal(rows, representation.encode(motion))
