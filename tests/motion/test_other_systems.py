"""What other systems save opens as the motion it is, and nothing of a pickle is run."""

import os
import pickle

import numpy as np
import pytest
import torch

from mld.errors import MotionFormatError
from mld.motion.importing import import_report
from mld.motion.motion import Motion
from mld.motion.representations.registry import get_representation
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


def test_several_motions_in_one_array_are_refused(tmp_path):
    np.save(tmp_path / "out.npy", JOINTS[None].expand(3, -1, -1, -1).numpy())
    with pytest.raises(MotionFormatError, match=r"3 motions in one array"):
        Motion.load(tmp_path / "out.npy")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_dictionary_of_results(tmp_path, protocol):
    both = np.stack([JOINTS.numpy().transpose(1, 2, 0)] * 2)
    results = {"motion": both, "text": ["a person walks", "again"], "lengths": np.array([24, 30]), "num_samples": 2}
    box = np.empty((), dtype=object)
    box[()] = results
    with open(tmp_path / "results.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        pickle.dump(box, file, protocol=protocol)
    motion, report = import_report(tmp_path / "results.npy")
    torch.testing.assert_close(motion.joints, JOINTS[:24])
    assert report.notes == ("motion 1 of 2 ('a person walks') of a file of results",)


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
