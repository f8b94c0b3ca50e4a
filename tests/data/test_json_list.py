"""A JSON list of clips and their feature files, as ViMoGen-228K is published: what is read, left out and told."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mld.data.config import DataConfig
from mld.data.datamodule import MotionDataModule
from mld.data.shards.writing import write_shards
from mld.data.sources.json_list import JsonListSource
from mld.data.sources.opening import build_source
from mld.data.statistics import measure
from mld.errors import ConfigError, DataError
from mld.example import Reference
from mld.motion.motion import Motion
from mld.motion.representations.registry import get_representation
from prepare.data import main
from tests.walking import walker

MOTION276 = get_representation("motion276")
ROTATIONS = frozenset(MOTION276.roles["rotations"])


def rows(frames: int, seed: int = 0) -> torch.Tensor:
    """Features (frames, 276) of a walk."""
    return MOTION276.encode(Motion(walker(frames + 1, phase=seed), 20.0))


def entry(name, motion: str, split: str = "train", **more) -> dict:
    return {"id": name, "subset": "synthetic", "split": split, "motion_path": motion,
            "motion_text_annot": f"motion of {name}", "video_text_annot": f"video of {name}", **more}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Tensors, dictionaries, numpy inside .pt, .npy, an older and wider file; numbers and words as ids."""
    root = tmp_path / "set"
    (root / "motions" / "video").mkdir(parents=True)
    camera = {"extrinsic": torch.zeros(60, 9), "intrinsic": torch.eye(3)}
    torch.save(rows(60), root / "motions/optical.pt")
    torch.save({"motion": rows(60, 1), **camera}, root / "motions/video/made.pt")
    torch.save({"motion": rows(60, 2).numpy(), "extrinsic": np.zeros((60, 9))}, root / "motions/video/numpy.pt")
    np.save(root / "motions/plain.npy", rows(60, 3).numpy())
    torch.save({"motion": torch.cat([rows(60, 4), rows(60, 4)[:, 126:]], 1)}, root / "motions/wide.pt")
    torch.save(rows(60, 5), root / "motions/reference.pt")
    write(root, [
        entry(7, "motions/optical.pt", subset="optical", video_text_annot=None),
        entry("seven", "motions/video/made.pt"),
        entry(8.0, "motions/video/numpy.pt", ref_motion_path="motions/reference.pt"),
        entry("plain", "motions/plain.npy", "val"),
        entry("wide", "motions/wide.pt", "test"),
    ])  # fmt: skip
    return root


def write(root: Path, entries: list, name: str = "list.json") -> None:
    (root / name).write_text(json.dumps(entries))


def config(root: Path, **settings) -> DataConfig:
    settings = {"max_frames": 200, "representation": "motion276", **settings}
    return DataConfig(source="json", root=str(root), **settings)


def opened(root: Path, split: str = "train", **settings):
    return build_source(config(root, **settings), split)


def test_tensors_dictionaries_and_arrays_are_read(folder: Path) -> None:
    train, val, test = (opened(folder, split) for split in ("train", "val", "test"))
    assert [clip.name for clip in train] == ["7", "seven", "8"] and not train.problems
    assert train.lengths.tolist() == [60, 60, 60] and train.fps == 20
    for source, index, seed in ((train, 0, 0), (train, 1, 1), (train, 2, 2), (val, 0, 3), (test, 0, 4)):
        assert torch.equal(source[index].features, rows(60, seed))
    assert "1 files: 426 columns of an older form of 'motion276'; the first 276 were taken" in test.report()


def test_captions_are_those_of_the_keys(folder: Path) -> None:
    assert opened(folder)[1].captions == ("motion of seven", "video of seven")
    assert opened(folder, text_keys=["video_text_annot|motion_text_annot"])[0].captions == ("motion of 7",)
    video = opened(folder, text_keys=["video_text_annot"])
    assert [clip.captions for clip in video] == [("",), ("video of seven",), ("video of 8.0",)]
    assert "1 clips without text of video_text_annot, taken without words" in video.report()
    with pytest.raises(DataError, match="no entry has the text 'video_text'; did you mean 'video_text_annot'"):
        opened(folder, text_keys=["video_text"])


def test_a_subset_has_a_share_of_words_and_columns_of_its_own(folder: Path) -> None:
    source = opened(folder, text_shares={"synthetic": 0.4}, supervised={"synthetic": ["rotations"]})
    assert [(clip.text_share, clip.supervised) for clip in source] == [(None, None), *[(0.4, ROTATIONS)] * 2]
    assert [clip.name for clip in opened(folder, subsets=["optical"])] == ["7"]
    with pytest.raises(DataError, match="no entry is of the subset 'optic'; did you mean 'optical'"):
        opened(folder, subsets=["optic"])
    report = opened(folder, text_shares={"optic": 0.1}).report()
    assert "no entry is of subset 'optic', which data.text_shares" in report


