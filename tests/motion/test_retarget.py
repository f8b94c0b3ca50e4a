"""Mapping rigs onto smpl22: tables of every dialect, guesses, units, axes, mirrored files, rest poses, reports."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mld.errors import DataError
from mld.motion.importing import import_report, on_floor
from mld.motion.motion import Motion
from mld.motion.rig.guessing import find_joints
from mld.motion.rig.mapping import JointMapping, get_mapping, load_mapping, mappings, plain_name
from mld.motion.rig.retarget import to_smpl22
from mld.motion.rig.rig import RigMotion
from mld.motion.rig.rigging import to_rig
from mld.motion.rig.units import guess_unit
from mld.motion.skeletons import get_skeleton
from tests.motion.samples import RAW, expected, needs_samples
from tests.walking import walker

SKELETON = get_skeleton("smpl22")
TARGETS = SKELETON.joint_names


def source(names=None, frames: int = 12) -> tuple[RigMotion, torch.Tensor]:
    """A walking figure as a rig with joint names of one's own, and its joints (T, 22, 3)."""
    joints = walker(frames)
    made = to_rig(Motion(joints, 20.0))
    if names is not None:
        made = dataclasses.replace(made, rig=dataclasses.replace(made.rig, joint_names=tuple(names)))
    return made, made.positions()


def named_by(mapping: JointMapping) -> list[str]:
    """Names for the 22 joints as a table has them; invented ones where it leaves a joint out."""
    names = []
    for target in TARGETS:
        own = [name for name in mapping.joints.get(target, ()) if not name.startswith("end ")]
        names.append(own[0] if own and own[0] not in names else f"unknown part {len(names)}")
    wanted = [marks[0] for marks in mapping.marks if not {plain_name(m) for m in marks} & set(map(plain_name, names))]
    spare = [i for i, name in enumerate(names) if name.startswith("unknown")]
    for place, mark in zip(spare, wanted, strict=False):
        names[place] = mark
    return names


@pytest.mark.parametrize("name", mappings())
def test_every_table_finds_its_own_joints(name):
    mapping = mappings()[name]
    motion, _ = source(named_by(mapping))
    found = find_joints(motion.rig)
    assert not found.lacking and not found.guessed
    assert {target: TARGETS[joint] for target, joint in found.joints.items() if target[2:] not in ("wrist",)} == {
        target: target for target in found.joints if target[2:] not in ("wrist",)}  # fmt: skip
    assert found.mapping.name == name or found.joints == find_joints(motion.rig, mapping).joints


@pytest.mark.parametrize("prefix", ["mixamorig:", "mixamorig", "Character1_", "mixamorig9:", "Armature|"])
def test_namespaces_do_not_matter(prefix):
    names = [prefix + name for name in named_by(get_mapping("mixamo"))]
    motion, joints = source(names)
    made, report = to_smpl22(motion)
    assert report.table == "mixamo" and torch.allclose(made.joints, joints, atol=1e-6)
    assert made.rotations is not None and report.lines()[0].endswith("22 of 22 joints taken from the file")


def test_own_rotations_are_kept_only_from_a_t_pose():
    motion, _ = source()
    assert to_smpl22(motion)[0].rotations is not None
    offsets = motion.rig.offsets.clone()
    arm = SKELETON.index("l_elbow")
    offsets[arm] = torch.tensor([0.0, -float(offsets[arm].norm()), 0.0])
    hanging = dataclasses.replace(motion, rig=dataclasses.replace(motion.rig, offsets=offsets))
    assert to_smpl22(hanging)[0].rotations is None


def test_unknown_names_are_guessed_and_reported():
    names = ["root", "L thigh bone", "R thigh bone", "s1", "l_shin_x", "r_shin_x", "s2", "L-Foot", "R-Foot", "s3",
             "ltoe", "rtoe", "s4", "LClav", "RClav", "my head", "left_upper_arm", "right_upper_arm", "leftForeArm",
             "rightForeArm", "LHand", "RHand"]  # fmt: skip
    motion, joints = source(names)
    made, report = to_smpl22(motion)
    assert {"l_knee", "r_wrist", "head", "l_hip"} <= set(report.guessed)
    assert any("guessed from names" in line and "l_knee = l_shin_x" in line for line in report.lines())
    limbs = [i for i, name in enumerate(TARGETS) if name[2:] in ("hip", "knee", "ankle", "elbow", "wrist", "foot")]
    assert torch.allclose(made.joints[:, limbs], joints[:, limbs], atol=1e-6)


