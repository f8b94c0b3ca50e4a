"""Damaged and foreign shards: a run refuses in one line that names file and cure; the writer leaves out and counts."""

from __future__ import annotations

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from mld.data.clips import is_encoded
from mld.data.config import DataConfig, SourceEntry
from mld.data.datamodule import MotionDataModule
from mld.data.doctor import examine
from mld.data.shards import layout
from mld.data.shards.writing import write_shards
from mld.data.sources.opening import build_source
from mld.errors import DataError, MldError
from mld.evaluation.protocol import Protocol
from mld.evaluation.settings import Settings
from prepare.data import main

SIZE = 200_000


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    write_shards(build_source(DataConfig(procedural_size=8), "train"), "train", out, size=SIZE)
    return out


@pytest.fixture
def out(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "set")
    return tmp_path / "set"


def _config(out: Path, **settings) -> DataConfig:
    return DataConfig(source="shards", root=str(out), **settings)


def _read(out: Path, **settings) -> list:
    return list(build_source(_config(out, **settings), "train"))


def _refused(out: Path, *words: str, **settings) -> None:
    with pytest.raises(DataError) as told:
        _read(out, **settings)
    message = str(told.value)
    assert all(word in message for word in words), message
    assert "\n" not in message and len(message) <= 300


def _flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x55
    path.write_bytes(data)


def _feature_byte(path: Path) -> int:
    """Where the features of the first clip stand in a shard."""
    import pyarrow as pa

    values = pa.ipc.open_file(str(path)).read_all().column("features").chunk(0).values
    return path.read_bytes().index(values.buffers()[1].to_pybytes()[:400])


def _about(path: Path) -> bytes:
    import pyarrow as pa

    return pa.ipc.open_file(str(path)).schema.metadata[layout.ABOUT]


def test_a_missing_shard(out: Path) -> None:
    (out / "train/00001.arrow").unlink()
    _refused(out, "00001.arrow: missing", "give the command that wrote the shards again")


