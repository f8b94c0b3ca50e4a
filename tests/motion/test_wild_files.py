"""Files as they are met in the wild (tests/wild): what the walker in them has to come out as."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import roma
import torch

from mld.errors import MotionFormatError
from mld.motion.importing import clip_names, import_report, on_floor
from mld.motion.motion import Motion
from mld.motion.plausibility import remarks
from mld.motion.rig.retarget import MappingReport, to_smpl22
from prepare.import_motion import main
from tests.motion.test_retarget import source

WILD = Path(__file__).parents[1] / "wild"


def opened(name: str, **options) -> tuple[Motion, MappingReport]:
    motion, report = import_report(WILD / name, **options)
    return on_floor(motion)[0], report


def check_walker(motion: Motion, frames: int = 30, way: float = 1.11, thigh: float = 0.41, bob: float = 0.03) -> None:
    """The walker's numbers to 3 % or 1 cm."""
    joints, index = motion.joints, motion.skeleton.index
    assert motion.num_frames == frames and motion.fps == pytest.approx(30)
    root = joints[:, 0]
    assert float((root[-1] - root[0])[[0, 2]].norm()) == pytest.approx(way, rel=0.03)
    assert float(root[:, 1].max() - root[:, 1].min()) == pytest.approx(bob, abs=0.01)
    ankles = (joints[:, index("l_ankle")] + joints[:, index("r_ankle")]) / 2
    assert float((joints[:, index("head"), 1] - ankles[:, 1]).median()) == pytest.approx(1.41, rel=0.03)
    for side in "lr":
        hip, knee, ankle = (joints[:, index(f"{side}_{part}")] for part in ("hip", "knee", "ankle"))
        assert float((knee - hip).norm(dim=-1).median()) == pytest.approx(thigh, rel=0.03)
        assert float((ankle - knee).norm(dim=-1).median()) == pytest.approx(0.82 - thigh, rel=0.03)
    assert abs(float(joints[:, [10, 11], 1].min(1).values.median())) < 0.03
    arm = joints[0, index("l_wrist")] - joints[0, index("l_shoulder")]
    assert -float(arm[1]) == pytest.approx(0.49, rel=0.05)


@pytest.mark.parametrize("name", ["k01_still_root_hips_move.bvh", "k01_still_root_skin.glb"])
def test_travel_below_a_root_that_stands_still_is_kept(name):
    check_walker(opened(name)[0])


def test_differences_from_the_offsets_are_added_though_they_are_rounded():
    motion, report = opened("k02_relative_positions_noise.bvh")
    check_walker(motion)
    assert any("differences from the OFFSETs" in note for note in report.notes)


def test_travel_that_root_and_hips_share_is_kept_and_resampled():
    """The root has the way and the hips below it the bob, as game engines write it."""
    motion, joints = source()
    names = ("root", *motion.rig.joint_names)
    offsets = torch.cat([torch.zeros(1, 3, dtype=torch.float64), motion.rig.offsets])
    rig = dataclasses.replace(
        motion.rig, joint_names=names, parents=(-1, *(p + 1 for p in motion.rig.parents)), offsets=offsets
    )
    still = torch.eye(3).expand(motion.num_frames, 1, 3, 3)
    flat, tall = motion.translation.clone(), motion.translation.clone()
    flat[:, 1], tall[:, [0, 2]] = 0, 0
    shared = dataclasses.replace(
        motion, rig=rig, rotations=torch.cat([still, motion.rotations], dim=1), translation=flat, shifts={1: tall}
    )
    made, report = to_smpl22(shared)
    assert torch.allclose(made.joints, joints, atol=1e-5)
    finer = to_smpl22(shared.resample(40))[0]
    assert torch.allclose(finer.joints[::2], joints, atol=1e-5)


def test_joints_that_leave_their_place_follow_the_file_and_small_stretch_is_held():
    motion, joints = source()
    wrist = motion.rig.index("l_wrist")
    offset = motion.rig.offsets[wrist].float().repeat(motion.num_frames, 1)
    for stretch, follows in ((1.02, False), (2.0, True)):
        shift = offset.clone()
        shift[0] *= stretch
        made, report = to_smpl22(dataclasses.replace(motion, shifts={wrist: shift}))
        bone = (made.joints[0, 20] - made.joints[0, 18]).norm() / (joints[0, 20] - joints[0, 18]).norm()
        assert float(bone) == pytest.approx(stretch if follows else 1.0, abs=1e-4)
        assert any("where the file" in note for note in report.notes) == follows


@pytest.mark.parametrize("name", ["k05_expression.vrma", "k05_camera.glb"])
def test_nodes_animated_outside_the_body_are_left_aside(name):
    check_walker(opened(name)[0])


def test_bones_without_keys_rest():
    motion, _ = opened("k06_arms_only.glb")
    knee = motion.joints[:, 4] - motion.joints[:, 1]
    assert float((knee - knee.mean(0)).norm(dim=-1).max()) < 0.02
    assert float((motion.joints[:, [4, 7]] - motion.joints[:, [1, 4]]).norm(dim=-1).sum(1).median()) == pytest.approx(
        0.82, rel=0.03)  # fmt: skip
    assert float((motion.joints[-1, 0] - motion.joints[0, 0])[[0, 2]].norm()) == pytest.approx(1.11, rel=0.03)


