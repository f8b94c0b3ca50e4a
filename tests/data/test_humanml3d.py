"""The HumanML3D and KIT folder: what becomes a clip, and how faults are reported."""

from pathlib import Path

import numpy as np
import pytest

from mld.data.clips import ClipSource, Problem
from mld.data.config import DataConfig
from mld.data.sources.humanml3d import parse_caption, read_array_file
from mld.data.sources.opening import build_source
from mld.errors import ConfigError, DataError
from tests.data.conftest import humanml3d_config, write_features, write_texts


def _train(root: Path, **changes) -> ClipSource:
    return build_source(humanml3d_config(root, **changes), "train")


def _names(source: ClipSource) -> list[str]:
    return [source[i].name for i in range(len(source))]


def test_clips_are_whole_raw_and_sorted_by_length(humanml3d_folder: Path) -> None:
    source = _train(humanml3d_folder)
    assert isinstance(source, ClipSource) and not source.problems
    assert _names(source) == ["walk0", "walk1", "walk2", "walk3"]
    clip = source[2]
    assert np.array_equal(clip.features.numpy(), np.load(humanml3d_folder / "new_joint_vecs" / "walk2.npy"))
    assert clip.num_frames == source.num_frames(2) == 52 and clip.fps == 20
    assert clip.captions == ("a person does walk2.",)
    assert clip.caption_tokens == (("a/DET", "person/NOUN", "do/VERB"),)
    assert source.report() == "humanml3d train: 4 clips, 0.2 min"


def test_a_timed_caption_is_a_clip_of_its_own(humanml3d_folder: Path) -> None:
    features = write_features(humanml3d_folder, "walk0", 150)
    write_texts(
        humanml3d_folder,
        "walk0",
        "all of it#a/B#0.0#0.0\nfirst part#a/B#0.0#2.5\nalso all#a/B#nan#nan\n"
        "later#a/B#3.0#6.25\ntoo short#a/B#0.0#1.0\n",
    )
    source = _train(humanml3d_folder)
    clips = {clip.name: clip for clip in (source[i] for i in range(len(source)))}
    assert clips["walk0"].captions == ("all of it", "also all")
    assert np.array_equal(clips["A_walk0"].features.numpy(), features[:50])
    assert np.array_equal(clips["B_walk0"].features.numpy(), features[60:125])
    assert clips["B_walk0"].captions == ("later",)
    assert "C_walk0" not in clips and "1 timed captions shorter than 40 frames" in source.report()


def test_a_clip_with_timed_captions_only_is_no_whole_clip(humanml3d_folder: Path) -> None:
    write_features(humanml3d_folder, "walk0", 100)
    write_texts(humanml3d_folder, "walk0", "part#a/B#1.0#4.0\n")
    assert "walk0" not in _names(_train(humanml3d_folder)) and "A_walk0" in _names(_train(humanml3d_folder))


def test_the_length_gate_holds_for_the_parent_and_is_configurable(humanml3d_folder: Path) -> None:
    for name, frames in (("walk0", 39), ("walk1", 40), ("walk2", 199), ("walk3", 200)):
        write_features(humanml3d_folder, name, frames)
    write_texts(humanml3d_folder, "walk3", "part of a long clip#a/B#0.0#4.0\n")
    source = _train(humanml3d_folder)
    assert _names(source) == ["walk1", "walk2"]
    assert "1 longer than 199 frames, 1 shorter than 40 frames" in source.report()
    assert _names(_train(humanml3d_folder, min_frames=20, max_frames=300)) == ["walk0", "walk1", "A_walk3", "walk2"]


def test_bom_crlf_and_blank_lines_do_no_harm(humanml3d_folder: Path) -> None:
    write_texts(humanml3d_folder, "walk0", "\ufeffone#a/B#0.0#0.0\r\n\r\ntwo#a/B#0.0#0.0\r\n")
    (humanml3d_folder / "train.txt").write_bytes("\ufeffwalk0\r\n\r\nwalk1\r\n".encode())
    source = _train(humanml3d_folder)
    assert _names(source) == ["walk0", "walk1"] and source[0].captions == ("one", "two") and not source.problems


def test_malformed_lines_are_named_and_the_rest_of_the_file_is_used(humanml3d_folder: Path) -> None:
    lines = ["good#a/B#0.0#0.0", "no fields", "#a/B#0.0#0.0", "when#a/B#x#0.0", "back#a/B#4.0#2.0", "fine#a/B#0.0#0.0"]
    write_texts(humanml3d_folder, "walk0", "\n".join(lines))
    source = _train(humanml3d_folder)
    assert source[0].captions == ("good", "fine")
    assert {problem.file for problem in source.problems} == {"texts/walk0.txt"}
    assert [problem.line for problem in source.problems] == [2, 3, 4, 5]
    assert str(source.problems[0]) == "texts/walk0.txt:2: 1 fields instead of caption#tokens#from#to"
    assert "4 problems, the first: texts/walk0.txt:2" in source.report()