def test_joints_that_cannot_be_told_are_named():
    motion, _ = source([f"bone{i}" for i in range(22)])
    with pytest.raises(DataError, match=r"l_hip.*--mapping FILE.yaml.*bone0") as caught:
        to_smpl22(motion)
    assert caught.value.details.endswith("bone20, bone21")  # all of them, in front of the message of a command


def test_a_table_of_ones_own(tmp_path):
    names = [f"bone{i}" for i in range(22)]
    limbs = {"hip": (1, 2), "knee": (4, 5), "ankle": (7, 8), "shoulder": (16, 17), "elbow": (18, 19)}
    trunk = [f"l_{limb}: bone{left}, r_{limb}: bone{right}" for limb, (left, right) in limbs.items()]
    path = tmp_path / "mine.yaml"
    path.write_text("trunk: {" + ", ".join([*trunk, "head: bone15"]) + "}\n")
    made, report = to_smpl22(source(names)[0], load_mapping(path))
    assert report.table == "mine" and len(report.mapped) == 11 and "l_wrist" in report.derived
    joints = source()[1]
    assert (made.joints - joints).norm(dim=-1).mean() < 0.05  # derived joints are about where they are
    assert (made.joints[:, 18] - joints[:, 18]).norm(dim=-1).max() < 1e-5


@pytest.mark.parametrize(
    ("text", "message"),
    [("- a", "keys limbs"), ("limbs: {hip: a, hat: b}", "no joint 'l_hat'"), ("lims: {}", "unknown key 'lims'"),
     ("limbs: 3", "not a joint table"), ("a: [", "not a readable"),
     ("sides: [a]\nlimbs: {hip: x}", "not a joint table"),
     ("missing_bones: [{joints: [a]}]", "not a joint table")],
)  # fmt: skip
def test_tables_that_are_wrong_are_refused(tmp_path, text, message):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(DataError, match=message):
        load_mapping(tmp_path / "bad.yaml")
    with pytest.raises(DataError, match="did you mean 'mixamo'"):
        get_mapping("mixamoo")


@pytest.mark.parametrize("unit", [1.0, 0.01, 0.001, 0.0254, 0.3048, 0.0254 / 0.45])
@pytest.mark.parametrize("size", [0.8, 1.0, 1.15])
def test_units_are_found_for_small_and_tall_people(unit, size):
    rig = source()[0].rig.scaled(size / unit)
    assert guess_unit(rig)[0] == pytest.approx(unit)


def test_sizes_of_no_unit_are_scaled_to_a_person():
    factor, note = guess_unit(source()[0].rig.scaled(300.0))
    assert "fits no unit" in note and factor == pytest.approx(1 / 300, rel=0.3)


AXES = {"y": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "z": [[1, 0, 0], [0, 0, -1], [0, 1, 0]],
        "x": [[0, 1, 0], [-1, 0, 0], [0, 0, 1]], "-y": [[1, 0, 0], [0, -1, 0], [0, 0, -1]]}  # fmt: skip


@pytest.mark.parametrize("up", AXES)
@pytest.mark.parametrize("rest_turned", [True, False])
def test_the_vertical_axis_is_found(up, rest_turned):
    """Files whose axes are turned: all of them (the rest pose too), or only the root over the frames."""
    motion, joints = source()
    turn = torch.tensor(AXES[up], dtype=torch.float64)
    rotations = motion.rotations.double().clone()
    offsets = motion.rig.offsets
    if rest_turned:
        offsets = offsets @ turn.T
        rotations = turn @ rotations @ turn.T
    else:
        rotations[:, 0] = turn @ rotations[:, 0]
    rig = dataclasses.replace(motion.rig, offsets=offsets)
    turned = RigMotion(rig, rotations, motion.translation @ turn.T.float(), 20)
    if up == "-y" and not rest_turned:  # standing on the head is a posture, so it has to be told
        assert to_smpl22(turned)[0].joints[0, 15, 1] < 0
    made, report = to_smpl22(turned, up=up if up == "-y" and not rest_turned else None)
    assert torch.allclose(made.joints, joints, atol=1e-5)
    if up != "y":
        assert any("vertical axis" in note for note in report.notes)
    if made.rotations is not None:
        assert torch.allclose(to_rig(made).positions(), joints, atol=2e-3)


