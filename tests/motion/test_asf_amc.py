"""Reading ASF/AMC: real files against their expected positions, a small skeleton by hand, and damaged files."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mld.errors import MotionFormatError
from mld.motion.formats.asf_amc import find_skeleton, read_rig
from mld.motion.formats.options import ReadOptions
from mld.motion.importing import import_report
from tests.motion.samples import RAW, check_positions, expected, needs_samples

ASF = """# made for a test
:version 1.10
:units
  mass 1.0
  length 0.45
  angle deg
:root
   order TX TY TZ RX RY RZ
   axis XYZ
   position 0 1 0
   orientation 0 0 0
:bonedata
  begin
     id 1
     name leg
     direction 0 -1 0
     length 8
     axis 10 20 30 XYZ
     dof rx rz
     limits (-160.0 20.0)
            (-70.0 70.0)
  end
  begin
     id 2
     name foot
     direction 0 0 1
     length 4
     axis 0 0 0 XYZ
  end
  begin
    name arm
    direction 1 0 0
    length 20
    axis 0 0 0 ZYX
    dof ry
  end
:hierarchy
  begin
    root leg arm
    leg foot
  end
"""
AMC = """#!OML:ASF c:\\walk.ASF
:FULLY-SPECIFIED
:DEGREES
1
root 1 2 3 10 20 30
leg 40 50
arm 5
2
root 1 2 4 11 21 31
leg 41 51
arm 6
"""


def write(tmp_path, asf: str = ASF, amc: str = AMC):
    (tmp_path / "walk.asf").write_text(asf)
    (tmp_path / "walk_01.amc").write_text(amc)
    return tmp_path / "walk_01.amc"


@needs_samples
@pytest.mark.parametrize("file", [name for name in expected() if name.endswith(".amc")])
def test_real_files_have_their_expected_positions(file):
    motion = read_rig(RAW / file)
    check_positions(motion, file)
    assert motion.fps == 120


@needs_samples
def test_the_bvh_and_the_amc_of_one_trial_agree():
    """The BVH lacks the thorax and wrist bones and has a T-pose in front; the import mends all of that."""
    amc, _ = import_report(RAW / "asf_amc" / "07_01.amc")
    bvh, report = import_report(RAW / "bvh" / "07_01.bvh")
    assert bvh.num_frames == amc.num_frames == 316
    assert (bvh.joints - amc.joints).norm(dim=-1).max() < 0.01
    assert sum("no length in the file" in note for note in report.notes) == 3


def test_bones_turn_in_the_frame_of_their_axis(tmp_path):
    motion = read_rig(write(tmp_path), ReadOptions(unit=1.0))
    assert motion.rig.joint_names == ("root", "leg", "foot", "arm") and motion.rig.parents == (-1, 0, 1, 0)
    axis = Rotation.from_euler("xyz", [10, 20, 30], degrees=True)
    turn = axis * Rotation.from_euler("xz", [40, 50], degrees=True) * axis.inv()
    root = Rotation.from_euler("xyz", [10, 20, 30], degrees=True)
    assert np.allclose(motion.rotations[0, 1].numpy(), turn.as_matrix(), atol=1e-6)
    assert np.allclose(motion.rotations[0, 0].numpy(), root.as_matrix(), atol=1e-6)
    positions = motion.positions()[0].numpy()
    assert np.allclose(positions[:2], [[1, 3, 3], [1, 3, 3]], atol=1e-6)  # bones of the root begin at the root
    assert np.allclose(positions[2], [1, 3, 3] + (root * turn).apply([0, -8, 0]), atol=1e-5)
    assert motion.rig.end_offsets[2].tolist() == [0, 0, 4]


def test_radians_units_and_frame_rate_are_taken_from_the_files(tmp_path):
    usual = read_rig(write(tmp_path))
    assert any("0.05644" in note for note in usual.notes) and any("taken as 120" in note for note in usual.notes)
    lines = AMC.replace(":DEGREES", ":RADIANS\n:SAMPLES-PER-SECOND 60").splitlines()
    turned = [" ".join([line.split()[0], *line.split()[1 : 4 if line[0] == "r" else 1],
                        *(f"{np.deg2rad(float(word)):.9f}" for word in line.split()[4 if line[0] == "r" else 1:])])
              if line[:1] in "rla" and line[:1] else line for line in lines]  # fmt: skip
    motion = read_rig(write(tmp_path, amc="\n".join(turned)))
    assert motion.fps == 60 and np.allclose(motion.rotations, usual.rotations, atol=1e-6)


def test_the_skeleton_is_the_one_whose_name_begins_the_motions(tmp_path):
    motion = write(tmp_path)
    (tmp_path / "wal.asf").write_text(ASF)
    assert find_skeleton(motion).name == "walk.asf"
    (tmp_path / "walk.asf").unlink()
    assert find_skeleton(motion).name == "wal.asf"
    (tmp_path / "wal.asf").rename(tmp_path / "b.asf")
    assert find_skeleton(motion).name == "b.asf"
    (tmp_path / "c.asf").write_text(ASF)
    with pytest.raises(MotionFormatError, match=r"which skeleton .* b\.asf, c\.asf.*--skeleton"):
        read_rig(motion)
    assert read_rig(motion, ReadOptions(skeleton=tmp_path / "c.asf")).num_frames == 2


DAMAGED_AMC = {
    "": "the file has no frame", ":FULLY-SPECIFIED\n": "the file has no frame", AMC[:-10]: "line 10",
    AMC.replace("\n2\n", "\n3\n"): "line 8: frame 2 should stand here",
    AMC.replace("leg 41 51", "leg 41"): "line 10: bone 'leg' needs 2 numbers",
    AMC.replace("leg 41 51\narm 6", "leg 41\narm 51 6"): "line 10: bone 'leg' needs 2 numbers",
    AMC.replace("leg 41 51", "leg 41 nan"): "line 10", AMC.replace("leg 41 51", "leg 41 1e99"): "line 10",
    AMC.replace("leg 41 51", "tail 41 51"): "line 10: 'tail' stands where bone 'leg' should",
    AMC.replace("leg 4", "tail 4"): "line 6: the skeleton has no bone 'tail'",
    AMC.replace("leg 40 50", "leg 40 50\nleg 40 50"): "line 7: bone 'leg' for the second time",
    AMC.replace("arm 6\n", ""): "the file ends inside frame 2",
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), DAMAGED_AMC.items(), ids=range(len(DAMAGED_AMC)))
def test_damaged_motions_name_the_line(tmp_path, text, message):
    with pytest.raises(MotionFormatError, match=r"walk_01\.amc") as caught:
        read_rig(write(tmp_path, amc=text))
    assert message in str(caught.value)


DAMAGED_ASF = {
    "": "no :bonedata", ASF.replace("leg foot", "leg toe"): "line 40: the hierarchy names the bone 'toe'",
    ASF.replace("leg foot", "leg foot\nfoot leg"): "twice, or on itself",
    ASF.replace("    leg foot\n", ""): "bone 'foot' does not hang on the root",
    ASF.replace("leg foot", "leg foot root"): "twice, or on itself",
    ASF.replace("length 8", "length x"): "line 17: length needs 1 numbers",
    ASF.replace("length 8", "length nan"): "line 17", ASF.replace("length 8", "length 1e300"): "line 17",
    ASF.replace("direction 0 -1 0", "direction 0 -1"): "line 16: direction needs 3",
    ASF.replace("10 20 30 XYZ", "10 20 30 XYX"): "line 18: 'XYX'", ASF.replace("rx rz", "rx rx"): "line 19",
    ASF.replace("rx rz", "rx qq"): "line 19", ASF.replace("name foot", "name leg"): "no name, or one that was given",
    ASF[:400]: "", ASF.replace("  end\n  begin\n     id 2", "     id 2"): "names the bone 'leg', which is not",
    ASF.replace("  end\n", ""): "no 'end'",
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), DAMAGED_ASF.items(), ids=range(len(DAMAGED_ASF)))
def test_damaged_skeletons_name_the_line(tmp_path, text, message):
    with pytest.raises(MotionFormatError, match=r"walk\.asf") as caught:
        read_rig(write(tmp_path, asf=text))
    assert message in str(caught.value)


def test_opening_the_skeleton_as_a_motion_says_what_to_open(tmp_path):
    write(tmp_path)
    with pytest.raises(MotionFormatError, match=r"open the \.amc"):
        import_report(tmp_path / "walk.asf")