def test_a_file_without_fields_has_a_caption_per_line(humanml3d_folder: Path) -> None:
    write_texts(humanml3d_folder, "walk0", "a person walks\n\n  someone is walking. \n")
    source = _train(humanml3d_folder)
    assert source[0].captions == ("a person walks", "someone is walking.") and not source.problems


def _with_nan(root: Path) -> None:
    features = write_features(root, "walk0", 60)
    features[7, 3] = np.nan
    np.save(root / "new_joint_vecs" / "walk0.npy", features)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "new_joint_vecs/walk0.npy").unlink(), "new_joint_vecs/walk0.npy: missing"),
        (lambda root: (root / "new_joint_vecs/walk0.npy").write_bytes(b"version https://git-lfs"), "git lfs pull"),
        (lambda root: (root / "new_joint_vecs/walk0.npy").write_bytes(b""), "not a readable npy"),
        (lambda root: np.save(root / "new_joint_vecs/walk0.npy", np.array([{}], object)), "not a readable npy"),
        (lambda root: write_features(root, "walk0", 60, 251), "shape (60, 251) float32, expected float (T, 263)"),
        (_with_nan, "NaN or infinity in 1 of 60 frames"),
        (lambda root: (root / "texts/walk0.txt").unlink(), "texts/walk0.txt: missing"),
        (lambda root: write_texts(root, "walk0", ""), "texts/walk0.txt: no caption"),
    ],
)
def test_an_unusable_file_is_skipped_and_named(humanml3d_folder: Path, spoil, message: str) -> None:
    spoil(humanml3d_folder)
    source = _train(humanml3d_folder)
    assert _names(source) == ["walk1", "walk2", "walk3"]
    assert any(message in str(problem) for problem in source.problems), source.problems


def test_a_folder_that_is_none_is_refused(humanml3d_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no dataset folder"):
        _train(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no folder new_joint_vecs in .* .it holds humanml3d"):
        _train(tmp_path)
    (humanml3d_folder / "split").mkdir()
    (humanml3d_folder / "train.txt").rename(humanml3d_folder / "split" / "train.txt")
    with pytest.raises(DataError, match=r"train.txt; the folder holds test.txt, val.txt.*data.splits=split"):
        _train(humanml3d_folder)
    (humanml3d_folder / "split" / "train.txt").unlink()
    with pytest.raises(DataError, match=r"the folder holds test.txt, val.txt. Write one clip id per line"):
        _train(humanml3d_folder)


def test_features_of_another_representation_are_named(humanml3d_folder: Path) -> None:
    write_features(humanml3d_folder, "walk0", 60, 251)
    with pytest.raises(DataError, match=r"expected float \(T, 263\); it is kit: --representation kit"):
        read_array_file(humanml3d_folder / "new_joint_vecs" / "walk0.npy", 263)
    for name in ("walk0", "walk1", "walk2", "walk3"):
        write_features(humanml3d_folder, name, 60, 251)
    with pytest.raises(DataError, match=r"It is kit: --representation kit, or data.representation$"):
        _train(humanml3d_folder)


def test_a_split_without_a_usable_clip_says_what_was_found(humanml3d_folder: Path) -> None:
    with pytest.raises(DataError, match="no usable clip in .*4 shorter than 100 frames"):
        _train(humanml3d_folder, min_frames=100)


def test_kit_has_its_own_width_gate_and_frame_rate(humanml3d_folder: Path) -> None:
    for name in ("walk0", "walk1"):
        write_features(humanml3d_folder, name, 30, 251)
    (humanml3d_folder / "train.txt").write_text("walk0\nwalk1\n")
    source = _train(humanml3d_folder, representation="kit")
    assert len(source) == 2 and source.fps == 12.5 and source[0].features.shape == (30, 251)


def test_nan_times_mean_the_whole_clip() -> None:
    assert parse_caption("a#b/C#nan#nan").whole and not parse_caption("a#b/C#0.0#2.0").whole
    with pytest.raises(ValueError, match="infinite"):
        parse_caption("a#b/C#0.0#inf")


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"source": "humanml"}, "data.source"),
        ({"root": ""}, "data.root"),
        ({"mirror": True}, "data.mirror"),
        ({"min_frames": 300}, "data.min_frames"),
        ({"batch_size": 0}, "data.batch_size"),
        ({"quote_probability": 1.5}, "data.quote_probability"),
    ],
)
def test_settings_that_cannot_work_name_their_key(changes: dict, key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        DataConfig(**{"source": "humanml3d", "root": "somewhere", **changes}).check()


def test_a_problem_of_a_whole_file_has_no_line() -> None:
    assert str(Problem("a.txt", 0, "missing")) == "a.txt: missing"
