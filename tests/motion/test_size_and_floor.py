"""The legs judge the size of a body, good frames its floor."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from mld.motion.importing import import_report, on_floor
from mld.motion.motion import Motion
from mld.motion.rig.rig import Rig
from mld.motion.rig.units import CMU_UNIT, guess_unit
from mld.motion.skeletons import get_skeleton
from tests.motion.test_retarget import source
from tests.motion.test_wild_files import check_walker
from tests.walking import walker

WILD = Path(__file__).parents[1] / "wild"
UNITS = {"metres": 1.0, "decimetres": 0.1, "centimetres": 0.01, "millimetres": 0.001, "inches": 0.0254, "feet": 0.3048,
         "CMU": CMU_UNIT}  # fmt: skip


def with_joint(rig: Rig, parent: int, length: float, above: bool = False) -> Rig:
    """The rig with a joint of its own (a sword, a tail) of a length in metres, or with a root so far below the hips."""
    bone = torch.tensor([[0.0, length, 0.0]], dtype=torch.float64)
    if above:
        offsets = torch.cat([torch.zeros_like(bone), bone, rig.offsets[1:]])
        return Rig(("World", *rig.joint_names), (-1, 0, *(p + 1 for p in rig.parents[1:])), offsets)
    return Rig((*rig.joint_names, "Prop"), (*rig.parents, parent), torch.cat([rig.offsets, bone]))


@pytest.mark.parametrize("unit", list(UNITS))
@pytest.mark.parametrize("also", ["nothing", "sword", "tail", "root on the floor", "long end"])
def test_units_are_judged_by_the_legs(unit, also):
    rig = source()[0].rig
    if also == "sword":
        rig = with_joint(rig, rig.index("l_wrist"), 2.5)
    elif also == "tail":
        rig = with_joint(rig, 0, 4.0)
    elif also == "root on the floor":
        rig = with_joint(rig, 0, 5.0, above=True)
    elif also == "long end":
        rig = dataclasses.replace(rig, end_offsets={rig.index("head"): torch.tensor([0.0, 6.0, 0.0])})
    assert guess_unit(rig.scaled(1 / UNITS[unit]))[0] == pytest.approx(UNITS[unit])


def test_a_file_in_decimetres_with_a_prop(tmp_path):
    lines = (WILD / "k09_decimetres.bvh").read_text().splitlines()
    place = next(i for i, line in enumerate(lines) if "JOINT RightHand" in line)
    end = next(i for i in range(place, len(lines)) if "End Site" in lines[i]) + 2
    assert "OFFSET" in lines[end]
    lines[end] = "OFFSET 0 -30 0"
    (tmp_path / "sword.bvh").write_text("\n".join(lines) + "\n")
    motion, report = import_report(tmp_path / "sword.bvh")
    check_walker(on_floor(motion)[0])
    assert any("size of the legs: decimetres" in note for note in report.notes)


def test_a_unit_that_a_file_says_is_kept_for_figures_of_odd_legs():
    rig = source()[0].rig
    assert guess_unit(rig.scaled(0.4), told=1.0)[0] == 1.0
    assert guess_unit(rig.scaled(100), told=1.0)[0] == pytest.approx(0.01)


@pytest.mark.parametrize("unit", list(UNITS))
@pytest.mark.parametrize("skeleton", ["smpl22", "kit21"])
def test_units_of_arrays(tmp_path, unit, skeleton):
    from mld.motion.carry import on_skeleton

    joints = on_skeleton(Motion(walker(30), 20.0), skeleton).joints
    np.save(tmp_path / "walk.npy", (joints / UNITS[unit]).numpy())
    motion, report = import_report(tmp_path / "walk.npy")
    torch.testing.assert_close(motion.joints, joints, atol=1e-4, rtol=1e-4)
    assert motion.skeleton is get_skeleton(skeleton) and bool(report.notes) == (unit != "metres")


def lowest(motion: Motion) -> float:
    """The median height of the lowest joint on the floor."""
    return float(on_floor(motion)[0].joints[..., 1].min(1).values.median())


def frames_below(kind: str) -> torch.Tensor:
    """A long walk in which some frames are wrong."""
    joints = walker(300)
    rest = walker(1) - walker(1)[:, :1]  # the hips in the origin, as of channels that are all 0
    if kind == "first":
        joints[:4, :, 1] -= 0.2
    elif kind == "a dip":
        joints[100:110, :, 1] -= 0.3 * torch.hann_window(10, periodic=False)[:, None]
    elif kind == "scattered":
        joints[[20, 90, 91, 200]] -= torch.tensor([0.0, 1.0, 0.0])
    elif kind == "zero at the end":
        joints[280:] = rest
    elif kind == "zero at the start":
        joints[:30] = rest
    elif kind == "mostly zero":
        joints[130:] = rest
    elif kind == "nothing":
        joints[40:60] = 0
    return joints


@pytest.mark.parametrize("kind", ["right", "first", "a dip", "scattered", "zero at the end", "zero at the start",
                                  "mostly zero", "nothing"])  # fmt: skip
def test_wrong_frames_set_no_floor(kind):
    joints = frames_below(kind)
    right = on_floor(Motion(walker(300), 20.0))[0].joints[60:90]
    found = on_floor(Motion(joints, 20.0))[0].joints[60:90]
    assert float((found - right)[..., 1].abs().max()) < 0.03
