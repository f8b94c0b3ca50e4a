import pytest
import torch

from mld.errors import ConfigError
from mld.motion.skeletons import get_skeleton, skeleton_names, skeleton_with


@pytest.mark.parametrize("name", skeleton_names())
def test_a_skeleton_is_consistent(name):
    skeleton = get_skeleton(name)
    count = skeleton.num_joints
    assert len(skeleton.joint_names) == len(set(skeleton.joint_names)) == count
    assert len(skeleton.raw_offsets) == len(skeleton.bone_lengths) == count
    assert all(parent < joint for joint, parent in enumerate(skeleton.parents))
    assert all(skeleton.parents[child] == joint for chain in skeleton.chains for joint, child in zip(chain, chain[1:]))
    assert sorted({joint for chain in skeleton.chains for joint in chain}) == list(range(count))
    assert all(length > 0 for length in skeleton.bone_lengths[1:])


@pytest.mark.parametrize("name", skeleton_names())
def test_mirroring_pairs_left_with_right(name):
    skeleton = get_skeleton(name)
    for joint, other in enumerate(skeleton.mirror_index):
        swapped = {"l": "r", "r": "l"}
        mine = skeleton.joint_names[joint]
        wanted = swapped[mine[0]] + mine[1:] if mine[:2] in ("l_", "r_") else mine
        assert skeleton.joint_names[other] == wanted
    assert {skeleton.mirror_index[joint] for joint in skeleton.left_foot} == set(skeleton.right_foot)
    parents = skeleton.parents
    assert all(parents[skeleton.mirror_index[j]] == skeleton.mirror_index[parents[j]] for j in range(1, len(parents)))
    right_hip, left_hip, right_shoulder, left_shoulder = (skeleton.joint_names[j] for j in skeleton.face_joints)
    assert (right_hip, left_hip) == ("r_hip", "l_hip")
    assert (right_shoulder, left_shoulder) == ("r_shoulder", "l_shoulder")


def test_arm_chains_hang_from_the_pelvis_as_published():
    skeleton = get_skeleton("smpl22")
    assert skeleton.rotation_parents[skeleton.index("l_collar")] == 0
    assert skeleton.parents[skeleton.index("l_collar")] == skeleton.index("spine3")


def test_bone_lengths_of_a_pose():
    skeleton = get_skeleton("smpl22")
    pose = torch.randn(22, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fitted = skeleton.with_bone_lengths(pose)
    assert fitted.bone_lengths[4] == pytest.approx(float((pose[4] - pose[1]).norm()))
    assert fitted.offsets[4].tolist() == pytest.approx([0, -fitted.bone_lengths[4], 0])


def test_unknown_names_and_sizes():
    with pytest.raises(ConfigError, match="did you mean 'smpl22'"):
        get_skeleton("smpl2")
    assert skeleton_with(21).name == "kit21"
    assert skeleton_with(23) is None