def test_the_published_rules_go_by_words_in_the_path_of_the_list(folder: Path) -> None:
    for name in ("mogen_db", "vigen", "motion31"):
        (folder / "motions" / name).mkdir()
        torch.save(rows(50), folder / "motions" / name / "a.pt")
    write(folder, [entry(n, f"motions/{n}/a.pt") for n in ("mogen_db", "vigen", "motion31")] + [
        entry("c", "motions/plain.npy"), entry("v", "motions/optical.pt", "val"), entry("t", "motions/wide.pt", "test")
    ])  # fmt: skip
    found = {clip.name: (clip.text_share, clip.supervised) for clip in opened(folder, path_rules=True)}
    assert found == {"mogen_db": (0.4, ROTATIONS), "vigen": (None, ROTATIONS), "motion31": (0.4, None),
                     "c": (None, None)}  # fmt: skip
    assert all(clip.text_share is None for clip in opened(folder))


def test_the_folder_of_a_user_triggers_no_rule(folder: Path) -> None:
    moved = folder.rename(folder.parent / "vigen")
    assert all(clip.supervised is None for clip in opened(moved, path_rules=True))


def test_a_reference_of_its_own_conditions_the_clip(folder: Path) -> None:
    cfg = config(folder, instructions="flow", tasks={"Motion-to-Motion": 1.0}, unit_length=1, batch_size=3)
    (batch,) = list(MotionDataModule(replace(cfg, token_drop_probability=0.0), "examples").train_dataloader())
    by_name = {one.name: one for one in batch}
    assert all(isinstance(one.prompt[0], Reference) for one in batch)
    assert torch.equal(by_name["8"].prompt[0].features, rows(60, 5))
    assert torch.equal(by_name["8"].target[0].features, rows(60, 2))
    assert torch.equal(by_name["seven"].prompt[0].features, rows(60, 1))


def test_clips_outside_the_gate_are_left_out_and_counted(folder: Path) -> None:
    for frames in (39, 40, 200, 201):
        torch.save(rows(frames), folder / f"motions/{frames}.pt")
    write(folder, [entry(n, f"motions/{n}.pt") for n in (39, 40, 200, 201)]
          + [entry("v", "motions/plain.npy", "val"), entry("t", "motions/optical.pt", "test")])  # fmt: skip
    source = opened(folder)
    assert source.lengths.tolist() == [40, 200]
    assert "left out: 1 longer than 200 frames, 1 shorter than 40 frames" in source.report()


def test_a_split_that_no_entry_is_in_is_held_out_of_train(folder: Path) -> None:
    write(folder, [entry(n, f"motions/{name}") for n, name in enumerate(("optical.pt", "plain.npy", "wide.pt"))]
          + [entry("again", "motions/optical.pt")])  # fmt: skip
    found = {split: opened(folder, split) for split in ("train", "val", "test")}
    motions = [{source.entry(index).motion for index in range(len(source))} for source in found.values()]
    assert sum(map(len, motions)) == len(set.union(*motions)) == 3  # no motion is in two splits
    assert "no entry is of split 'val'" in found["val"].report() and "held" not in found["train"].report()


def test_a_list_that_was_prepared_elsewhere_finds_its_files(folder: Path) -> None:
    write(folder, [entry(1, "/data/somebody/set/motions/optical.pt"), entry(2, "C:\\data\\motions\\plain.npy"),
                   entry("v", "motions/plain.npy", "val"), entry("t", "motions/wide.pt", "test")])  # fmt: skip
    assert [clip.name for clip in opened(folder)] == ["1", "2"]


def test_several_motions_of_an_entry_are_clips_of_one_caption(folder: Path) -> None:
    write(folder, [entry(1, ["motions/optical.pt", "motions/plain.npy"]), entry(2, "motions/wide.pt", "val")])
    source = opened(folder)
    assert [clip.name for clip in source] == ["1", "1#2"] and source[1].captions == source[0].captions


def test_lists_are_weighed_in_a_mixture(folder: Path) -> None:
    entries = [
        {"source": "json", "root": str(folder), "name": name, "subsets": [subset], "weight": weight}
        for name, subset, weight in (("a", "optical", 3.0), ("b", "synthetic", 1.0))
    ]
    from mld.config import typed

    cfg = typed(DataConfig, {"representation": "motion276", "max_frames": 200, "sources": entries,
                             "text_shares": {"synthetic": 0.4}}, "test")  # fmt: skip
    mixed = build_source(cfg, "train")
    assert [clip.name for clip in mixed] == ["a/7", "b/seven", "b/8"] and mixed.parts[0].share == 0.75
    assert [clip.text_share for clip in mixed] == [None, 0.4, 0.4]


