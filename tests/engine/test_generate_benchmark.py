"""The benchmark of answers: its slow ways give the answers of the fast ones."""

from __future__ import annotations

import pytest

from benchmarks.generate import measure
from tests.models.tiny import tiny_motiongpt, tiny_motiongpt3


@pytest.mark.parametrize("make", [tiny_motiongpt, tiny_motiongpt3])
def test_naive_and_fast_answers_agree(make) -> None:
    found = measure(make(), count=2, frames=24, rounds=1)
    assert min(found["motions_per_s"].values()) > 0
    assert all(entry["same_answers"] in ("1 of 1", "2 of 2") for entry in found["decoding"].values())
    if "head" in found:
        assert max(found["head"][f"batch_{size}"]["largest_difference"] for size in (1, 16)) < 1e-4
