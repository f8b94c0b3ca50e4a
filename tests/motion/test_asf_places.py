"""ASF/AMC files in which other bones than the root have places and lengths per frame."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from mld.motion.formats.asf_amc import read_rig
from mld.motion.importing import import_report
from mld.motion.rig.rig import RigMotion
from tests.motion.test_asf_amc import AMC, ASF, write
from tests.motion.test_retarget import source

PLACES = "tx ty tz "


def numbers(values) -> str:
    return " ".join(f"{float(value):.7f}" for value in values)


def asf_of(motion: RigMotion, folder: Path, hips: str = "", extra=None) -> Path:
    """A rig's motion as ASF/AMC in metres: each joint a bone of no length, with a stiff bone to each joint below. The
    hips hang below a root that has `root` of their way, they the rest in the channels `hips`."""
    rig, radians = motion.rig, Rotation.from_matrix(motion.rotations.reshape(-1, 3, 3).numpy())
    angles = radians.as_euler("xyz", degrees=True).reshape(motion.num_frames, rig.num_joints, 3)
    way = motion.translation.double().numpy()
    root_way = way if extra is None else way - extra
    bones, tree, rows = [], [], [["root " + numbers([*place, 0, 0, 0])] for place in root_way]
    for joint, name in enumerate(rig.joint_names):
        dof = (hips if joint == 0 else "") + "rx ry rz"
        bones.append(f"  begin\n name {name}\n direction 0 1 0\n length 0\n axis 0 0 0 XYZ\n dof {dof}\n  end")
        for frame, row in enumerate(rows):
            moved = [] if joint or not hips else extra[frame]
            row.append(f"{name} " + numbers([*moved, *angles[frame, joint]]))
        below = []
        for child in rig.children(joint):
            bone, length = rig.offsets[child].numpy(), float(rig.offsets[child].norm())
            bones.append(f"  begin\n name n{child}\n direction {numbers(bone / length)}\n length {length:.7f}\n"
                         "  axis 0 0 0 XYZ\n  end")  # fmt: skip
            below.append(f"n{child}")
            tree.append(f"n{child} {rig.joint_names[child]}")
        tree += [f"{name} {' '.join(below)}"] if below else []
    text = (":version 1.10\n:units\n length 0.0254\n angle deg\n:root\n order TX TY TZ RX RY RZ\n axis XYZ\n"
            " position 0 0 0\n orientation 0 0 0\n:bonedata\n" + "\n".join(bones) + "\n:hierarchy\n  begin\n"
            f"root {rig.joint_names[0]}\n" + "\n".join(tree) + "\n  end\n")  # fmt: skip
    (folder / "walk.asf").write_text(text)
    frames = "\n".join("\n".join([str(frame + 1), *row]) for frame, row in enumerate(rows))
    (folder / "walk.amc").write_text(f":FULLY-SPECIFIED\n:DEGREES\n{frames}\n")
    return folder / "walk.amc"


@pytest.mark.parametrize("share", ["root", "hips", "bob"])
def test_travel_below_the_root_is_kept(tmp_path, share):
    """All of the way in the root, all in the hips, or the way in the root and the bob in the hips."""
    motion, joints = source(frames=40)
    bob = torch.zeros(40, 3)
    bob[:, 1] = 0.03 * torch.sin(torch.arange(40) / 3)
    motion = RigMotion(motion.rig, motion.rotations, motion.translation + bob, motion.fps)
    joints = joints + bob[:, None]
    way = motion.translation.double().numpy()
    extra = {"root": None, "hips": way, "bob": way * [0, 1, 0]}[share]
    path = asf_of(motion, tmp_path, "" if extra is None else PLACES, extra)
    made, _ = import_report(path, fps=20)
    torch.testing.assert_close(made.joints, joints, atol=2e-4, rtol=0)


def test_places_are_in_the_frame_of_the_bone_and_lengths_move_what_hangs_on_it(tmp_path):
    """By hand: `leg` hangs on the root; `foot` on its end, 8 units below, stretched by 1 and 3."""
    asf = ASF.replace("dof rx rz\n", "dof rx rz tx ty tz l\n").replace("     limits (-160.0 20.0)\n", "")
    asf = asf.replace("            (-70.0 70.0)\n", "")
    amc = AMC.replace("leg 40 50", "leg 0 0 1 2 3 1").replace("leg 41 51", "leg 0 0 1 2 5 3")
    amc = amc.replace("root 1 2 3 10 20 30", "root 1 2 3 0 0 0").replace("root 1 2 4 11 21 31", "root 1 2 4 0 0 0")
    motion = read_rig(write(tmp_path, asf, amc))
    unit = 0.0254 / 0.45
    turn = Rotation.from_euler("xyz", [10, 20, 30], degrees=True).as_matrix()
    leg, foot, root = (motion.positions()[:, motion.rig.index(name)].numpy() for name in ("leg", "foot", "root"))
    moved = np.array([[1, 2, 3], [1, 2, 5]]) @ turn.T
    np.testing.assert_allclose(leg - root, moved * unit, atol=1e-5)
    np.testing.assert_allclose((foot - leg)[:, 1], np.array([-9, -11]) * unit, atol=1e-5)


def test_whole_lengths_and_whole_places_are_told_from_differences(tmp_path):
    asf = ASF.replace("dof rx rz\n", "dof l\n").replace("     limits (-160.0 20.0)\n", "")
    asf = asf.replace("            (-70.0 70.0)\n", "")
    for said, wanted in (("leg 8.5", 8.5), ("leg 0.5", 8.5)):
        amc = AMC.replace("leg 40 50", said).replace("leg 41 51", said)
        motion = read_rig(write(tmp_path, asf, amc))
        bone = motion.positions()[0, motion.rig.index("foot")] - motion.positions()[0, motion.rig.index("leg")]
        assert math.isclose(float(bone.norm()), wanted * 0.0254 / 0.45, rel_tol=1e-4)
