"""Damaged glTF and GLB files open, or are refused by name."""

from __future__ import annotations

import base64
import json

from hypothesis import given
from hypothesis import strategies as st

from mld.motion.motion import Motion
from tests.motion.fuzz import seeds
from tests.motion.fuzz.guard import fuzzed, outcome
from tests.motion.fuzz.mutations import damaged_bytes, damaged_document

DATA = seeds.gltf_parts()[1]
WHOLE = seeds.glb(seeds.gltf_document(), DATA)


def test_the_file_opens_before_it_is_damaged(folder):
    assert isinstance(outcome(folder, {"walk.glb": WHOLE}), Motion)


@given(content=damaged_bytes(WHOLE) | st.binary(max_size=100).map(lambda junk: b"glTF" + junk))
@fuzzed
def test_glb_of_other_bytes(folder, content):
    outcome(folder, {"walk.glb": content})


@given(document=damaged_document(seeds.gltf_document()))
@fuzzed
def test_glb_of_other_values(folder, document):
    outcome(folder, {"walk.glb": seeds.glb(document, DATA)})


@given(data=damaged_bytes(DATA))
@fuzzed
def test_glb_with_another_buffer(folder, data):
    outcome(folder, {"walk.glb": seeds.glb(seeds.gltf_document(), data)})


@given(document=damaged_document(seeds.gltf_document()), uri=st.sampled_from(["data", "file"]))
@fuzzed
def test_gltf(folder, document, uri):
    buffers = document.get("buffers") if isinstance(document, dict) else None
    if isinstance(buffers, list) and buffers and isinstance(buffers[0], dict):
        inside = "data:application/octet-stream;base64," + base64.b64encode(DATA).decode()
        buffers[0].setdefault("uri", inside if uri == "data" else "walk.bin")
    outcome(folder, {"walk.gltf": json.dumps(document).encode(), "walk.bin": DATA})


@given(index=st.integers(0, 24), key=st.sampled_from(["count", "byteOffset", "componentType", "bufferView", "type"]),
       value=st.integers(-(2**40), 2**62) | st.sampled_from(["SCALAR", "MAT4", 5120, 5125, 5126]))  # fmt: skip
@fuzzed
def test_accessors(folder, index, key, value):
    document = seeds.gltf_document()
    document["accessors"][index % len(document["accessors"])][key] = value
    outcome(folder, {"walk.glb": seeds.glb(document, DATA)})


@given(index=st.integers(0, 24), key=st.sampled_from(["byteLength", "byteOffset", "byteStride", "buffer"]),
       value=st.integers(-(2**40), 2**62) | st.integers(-8, 64))  # fmt: skip
@fuzzed
def test_buffer_views(folder, index, key, value):
    document = seeds.gltf_document()
    document["bufferViews"][index % len(document["bufferViews"])][key] = value
    outcome(folder, {"walk.glb": seeds.glb(document, DATA)})


@given(node=st.integers(0, 21), children=st.lists(st.integers(-1, 25), max_size=6))
@fuzzed
def test_trees_that_are_none(folder, node, children):
    document = seeds.gltf_document()
    document["nodes"][node]["children"] = children
    outcome(folder, {"walk.glb": seeds.glb(document, DATA)})
