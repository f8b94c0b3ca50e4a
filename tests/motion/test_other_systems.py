"""What other systems save opens as the motion it is, and nothing of a pickle is run."""

import os
import pickle

import numpy as np
import pytest
import torch

from mld.errors import MotionFormatError
from mld.motion.carry import on_skeleton
from mld.motion.importing import clip_names, import_report
from mld.motion.motion import Motion
from mld.motion.representations.registry import get_representation
from prepare import data
from prepare.import_motion import main
from tests.walking import walker

JOINTS = walker(30)


@pytest.mark.parametrize("suffix", [".npy", ".pt"])
@pytest.mark.parametrize("count", [22, 24, 52, 55])
@pytest.mark.parametrize("batch", [False, True])
def test_joints_of_a_batch_of_one_and_of_whole_bodies(tmp_path, suffix, count, batch):
    joints = torch.cat([JOINTS, JOINTS[:, -1:].expand(-1, count - 22, 3) + 0.1], dim=1)
    path = tmp_path / f"out{suffix}"
    saved = joints[None] if batch else joints
    np.save(path, saved.numpy()) if suffix == ".npy" else torch.save(saved, path)
    motion, report = import_report(path)
    torch.testing.assert_close(motion.joints, JOINTS)
    assert bool(report.notes) == (count > 22)


def test_features_of_a_batch_of_one(tmp_path):
    features = get_representation("humanml3d").encode(Motion(JOINTS, 20.0))
    np.save(tmp_path / "out.npy", features[None].numpy())
    torch.testing.assert_close(Motion.load(tmp_path / "out.npy").joints, get_representation("humanml3d").decode(
        features).joints)  # fmt: skip


@pytest.mark.parametrize("suffix", [".npy", ".pt", ".npz"])
@pytest.mark.parametrize("kind", ["joints", "features", "frames last"])
def test_each_motion_of_an_array_can_be_had(tmp_path, suffix, kind):
    walks = torch.stack([walker(30, yaw=yaw) for yaw in (0.0, 1.0, 2.0)])
    saved = {"joints": walks, "frames last": walks.permute(0, 2, 3, 1)}.get(kind)
    if saved is None:
        saved = torch.stack([get_representation("humanml3d").encode(Motion(walk, 20.0)) for walk in walks])
        walks = torch.stack([get_representation("humanml3d").decode(rows).joints for rows in saved])
    path = tmp_path / f"out{suffix}"
    if suffix == ".pt":
        torch.save(saved, path)
    else:
        np.save(path, saved.numpy()) if suffix == ".npy" else np.savez(path, saved.numpy())
    assert clip_names(path) == ("1", "2", "3")
    first, report = import_report(path)
    torch.testing.assert_close(first.joints, walks[0])
    assert report.warnings[0] == "the file holds 3 motions (1, 2, 3); number 1 was taken"
    torch.testing.assert_close(Motion.load(path, clip=3).joints, walks[2])
    with pytest.raises(MotionFormatError, match="no motion '4'; it has 1, 2, 3"):
        Motion.load(path, clip=4)


def test_a_file_of_one_motion_has_no_second(tmp_path):
    for path in (tmp_path / "walk.npy", tmp_path / "walk.pt"):
        np.save(path, JOINTS.numpy()) if path.suffix == ".npy" else torch.save(JOINTS, path)
        assert clip_names(path) == ()
        with pytest.raises(MotionFormatError, match="holds one motion"):
            Motion.load(path, clip="2")


