"""The doctor finds what spoils a dataset, and is content with a sound one."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from mld.data.config import DataConfig
from mld.data.doctor import ERROR, WARNING, Diagnosis, examine
from mld.data.sources.opening import build_source
from mld.data.statistics import measure
from mld.errors import DataError
from prepare.data import main as prepare_data
from tests.data.conftest import humanml3d_config, joints_config, write_features, write_texts


def _messages(diagnosis: Diagnosis, level: str) -> str:
    return "\n".join(finding.message for finding in diagnosis.findings if finding.level == level)


def test_a_sound_folder_passes_with_a_table(joints_folder: Path) -> None:
    diagnosis = examine(joints_config(joints_folder))
    assert diagnosis.healthy, diagnosis.findings
    rows = [line.split() for line in diagnosis.report]
    assert ["train", "4", "4", "0.2", "3.0", "3.0", "3.0", "4", "4"] in rows
    assert ["test", "4", "1", "2"] in rows
    assert any("frame rate and unit look right" in line for line in diagnosis.report)


def test_clips_and_trials_shared_between_splits_are_errors(joints_folder: Path) -> None:
    (joints_folder / "splits" / "val.txt").write_text("hop0\nwalk2\n")
    text = (joints_folder / "clips.jsonl").read_text().replace("trial_turn0", "trial_walk1")
    (joints_folder / "clips.jsonl").write_text(text)
    errors = _messages(examine(joints_config(joints_folder)), ERROR)
    assert "1 clips are both in train and val: walk2" in errors
    assert "1 trials have clips both in train and test: trial_walk1" in errors
    assert "1 motions of train are repeated in test: walk1 = turn0" in errors


def test_mirrored_twins_in_two_splits_are_an_error(humanml3d_folder: Path) -> None:
    write_features(humanml3d_folder, "Mwalk0", 77)
    write_texts(humanml3d_folder, "Mwalk0", "twin#a/B#0.0#0.0\n")
    (humanml3d_folder / "test.txt").write_text("turn0\nMwalk0\n")
    errors = _messages(examine(humanml3d_config(humanml3d_folder)), ERROR)
    assert "1 clips or their mirrored twins are both in train and test: walk0" in errors


def test_broken_files_repeated_ids_and_missing_splits_are_found(humanml3d_folder: Path) -> None:
    (humanml3d_folder / "new_joint_vecs" / "walk0.npy").unlink()
    write_texts(humanml3d_folder, "walk1", "bad line\na person walks#a/DET#0.0#0.0\n")
    shutil.copy(*(humanml3d_folder / "new_joint_vecs" / f"walk{i}.npy" for i in (2, 3)))
    (humanml3d_folder / "val.txt").unlink()
    (humanml3d_folder / "test.txt").write_text("turn0\nturn0\n")
    diagnosis = examine(humanml3d_config(humanml3d_folder))
    assert not diagnosis.healthy
    errors, warnings = (_messages(diagnosis, level) for level in (ERROR, WARNING))
    assert "new_joint_vecs/walk0.npy: missing" in errors and "texts/walk1.txt:1: 1 fields" in errors
    assert "no split file val.txt" in warnings and "test.txt names turn0 more than once" in warnings
    assert "train: 1 motions occur twice: walk2 = walk3" in warnings


def test_a_split_without_clips_is_an_error(humanml3d_folder: Path) -> None:
    (humanml3d_folder / "val.txt").write_text("nobody\n")
    diagnosis = examine(humanml3d_config(humanml3d_folder))
    assert "val: no usable clip" in _messages(diagnosis, ERROR)
    assert any("no usable clip" in line for line in diagnosis.report)


def test_a_wrong_frame_rate_is_suspected(joints_folder: Path) -> None:
    with np.load(joints_folder / "trials.npz") as store:
        slow = {name: np.repeat(trial[:1], len(trial), axis=0) for name, trial in store.items()}
    np.savez(joints_folder / "trials.npz", **slow)
    assert "is the frame rate right?" in _messages(examine(joints_config(joints_folder)), WARNING)


def test_statistics_are_compared_with_the_clips(joints_folder: Path) -> None:
    cfg = joints_config(joints_folder)
    right = measure(build_source(cfg, "train"))
    right.save(joints_folder)
    assert any("fit the train clips (kind 'data')" in line for line in examine(cfg).report)
    np.save(joints_folder / "mean.npy", right.mean.numpy() + 9)
    assert "do not fit the train clips: root_yaw_velocity" in _messages(examine(cfg), ERROR)
    np.save(joints_folder / "std.npy", np.zeros(263))
    assert "statistics: " in _messages(examine(cfg), ERROR)


def test_statistics_of_the_evaluator_are_recognised(joints_folder: Path) -> None:
    measure(build_source(joints_config(joints_folder), "train"), feature_bias=25.0).save(joints_folder)
    assert any("kind 'guo_eval'" in line for line in examine(joints_config(joints_folder)).report)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no split file"):
        examine(humanml3d_config(tmp_path))


def test_the_real_set_is_whole_but_one_motion_is_in_train_and_test(real_data: Path) -> None:
    diagnosis = examine(joints_config(real_data))
    assert _messages(diagnosis, ERROR) == (
        "2 motions of train are repeated in test: cmu_14_36_00 = cmu_14_31_00, cmu_14_36_01 = cmu_14_31_01"
    )


def test_impossible_clips_are_refused_and_odd_ones_named(joints_folder: Path) -> None:
    with np.load(joints_folder / "trials.npz") as store:
        trials = dict(store)
    trials["trial_walk0"] *= np.float32(1e30)
    trials["trial_walk1"][30:] += 4.0
    np.savez(joints_folder / "trials.npz", **trials)
    cfg = joints_config(joints_folder)
    assert "walk0" not in [clip.name for clip in build_source(cfg, "train")]
    diagnosis = examine(cfg)
    assert "clip 'walk0': joints are more than 10 km away, first at frame 0" in _messages(diagnosis, ERROR)
    assert "walk1: the body jumps at frame 28" in _messages(diagnosis, WARNING)


def test_feature_files_of_absurd_numbers_are_refused(humanml3d_folder: Path) -> None:
    features = write_features(humanml3d_folder, "walk1", 60)
    features[12] = 1e30
    np.save(humanml3d_folder / "new_joint_vecs" / "walk1.npy", features)
    errors = _messages(examine(humanml3d_config(humanml3d_folder)), ERROR)
    assert "walk1.npy: impossible numbers (above 100000) in 1 of 60 frames, first at frame 12" in errors
    assert "look normalised" not in errors
    random = np.random.default_rng(0).normal(size=(60, 263)).astype(np.float32)
    np.save(humanml3d_folder / "new_joint_vecs" / "walk0.npy", random)
    errors = _messages(examine(humanml3d_config(humanml3d_folder)), ERROR)
    assert "features of 1 of " in errors and "look normalised (mean 0, std 1); raw ones are needed: walk0" in errors


@pytest.mark.parametrize(
    ("name", "splits"), [("humanml3d_272", ("train", "val", "test")), ("babel_272", ("train", "val"))]
)
def test_folders_of_272_columns_by_the_command(tmp_path: Path, capsys, name: str, splits: tuple[str, ...]) -> None:
    """The published layout; without --splits the message says which folder holds the split files."""
    root, made = tmp_path / name, DataConfig(procedural_size=16, representation="motion272", max_frames=300)
    for folder in ("motion_data", "texts", "split"):
        (root / folder).mkdir(parents=True)
    for split in splits:
        source = build_source(made, split)
        names = [f"{split}_{number}" for number in range(len(source))]
        (root / "split" / f"{split}.txt").write_text("\n".join(names))
        for number, clip in enumerate(names):
            np.save(root / "motion_data" / f"{clip}.npy", source[number].features.numpy())
            write_texts(root, clip, f"{source[number].captions[0]}#a/DET#0.0#0.0\n")
    doctor = ["doctor", "--source", "humanml3d", "--root", str(root), "--representation", "motion272"]
    doctor += ["--max-frames", "300"]
    assert prepare_data([*doctor, "--splits", "split"]) == 0
    told = capsys.readouterr().out
    assert "features 'motion272', 30 frames per second" in told and "frame rate and unit look right" in told
    assert ("there is no split file test.txt" in told) == ("test" not in splits)
    np.save(root / "motion_data" / "train_3.npy", np.full((60, 272), np.nan, dtype=np.float32))
    assert prepare_data([*doctor, "--splits", "split"]) == 1
    assert "train_3" in capsys.readouterr().out
    with pytest.raises(DataError, match="Set data.splits=split"):
        prepare_data(doctor)