BAD = {
    "numbers.pt": (torch.zeros(60, 300), "300 columns, 'motion276' has 276, and its first 276 are no motion"),
    "narrow.pt": (torch.zeros(60, 263), "263 columns, 'motion276' has 276, they are 'humanml3d'"),
    "four.pt": (torch.zeros(2, 60, 22, 3), r"shape \(2, 60, 22, 3\), features of one clip are \(T, 276\)"),
    "empty.pt": (torch.zeros(0, 276), r"shape \(0, 276\)"),
    "flags.pt": (torch.zeros(60, 276, dtype=torch.bool), "holds no array of numbers"),
    "other.pt": ({"poses": torch.zeros(60, 276)}, "a dictionary without 'motion'; it has poses"),
    "nan.pt": (torch.full((60, 276), float("nan")), "NaN or infinity in 60 of 60 frames"),
    "huge.pt": (torch.full((60, 276), 1e9), r"impossible numbers \(above 100000\), first at frame 0"),
    "code.pt": (DataConfig(), "holds 'mld.data.config DataConfig'; cannot be opened as a tensor"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_line_and_the_rest_goes_on(folder: Path, name: str) -> None:
    content, message = BAD[name]
    torch.save(content, folder / "motions" / name)
    write(folder, [entry("good", "motions/optical.pt"), entry("bad", f"motions/{name}"),
                   entry("v", "motions/plain.npy", "val"), entry("t", "motions/wide.pt", "test")])  # fmt: skip
    source = opened(folder)
    assert [clip.name for clip in source] == ["good"]
    (problem,) = source.problems
    assert problem.file == f"motions/{name}"
    assert re.search(message, str(problem))
    assert len(str(problem)) <= 300 and str(problem) in source.report()


def test_a_batch_of_one_is_that_one(folder: Path) -> None:
    torch.save(rows(60, 1)[None, None], folder / "motions/optical.pt")
    assert torch.equal(opened(folder)[0].features, rows(60, 1))


@pytest.mark.parametrize(
    "entries, message",
    [
        ([entry(1, "motions/none.pt")], "motions/none.pt: missing"),
        ([entry(1, "../list.json")], "a path that leads out of the folder"),
        ([entry(1, "motions/optical.pt"), entry("1", "motions/plain.npy")], "the id '1' is that of entry 0"),
        ([entry(1, "motions/optical.pt", "later")], "split 'later' is none of train, val, test"),
        ([entry(1, "motions/optical.pt", ref_motion_path="motions/short.pt")], "45 frames, the motion .* has 60"),
        ([entry([1], "motions/optical.pt")], r"'id' is \[1\], neither a number nor a word"),
        ([{"id": 1, "motion_text_annot": "x"}], "'motion_path' is None, not the path of a file"),
        (["walk"], "entry 0: 'walk' is no object"),
    ],
)
def test_a_bad_entry_is_one_line_and_the_rest_goes_on(folder: Path, entries: list, message: str) -> None:
    torch.save(rows(45), folder / "motions/short.pt")
    good = [entry("good", "motions/wide.pt"), entry("v", "motions/plain.npy", "val"),
            entry("t", "motions/plain.npy", "test")]  # fmt: skip
    write(folder, entries + good)
    source = opened(folder)
    assert "good" in [clip.name for clip in source] and len(source.problems) == 1
    assert re.search(message, str(source.problems[0]))


@pytest.mark.parametrize(
    "text, message", [("{}", "not a list of clips"), ("[", "not a readable JSON list"), ("[]", "not a list of clips")]
)
def test_a_file_that_is_no_list_is_refused(folder: Path, text: str, message: str) -> None:
    (folder / "list.json").write_text(text)
    with pytest.raises(DataError, match=message):
        opened(folder)


def test_one_of_several_lists_has_to_be_named(folder: Path) -> None:
    write(folder, [entry(1, "motions/optical.pt")], "more.json")
    with pytest.raises(DataError, match="holds list.json, more.json; say which list: data.root="):
        opened(folder)
    assert len(opened(folder / "list.json")) == 3


def test_settings_that_cannot_be_meant_are_refused(folder: Path) -> None:
    for settings, message in (
        ({"supervised": {"a": ["rotation"]}}, "names the role 'rotation'; did you mean 'rotations'"),
        ({"text_shares": {"a": 2.0}}, "that of 'a' is 2.0, a share is from 0 to 1"),
        ({"path_rules": True, "text_shares": {"a": 0.5}}, "set one"),
        ({"text_keys": []}, "names no text"),
        ({"fps": 30.0}, "feature files are not resampled"),
    ):
        with pytest.raises(ConfigError, match=message):
            opened(folder, **settings)


def test_a_file_that_changes_after_opening_is_told(folder: Path) -> None:
    source = opened(folder)
    torch.save(rows(50), folder / "motions/optical.pt")
    with pytest.raises(DataError, match="50 frames, not the 60 that it had when the data set was opened"):
        source[0]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_shards_keep_what_a_clip_says_of_conditions(folder: Path, tmp_path: Path, dtype: str) -> None:
    source = opened(folder, text_shares={"synthetic": 0.4}, supervised={"optical": ["rotations"], "synthetic": []})
    out = tmp_path / "shards"
    write_shards(source, "train", out, dtype)
    stored = build_source(DataConfig(source="shards", root=str(out), representation="motion276"), "train")
    assert len(stored) == len(source) == 3 and not list(stored.damage())
    for one, other in zip(source, stored):
        assert (one.name, one.captions, one.text_share, one.supervised) == (
            other.name, other.captions, other.text_share, other.supervised)  # fmt: skip
        assert (one.reference is None) == (other.reference is None)
        torch.testing.assert_close(other.features, one.features, atol=0 if dtype == "float32" else 2e-3, rtol=0)
    assert torch.equal(stored[2].reference, rows(60, 5))
    assert [name for name, _ in stored.features([0, 2])] == ["7", "8"]
    assert write_shards(source, "train", out, dtype).kept == 1
    with pytest.raises(DataError, match="holds shards of other clips or with other settings"):
        write_shards(opened(folder, text_shares={"synthetic": 0.5}), "train", out, dtype)


def test_a_source_that_hides_conditions_loses_none(folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(JsonListSource, "conditioned", False)
    with pytest.raises(DataError, match="7: has conditions, which its source does not say before"):
        write_shards(opened(folder, text_shares={"optical": 0.1}, subsets=["optical"]), "train", tmp_path / "shards")


def test_the_doctor_examines_a_list(folder: Path, capsys) -> None:
    command = ["--source", "json", "--root", str(folder / "list.json")]
    assert main(["stats", *command, "--out", str(folder / "meta_info")]) == 0
    assert main(["doctor", *command]) == 0
    told = capsys.readouterr().out
    assert re.search(r"optical +1 +0 +0\n", told) and re.search(r"synthetic +2 +1 +1\n", told)
    assert "mean.npy and its std fit the train clips" in told
    write(folder, [entry(1, "motions/optical.pt"), entry(2, "motions/none.pt"), entry(3, "motions/optical.pt", "val"),
                   entry(4, "motions/plain.npy", "test")])  # fmt: skip
    assert main(["doctor", *command]) == 1
    told = capsys.readouterr().out
    assert "error: motions/none.pt: missing" in told
    assert "error: 1 motion files have clips both in train and val: motions/optical.pt" in told


def test_statistics_count_a_motion_once_and_have_a_std_of_each_column(folder: Path) -> None:
    write(folder, [entry(1, "motions/optical.pt"), entry(2, "motions/plain.npy"), entry(3, "motions/plain.npy"),
                   entry("v", "motions/wide.pt", "val")])  # fmt: skip
    known = torch.cat([rows(60), rows(60, 3)])
    found = measure(opened(folder))
    torch.testing.assert_close(found.mean, known.mean(0), atol=1e-6, rtol=0)
    changing = known.std(0) > 1e-4
    torch.testing.assert_close(found.std[changing], known.std(0, correction=0)[changing], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("key", ["id", "motion_path", "motion_text_annot", "subset", "split", "ref_motion_path"])
@pytest.mark.parametrize("value", ["\ud800", "motions/" + "a" * 5000 + ".pt", "motions/a\0b.pt"])
def test_a_word_that_no_file_can_be_called_costs_its_entry_at_most(folder: Path, key: str, value: str) -> None:
    """Halves of UTF-16 characters, which neither a file nor a hash takes, names too long for one, and zeros."""
    odd = {**entry("odd", "motions/optical.pt"), key: value}
    others = [entry(n, "motions/plain.npy", split) for n, split in enumerate(("train", "val", "test"))]
    write(folder, [*others, odd])
    source = opened(folder)
    lost = key in ("motion_path", "ref_motion_path", "split")
    assert (len(source), len(source.problems)) == ((1, 1) if lost else (2, 0))
    assert all(len(str(problem)) < 320 for problem in source.problems)
    assert source.report().encode() and all(clip.captions[0].encode() and clip.name.encode() for clip in source)


@pytest.mark.parametrize("text", ["[]", "[1, 2]", "[[[[[[]]]]]]", "{}"])
def test_a_list_without_entries_is_no_list_of_clips(folder: Path, text: str) -> None:
    (folder / "list.json").write_text(text)
    with pytest.raises(DataError, match="not a list of clips, which begins"):
        opened(folder)
