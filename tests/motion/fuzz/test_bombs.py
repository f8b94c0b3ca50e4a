"""Files made to hurt: a few bytes that ask for gigabytes, minutes or code. Each is refused, cheaply, by name."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch

from tests.motion.fuzz import seeds
from tests.motion.fuzz.guard import outcome
from tests.motion.fuzz.mutations import deep


def refused(folder, name: str, content: bytes, **others: bytes) -> str:
    message = outcome(folder, {name: content, **{file.replace("_", "."): data for file, data in others.items()}})
    assert isinstance(message, str), "the file was opened"
    return message


class Touch:
    """Unpickling it makes the file that it names."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def saved_tensor(value) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def with_pickle(text: bytes) -> bytes:
    """A file of torch.save whose pickle is another."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(seeds.tensor())) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            new.writestr(name, text if name.endswith("data.pkl") else old.read(name))
    return file.getvalue()


def test_pickles_run_no_code(folder, tmp_path):
    made = tmp_path / "made"
    evil = Touch(made)
    pickle.loads(pickle.dumps(evil))
    assert made.exists()  # so it would, if a reader unpickled it
    made.unlink()
    objects = np.array([[evil]], dtype=object)
    text = pickle.dumps(evil, protocol=2)
    for name, content in (
        ("walk.npy", seeds.npy(objects)), ("walk.npy", text), ("walk.npz", text), ("walk.pt", text),
        ("walk.npz", seeds.npz(seeds.arrays() | {"poses": objects})), ("walk.json", text), ("walk.bvh", text),
        ("walk.pt", saved_tensor(evil)), ("walk.pt", saved_tensor({"motion": evil})), ("walk.pt", with_pickle(text)),
        ("walk.pt", with_pickle(pickle.dumps(evil, protocol=4))), ("walk.pt", seeds.npz({"poses": objects})),
    ):  # fmt: skip
        refused(folder, name, content)
        assert not made.exists(), name
    gender = seeds.npz(seeds.arrays() | {"gender": np.array(evil, dtype=object)})  # left aside
    assert not isinstance(outcome(folder, {"walk.npz": gender}), str) and not made.exists()


@pytest.mark.parametrize("call", [b"cbuiltins\nbytearray\n", b"ctorch\nFloatTensor\n", b"ctorch\nTensor\n"])
def test_pickles_that_weights_only_allows_make_no_memory(folder, call):
    text = b"\x80\x02" + call + b"J\x00\x00\x00\x40\x85R."  # of 1 GB or more
    assert "refused" in refused(folder, "walk.pt", with_pickle(text))


def test_tensors_beyond_their_storage(folder):
    small = saved_tensor(torch.zeros(1, 22, 3))
    with zipfile.ZipFile(io.BytesIO(small)) as archive:
        text = next(archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))
    assert b"K\x01K\x16K\x03" in text
    refused(folder, "walk.pt", with_pickle(text.replace(b"K\x01K\x16K\x03", b"J\x00\x00\x00\x01K\x16K\x03")))
    refused(folder, "walk.pt", saved_tensor(torch.zeros(1).expand(1 << 24, 22, 3)))


@pytest.mark.parametrize("dtype", ["f8", "i1"])
@pytest.mark.parametrize("megabytes", [3, 16, 100])
def test_archives_that_unpack_to_much(folder, dtype, megabytes):
    frames = (megabytes << 20) // (66 * np.dtype(dtype).itemsize)
    poses = np.zeros((frames, 66), dtype)
    content = seeds.npz({"poses": poses, "trans": np.zeros((frames, 3), "f4"), "fps": 30.0}, compressed=True)
    message = outcome(folder, {"walk.npz": content})
    assert isinstance(message, str) or frames * 22 < 1 << 18
    refused(folder, "walk.pt", seeds.npz({"data.pkl": poses}, compressed=True))


def npy_header(version: int, length: int) -> bytes:
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", length)


def test_array_headers_that_promise_much(folder):
    for version, length in ((1, 65535), (2, 2**32 - 1), (3, 2**31)):
        refused(folder, "walk.npy", npy_header(version, length) + b"{'descr': '<f4'")
    for shape in ("(99999999999, 22, 3)", f"({2**62}, {2**62})", "(1,) * 99999999"):
        text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".encode()
        refused(folder, "walk.npy", npy_header(1, len(text)) + text + bytes(64))


def bvh(hierarchy: str, frames: object = 1, rows: str = "") -> bytes:
    return f"HIERARCHY\n{hierarchy}MOTION\nFrames: {frames}\nFrame Time: 0.05\n{rows}".encode()


def test_bvh_of_many_joints_and_frames(folder):
    still = "".join(f"JOINT j{i} {{ OFFSET 0 1 0 CHANNELS 0 }}\n" for i in range(900))
    root = "ROOT a {{ OFFSET 0 0 0 CHANNELS 1 Xrotation\n{}}}\n"
    assert "hardly any" in refused(folder, "walk.bvh", bvh(root.format(still), 9000, "0\n" * 9000))
    nested = "ROOT a {\n" + "JOINT b {\n" * 100_000
    assert "line 1002" in refused(folder, "walk.bvh", bvh(nested))
    assert "line" in refused(folder, "walk.bvh", bvh(root.format(""), "9" * 5000, "0\n" * 9))
    assert "MB" in refused(folder, "walk.bvh", bvh("x" * (5 << 20)))


@pytest.mark.parametrize("word", ["x", "a_", "A", "aB", " ", "left ", "JOINT", "{", "}", "\t\n", "bip0 ", ":"])
def test_text_that_repeats_takes_no_longer_than_its_length(folder, word):
    much = word * (300_000 // len(word))
    refused(folder, "walk.bvh", bvh("ROOT " + much + " { OFFSET 0 0 0 CHANNELS 1 Xrotation }\n", 1, "0\n"))
    refused(folder, "walk.bvh", much.encode() + bvh("ROOT a { }\n"))
    refused(folder, "walk.bvh", bvh("ROOT a { OFFSET 0 0 0 CHANNELS 1 Xrotation }\n", 1, much))
    asf, amc = seeds.acclaim()
    refused(folder, "walk.amc", amc.replace(b"root 1", much.encode() + b" 1"), walk_asf=asf)
    refused(folder, "walk.amc", amc, walk_asf=asf.replace(b"name lfemur", b"name " + much.encode()))
    refused(folder, "walk.json", b"{" + much.encode())
    refused(folder, "walk.csv", seeds.saved(".csv")[:300] + much.encode())


def test_json_of_any_depth_and_size_of_numbers(folder):
    for depth in (100, 900, 2000, 300_000):
        nested = b"[" * depth + b"]" * depth
        for head in (b'"joints":', b'"skeleton":', b'"version":', b'"fps":'):
            refused(folder, "walk.json", b'{"format":"mld-motion","version":1,"fps":20,' + head + nested + b"}")
        for key in ("nodes", "accessors", "animations", "extensions", "buffers", "x"):
            refused(folder, "walk.gltf", b'{"' + key.encode() + b'":' + nested + b"}")
    for number in (b"9" * 5000, b"1" + b"0" * 4000, b"1e999999"):
        head = b'{"format":"mld-motion","version":1,"skeleton":"smpl22","joints":[],"fps":'
        refused(folder, "walk.json", head + number + b"}")
        refused(folder, "walk.csv", seeds.saved(".csv").replace(b"fps: 20.0", b"fps: " + number))
        refused(folder, "walk.gltf", b'{"nodes":[{"translation":[' + number + b",0,0]}]}")


def test_values_of_any_depth_are_shown_in_messages(folder):
    for depth in (10, 100, 700):
        for part, key in (("accessors", "count"), ("accessors", "componentType"), ("accessors", "bufferView"),
                          ("bufferViews", "byteLength"), ("bufferViews", "buffer")):  # fmt: skip
            document = seeds.gltf_document()
            index = document["animations"][0]["samplers"][0]["input"]
            index = index if part == "accessors" else document["accessors"][index]["bufferView"]
            document[part][index][key] = deep(depth)
            refused(folder, "walk.glb", seeds.glb(document, seeds.gltf_parts()[1]))


def test_gltf_of_many_small_parts_takes_no_longer_than_its_size(folder):
    data = seeds.gltf_parts()[1]
    document = seeds.gltf_document()
    document["nodes"] += [{}] * 9000
    document["animations"][0]["channels"] *= 600
    document["animations"] += [{"channels": [], "samplers": []}] * 1000
    document["skins"] *= 1000
    outcome(folder, {"walk.glb": seeds.glb(document, data)})
    chain = seeds.gltf_document()
    chain["nodes"] = [{"children": [index + 1]} for index in range(3000)] + [{}]
    outcome(folder, {"walk.glb": seeds.glb(chain, data)})


def test_gltf_that_lasts_for_days(folder):
    document, data = seeds.gltf_document(), bytearray(seeds.gltf_parts()[1])
    accessor = document["accessors"][document["animations"][0]["samplers"][0]["input"]]
    times = document["bufferViews"][accessor["bufferView"]]
    for seconds in (30.0, 600.0, 3000.0, 1e5, 9e5):
        struct.pack_into("<f", data, times["byteOffset"] + 4 * (seeds.FRAMES - 1), seconds)
        message = outcome(folder, {"walk.glb": seeds.glb(document, bytes(data))})
        assert isinstance(message, str) or seconds < 600 * 2


def test_gltf_shares_its_data_only_so_often(folder):
    document, data = seeds.gltf_document(), seeds.gltf_parts()[1]
    animation = document["animations"][0]
    view = {"buffer": 0, "byteOffset": 0, "byteLength": len(data)}
    document["bufferViews"].append(view)
    for sampler in animation["samplers"]:
        document["accessors"].append({"bufferView": len(document["bufferViews"]) - 1, "componentType": 5121,
                                      "count": len(data) // 4, "type": "VEC4"})
        sampler["output"] = len(document["accessors"]) - 1
    refused(folder, "walk.glb", seeds.glb(document, data))


@pytest.mark.parametrize("uri", [
    "/etc/passwd", "../secret.bin", "file:///etc/passwd", "http://localhost/x", "%2e%2e/secret.bin", "a\0b", "x" * 5000,
    "", ".", "walk.gltf/../../secret.bin",
])  # fmt: skip
def test_gltf_reads_no_file_from_elsewhere(folder, uri):
    (folder.parent / "secret.bin").write_bytes(seeds.gltf_parts()[1])
    document = seeds.gltf_document()
    document["buffers"][0]["uri"] = uri
    assert "not in the folder" in refused(folder, "walk.gltf", json.dumps(document).encode())


def test_trees_that_bite_their_tail(folder):
    asf, amc = seeds.acclaim()
    for line in (b"    head head\n", b"    head root\n", b"    head lowerback\n", b"    lfoot lfemur\n"):
        text = asf.replace(b":hierarchy\n  begin\n", b":hierarchy\n  begin\n" + line)
        assert "twice, or on itself" in refused(folder, "walk.amc", amc, walk_asf=text)
    for node, child in ((21, 0), (5, 5), (9, 3)):
        document = seeds.gltf_document()
        document["nodes"][node].setdefault("children", []).append(child)
        message = refused(folder, "walk.glb", seeds.glb(document, seeds.gltf_parts()[1]))
        assert "ancestor" in message or "two nodes" in message or "no common root" in message


@pytest.mark.parametrize("suffix", ["bvh", "amc", "npz", "npy", "json", "csv", "glb", "gltf", "pt", "vrm"])
def test_empty_files_and_text_of_other_encodings(folder, suffix):
    name, others = f"walk.{suffix}", {"walk_asf": seeds.acclaim()[0]}
    for content in (b"", b"\0", b"\xff\xfe" + "HIERARCHY".encode("utf-16-le"), b"\xef\xbb\xbf", b"\xc3", b"\r\n" * 99):
        refused(folder, name, content, **others)
