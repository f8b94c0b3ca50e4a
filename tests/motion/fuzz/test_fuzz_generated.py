"""Damaged files of other generators, and their lists of motions, open or are refused by name."""

from __future__ import annotations

import contextlib
import io
import pickle
from functools import lru_cache

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mld.errors import MldError
from mld.motion.importing import clip_names
from mld.motion.motion import Motion
from tests.motion.fuzz import seeds
from tests.motion.fuzz.guard import fuzzed, outcome
from tests.motion.fuzz.mutations import damaged_bytes
from tests.motion.fuzz.test_fuzz_arrays import any_array
from tests.motion.test_generated_files import kimodo
from tests.walking import walker


@lru_cache
def whole(kind: str) -> dict[str, np.ndarray]:
    """Four frames of what a generator saves."""
    if kind == "keypoints":
        return {"keypoints3d": np.zeros((4, 52, 3), np.float32) + walker(4)[:, :1].numpy(), "transl": np.zeros((4, 3))}
    return {name: np.array(array[:4]) for name, array in kimodo(int(kind))[0].items()}


@lru_cache
def results() -> bytes:
    """A file of MDM's results with two motions."""
    box = np.empty((), dtype=object)
    box[()] = {"motion": np.stack([walker(4).numpy().transpose(1, 2, 0)] * 2), "text": ["a", "b"],
               "lengths": np.array([4, 3])}  # fmt: skip
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
    pickle.dump(box, file, protocol=4)
    return file.getvalue()


def names_too(folder, files: dict[str, bytes]) -> None:
    """Opening it, and asking for its motions."""
    outcome(folder, files)
    for name, content in files.items():
        (folder / name).write_bytes(content)
        with contextlib.suppress(MldError):
            clip_names(folder / name)


def test_the_files_open_before_they_are_damaged(folder):
    for kind in ("22", "30", "77"):
        assert isinstance(outcome(folder, {"walk.npz": seeds.npz(whole(kind))}), Motion)
    assert isinstance(outcome(folder, {"walk.npy": results()}), Motion)


@given(kind=st.sampled_from(["22", "30", "77", "keypoints"]), place=st.integers(0, 2), array=any_array,
       drop=st.booleans())  # fmt: skip
@fuzzed
def test_other_arrays(folder, kind, place, array, drop):
    members = dict(whole(kind))
    key = list(members)[place % len(members)]
    members[key] = array
    if drop:
        del members[list(members)[(place + 1) % len(members)]]
    names_too(folder, {"walk.npz": seeds.npz(members)})


@given(content=damaged_bytes(results()))
@fuzzed
def test_results(folder, content):
    names_too(folder, {"walk.npy": content})


@given(motion=any_array, lengths=st.none() | any_array | st.lists(st.integers(-5, 2**70) | st.floats() | st.none()),
       text=st.none() | st.lists(st.text() | st.none() | st.integers()) | any_array)  # fmt: skip
@fuzzed
def test_results_of_anything(folder, motion, lengths, text):
    box = np.empty((), dtype=object)
    box[()] = {"motion": motion, "text": text, "lengths": lengths}
    file = io.BytesIO()
    np.save(file, box, allow_pickle=True)
    names_too(folder, {"walk.npy": file.getvalue()})