def test_each_animation_of_a_file_can_be_had(tmp_path, capsys):
    path = WILD / "k07_three_clips.glb"
    assert clip_names(path) == ("Idle", "Walk", "Run") and clip_names(WILD / "k02_relative_positions_noise.bvh") == ()
    _, report = opened(path.name)
    assert any("(1 Idle, 2 Walk, 3 Run); number 1 was taken" in note for note in report.notes)
    by_name, by_number = opened(path.name, clip="Walk")[0], opened(path.name, clip=2)[0]
    assert torch.equal(by_name.joints, by_number.joints)
    with pytest.raises(MotionFormatError, match="no animation 'Jump'; it has 1 Idle, 2 Walk, 3 Run"):
        opened(path.name, clip="Jump")
    with pytest.raises(MotionFormatError, match="hold one motion"):
        opened("k02_relative_positions_noise.bvh", clip="Walk")
    assert main([str(path), str(tmp_path / "all")]) == 0
    assert {file.name for file in (tmp_path / "all").iterdir()} == {f"k07_three_clips_{c}.npy" for c in
                                                                    ("Idle", "Walk", "Run")}  # fmt: skip
    assert main([str(path), str(tmp_path / "one"), "--clip", "Run"]) == 0
    assert len(list((tmp_path / "one").iterdir())) == 1
    assert "3 of 3 motions imported" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["k03_names_biovision.bvh", "k03_names_lo_up.bvh", "k03_names_mmd.bvh"])
def test_names_of_other_makers_are_understood(name):
    check_walker(opened(name)[0])


NAMES = {
    "short": ("LULeg", "LLLeg", "LFoot", "LUArm", "LFArm", "LHand", "HEad"),
    "jnt": ("L_upLeg_jnt", "L_lowLeg_jnt", "L_foot_jnt", "L_upArm_jnt", "L_lowArm_jnt", "L_hand_jnt", "head_jnt"),
    "blanks": ("left up leg", "left low leg", "left foot", "left up arm", "left low arm", "left hand", "head"),
    "rigify": ("DEF-thigh.L", "DEF-shin.L", "DEF-foot.L", "DEF-upper_arm.L", "DEF-forearm.L", "DEF-hand.L",
               "DEF-spine.006"),
    "numbers": ("leg_01_L", "leg_02_L", "foot_L", "arm_01_L", "arm_02_L", "hand_L", "head"),
    "plain": ("leg_L", "knee_L", "ankle_L", "arm_L", "elbow_L", "wrist_L", "head"),
}  # fmt: skip
RIGHT = {"short": ("L", "R"), "jnt": ("L_", "R_"), "blanks": ("left", "right"), "rigify": (".L", ".R"),
         "plain": ("_L", "_R"), "numbers": ("_L", "_R")}  # fmt: skip


