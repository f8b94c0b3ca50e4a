"""Damaged text files (BVH, ASF/AMC, CSV, JSON) open, or are refused by name."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mld.motion.motion import Motion
from tests.motion.fuzz import seeds
from tests.motion.fuzz.guard import fuzzed, outcome
from tests.motion.fuzz.mutations import damaged_bytes, damaged_document, damaged_text

ASF, AMC = seeds.acclaim()


@pytest.mark.parametrize("suffix", [".bvh", ".csv", ".json"])
def test_the_files_open_before_they_are_damaged(folder, suffix):
    assert isinstance(outcome(folder, {f"walk{suffix}": seeds.saved(suffix)}), Motion)


def test_the_acclaim_files_open_before_they_are_damaged(folder):
    assert isinstance(outcome(folder, {"walk.amc": AMC, "walk.asf": ASF}), Motion)


@pytest.mark.parametrize("suffix", [".bvh", ".csv", ".json", ".amc"])
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@fuzzed
def test_anything(folder, suffix, content):
    outcome(folder, {f"walk{suffix}": content, "walk.asf": ASF} if suffix == ".amc" else {f"walk{suffix}": content})


@given(content=damaged_text(seeds.saved(".bvh")))
@fuzzed
def test_bvh(folder, content):
    outcome(folder, {"walk.bvh": content})


@given(content=damaged_text(AMC))
@fuzzed
def test_amc(folder, content):
    outcome(folder, {"walk.amc": content, "walk.asf": ASF})


@given(content=damaged_text(ASF))
@fuzzed
def test_asf(folder, content):
    outcome(folder, {"walk.amc": AMC, "walk.asf": content})


@given(content=damaged_text(seeds.saved(".csv")))
@fuzzed
def test_csv(folder, content):
    outcome(folder, {"walk.csv": content})


@given(document=damaged_document(json.loads(seeds.saved(".json", 2))))
@fuzzed
def test_json_of_other_values(folder, document):
    outcome(folder, {"walk.json": json.dumps(document).encode()})


@given(content=damaged_bytes(seeds.saved(".json", 2)))
@fuzzed
def test_json_of_other_bytes(folder, content):
    outcome(folder, {"walk.json": content})
