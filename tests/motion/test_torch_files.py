"""`.pt` files with NumPy arrays in them: read like tensors, no other class opened, no more memory than they have."""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from mld import Motion
from mld.errors import MotionFormatError
from mld.motion.formats.torch_file import open_torch
from mld.motion.representations.registry import get_representation
from tests.walking import walker


def test_arrays_and_tensors_come_back(tmp_path: Path) -> None:
    motion = np.random.default_rng(0).normal(size=(4, 6)).astype("f4")
    content = {"motion": motion, "turned": torch.arange(6.0).view(2, 3).T,
               "half": torch.ones(3).bfloat16(),
               "number": np.float32(3), "word": "a", "none": torch.zeros(0, 3)}  # fmt: skip
    torch.save(content, tmp_path / "a.pt")
    found = open_torch(tmp_path / "a.pt")
    np.testing.assert_array_equal(found["motion"], content["motion"])
    assert all(torch.equal(found[name], content[name]) for name in ("turned", "half", "none"))
    assert found["word"] == "a" and float(found["number"]) == 3


def test_a_motion_may_be_an_array_or_have_columns_too_many(tmp_path: Path) -> None:
    rows = get_representation("motion276").encode(Motion(walker(41), 20.0))
    wide = torch.cat([rows, rows[:, 126:]], 1)
    for name, content in {"array": {"motion": rows.numpy()}, "wide": {"motion": wide}}.items():
        torch.save(content, tmp_path / f"{name}.pt")
        motion = Motion.load(tmp_path / f"{name}.pt")
        assert motion.num_frames == 40 and motion.rotations is not None


class Harm:
    def __reduce__(self):
        return eval, ("1",)


def test_code_beside_an_array_is_refused(tmp_path: Path) -> None:
    torch.save({"motion": np.zeros((3, 276)), "more": Harm()}, tmp_path / "a.pt")
    with pytest.raises(MotionFormatError, match="holds .*eval.*objects and code are refused"):
        open_torch(tmp_path / "a.pt")


def test_a_tensor_larger_than_its_file_is_refused(tmp_path: Path) -> None:
    torch.save({"motion": torch.zeros(1).expand(10**9), "array": np.zeros(2)}, tmp_path / "a.pt")
    with pytest.raises(MotionFormatError, match="cannot be opened as tensors and arrays"):
        open_torch(tmp_path / "a.pt")


def test_a_missing_storage_is_one_line(tmp_path: Path) -> None:
    torch.save({"motion": torch.zeros(3), "array": np.zeros(2)}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as whole, zipfile.ZipFile(tmp_path / "b.pt", "w") as less:
        for name in whole.namelist():
            if "/data/" not in name:
                less.writestr(name, whole.read(name))
    with pytest.raises(MotionFormatError, match="cannot be opened as tensors and arrays"):
        open_torch(tmp_path / "b.pt")


def test_lists_within_lists_are_not_unfolded_without_end(tmp_path: Path) -> None:
    nested: list = [np.zeros(1)]
    for _ in range(60):
        nested = [nested, nested]
    data = io.BytesIO()
    pickle.dump(nested, data, protocol=2)
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as file:
        file.writestr("a/data.pkl", data.getvalue())
    assert len(open_torch(tmp_path / "a.pt")) == 2
