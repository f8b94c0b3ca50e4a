"""Arrays are not trusted: unit and axis are heeded, impossible bodies refused, odd ones named, in every format."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from mld.errors import MotionFormatError
from mld.motion.importing import import_report
from mld.motion.motion import Motion
from mld.motion.plausibility import height, looks_normalised, remarks
from mld.motion.representations.registry import get_representation
from mld.motion.skeletons import get_skeleton
from tests.motion.moves import random_motion
from tests.walking import walker

FRAMES = 30


def saved(path, array):
    if path.suffix == ".pt":
        torch.save(torch.as_tensor(array), path)
    else:
        np.save(path, np.asarray(array))
    return path


@pytest.mark.parametrize("suffix", [".npy", ".pt"])
def test_unit_and_axis_are_heeded(tmp_path, suffix):
    joints = walker(FRAMES)
    lying = saved(tmp_path / f"z_up{suffix}", (100 * joints)[..., [0, 2, 1]] * torch.tensor([1.0, -1.0, 1.0]))
    motion, report = import_report(lying, unit=0.01, up="z")
    torch.testing.assert_close(motion.joints, joints, atol=1e-5, rtol=0)
    assert not report.notes
    motion, report = import_report(lying)
    assert any("in centimetres" in note for note in report.notes)
    assert any("lies along z" in note and "--up z" in note for note in report.notes)
    assert float(motion.joints[..., 2].max()) == pytest.approx(1.55, abs=0.05)


def test_files_that_say_their_axes_can_be_overruled(tmp_path):
    path = Motion(walker(FRAMES), 20.0).save(tmp_path / "walk.json")
    motion, _ = import_report(path, unit=0.5, up="-y")
    torch.testing.assert_close(motion.joints[..., 1], -0.5 * walker(FRAMES)[..., 1], atol=1e-5, rtol=0)


def test_features_have_axes_of_their_own(tmp_path):
    features = get_representation("humanml3d").encode(Motion(walker(FRAMES), 20.0))
    path = saved(tmp_path / "walk.npy", features)
    assert not import_report(path)[1].notes
    with pytest.raises(MotionFormatError, match="a vertical axis of their own"):
        import_report(path, up="z")


@pytest.mark.parametrize("name", ["humanml3d", "kit", "motion272", "motion276"])
def test_normalised_features_are_told_from_raw_ones(tmp_path, name):
    representation = get_representation(name)
    source = random_motion(1, 60, representation.skeleton.name, swing=0.2)
    raw = representation.encode(Motion(source.joints, representation.fps, representation.skeleton))
    assert not looks_normalised(raw, representation)
    other = representation.encode(Motion(random_motion(2, 90, representation.skeleton.name).joints,
                                         representation.fps, representation.skeleton))  # fmt: skip
    normalised = (raw - other.mean(0)) / other.std(0).clamp_min(1e-3)
    with pytest.raises(MotionFormatError, match="normalised"):
        Motion.load(saved(tmp_path / "walk.npy", normalised))


@pytest.mark.parametrize(("damage", "message"), [
    (lambda j: j * 1e30, "km away, first at frame 0"), (lambda j: j * 0, "in one place"),
    (lambda j: torch.cat((j[:7], 50 * j[7:8], j[8:])), "m across at frame 7"),
])
@pytest.mark.parametrize("suffix", [".npy", ".pt", ".json"])
def test_bodies_that_cannot_be_are_refused(tmp_path, suffix, damage, message):
    motion = Motion(damage(walker(FRAMES)), 20.0)
    path = tmp_path / f"bad{suffix}"
    if suffix in (".npy", ".pt"):
        saved(path, motion.joints)
    else:
        motion.save(path)
    with pytest.raises(MotionFormatError, match=message):
        Motion.load(path)


def test_jumps_stretched_bones_and_strange_limbs_are_named():
    whole = walker(FRAMES)
    assert remarks(Motion(whole, 20.0)) == ()
    jump = whole.clone()
    jump[20:] += 2.0
    assert remarks(Motion(jump, 20.0)) == ("the body jumps at frame 20",)
    stretched = whole.clone()
    stretched[11, 20] += 0.4
    assert "bones change their length at frame 11: l_elbow to l_wrist is 0.25 m" in " ".join(
        remarks(Motion(stretched, 20.0)))
    stub = whole.clone()
    stub[:, 4] = stub[:, 1] + 0.2 * (stub[:, 4] - stub[:, 1])
    assert any("limbs" in line and "l_hip to l_knee" in line for line in remarks(Motion(stub, 20.0)))
    assert "frame rate" in remarks(Motion(whole, 400.0))[0]


@pytest.mark.parametrize("size", [0.5, 1.5])
def test_the_height_of_a_grown_person(size):
    assert 1.5 < height(Motion(walker(FRAMES), 20.0)) < 1.8
    assert remarks(Motion(walker(FRAMES, scale=size), 20.0))[0].startswith("the body is about")


def test_loading_warns_of_what_is_odd(tmp_path, caplog):
    joints = walker(FRAMES)
    joints[15:] += 3.0
    with caplog.at_level(logging.WARNING, logger="mld"):
        Motion.load(saved(tmp_path / "jump.npy", joints))
    assert "jump.npy: the body jumps at frame 15" in caplog.text


ANIMAL = Path(__file__).parents[1] / "wild" / "k15_quadruped.bvh"
SUFFIXES = [".npy", ".npz", ".pt", ".json", ".csv", ".bvh", ".glb"]


def in_format(path, joints, fps=30.0):
    """Joints in a file of any format."""
    if path.suffix == ".npz":
        np.savez(path, joints=np.asarray(joints), fps=fps)
        return path
    return saved(path, joints) if path.suffix in (".npy", ".pt") else Motion(joints, fps).save(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_animal_is_told_in_every_format(tmp_path, suffix):
    joints = import_report(ANIMAL)[0].joints
    _, report = import_report(in_format(tmp_path / f"dog{suffix}", joints))
    assert any("not like a person: the trunk is never in line" in line for line in report.warnings)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("joint", "parent", "times"), [("l_knee", "l_hip", 3.0), ("r_elbow", "r_shoulder", 2.6),
                                                        ("neck", "spine3", 9.0)])  # fmt: skip
def test_creatures_are_told_in_every_format(tmp_path, suffix, joint, parent, times):
    """One leg or arm much longer than the other, and a neck as of a giraffe."""
    joints, skeleton = walker(FRAMES), get_skeleton("smpl22")
    moved = (times - 1) * (joints[:, skeleton.index(joint)] - joints[:, skeleton.index(parent)])
    below = [skeleton.index(joint)]
    for place, above in enumerate(skeleton.parents):
        below += [place] if above in below and place not in below else []
    joints[:, below] += moved[:, None]
    _, report = import_report(in_format(tmp_path / f"creature{suffix}", joints))
    assert any("person" in line and "m" in line for line in report.warnings), report.lines()


def sitting(frames: int = FRAMES) -> torch.Tensor:
    """A person on a chair: thighs to the front."""
    joints = walker(frames)
    for hip, knee, ankle, foot in ((1, 4, 7, 10), (2, 5, 8, 11)):
        forward = torch.tensor([0.0, 0.0, 0.4])
        down = torch.tensor([0.0, -0.42, 0.0])
        joints[:, knee] = joints[:, hip] + forward
        joints[:, ankle] = joints[:, knee] + down
        joints[:, foot] = joints[:, ankle] + torch.tensor([0.0, -0.06, 0.12])
    return joints


def crawling(frames: int = FRAMES) -> torch.Tensor:
    """A person on hands and knees: the shins on the floor."""
    joints = walker(frames)
    middle = joints[:, :1].clone()
    upper = [0, 3, 6, 9, 12, 13, 14, 15, 16, 17]
    off = joints[:, upper] - middle
    joints[:, upper] = middle + torch.stack([off[..., 0], -off[..., 2], off[..., 1]], -1)
    for shoulder, elbow, wrist in ((16, 18, 20), (17, 19, 21)):
        joints[:, elbow] = joints[:, shoulder] + torch.tensor([0.0, -0.27, 0.0])
        joints[:, wrist] = joints[:, elbow] + torch.tensor([0.0, -0.25, 0.0])
    for hip, knee, ankle, foot in ((1, 4, 7, 10), (2, 5, 8, 11)):
        joints[:, hip] = middle[:, 0] + torch.tensor([0.08 if hip == 1 else -0.08, -0.05, 0.0])
        joints[:, knee] = joints[:, hip] + torch.tensor([0.0, -0.38, 0.0])
        joints[:, ankle] = joints[:, knee] + torch.tensor([0.0, 0.02, -0.42])
        joints[:, foot] = joints[:, ankle] + torch.tensor([0.0, 0.0, -0.13])
    return joints


@pytest.mark.parametrize("pose", [sitting, crawling])
def test_people_who_sit_or_crawl_are_no_animals(pose):
    assert not any("trunk" in line for line in remarks(Motion(pose(), 20.0)))
