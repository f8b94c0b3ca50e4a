"""The joints + captions layout: features of the clips, mirrored twins, and how faults are reported."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from mld.data.mirroring import mirror_joints
from mld.data.sources.opening import build_source
from mld.errors import DataError
from mld.motion.representations.registry import get_representation
from tests.data.conftest import joints_config


def _train(root: Path, **changes):
    return build_source(joints_config(root, **changes), "train")


def _clips(source) -> dict:
    return {clip.name: clip for clip in (source[i] for i in range(len(source)))}


def _edit_line(root: Path, number: int, **changes) -> None:
    lines = (root / "clips.jsonl").read_text().splitlines()
    lines[number - 1] = json.dumps({**json.loads(lines[number - 1]), **changes})
    (root / "clips.jsonl").write_text("\n".join(lines) + "\n")


def test_a_clip_has_the_features_it_gets_alone(joints_folder: Path) -> None:
    representation = get_representation("humanml3d")
    _edit_line(joints_folder, 1, end=40)
    clips = _clips(_train(joints_folder))
    assert set(clips) == {"walk0", "walk1", "walk2", "walk3"}
    with np.load(joints_folder / "trials.npz") as trials:
        joints = torch.from_numpy(trials["trial_walk0"][2:40])
    alone = representation.encode_joints(joints[None])[0]
    assert clips["walk0"].features.shape == (37, 263)
    assert torch.allclose(clips["walk0"].features, alone, atol=1e-6)
    assert clips["walk0"].label == "walk" and clips["walk0"].captions == ("a person does walk0 with the left arm.",)


def test_a_clip_is_centred_and_on_the_floor(joints_folder: Path) -> None:
    joints = get_representation("humanml3d").decode_joints(_train(joints_folder)[0].features)
    assert torch.allclose(joints[0, 0, [0, 2]], torch.zeros(2), atol=1e-5)
    assert abs(float(joints[..., 1].min())) < 0.03


def test_train_clips_get_mirrored_twins_and_test_clips_do_not(joints_folder: Path) -> None:
    clips = _clips(_train(joints_folder, mirror=True))
    assert sorted(clips) == [f"{prefix}walk{i}" for prefix in ("M", "") for i in range(4)]
    assert clips["Mwalk1"].captions == ("a person does walk1 with the right arm.",)
    representation = get_representation("humanml3d")
    with np.load(joints_folder / "trials.npz") as trials:
        mirrored = mirror_joints(trials["trial_walk1"][2:62], representation.skeleton.mirror_pairs)
    want = representation.encode_joints(torch.from_numpy(mirrored)[None])[0]
    assert torch.allclose(clips["Mwalk1"].features, want, atol=1e-6)
    assert sorted(_clips(build_source(joints_config(joints_folder, mirror=True), "test"))) == ["turn0", "turn1"]


def test_quality_and_length_decide_what_is_left_out(joints_folder: Path) -> None:
    _edit_line(joints_folder, 1, end=20)
    source = _train(joints_folder, quality=["good"])
    assert sorted(_clips(source)) == ["walk1", "walk2"]
    assert source.report().endswith("left out: 1 of quality fair, 1 shorter than 20 frames")


def test_a_long_clip_is_cut_not_dropped(joints_folder: Path) -> None:
    source = _train(joints_folder, max_frames=50)
    assert {source.num_frames(i) for i in range(len(source))} == {50}


def test_another_frame_rate_is_resampled(joints_folder: Path) -> None:
    source = _train(joints_folder, fps=10.0)
    assert {source.num_frames(i) for i in range(len(source))} == {118} and source.fps == 20


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"end": 90}, "clips.jsonl:1: clip 'walk0' ends at frame 90, its trial has 64"),
        ({"start": 70}, "clips.jsonl:1: clip 'walk0' has frames 70 to 62"),
        ({"captions": [" "]}, "clips.jsonl:1: clip 'walk0' has no caption"),
        ({"captions": "one"}, "clips.jsonl:1: 'captions' is not a list"),
        ({"trial": "lost"}, "trials.npz: no trial 'lost'"),
        ({"id": "walk1"}, "clips.jsonl:2: clip 'walk1' was already given in line 1"),
    ],
)
def test_a_bad_line_is_named_and_the_others_are_used(joints_folder: Path, changes: dict, message: str) -> None:
    _edit_line(joints_folder, 1, **changes)
    source = _train(joints_folder)
    assert len(source) == 3
    assert any(message in str(problem) for problem in source.problems), source.problems


def test_a_line_that_is_no_json_is_named(joints_folder: Path) -> None:
    text = (joints_folder / "clips.jsonl").read_text()
    (joints_folder / "clips.jsonl").write_bytes(("\ufeff{oops\r\n[]\r\n" + text.replace("\n", "\r\n")).encode())
    source = _train(joints_folder)
    assert len(source) == 4 and [problem.line for problem in source.problems] == [1, 2]


def _spoil_trial(root: Path, trial: np.ndarray) -> None:
    with np.load(root / "trials.npz") as store:
        trials = dict(store)
    np.savez(root / "trials.npz", **{**trials, "trial_walk0": trial})


@pytest.mark.parametrize(
    ("trial", "message"),
    [
        (np.full((64, 22, 3), np.nan, np.float32), "clip 'walk0' has NaN or infinite joints"),
        (np.zeros((64, 22, 3), np.float32), "clip 'walk0' has frames in which all joints lie in one place"),
        (np.zeros((64, 24, 3), np.float32), "trial 'trial_walk0' has shape (64, 24, 3) float32"),
        (np.zeros((64, 22, 3), int), "expected float (T, 22, 3)"),
    ],
)
def test_a_bad_trial_is_named_and_the_others_are_used(joints_folder: Path, trial: np.ndarray, message: str) -> None:
    _spoil_trial(joints_folder, trial)
    source = _train(joints_folder)
    assert len(source) == 3
    assert any(message in str(problem) for problem in source.problems), source.problems


def test_missing_files_are_refused(joints_folder: Path) -> None:
    with pytest.raises(DataError, match="no usable clip in .*4 shorter than 100 frames"):
        _train(joints_folder, min_frames=100)
    (joints_folder / "trials.npz").write_bytes(b"not a zip")
    with pytest.raises(DataError, match="not a readable npz file"):
        _train(joints_folder)
    (joints_folder / "trials.npz").unlink()
    with pytest.raises(DataError, match="no trials.npz"):
        _train(joints_folder)
    (joints_folder / "clips.jsonl").unlink()
    with pytest.raises(DataError, match="no clips.jsonl"):
        _train(joints_folder)
    (joints_folder / "splits" / "train.txt").unlink()
    with pytest.raises(DataError, match="no split file"):
        _train(joints_folder)


def test_an_id_without_a_line_is_named(joints_folder: Path) -> None:
    with (joints_folder / "splits" / "train.txt").open("a") as file:
        file.write("ghost\n")
    assert [str(problem) for problem in _train(joints_folder).problems] == [
        "train.txt: clip 'ghost' is not in clips.jsonl"
    ]


def test_the_real_set_loads_whole_in_seconds(real_data: Path) -> None:
    start = time.perf_counter()
    source = _train(real_data, mirror=True)
    assert time.perf_counter() - start < 30
    assert len(source) == 2 * 555 and not source.problems
    assert max(source.num_frames(i) for i in range(len(source))) <= 199
    assert sum(clip.name.startswith("M") for clip in _clips(source).values()) == 555
