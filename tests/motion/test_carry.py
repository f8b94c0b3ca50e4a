"""KIT motions on smpl22 and back."""

import numpy as np
import pytest
import torch

from mld.data.own_motions import trial_motion
from mld.motion.carry import on_skeleton
from mld.motion.motion import Motion
from mld.motion.representations.registry import get_representation
from mld.motion.skeletons import get_skeleton
from prepare import fit, import_motion
from tests.motion.moves import random_motion
from tests.walking import walker

LIMBS = [f"{side}_{joint}" for side in "lr" for joint in ("hip", "knee", "ankle", "foot", "shoulder", "elbow", "wrist")]


def mirrored_names(motion: Motion) -> Motion:
    """The same joints under the names of the other side."""
    return Motion(motion.joints[:, list(motion.skeleton.mirror_index)], motion.fps, motion.skeleton)


@pytest.mark.parametrize("turn", [0.0, 2.0])
def test_there_and_back_keeps_the_limbs_and_the_trunk_to_some_centimetres(turn):
    motion = Motion(walker(40, yaw=turn, turning=0.05), 20.0)
    back = on_skeleton(on_skeleton(motion, "kit21"), "smpl22")
    off = (back.joints - motion.joints).norm(dim=-1).amax(0)
    assert back.fps == 20 and float(off.max()) < 0.10
    assert float(off[[motion.skeleton.index(name) for name in LIMBS]].max()) < 1e-5


def test_the_order_is_that_of_the_published_joints_and_toes_tell_the_sides():
    motion = Motion(walker(40), 20.0)
    kit = on_skeleton(motion, "kit21")
    left = motion.skeleton.index("l_wrist")
    torch.testing.assert_close(kit.joints[:, 7], motion.joints[:, left])  # root, 3 of the trunk, head, left arm
    for given in (kit, mirrored_names(kit)):
        carried = on_skeleton(given, "smpl22")
        torch.testing.assert_close(carried.joints[:, left], motion.joints[:, left])


def test_representations_take_motions_of_either_skeleton():
    kit = random_motion(skeleton="kit21")
    features = get_representation("humanml3d").encode(kit)
    assert features.shape[1] == 263 and features.isfinite().all()
    assert get_representation("kit").encode(Motion(walker(40), 20.0)).shape[1] == 251


@pytest.mark.parametrize("unit", [1.0, 1000.0])
def test_commands_carry_what_comes_on_the_skeleton_of_kit(tmp_path, capsys, unit):
    """Import of joints in metres and millimetres, and fits of SMPL parameters, which need smpl22."""
    motion = Motion(walker(60), 12.5)
    np.save(tmp_path / "kit.npy", unit * on_skeleton(motion, "kit21").joints.numpy())
    files = [str(tmp_path / "kit.npy"), str(tmp_path / "out"), "--fps", "12.5", "--keep-place"]
    assert import_motion.main([*files, "--format", "npy,npz,bvh,glb,csv"]) == 0
    assert "carried from the 21 joints of kit21 onto smpl22" in capsys.readouterr().out
    limbs = [motion.skeleton.index(name) for name in LIMBS]
    for suffix in ("npy", "npz", "bvh", "csv"):
        back = Motion.load(tmp_path / "out" / f"kit.{suffix}")
        assert back.skeleton.name == "smpl22"
        assert float((back.joints - motion.joints)[:, limbs].norm(dim=-1).max()) < 0.02
    assert fit.main([str(tmp_path / "kit.npy"), str(tmp_path / "fitted")]) == 0
    assert Motion.load(next((tmp_path / "fitted").rglob("*.npz"))).num_frames == 60
    assert trial_motion(tmp_path / "kit.npy", 12.5).joints.shape == (60, 22, 3)
    Motion(on_skeleton(motion, "kit21").joints, 12.5, get_skeleton("kit21")).save(tmp_path / "direct.npz")
    assert Motion.load(tmp_path / "direct.npz").num_frames == 60


def test_a_motion_on_the_skeleton_is_the_motion():
    motion = Motion(walker(4), 20.0)
    assert on_skeleton(motion, "smpl22") is motion and motion.skeleton is get_skeleton("smpl22")
