"""The commands: importing files and folders, and a training folder from one's own captures."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from commands.common import run
from mld.data.config import DataConfig
from mld.data.own_motions import read_captions, split_trials
from mld.data.sources.opening import build_source
from mld.errors import DataError
from mld.motion.motion import Motion
from prepare import data, import_motion
from tests.motion.samples import RAW, needs_samples
from tests.walking import walker


@pytest.fixture
def captures(tmp_path):
    """A folder of BVH and glTF files: two subjects, one motion in two formats, one broken file."""
    folder = tmp_path / "captures"
    for number, name in enumerate(("a/walk.bvh", "a/walk_slowly.bvh", "b/walk.bvh", "b/07_01.bvh", "b/07_01.glb")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Motion(walker(60 + 200 * (number == 1), yaw=number), 20.0).save(folder / name)
    (folder / "b" / "broken.bvh").write_text("HIERARCHY\nROOT a {")
    return folder


def test_one_file_into_one_file(tmp_path, capsys):
    Motion(walker(31, yaw=2.0) + torch.tensor([3.0, 0.4, 1.0]), 30.0).save(tmp_path / "walk.bvh")
    assert run(import_motion.main, [str(tmp_path / "walk.bvh"), str(tmp_path / "out.npy")]) == 0
    motion = Motion.load(tmp_path / "out.npy")
    assert motion.num_frames == 21
    assert motion.joints[0, 0, [0, 2]].abs().max() < 1e-5 and abs(float(motion.joints[..., 1].min())) < 0.02
    assert motion.joints[-1, 0, 2] > 0.5  # it faces +z and walks there
    text = capsys.readouterr().out
    for words in ("joint table 'smpl'", "centimetres", "resampled from 30 to 20", "moved by -0.4", "1 of 1 files"):
        assert words in text


def test_a_folder_with_a_broken_file(captures, tmp_path, capsys):
    out = tmp_path / "out"
    code = run(import_motion.main, [str(captures), str(out), "--format", "npy,bvh", "--fps", "10",
                                    "--sheet", str(tmp_path / "all.png")])  # fmt: skip
    written = {path.name for path in out.iterdir()}
    assert code == 1 and {"a_walk.npy", "a_walk.bvh", "b_walk.npy", "b_07_01.npy", "b_07_01_glb.bvh"} <= written
    said = capsys.readouterr()
    assert "broken.bvh, line 2" in said.err and "5 of 6 files imported" in said.out
    assert Motion.load(out / "a_walk.bvh").fps == 10 and (tmp_path / "all.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("extra", "message"),
    [(["none.bvh", "x.npy"], "no such file"), (["{c}", "x.npy"], "do not fit into the one file"),
     (["{c}", "x", "--format", "c3d"], "c3d cannot be written"), (["{c}", "x", "--mapping", "mixamo2"], "did you mean"),
     (["{e}", "x"], "no motion file in this folder")],
)  # fmt: skip
def test_mistakes_are_told_in_a_line(captures, tmp_path, capsys, extra, message):
    (tmp_path / "empty").mkdir()
    places = {"c": captures, "e": tmp_path / "empty"}
    assert run(import_motion.main, [word.format(**places) for word in extra]) == 2
    assert message in capsys.readouterr().err


def test_options_reach_the_reader(tmp_path, capsys):
    Motion(walker(20), 30.0).save(tmp_path / "walk.bvh")
    arguments = [str(tmp_path / "walk.bvh"), str(tmp_path / "o.bvh"), "--source-fps", "40", "--fps", "40"]
    arguments += ["--unit", "0.02", "--keep-place"]
    assert run(import_motion.main, arguments) == 0
    motion = Motion.load(tmp_path / "o.bvh")
    assert motion.fps == 40 and motion.num_frames == 20
    assert float(motion.joints[0, 0, 1]) == pytest.approx(2 * 0.95, abs=0.02)
    assert run(import_motion.main, [*arguments, "--up", "w"]) == 1
    assert "'w' is not an axis" in capsys.readouterr().err


def test_a_training_folder_from_captures(captures, tmp_path, capsys):
    (captures / "a" / "walk.txt").write_text("A person walks.#a/DET person/NOUN#0.0#0.0\nSomeone walks.\n")
    (tmp_path / "captions.csv").write_text('07_01,"one, two, and a step"\n07_01.bvh\tanother sentence\n')
    out = tmp_path / "set"
    code = run(data.main, ["cmu", "--source", str(captures), "--out", str(out),
                           "--captions", str(tmp_path / "captions.csv")])  # fmt: skip
    text = capsys.readouterr().out
    assert code == 1 and "left out: b/broken.bvh" in text and "copies" in text
    rows = [json.loads(line) for line in (out / "clips.jsonl").read_text().splitlines()]
    by_trial = {row["trial"]: row for row in rows}
    assert set(by_trial) == {"a_walk", "b_walk", "walk_slowly", "07_01"}
    assert by_trial["a_walk"]["captions"] == ["A person walks.", "Someone walks."]
    assert by_trial["07_01"]["captions"] == ["one, two, and a step", "another sentence"]
    assert by_trial["walk_slowly"]["captions"] == ["walk slowly."] and by_trial["walk_slowly"]["quality"] == "fair"
    assert sorted(row["id"] for row in rows if row["trial"] == "walk_slowly") == ["walk_slowly_00", "walk_slowly_01"]
    with np.load(out / "trials.npz") as trials:
        assert trials["a_walk"].shape == (60, 22, 3) and abs(trials["a_walk"][0, 0, 0]) < 1e-5
    source = build_source(DataConfig(source="joints", root=str(out)), "train")
    assert len(source) >= 2 and not source.problems
    assert run(data.main, ["doctor", "--source", "joints", "--root", str(out)]) == 0
    assert run(data.main, ["cmu", "--source", str(captures), "--out", str(out)]) == 2
    assert "not empty" in capsys.readouterr().err


def test_folders_without_motions_and_bad_captions(tmp_path, capsys):
    (tmp_path / "x").mkdir()
    assert run(data.main, ["cmu", "--source", str(tmp_path / "x"), "--out", str(tmp_path / "y")]) == 2
    assert run(data.main, ["cmu", "--source", str(tmp_path / "none"), "--out", str(tmp_path / "y")]) == 2
    (tmp_path / "c.csv").write_text("07_01\n")
    with pytest.raises(DataError, match=r"c\.csv, line 1"):
        read_captions(tmp_path / "c.csv")
    assert not (tmp_path / "y").exists()


def test_splits_do_not_depend_on_the_order_of_the_files():
    names = [f"{i:02d}_01" for i in range(40)]
    splits = split_trials(names)
    assert splits == split_trials(names[::-1]) and sorted(sum(splits.values(), [])) == names
    assert [len(splits[split]) for split in ("train", "val", "test")] == [34, 2, 4]
    assert split_trials(["a", "b"]) == {"train": ["a", "b"], "val": [], "test": []}


@needs_samples
def test_real_captures_become_a_training_folder(tmp_path):
    out = tmp_path / "cmu"
    assert run(data.main, ["cmu", "--source", str(RAW / "asf_amc"), "--out", str(out)]) == 0
    assert len(build_source(DataConfig(source="joints", root=str(out)), "train")) == 5
