"""The layout of a million clips: a part of a set, captions a line each, twins in other splits, archives."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from mld.data.archive_names import AMBIGUOUS, ArchiveNames, safe_parts
from mld.data.archives import unpack_release
from mld.data.doctor import ERROR, WARNING, examine
from mld.data.mirroring import original_of
from mld.data.sources.opening import build_source
from mld.data.twins import find_leaks
from mld.errors import DataError
from prepare.data import main
from tests.data import million
from tests.data.million import DANCE, LEAK_FREE, MIRROR, MISSING, SPLITS, WEB


@pytest.fixture(scope="module")
def layout(tmp_path_factory) -> Path:
    return million.write_layout(tmp_path_factory.mktemp("million"))


def test_what_is_not_there_is_counted_and_no_problem(layout: Path) -> None:
    train = build_source(million.config(layout), "train")
    assert sorted(clip.name for clip in train) == sorted(set(SPLITS["train"]) - {MISSING, f"{WEB}/dumb"})
    assert train.problems == [] and train.fps == 30
    assert "left out: 1 not in the folder, 1 without a text file" in train.report()
    one = next(clip for clip in train if clip.name == f"{MIRROR}/a1")
    assert one.captions == ("a person does Mirror_MotionGV folder0 a1.", "someone moves.")
    assert one.features.shape[1] == 272
    assert "1 without a caption" in build_source(million.config(layout), "val").report()
    test = build_source(million.config(layout), "test")
    names = {clip.name: clip.num_frames for clip in test}
    assert f"{WEB}/case" in names and f"{DANCE}/d1" not in names


def test_a_damaged_clip_is_a_problem_all_the_same(tmp_path: Path) -> None:
    root = million.write_layout(tmp_path)
    (root / "motion_data/vector_272" / f"{WEB}/a1.npy").write_bytes(b"no array")
    train = build_source(million.config(root), "train")
    assert [problem.file for problem in train.problems] == [f"motion_data/vector_272/{WEB}/a1.npy"]


def test_the_doctor_counts_leaks_and_what_would_remain(layout: Path, capsys) -> None:
    diagnosis = examine(million.config(layout))
    errors = "\n".join(finding.message for finding in diagnosis.findings if finding.level == ERROR)
    assert "3 clips leak by themselves or their mirrored twins (1 in train and test, 2 in train and val)" in errors
    assert "train 6, val 2, test 3" in errors
    assert "2 clips or their mirrored twins are both in train and val" in errors
    warnings = "\n".join(finding.message for finding in diagnosis.findings if finding.level == WARNING)
    assert f"names differ in the case of letters only, which some disks do not tell apart: {WEB}/" in warnings


def test_splits_without_leaks(tmp_path: Path, capsys) -> None:
    root = million.write_layout(tmp_path)
    command = ["doctor", "--source", "humanml3d", "--root", str(root), "--splits", "split/version1/t2m_60_300"]
    assert main([*command, "--splits-only"]) == 1
    assert main([*command, "--leak-free", "split/version1/leak_free"]) == 0
    assert "train 6, val 2, test 3; use it with data.splits=split/version1/leak_free" in capsys.readouterr().out
    again = [*command[:-1], "split/version1/leak_free"]
    assert main([*again, "--splits-only"]) == 0
    folder = root / "split/version1/leak_free"
    kept = {split: (folder / f"{split}.txt").read_text().split() for split in (*SPLITS, "all")}
    assert {split: len(kept[split]) for split in SPLITS} == LEAK_FREE
    assert kept["all"] == [name for split in SPLITS for name in kept[split]]
    assert f"{MIRROR}/a1" in kept["train"], "a twin in the split of its clip stays"
    for split, names in kept.items():
        assert split == "all" or set(names) <= set(SPLITS[split])
    with pytest.raises(DataError, match="already there"):
        main([*command, "--leak-free", "split/version1/leak_free"])


def test_leaks_of_names() -> None:
    names = {"train": ["a", "Ma", "x", "Mirror_s/k"], "val": ["Mb", "x"], "test": ["b", "s/M7", "s/7"]}
    leaks = find_leaks(names)
    assert leaks.kept == {"train": ["a", "Ma", "Mirror_s/k"], "val": ["x"], "test": ["b", "s/M7", "s/7"]}
    assert leaks.apart == {("train", "val"): 1, ("val", "test"): 1} and leaks.dropped == {"train": 1, "val": 1}
    assert original_of("Mirror_s/k", ()) == "s/k" and original_of("Mars", {"Mars"}) == "Mars"


def test_names_of_archives() -> None:
    names = ArchiveNames(["G/f/x", "Mirror_G/f/x", "G/f/X", "G/g/x", "P/y", "U/deep/f/z", "U/h/z"])
    assert names.find(("f", "x"), ("G", "f")) == "G/f/x"
    assert names.find(("f", "X"), ("G", "part1")) == "G/f/X"
    assert names.find(("x",), ("G", "g")) == "G/g/x"
    assert names.find(("f", "f", "x"), ("Mirror_G", "a")) == "Mirror_G/f/x"
    assert names.find(("x",), ("Mirror_G", "g")) is None, "never by the file's own name alone"
    assert names.find(("y",), ("P",)) == names.find(("P", "y"), ("P",)) == "P/y"
    assert names.find(("f", "z"), ("U", "a")) == "U/deep/f/z", "a part of the path that fits one name"
    assert ArchiveNames(["U/a/f/z", "U/b/f/z"]).find(("f", "z"), ("U", "q")) == AMBIGUOUS
    assert names.case_twins() == ["G/f/x"]
    assert [safe_parts(path) for path in ("../a", "/a", "a/../b", "c:/x", "a\0b", "a\\b", "")] == [None] * 7
    assert safe_parts("./a//b.npy") == ("a", "b.npy")


def test_archives_become_the_layout(tmp_path: Path, capsys) -> None:
    source, out = million.write_release(tmp_path / "release"), tmp_path / "set"
    assert main(["motionmillion", "--source", str(source), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "28 files written, 0 there already" in printed
    assert "train.txt: 7 names, 6 motions are there, 5 of them with texts" in printed
    assert "not there: HumanML3D 1" in printed and "all_data.pkl is left aside" in printed
    for name, array in million.clips().items():
        assert np.array_equal(np.load(out / "motion_data/vector_272" / f"{name}.npy"), array), name
    assert np.load(out / "mean_std/vector_272/mean.npy").shape == (272,)
    assert len(build_source(million.config(out), "train")) == 5
    assert main(["motionmillion", "--source", str(source), "--out", str(out)]) == 0
    assert "0 files written" in (again := capsys.readouterr().out) and "3 archives unpacked by an earlier run" in again


def test_a_stopped_run_goes_on(tmp_path: Path) -> None:
    source, out = million.write_release(tmp_path / "release"), tmp_path / "set"
    unpack_release(source, out)
    place = out / "motion_data/vector_272" / f"{WEB}/a2.npy"
    place.unlink()
    state = json.loads((out / ".unpacked.json").read_text())
    del state["archives"]["motion_272rpr/MotionGV/folder0.tar.gz"]
    (out / ".unpacked.json").write_text(json.dumps(state))
    outcome = unpack_release(source, out)
    assert outcome.written == 1 and outcome.earlier == 2 and place.is_file()


def test_hostile_archives_write_nothing_elsewhere(tmp_path: Path) -> None:
    source, out = million.write_release(tmp_path / "release"), tmp_path / "set"
    link = tarfile.TarInfo("folder0/a1.npy")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    bad = {"../../../escaped.npy": b"x", "/tmp/escaped.npy": b"x", "folder0/unknown.npy": b"x"}
    million.write_archive(source / "motion_272rpr/MotionGV/evil.tar.gz", bad, link)
    million.write_archive(source / "split.tar.gz", {
        "split/version1/t2m_60_300/train.txt": f"../../escaped\n{WEB}/a1\n".encode(),
        "../split/evil.txt": b"x\n",
    })  # fmt: skip
    damaged = source / "motion_272rpr/PhantomDance.tar.gz"
    damaged.write_bytes(damaged.read_bytes()[:300])
    outcome = unpack_release(source, out)
    written = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {"release", "set"}
    assert {path.stem for path in (out / "motion_data").rglob("*.npy")} == {"a1"}
    assert outcome.left_out["links, devices and paths that lead elsewhere"] == 4
    told = "\n".join(map(str, outcome.problems))
    assert "PhantomDance.tar.gz: the archive is damaged" in told and "names that are no paths below it" in told


def test_a_folder_without_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"split\.tar\.gz"):
        unpack_release(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_names_that_no_disk_takes_and_files_that_fill_memory(tmp_path: Path, monkeypatch) -> None:
    """240 letters of three bytes each are no file name; a text of gigabytes is none."""
    from mld.data import archives

    assert safe_parts(f"folder/{'走' * 80}") == ("folder", "走" * 80) and safe_parts(f"folder/{'走' * 100}") is None
    source, out = million.write_release(tmp_path / "release"), tmp_path / "set"
    long = f"MotionGV/{'走' * 100}"
    million.write_archive(source / "split.tar.gz", {
        "split/version1/t2m_60_300/train.txt": f"{long}\n{WEB}/a1\n{WEB}/a2\n".encode()})  # fmt: skip
    million.write_archive(source / "texts.tar.gz", {f"texts/{WEB}/a1.txt": b"x" * 5000, f"texts/{WEB}/a2.txt": b"walk"})
    monkeypatch.setattr(archives, "LARGEST", 4000)
    outcome = unpack_release(source, out)
    assert outcome.left_out["files that are too large"] >= 1 and (out / f"texts/{WEB}/a2.txt").is_file()
    assert not (out / f"texts/{WEB}/a1.txt").exists() and "names that are no paths below it" in str(outcome.problems)
