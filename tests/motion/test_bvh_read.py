"""Reading BVH: dialects, any channel order, real files against their expected positions, and damaged files."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from mld.errors import MotionFormatError
from mld.motion.formats.bvh import frame_rate, read_rig
from mld.motion.formats.options import ReadOptions
from tests.motion.samples import RAW, check_positions, expected, needs_samples

HEAD = """HIERARCHY
ROOT Hips {
  OFFSET 0 90 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Left Leg
  { OFFSET 10 0 0
    CHANNELS 3 Yrotation Zrotation Xrotation
    End Site { OFFSET 0 -90 0 } }
  joint Spine
  {
    OFFSET 0 50 0
    CHANNELS 2 Xrotation Zrotation
    End Site
    {
      OFFSET 0 20 0
    }
  }
}
"""
ROWS = ["1 92 3 10 20 30 40 50 60 70 80", "2 91 4 -10 -20 -30 -40 -50 -60 -70 -80"]
GOOD = HEAD + "MOTION\nFrames: 2\nFrame Time: .0083333\n" + "\n".join(ROWS) + "\n"


def write(tmp_path, text: str):
    path = tmp_path / "walk.bvh"
    path.write_text(text)
    return path


@needs_samples
@pytest.mark.parametrize("file", [name for name in expected() if name.endswith(".bvh")])
def test_real_files_have_their_expected_positions(file):
    motion = read_rig(RAW / file)
    check_positions(motion, file)
    assert motion.fps == 120  # what the files say; the Daz file says it wrongly


def test_channels_of_any_order_and_number(tmp_path):
    motion = read_rig(write(tmp_path, GOOD), ReadOptions(unit=1.0))
    assert motion.rig.joint_names == ("Hips", "Left Leg", "Spine") and motion.rig.parents == (-1, 0, 0)
    assert motion.fps == 120 and motion.translation.tolist() == [[1, 92, 3], [2, 91, 4]]
    assert motion.rig.end_offsets[1].tolist() == [0, -90, 0]
    wanted = [Rotation.from_euler("ZXY", [10, 20, 30], degrees=True), Rotation.from_euler("YZX", [40, 50, 60], True),
              Rotation.from_euler("XZ", [70, 80], degrees=True)]  # fmt: skip
    for joint, turn in enumerate(wanted):
        assert np.allclose(motion.rotations[0, joint].numpy(), turn.as_matrix(), atol=1e-6)


def test_the_layout_of_the_text_does_not_matter(tmp_path):
    usual = read_rig(write(tmp_path, GOOD))
    for text in (GOOD.replace("\n", "\r\n"), GOOD.replace("Frames: 2", "frames:\t2"), GOOD + "\n  \n", GOOD.upper(),
                 "\ufeff" + GOOD, GOOD.replace("  ", "\t")):  # fmt: skip
        assert torch.equal(read_rig(write(tmp_path, text)).rotations, usual.rotations)


def test_joints_that_move_against_their_parent_keep_their_median_place(tmp_path):
    text = GOOD.replace("CHANNELS 2 Xrotation Zrotation", "CHANNELS 3 Xposition Yposition Zposition")
    rows = [" ".join(row.split()[:9] + shift.split()) for row, shift in zip(ROWS, ("0 60 0", "0 60.2 0"))]
    motion = read_rig(write(tmp_path, text.replace("\n".join(ROWS), "\n".join(rows))), ReadOptions(unit=1.0))
    assert torch.allclose(motion.rig.offsets[2], torch.tensor([0.0, 60.0, 0.0], dtype=torch.float64), atol=0.3)
    assert torch.equal(motion.rotations[:, 2], torch.eye(3).expand(2, 3, 3))


def test_two_skeletons_give_the_first_and_same_names_become_distinct(tmp_path):
    second = HEAD.replace("HIERARCHY\n", "").replace("Spine", "Left Leg")
    text = GOOD.replace("MOTION", second + "MOTION").replace(ROWS[0], ROWS[0] * 1 + " " + ROWS[0])
    motion = read_rig(write(tmp_path, text.replace(ROWS[1], ROWS[1] + " " + ROWS[1])))
    assert motion.rig.num_joints == 3 and "2 skeletons" in motion.notes[0]
    motion = read_rig(write(tmp_path, GOOD.replace("Spine", "Left Leg")))
    assert motion.rig.joint_names[2] == "Left Leg_2"


@pytest.mark.parametrize(
    ("seconds", "fps"),
    [(b".0083333", 120), (b"0.033333", 30), (b"0.0333", 30), (b"0.016667", 60), (b"0.05", 20), (b"0.0333667", 29.97),
     (b"0.08", 12.5), (b"0.017", 60), (b"0.042", 24), (b"8.33333e-3", 120)],
)  # fmt: skip
def test_frame_times_name_whole_rates_where_their_digits_allow_it(seconds, fps):
    assert frame_rate("x", seconds) == pytest.approx(fps, rel=1e-5 if fps != 29.97 else 1e-4)


@pytest.mark.parametrize(("unit", "name"), [(1.0, "metres"), (0.01, "centi"), (0.0254, "inch"), (0.0254 / 0.45, "CMU")])
def test_the_unit_is_found_from_the_size(tmp_path, unit, name):
    def scaled(offset: re.Match) -> str:
        return "OFFSET " + " ".join(f"{float(part) / 100 / unit:.6f}" for part in offset.group(1).split())

    text = re.sub(r"OFFSET((?: [-\d]+){3})", scaled, GOOD)
    motion = read_rig(write(tmp_path, text))
    assert any(name in note for note in motion.notes)


DAMAGED = {
    "": "line 1", "HIERARCHY": "line 1: there is no ROOT", "hello": "begins with the word HIERARCHY",
    GOOD[:300]: "line", HEAD: "without a MOTION",
    GOOD.replace("Frames: 2", "Frames: 4"): "line 24: 'Frames: 4', but the file holds 2",
    GOOD.replace("Frames: 2", "Frames: 99999999999999"): "but the file holds 2",
    GOOD.replace("Frames: 2", "Frames: -1"): "line 20: 'Frames: -1'", GOOD.replace("Frames: 2", "Frames: 0"): "line 20",
    GOOD.replace(".0083333", "0"): "line 21: the frame time is 0", GOOD.replace(".0083333", "nan"): "frame time is nan",
    GOOD.replace(".0083333", "1e-300"): "frame time", GOOD.replace("Frame Time: .0083333\n", ""): "line 20",
    GOOD.replace("70 80", "70"): "line 22: 10 numbers, the hierarchy has 11 channels",
    GOOD.replace("-70", "nan"): "line 23: nan is no possible", GOOD.replace("-70", "1e99"): "line 23: 1e99",
    GOOD.replace("-70", "x"): "line 23: 'x' is not a number",
    GOOD.replace("OFFSET 10 0 0", "OFFSET 10 0"): "line 7: 'CHANNELS' stands where a number",
    GOOD.replace("OFFSET 10 0 0", "OFFSET inf 0 0"): "line 6: a number of the OFFSET is inf",
    GOOD.replace("CHANNELS 6", "CHANNELS 5"): "line 4", GOOD.replace("CHANNELS 6", "CHANNELS 1e9"): "line 4",
    GOOD.replace("CHANNELS 3 Yrot", "CHANNELS 3 Wrot"): "line 7: joint 'Left Leg' has the channel 'Wrotation'",
    GOOD.replace("Xposition Yposition", "Xposition Xposition"): "line 4: joint 'Hips' has a position channel twice",
    GOOD.replace("}\nMOTION", "MOTION"): "never closed", GOOD.replace("}\nMOTION", "}}\nMOTION"): "line 18: a closing",
    GOOD.replace("joint Spine", "ROOT Spine"): "line 10: ROOT 'Spine' in the wrong place",
    GOOD.replace("joint Spine", "joint"): "without a name",
    "HIERARCHY\nROOT a {\n" * 1 + "JOINT b {\n" * 3000: "more than 1000 joints",
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), DAMAGED.items(), ids=range(len(DAMAGED)))
def test_damaged_files_name_the_line(tmp_path, text, message):
    with pytest.raises(MotionFormatError, match=r"walk\.bvh") as caught:
        read_rig(write(tmp_path, text))
    assert message in str(caught.value)


def test_many_joints_without_channels_do_not_ask_for_memory(tmp_path):
    still = "".join(f"JOINT j{i} {{ OFFSET 0 1 0 CHANNELS 0 }}\n" for i in range(900))
    text = f"HIERARCHY\nROOT a {{ OFFSET 0 0 0 CHANNELS 1 Xrotation\n{still}}}\nMOTION\nFrames: 9000\nFrame Time: 0.1\n"
    with pytest.raises(MotionFormatError, match="hardly any of them moving"):
        read_rig(write(tmp_path, text + "0\n" * 9000))
