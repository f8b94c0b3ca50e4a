"""Damaged array files (NPY, SMPL NPZ, PT) open, or are refused by name."""

from __future__ import annotations

import io

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from mld.motion.motion import Motion
from tests.motion.fuzz import seeds
from tests.motion.fuzz.guard import fuzzed, outcome
from tests.motion.fuzz.mutations import damaged_bytes

KEYS = [*seeds.arrays(), "transl", "root_orient", "pose_body", "fps", "global_orient", "body_pose", "Rh",
        "posed_joints", "local_rot_mats", "global_rot_mats", "keypoints3d", "joints", "arr_0"]  # fmt: skip
SHAPES = [(), (0,), (4,), (4, 66), (4, 156), (4, 3), (4, 22, 3), (4, 263), (4, 272), (4, 276),
          (1, 22, 3), (0, 22, 3), (22, 3), (4, 21, 3), (2, 4, 22, 3), (2, 22, 3, 4), (2, 263, 1, 4), (2, 4, 263),
          (4, 85), (4, 322), (4, 77, 3), (4, 77, 3, 3), (4, 30, 3), (4, 34, 3), (4, 52, 3), (1, 4, 66), (1, 4, 3),
          (2, 0, 22, 3), (0, 4, 263), (4, 22, 3, 3), (1, 1, 4, 22, 3), (3, 3, 3, 3, 3)]  # fmt: skip
DTYPES = st.sampled_from(["f2", "f4", ">f8", "g", "i1", "<u2", "i8", "?", "c8", "S3", "U2", "M8[s]", "V4", "i4,f4"])
HEADS = [
    "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 22, 3), }", "{'descr': '<f4', 'shape': (4, 22, 3)}",
    "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 22, 4), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (-4, -22, 3), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 22, 3), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (2**62, 22, 3), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 9223372036854775807), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (True, 22, 3), }",
    "{'descr': '|O', 'fortran_order': False, 'shape': (4, 22, 3), }", "{'descr': '<U0', 'shape': (9,)}",
    "{'descr': [('a', '<f4', (1000000, 1000000))], 'fortran_order': False, 'shape': (4,), }",
    "{'descr': '(9,9,9)f4', 'fortran_order': False, 'shape': (4,), }", "{1: 2, 'a': 3}", "{[]: 1}", "(" * 300,
    "-" * 5000 + "1", "[" * 90 + "]" * 90, "'", "\n\n  x\n y", "1 if", "\0", "{'descr': '<f4',", "é", "lambda: 0",
    "__import__('os').system('touch x')", "{'descr': '<f4', 'fortran_order': 0L, 'shape': (4L, 22L, 3L)}",
]  # fmt: skip
STANDING = seeds.motion().joints.numpy().tobytes()


def npy_bytes(version: int, head: str, length: int | None, data: bytes) -> bytes:
    """A file with any header, and with another header length than it has."""
    text = head.encode("latin-1" if version < 3 else "utf-8") + b"\n"
    length = len(text) if length is None else length
    size = (length & 0xFFFF).to_bytes(2, "little") if version == 1 else (length & 0xFFFFFFFF).to_bytes(4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + data


any_npy = st.builds(
    npy_bytes, st.sampled_from([1, 2, 3, 9]), st.sampled_from(HEADS) | st.text("({[]})',:0a ", max_size=40),
    st.none() | st.sampled_from([0, 1, 65535, 2**32 - 1]), st.sampled_from([b"", bytes(1056), STANDING, bytes(64)]),
)  # fmt: skip


def array_of(dtype: str, shape: tuple[int, ...], fill: str) -> np.ndarray:
    """Zeros, random bytes, or the walk's kind of numbers where the type can hold them."""
    rng = np.random.default_rng(0)
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    array = np.frombuffer(bytes(size) if fill == "zeros" else rng.bytes(size), dtype).reshape(shape).copy()
    if fill == "numbers" and array.dtype.kind in "fiu":
        array[...] = rng.integers(0, 2, shape)
    return array


any_array = st.builds(array_of, DTYPES, st.sampled_from(SHAPES), st.sampled_from(["zeros", "bytes", "numbers"]))


def test_the_files_open_before_they_are_damaged(folder):
    assert isinstance(outcome(folder, {"walk.npy": npy_bytes(1, HEADS[0], None, STANDING)}), Motion)
    whole = {".npy": seeds.saved(".npy"), ".npz": seeds.npz(seeds.arrays()), ".pt": seeds.tensor()}
    for suffix, content in whole.items():
        assert isinstance(outcome(folder, {f"walk{suffix}": content}), Motion)


@given(content=damaged_bytes(seeds.saved(".npy")) | any_npy)
@fuzzed
def test_npy(folder, content):
    outcome(folder, {"walk.npy": content})


@given(array=any_array)
@fuzzed
def test_npy_of_any_type(folder, array):
    outcome(folder, {"walk.npy": seeds.npy(array)})


@given(content=damaged_bytes(seeds.saved(".npz")))
@fuzzed
def test_npz_of_other_bytes(folder, content):
    outcome(folder, {"walk.npz": content})


@given(key=st.sampled_from(KEYS), array=any_array, dropped=st.sets(st.sampled_from(KEYS), max_size=2))
@fuzzed
def test_npz_of_other_arrays(folder, key, array, dropped):
    members = {name: value for name, value in seeds.arrays().items() if name not in dropped} | {key: array}
    outcome(folder, {"walk.npz": seeds.npz(members, compressed=bool(dropped))})


@given(content=damaged_bytes(seeds.tensor()))
@fuzzed
def test_pt_of_other_bytes(folder, content):
    outcome(folder, {"walk.pt": content})


@given(array=any_array.filter(lambda a: a.dtype.kind in "fiub" and a.dtype.isnative and a.itemsize < 16),
       key=st.sampled_from([None, "motion", "joints", "x", 0]), parameter=st.booleans())  # fmt: skip
@fuzzed
def test_pt_of_other_tensors(folder, array, key, parameter):
    value = torch.from_numpy(np.array(array))
    if parameter and value.is_floating_point():
        value = torch.nn.Parameter(value)
    file = io.BytesIO()
    torch.save(value if key is None else {key: value}, file)
    outcome(folder, {"walk.pt": file.getvalue()})