@pytest.mark.parametrize("kind", NAMES)
def test_words_sides_and_short_forms_in_names(kind):
    motion, joints = source()
    own = list(motion.rig.joint_names)
    for target, name in zip(("hip", "knee", "ankle", "shoulder", "elbow", "wrist"), NAMES[kind], strict=False):
        own[motion.rig.index(f"l_{target}")] = name
        own[motion.rig.index(f"r_{target}")] = name.replace(*RIGHT[kind], 1)
    own = ["pelvis" if i == 0 else name for i, name in enumerate(own)]
    for side in "lr":
        own[motion.rig.index(f"{side}_collar")], own[motion.rig.index(f"{side}_foot")] = f"c{side}", f"f{side}"
    spine = ("neck", "head") if kind == "rigify" else ("head",)
    for place, joint in enumerate(spine):
        own[motion.rig.index(joint)] = f"DEF-spine.00{5 + place}" if kind == "rigify" else NAMES[kind][-1]
    named = dataclasses.replace(motion, rig=dataclasses.replace(motion.rig, joint_names=tuple(own)))
    made, _ = to_smpl22(named)
    limbs = [*(motion.rig.index(f"{side}_{limb}") for side in "lr"
               for limb in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist"))]  # fmt: skip
    limbs.append(motion.rig.index("head"))
    assert torch.allclose(made.joints[:, limbs], joints[:, limbs], atol=1e-5)


def test_stubs_at_the_pelvis_and_the_chest_do_not_win():
    motion, report = opened("k04_hip_stub_joint.bvh")
    check_walker(motion)
    assert (report.mapped["l_hip"], report.mapped["l_knee"]) == ("LeftUpLeg", "LeftLeg")


def test_dummies_beside_the_joints_do_not_win(tmp_path):
    """A joint '...Dummy' where its parent is, before the legs and the head."""
    text = (WILD / "k04_hip_stub_joint.bvh").read_text()
    text = text.replace("LeftHipJoint", "LeftUpLegDummy").replace("RightHipJoint", "RightUpLegDummy")
    text = text.replace("JOINT Spine1\n", "JOINT HeadDummy\n")
    (tmp_path / "dummies.bvh").write_text(text)
    motion, report = opened(str(tmp_path / "dummies.bvh"))
    check_walker(motion)
    assert report.mapped["head"] == "Head" and report.mapped["r_hip"] == "RightUpLeg"


def test_an_animal_and_limbs_of_no_person_are_told():
    _, report = opened("k15_quadruped.bvh")
    assert any("not like a person: the trunk is never in line" in note for note in report.notes)
    motion, _ = source()
    made, report = to_smpl22(motion)
    assert not report.warnings and not any("not like a person" in note for note in remarks(made))
    offsets = motion.rig.offsets.clone()
    offsets[[motion.rig.index("l_elbow"), motion.rig.index("l_wrist")]] *= 1.4
    long = dataclasses.replace(motion, rig=dataclasses.replace(motion.rig, offsets=offsets))
    assert any("the left arm is" in note for note in remarks(to_smpl22(long)[0]))


@pytest.mark.parametrize("name", ["k08_cut_short.bvh", "k08_frames_said_fewer.bvh"])
def test_a_frame_more_or_fewer_than_said_is_noted(name):
    motion, report = opened(name)
    check_walker(motion, frames=29, way=1.11 * 28 / 29)
    assert any("were taken" in note for note in report.notes)


def test_a_count_of_frames_as_a_float(tmp_path):
    text = (WILD / "k09_decimetres.bvh").read_text()
    for count, frames in (("30.0", 30), ("31", 30), ("3e1", 30)):
        (tmp_path / "walk.bvh").write_text(text.replace("Frames: 30", f"Frames: {count}"))
        assert opened(str(tmp_path / "walk.bvh"))[0].num_frames == frames
    (tmp_path / "walk.bvh").write_text(text.replace("Frames: 30", "Frames: 33"))
    with pytest.raises(MotionFormatError, match="holds 30"):
        opened(str(tmp_path / "walk.bvh"))


def test_decimetres():
    check_walker(opened("k09_decimetres.bvh")[0])


def test_a_rest_pose_in_front_is_left_out_whatever_the_table():
    motion, report = opened("k10_rest_pose_first.bvh")
    check_walker(motion)
    assert any("rest pose at the start was left out (frames: 1)" in note for note in report.notes)


@pytest.mark.parametrize("held", [1, 2, 9, 14])
def test_a_rest_pose_that_is_held_is_left_out(tmp_path, held):
    lines = (WILD / "k09_decimetres.bvh").read_text().rstrip("\n").split("\n")
    zero = " ".join("0" for _ in lines[-1].split())
    text = "\n".join([*lines[:-30], *[zero] * held, *lines[-30:]]).replace("Frames: 30", f"Frames: {30 + held}")
    (tmp_path / "walk.bvh").write_text(text + "\n")
    motion, report = opened(str(tmp_path / "walk.bvh"))
    check_walker(motion)
    assert any(f"was left out (frames: {held})" in note for note in report.notes)


def test_a_body_that_stands_at_rest_and_then_moves_keeps_its_first_frames(tmp_path):
    """From the rest pose into the walk without a jump, and a jump later on."""
    motion, _ = source(frames=40)
    rotations, way = motion.rotations.clone(), motion.translation.clone()
    rotations[:10], way[:10] = torch.eye(3), way[10]
    rotations[30:, 0] = rotations[30:, 0] @ torch.diag(torch.tensor([-1.0, 1.0, -1.0]))
    blend = torch.linspace(0, 1, 10)[:, None, None, None]
    rotations[10:20] = roma.special_procrustes(torch.eye(3) * (1 - blend) + rotations[10:20] * blend)
    assert to_smpl22(dataclasses.replace(motion, rotations=rotations, translation=way))[0].num_frames == 40


def test_frames_without_data_are_named_and_set_no_floor():
    motion, report = opened("k24_zero_frames_at_end.bvh")
    assert any("jumps at frame 52" in note for note in report.notes)
    check_walker(dataclasses.replace(motion, joints=motion.joints[:52]), frames=52, way=1.11 * 51 / 29)


def test_a_few_frames_below_the_floor_do_not_set_it():
    motion, _ = opened("k09_decimetres.bvh")
    joints = torch.cat([motion.joints, motion.joints.flip(0)] * 5)  # to and fro
    joints[:4, :, 1] -= 0.2
    lowest = on_floor(dataclasses.replace(motion, joints=joints))[0].joints[:, [10, 11], 1].min(1).values
    assert abs(float(lowest.median())) < 0.03


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".bvh", ".glb", ".vrma", ".pt", ".json", ".csv"])
def test_downloads_that_went_wrong_and_folders_are_told(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"walk{suffix}"
    for content, told in (
        (b"\xef\xbb\xbf\n<!DOCTYPE html><html>", "walk.*: a web page, not a motion; download the file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n", "a Git LFS pointer, not a motion"),
    ):
        path.write_bytes(content)
        with pytest.raises(MotionFormatError, match=told):
            Motion.load(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(MotionFormatError, match="a folder, a motion file is needed"):
        Motion.load(path)