def results(path, protocol=4, **content):
    box = np.empty((), dtype=object)
    box[()] = content
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        pickle.dump(box, file, protocol=protocol)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_dictionary_of_results(tmp_path, protocol):
    """Two samples of two sentences, cut to their lengths, under the name `motion` with frames last."""
    walks = [walker(30, yaw=0.5 * number) for number in range(4)]
    results(
        tmp_path / "results.npy", protocol, motion=np.stack([walk.numpy().transpose(1, 2, 0) for walk in walks]),
        text=["a person walks", "jumps", "a person walks", "turns"], lengths=np.array([24, 30, 12, 30]),
        num_samples=2, num_repetitions=2,
    )  # fmt: skip
    assert clip_names(tmp_path / "results.npy") == ("1", "jumps", "3", "turns")
    motion, report = import_report(tmp_path / "results.npy")
    torch.testing.assert_close(motion.joints, walks[0][:24])
    assert report.notes == ("the file holds 4 motions (1, 2 jumps, 3, 4 turns); number 1 was taken",)
    torch.testing.assert_close(Motion.load(tmp_path / "results.npy", clip="3").joints, walks[2][:12])
    torch.testing.assert_close(Motion.load(tmp_path / "results.npy", clip="turns").joints, walks[3])


def test_each_result_is_imported(tmp_path, capsys):
    walks = np.stack([walker(30, yaw=yaw).numpy().transpose(1, 2, 0) for yaw in (0.0, 1.0)])
    results(tmp_path / "results.npy", motion=walks, text=["a person walks / slowly", ""], lengths=[30, 20])
    assert main([str(tmp_path / "results.npy"), str(tmp_path / "all"), "--format", "npy,bvh"]) == 0
    assert {path.name for path in (tmp_path / "all").iterdir()} == {
        "results_a_person_walks_slowly.npy", "results_a_person_walks_slowly.bvh", "results_2.npy", "results_2.bvh"
    }  # fmt: skip
    assert "2 of 2 motions imported" in capsys.readouterr().out
    assert Motion.load(tmp_path / "all" / "results_2.npy").num_frames == 20
    assert main([str(tmp_path / "results.npy"), str(tmp_path / "one.npy"), "--clip", "2"]) == 0
    assert Motion.load(tmp_path / "one.npy").num_frames == 20


def test_each_result_is_converted(tmp_path):
    """To features of HumanML3D, by the command that makes training data."""
    walks = np.stack([walker(30, yaw=yaw).numpy().transpose(1, 2, 0) for yaw in (0.0, 1.0)])
    results(tmp_path / "results.npy", motion=walks, lengths=[30, 20])
    command = ["convert", str(tmp_path / "results.npy"), "--to", "humanml3d", "--out", str(tmp_path / "out")]
    assert data.main(command) == 0
    assert [np.load(tmp_path / "out" / f"results_{number}.npy").shape for number in (1, 2)] == [(29, 263), (19, 263)]


def test_results_of_features_and_of_kit(tmp_path):
    rows = get_representation("humanml3d").encode(Motion(JOINTS, 20.0))
    results(tmp_path / "results.npy", motion=np.stack([rows.numpy().T[:, None]] * 2), lengths=np.array([20, 28]))
    assert [Motion.load(tmp_path / "results.npy", clip=clip).num_frames for clip in (1, 2)] == [20, 28]
    kit = on_skeleton(Motion(JOINTS, 20.0), "kit21")
    results(tmp_path / "results.npy", motion=1000 * kit.joints.numpy().transpose(1, 2, 0)[None])
    torch.testing.assert_close(Motion.load(tmp_path / "results.npy").joints, kit.joints)


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("code_was_run",))


class Greedy:
    def __reduce__(self):
        return (np.zeros, ((1 << 40,),))


@pytest.mark.parametrize("content", [Evil(), Greedy(), {"motion": Evil()}, {"text": ["a"]}, [1, 2], None])
def test_pickles_run_nothing(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "bad.npy", np.array(content, dtype=object), allow_pickle=True)
    with pytest.raises(MotionFormatError, match="pickled objects"):
        Motion.load(tmp_path / "bad.npy")
    assert not (tmp_path / "code_was_run").exists()


def test_an_array_that_lies_about_its_size_asks_for_no_memory(tmp_path):
    """`_reconstruct` of NumPy would make the array before its data are seen."""
    pickled = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I99999999999\ntC\x01btR."
    with open(tmp_path / "bad.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        file.write(pickled)
    with pytest.raises(MotionFormatError, match="pickled objects"):
        Motion.load(tmp_path / "bad.npy")