@pytest.mark.skipif(not hasattr(os, "pread"), reason="this system reads shards by their map alone")
def test_a_shard_that_is_cut_off_while_it_is_open(out: Path) -> None:
    """A map of it would end the process (SIGBUS)."""
    source = build_source(_config(out), "train")
    assert source[0].num_frames
    path = min((out / "train").glob("0*.arrow"))
    os.truncate(path, path.stat().st_size // 2)
    last = int(source._index.first[1]) - 1
    with pytest.raises(DataError, match="have changed since they were written"):
        source[last]


def test_a_cut_off_shard(out: Path) -> None:
    path = out / "train/00001.arrow"
    path.write_bytes(path.read_bytes()[:-1000])
    _refused(out, "00001.arrow", "bytes, it had", "remove it")


def test_features_that_changed(out: Path) -> None:
    path = out / "train/00000.arrow"
    _flip(path, _feature_byte(path) + 100)
    _refused(out, "00000.arrow: the features of clip 0 have changed", "remove it and give the command")
    diagnosis = examine(_config(out))
    assert not diagnosis.healthy and "00000.arrow" in "\n".join(diagnosis.report)


def test_texts_that_changed(out: Path) -> None:
    path = out / "train/00000.arrow"
    _flip(path, path.read_bytes().index(b"a person") if b"a person" in path.read_bytes() else 5000)
    _refused(out, "00000.arrow", "clip")


def test_any_byte_that_changed_is_found_or_changes_nothing(out: Path) -> None:
    """Headers, offsets, texts, numbers: never a crash, never other clips. What is left are bytes between columns."""
    expected, found = _read(out), 0
    path = out / "train/00000.arrow"
    data = path.read_bytes()
    ends = [*range(0, 3000, 83), *range(len(data) - 6000, len(data), 97)]
    for at in (*ends, *np.random.default_rng(0).integers(0, len(data), 20).tolist()):
        _flip(path, at)
        try:
            clips = _read(out)
        except MldError:
            found += 1
        else:
            for one, other in zip(clips, expected, strict=True):
                assert one.name == other.name and one.captions == other.captions and one.label == other.label
                assert one.features.equal(other.features), f"byte {at}"
        path.write_bytes(data)
    assert found > 50


def test_any_byte_of_the_index_that_changed_is_found_or_changes_nothing(out: Path) -> None:
    expected = _read(out)
    path = out / "train/index.arrow"
    data = path.read_bytes()
    for at in range(0, len(data), 97):
        _flip(path, at)
        try:
            clips = _read(out)
        except MldError:
            pass
        else:
            assert all(one.features.equal(other.features) for one, other in zip(clips, expected, strict=True)), at
        path.write_bytes(data)


def test_a_shard_of_another_set(out: Path, tmp_path: Path) -> None:
    other = build_source(DataConfig(procedural_size=8), "train")
    for index in range(8):
        other[index].features[:] += 0.5
    write_shards(other, "train", tmp_path / "other", size=SIZE)
    shutil.copy(tmp_path / "other/train/00000.arrow", out / "train/00000.arrow")
    _refused(out, "00000.arrow")
    with pytest.raises(DataError, match=r"00001.arrow: .*another set than its index|00001.arrow: .*bytes"):
        shutil.copy(tmp_path / "other/train/index.arrow", out / "train/index.arrow")
        _read(out)


def test_no_index(out: Path) -> None:
    (out / "train/index.arrow").unlink()
    _refused(out, "index.arrow", "python -m prepare.data shards", "let that command end")


def test_no_such_split(out: Path) -> None:
    with pytest.raises(DataError, match=r"val.index.arrow"):
        build_source(_config(out), "val")


def test_an_index_of_something_else(out: Path) -> None:
    import pyarrow as pa

    table = pa.table({"frames": [1, 2]})
    with pa.ipc.new_file(str(out / "train/index.arrow"), table.schema) as writer:
        writer.write_table(table)
    _refused(out, "index.arrow: not written by", "name the folder")
    (out / "train/index.arrow").write_bytes(b"")
    _refused(out, "index.arrow: damaged")
    shutil.copy(out / "train/00000.arrow", out / "train/index.arrow")
    _refused(out, "index.arrow: damaged or of something else")


def test_another_representation(out: Path) -> None:
    _refused(out, "holds 'humanml3d', not 'motion272'", "data.representation=humanml3d", representation="motion272")


def test_another_frame_rate(out: Path) -> None:
    _refused(out, "20 frames per second, not 30", "leave data.fps out", fps=30.0)


def test_a_width_that_the_representation_no_longer_has(out: Path, monkeypatch) -> None:
    about = json.loads(_about(out / "train/index.arrow"))
    monkeypatch.setattr(layout, "parse_json", lambda _: {**about, "width": 300})
    _refused(out, "'humanml3d' with 300 columns, it has 263", "write the shards anew")


def test_another_format(out: Path, monkeypatch) -> None:
    monkeypatch.setattr(layout, "FORMAT", 2)
    _refused(out, "format 1 of shards, this version reads 2", "write the shards anew")


def test_no_clip_of_a_usable_length(out: Path) -> None:
    _refused(out, "no usable clip", "data.min_frames", max_frames=21)


def test_training_is_told_by_workers_as_well(out: Path) -> None:
    path = out / "train/00000.arrow"
    _flip(path, _feature_byte(path) + 7)
    for kind in ("features", "examples"):
        data = MotionDataModule(_config(out, batch_size=8, num_workers=1, instructions="pretrain"), kind)
        with pytest.raises(DataError, match="the features of clip 0 have changed"):
            list(data.train_dataloader())


def test_the_writer_leaves_out_what_cannot_be_stored(tmp_path: Path) -> None:
    source = build_source(DataConfig(procedural_size=8), "train")
    good = list(source)
    bad = {
        1: replace(good[1], features=good[1].features * float("nan")),
        2: replace(good[2], features=good[2].features[:, :7]),
        4: replace(good[4], features=good[4].features + 1e6),
        5: replace(good[5], captions=("half a \ud800 letter",)),
        6: replace(good[6], captions=()),
    }
    source._clips.update(bad)
    written = write_shards(source, "train", tmp_path, size=SIZE)
    assert (written.clips, written.missing) == (3, 5)
    told = "\n".join(written.lines())
    assert "5 problems, what has them could not be stored" in told
    assert "clip 1: NaN" in told and "clip 2: features" in told and "no text" in told and "no caption" in told
    assert "too large for float16; use --dtype float32" in told
    assert [clip.name for clip in _read(tmp_path)] == [good[index].name for index in (0, 3, 7)]
    assert "5 problems when the set was written" in build_source(_config(tmp_path), "train").report()
    again = write_shards(source, "train", tmp_path, size=SIZE)
    assert again.missing == 5 and again.kept == again.shards


def test_a_file_that_goes_while_shards_are_written(joints_folder: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    from mld.data.sources.joints_captions import JointsCaptionsSource

    read = JointsCaptionsSource.__getitem__

    def gone(self, index: int):
        if index == 2:
            raise DataError("walk2.npy: missing; it was whole when the data set was opened")
        return read(self, index)

    monkeypatch.setattr(JointsCaptionsSource, "__getitem__", gone)
    assert main(["shards", "--source", "joints", "--root", str(joints_folder), "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().out
    assert "1 problems, what has them" in told and "walk2.npy: missing" in told


def test_a_set_of_which_nothing_can_be_stored(tmp_path: Path) -> None:
    source = build_source(DataConfig(procedural_size=3), "train")
    source._clips.update({index: replace(source[index], captions=()) for index in range(3)})
    with pytest.raises(DataError, match="none of 3 clips could be stored"):
        write_shards(source, "train", tmp_path)


def test_a_folder_with_other_clips_is_not_overwritten(out: Path) -> None:
    with pytest.raises(DataError, match="holds shards of other clips or with other settings; name a new folder"):
        write_shards(build_source(DataConfig(procedural_size=9), "train"), "train", out, size=SIZE)
    with pytest.raises(DataError, match="other settings"):
        write_shards(build_source(DataConfig(procedural_size=8), "train"), "train", out, "float32", size=SIZE)


def test_a_disk_that_is_too_small(tmp_path: Path, monkeypatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match="the shards of 8 clips take 0.0 GB, .* make room, or name another folder"):
        write_shards(build_source(DataConfig(procedural_size=8), "train"), "train", tmp_path)


def test_a_disk_that_fills_up(tmp_path: Path, monkeypatch) -> None:
    """One line; what was there stays, and the same command goes on."""
    import pyarrow as pa

    source, opened, files = build_source(DataConfig(procedural_size=8), "train"), pa.OSFile, []

    def full(path: str, mode: str):
        files.append(path)
        if len(files) == 2:
            raise OSError(errno.ENOSPC, "No space left on device", path)
        return opened(path, mode)

    monkeypatch.setattr(pa, "OSFile", full)
    with pytest.raises(DataError, match=r"00001.arrow: the disk is full; make room and give the same command again"):
        write_shards(source, "train", tmp_path, size=SIZE)
    assert [path.name for path in (tmp_path / "train").iterdir()] == ["00000.arrow"]
    monkeypatch.undo()
    assert write_shards(source, "train", tmp_path, size=SIZE).kept == 1


def test_the_package_that_is_missing(out: Path, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MldError, match=r"needs the package 'pyarrow', which is not installed; .*\[shards\]"):
        build_source(_config(out), "train")


def test_shards_are_not_written_from_shards(out: Path, capsys) -> None:
    with pytest.raises(MldError, match="these are shards already"):
        main(["shards", "--source", "shards", "--root", str(out), "--out", str(out / "again")])


def _published(root: Path) -> Path:
    """A folder of features: two good clips, one too short, one of NaN, one that is empty, one without a caption."""
    rows = {"a": 60, "b": 60, "short": 3, "nan": 60, "mute": 60}
    for name in ("new_joint_vecs", "texts"):
        (root / name).mkdir(parents=True)
    for name, frames in rows.items():
        features = np.random.default_rng(frames).normal(size=(frames, 263)).astype(np.float32)
        features[0, 0] = np.nan if name == "nan" else 0.0
        np.save(root / "new_joint_vecs" / f"{name}.npy", features)
        (root / "texts" / f"{name}.txt").write_text("" if name == "mute" else "walk#walk/VERB#0.0#0.0\n")
    (root / "new_joint_vecs" / "zero.npy").touch()
    (root / "texts" / "zero.txt").write_text("walk#walk/VERB#0.0#0.0\n")
    (root / "train.txt").write_text("\n".join([*rows, "zero"]))
    return root


def test_what_a_source_could_not_use_is_told_by_the_set(tmp_path: Path, capsys) -> None:
    root, out = _published(tmp_path / "set"), tmp_path / "out"
    for _ in range(2):
        assert main(["shards", "--source", "humanml3d", "--root", str(root), "--out", str(out)]) == 1
        told = capsys.readouterr().out
        assert "2 clips in 1 shard" in told and "3 problems, what has them" in told and "nan.npy: NaN" in told
    report = build_source(_config(out), "train").report()
    assert "3 problems when the set was written" in report and "2 clips" in report


def test_gates_of_raw_motion_are_no_problems(joints_folder: Path, tmp_path: Path, capsys) -> None:
    command = ["shards", "--source", "joints", "--root", str(joints_folder), "--only", "train"]
    for _ in range(2):
        assert main([*command, "--quality", "good", "--out", str(tmp_path / "few")]) == 0
        told = capsys.readouterr().out
        assert "problems" not in told and "train: left out: 1 of quality fair" in told
    with pytest.raises(DataError, match="no clip can be stored: 4 are left out .4 shorter than 100 frames"):
        main([*command, "--min-frames", "100", "--out", str(tmp_path / "none")])


def test_a_bad_line_is_told_once_however_many_shards(joints_folder: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    from mld.data.shards import raw

    monkeypatch.setattr(raw, "TOGETHER", 1)
    with open(joints_folder / "clips.jsonl", "a") as file:
        file.write("no JSON\n")
    command = ["shards", "--source", "joints", "--root", str(joints_folder), "--only", "train"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().out
    assert "1 problems, what has them" in told and " in 1 shard" not in told


def test_a_size_is_not_for_raw_motion(joints_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MldError, match="--shard-mb: of --source joints a shard is of 64"):
        main(["shards", "--source", "joints", "--root", str(joints_folder), "--out", str(tmp_path), "--shard-mb", "9"])


def test_two_writers_do_not_mix(tmp_path: Path) -> None:
    source = build_source(DataConfig(procedural_size=4), "train")
    with FileLock(tmp_path / "train" / ".lock"), pytest.raises(DataError, match="another process writes shards there"):
        write_shards(source, "train", tmp_path)
    assert write_shards(source, "train", tmp_path).clips == 4
    assert sorted(path.name for path in (tmp_path / "train").iterdir()) == ["00000.arrow", "index.arrow"]


@pytest.mark.parametrize("change", [
    {"dtype": "x"}, {"dtype": []}, {"fps": None}, {"fps": 0}, {"fps": 10**400}, {"representation": []}, {"missing": 7},
    {"shards": [3]}, {"shards": [{}]}, {"shards": None},
])  # fmt: skip
def test_an_index_that_was_made_by_hand(change: dict, out: Path) -> None:
    import pyarrow as pa

    from mld.data.shards.index import _sum
    from mld.data.shards.making import put

    path = out / "train" / "index.arrow"
    batch = pa.ipc.open_file(pa.BufferReader(path.read_bytes())).get_batch(0)
    known = dict(batch.schema.metadata)
    known[b"mld"] = json.dumps(json.loads(known[b"mld"]) | change).encode()
    put(batch, known | {b"sum": str(_sum(batch, known)).encode()}, path)
    with pytest.raises(MldError) as error:
        build_source(_config(out), "train")
    assert "index.arrow: " in str(error.value) and len(str(error.value)) < 400


def test_features_of_files_are_known_as_such(tmp_path: Path) -> None:
    write_shards(build_source(DataConfig(source="humanml3d", root=str(_published(tmp_path / "set"))), "train"),
                 "train", tmp_path / "out")  # fmt: skip
    write_shards(build_source(DataConfig(procedural_size=4), "train"), "train", tmp_path / "made")
    files, made = (build_source(_config(tmp_path / name), "train") for name in ("out", "made"))
    assert not is_encoded(files) and is_encoded(made)
    data = DataConfig(sources=[SourceEntry(source="shards", root=str(tmp_path / name)) for name in ("out", "made")])
    assert is_encoded(build_source(data, "train"))
    settings = Settings(mode="upstream")
    assert Protocol.of(settings, data, False, is_encoded(files)).features == "files"
    assert Protocol.of(settings, data, False, is_encoded(made)).features == "corrected"