def test_mirrored_files_are_turned_back():
    motion, joints = source()
    flip = torch.diag(torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64))
    rig = dataclasses.replace(motion.rig, offsets=motion.rig.offsets @ flip)
    mirrored = RigMotion(rig, flip @ motion.rotations.double() @ flip, motion.translation @ flip.float(), 20)
    made, report = to_smpl22(mirrored)
    assert torch.allclose(made.joints, joints, atol=1e-5)
    assert any("mirrored" in note for note in report.notes)


def test_rigs_that_rest_in_no_pose_are_placed_by_an_upright_frame():
    """Bones along one axis at rest, as some exporters write them: the frames tell where the body is."""
    motion, joints = source(named_by(get_mapping("cmu_bvh")), frames=8)
    _, world = motion.forward()
    local = torch.linalg.qr(torch.randn(22, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    local = local * torch.linalg.det(local)[:, None, None]
    parents = [max(parent, 0) for parent in motion.rig.parents]
    offsets = (local[parents].transpose(-1, -2) @ motion.rig.offsets[..., None]).squeeze(-1)
    world = world.double() @ local
    rotations = torch.cat([world[:, :1], world[:, parents[1:]].transpose(-1, -2) @ world[:, 1:]], dim=1)
    odd = RigMotion(dataclasses.replace(motion.rig, offsets=offsets), rotations, motion.translation, 20)
    assert torch.allclose(odd.positions(), joints, atol=1e-5)
    usual, _ = to_smpl22(motion)
    made, _ = to_smpl22(odd)
    assert (made.joints - usual.joints).norm(dim=-1).max() < 0.04


@needs_samples
@pytest.mark.parametrize("file", expected())
def test_real_files_become_sane_people(file):
    """Feet on the floor, left on the left, a trunk of human length, bones that keep their length."""
    motion, report = import_report(RAW / file)
    motion, _ = on_floor(motion)
    assert motion.fps == expected()[file]["fps"] and not report.guessed
    joints = motion.joints
    lowest = joints[..., 1].min(dim=1).values
    assert float(lowest.min()) > -0.08 and float(torch.quantile(lowest, 0.05)) < 0.03
    across = joints[:, 1] - joints[:, 2]
    forward = torch.linalg.cross(across, joints[:, 12] - joints[:, 0], dim=-1)
    for foot, ankle in ((10, 7), (11, 8)):
        assert ((joints[:, foot] - joints[:, ankle]) * forward).sum(-1).median() > 0
    bones = (joints[:, 1:] - joints[:, list(SKELETON.parents[1:])]).norm(dim=-1)
    length = dict(zip(TARGETS[1:], bones.mean(0).tolist(), strict=True))
    assert 0.40 < sum(length[name] for name in ("spine1", "spine2", "spine3", "neck")) < 0.60
    assert all(0.34 < length[name] < 0.48 for name in ("l_knee", "r_knee", "l_ankle", "r_ankle"))
    assert all(0.22 < length[name] < 0.36 for name in ("l_elbow", "r_elbow", "l_wrist", "r_wrist"))
    assert float(bones.std(0).max()) < 0.02


@needs_samples
def test_known_wrong_frame_rates_and_rest_frames_are_reported():
    motion, report = import_report(RAW / "bvh" / "60_10_daz.bvh")
    assert motion.fps == 60 and any("says 120" in note for note in report.notes)
    assert import_report(RAW / "bvh" / "60_10_daz.bvh", fps=100)[0].fps == 100
    motion, report = import_report(RAW / "bvh" / "02_01.bvh")
    assert motion.num_frames == 343 and any("rest pose" in note for note in report.notes)
