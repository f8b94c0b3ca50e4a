"""MBench: suites of prompts, folders of results of other systems, and what is read from a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mld.errors import DataError, MldError, RequestError
from mld.evaluation.suites.mbench.dimensions import CONSISTENCY, DIMENSIONS, GROUPS, POSES, QUALITY, of_group
from mld.evaluation.suites.mbench.foreign import ResultsFolder
from mld.evaluation.suites.mbench.prompts import Prompt, read_suite
from mld.evaluation.suites.mbench.settings import MBenchSettings
from mld.evaluation.suites.reading import read_clip
from mld.metrics.mbench import motion_quality
from mld.motion.motion import Motion
from mld.motion.representations.registry import get_representation
from tests.walking import walker

PLAIN = MBenchSettings()


def entry(number: int, group: str, **fields) -> dict:
    """As in MBench_final.json."""
    return {"global_id": number, "id": 0, "dimension": group, "motion_duration": 4, "prompt": f"told {number}",
            "prompt_motion_detailed": f"motion {number}", **fields}  # fmt: skip


def scored(number, dimension: str, **fields) -> dict:
    """As in MBench_eval_info.json."""
    return {"prompt": f"scored {number}", "dimension": dimension, "id": number, "category": QUALITY,
            "motion_duration": 80, **fields}  # fmt: skip


def written(path: Path, content) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def prompt(name: str, group: str = QUALITY) -> Prompt:
    return Prompt(name, "a person walks", group, of_group(group), 4.0, texts={"prompt": "a person walks"})


def walk(frames: int = 40) -> np.ndarray:
    return np.asarray(walker(frames), dtype=np.float32)


# Suites


def test_our_suite_has_prompts_of_all_groups_and_labels_to_choose_from() -> None:
    suite = read_suite()
    assert len(suite.prompts) >= 60 and len({one.prompt for one in suite.prompts}) == len(suite.prompts)
    assert {one.group for one in suite.prompts} == set(GROUPS)
    assert all(len(suite.of(dimension)) >= 14 for dimension in DIMENSIONS)
    for one in suite.of(CONSISTENCY):
        assert len(set(one.others)) == 9 and one.prompt not in one.others
    assert all(one.text("prompt") == one.prompt and 2 <= one.seconds <= 9 for one in suite.prompts)


def test_the_published_files_together_and_alone(tmp_path: Path) -> None:
    labels = ["digging", *"abcdefgh"]
    final = [entry(0, QUALITY), entry(1, POSES, motion_duration=3),
             entry(2, CONSISTENCY, prompt="digging", auxiliary_info=labels)]  # fmt: skip
    info = [scored(0, name) for name in of_group(QUALITY)]
    info += [scored(1, name, motion_duration=60) for name in of_group(POSES)]
    info.append(scored(2, CONSISTENCY, prompt="digging", category=CONSISTENCY, auxiliary_info=labels))
    written(tmp_path / "MBench_final.json", final), written(tmp_path / "MBench_eval_info.json", info)
    both = read_suite([tmp_path])
    assert both.prompts == read_suite([tmp_path / "MBench_eval_info.json", tmp_path / "MBench_final.json"]).prompts
    first, second, third = both.prompts
    assert (first.prompt, first.text("prompt"), first.text("motion")) == ("scored 0", "told 0", "motion 0")
    assert (first.seconds, second.seconds, second.frames) == (4.0, 3.0, 60)
    assert first.dimensions == of_group(QUALITY) and second.dimensions == of_group(POSES)
    assert third.others == tuple(labels) and third.others.count(third.prompt) == 1
    with pytest.raises(RequestError, match="no text 'prompt_video_detailed'"):
        first.text("video")
    alone, eval_only = read_suite([tmp_path / "MBench_final.json"]), read_suite([tmp_path / "MBench_eval_info.json"])
    assert [one.prompt for one in alone.prompts] == ["told 0", "told 1", "digging"]
    assert [one.dimensions for one in eval_only.prompts] == [one.dimensions for one in both.prompts]
    assert [one.seconds for one in eval_only.prompts] == [4.0, 3.0, 4.0]
    assert len({both.hash, alone.hash, eval_only.hash}) == 3


def test_ids_are_numbers_or_words_and_numbers_come_first(tmp_path: Path) -> None:
    entries = [{"id": name, "group": QUALITY, "prompt": "walk", "seconds": 2} for name in ("b", 10, "9", 2)]
    suite = read_suite([written(tmp_path / "mine.json", entries)])
    assert [one.id for one in suite.prompts] == ["2", "9", "10", "b"] and suite.name == "mine"
    assert [one.number for one in suite.prompts] == [2, "9", 10, "b"]


def test_a_part_of_a_suite() -> None:
    suite = read_suite()
    few = suite.part(limit=2)
    assert {group: sum(p.group == group for p in few.prompts) for group in GROUPS} == dict.fromkeys(GROUPS, 2)
    poses = suite.part(["Pose_Quality"])
    assert all(one.dimensions == ("Pose_Quality",) for one in poses.prompts)
    assert len({suite.hash, few.hash, poses.hash}) == 3


@pytest.mark.parametrize("content, message", [
    ("a: [", "neither JSON nor YAML"), ("7", "not a suite"), ("[]", "not a suite"), ([1], "is no prompt"),
    ([entry(0, "Motion_Qality")], "no group; did you mean 'Motion_Quality'"),
    ([scored(0, "Jitter_Degree"), scored(1, "Jitter")], "is no dimension; did you mean"),
    ([entry(0, QUALITY, prompt=" ")], "prompt 0 has no text"), ([entry(0, QUALITY, prompt=None)], "no text"),
    ([entry("../x", QUALITY)], "the id is"), ([entry(0, QUALITY, motion_duration=-1)], "-1"),
    ([entry(0, QUALITY, motion_duration="long")], "'motion_duration' is 'long'"),
     ([entry(0, QUALITY), entry(0, POSES)], "there twice"),
    ([entry(0, CONSISTENCY, auxiliary_info="walk")], "other labels are"),
    ([entry(0, QUALITY, dimensions=["Jitter"])], "no dimension 'Jitter'"),
])  # fmt: skip
def test_what_is_no_suite_is_one_line(tmp_path: Path, content, message: str) -> None:
    with pytest.raises(MldError, match=message) as caught:
        read_suite([written(tmp_path / "mine.json", content)])
    assert "\n" not in str(caught.value) and len(str(caught.value)) <= 300


def test_a_suite_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file"):
        read_suite([tmp_path / "none.json"])
    with pytest.raises(DataError, match="no MBench_final.json or"):
        read_suite([tmp_path])


# Folders


def test_which_file_is_the_motion_of_a_prompt(tmp_path: Path) -> None:
    for name in ("0.npy", "0.pt", "1.pt", "2.bvh", "3/motion_gen_condition_on_text.pt",
                 "3/motion_gen_condition_on_motion.pt", "4/other.pt", "pose_quality/5/motion.npy",
                 "Pose_Quality/0/motion.pt", "notes.txt", "6/notes.txt"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    folder = ResultsFolder(tmp_path)

    def found(name: str) -> str | None:
        path = folder.find(prompt(name))
        return path and path.relative_to(tmp_path).as_posix()

    names = ["0.npy", "1.pt", "2.bvh", "3/motion_gen_condition_on_motion.pt", "4/other.pt", "pose_quality/5/motion.npy"]
    assert [found(str(number)) for number in range(6)] == names and found("6") is found("7") is None
    assert folder.published(prompt("0"), "Jitter_Degree").name == "0.npy"
    assert folder.published(prompt("0", POSES), "Pose_Quality") == tmp_path / "Pose_Quality/0/motion.pt"
    (tmp_path / "Pose_Quality/0/motion.pt").unlink()
    assert ResultsFolder(tmp_path).published(prompt("0", POSES), "Pose_Quality").name == "0.pt"
    with pytest.raises(DataError, match=r"no file of any prompt \(8, ...\), there is 0.npy, 0.pt, 1.pt, ...") as caught:
        folder.check([prompt("8")])
    assert len(str(caught.value)) <= 300
    with pytest.raises(DataError, match="no such folder"):
        ResultsFolder(tmp_path / "none")


# Files


@pytest.mark.parametrize("write", [
    lambda path, joints: np.save(path.with_suffix(".npy"), joints),
    lambda path, joints: np.save(path.with_suffix(".npy"), joints[None].astype(np.float64)),
    lambda path, joints: torch.save(torch.from_numpy(joints), path.with_suffix(".pt")),
    lambda path, joints: torch.save({"joints": joints, "pose": torch.zeros(40, 24, 3)}, path.with_suffix(".pt")),
    lambda path, joints: torch.save({"joints": torch.from_numpy(joints)[None]}, path.with_suffix(".pt")),
])  # fmt: skip
def test_joints_in_any_container(tmp_path: Path, write) -> None:
    write(tmp_path / "0", walk())
    clip = read_clip(next(tmp_path.iterdir()), PLAIN)
    assert np.abs(clip.raw.numpy() - walk()).max() < 1e-6 and torch.equal(clip.raw, clip.motion.joints)
    assert clip.motion.fps == 20


def test_columns_of_276_are_followed_along_their_steps(tmp_path: Path) -> None:
    representation = get_representation("motion276")
    features = representation.encode(Motion(walk(), 20.0))
    torch.save({"motion": features}, tmp_path / "0.pt")
    clip = read_clip(tmp_path / "0.pt", PLAIN)
    torch.testing.assert_close(clip.raw, representation.decode_joints(features))
    assert clip.motion.num_frames == len(features) == 39


def test_another_axis_and_another_rate(tmp_path: Path) -> None:
    """Strict measures the motion that is meant, upstream what stands in the file."""
    joints = walk(61)
    upright = joints[..., [0, 2, 1]] * np.array([1, -1, 1], np.float32)
    np.save(tmp_path / "z.npy", upright), np.save(tmp_path / "y.npy", joints)
    turned, plain = read_clip(tmp_path / "z.npy", MBenchSettings(up="z")), read_clip(tmp_path / "y.npy", PLAIN)
    assert np.array_equal(turned.raw.numpy(), upright)
    wanted = motion_quality(plain.motion.joints, 1)
    assert motion_quality(turned.motion.joints, 1) == pytest.approx(wanted, abs=1e-5)
    assert motion_quality(turned.raw, 2) == pytest.approx(wanted, abs=1e-5)
    fast = read_clip(tmp_path / "y.npy", MBenchSettings(fps=30))
    assert (fast.motion.num_frames, fast.motion.fps, len(fast.raw)) == (41, 20.0, 61)


def test_the_floor_may_be_the_lowest_joint(tmp_path: Path) -> None:
    np.save(tmp_path / "0.npy", walk() + np.array([0, 0.5, 0], np.float32))
    low = read_clip(tmp_path / "0.npy", MBenchSettings(floor="lowest"))
    assert abs(float(low.motion.joints[..., 1].min())) < 1e-6
    assert float(read_clip(tmp_path / "0.npy", PLAIN).motion.joints[..., 1].min()) > 0.4


def test_motions_of_other_formats_are_imported(tmp_path: Path) -> None:
    Motion(walk(61), 30.0).save(tmp_path / "0.bvh")
    clip = read_clip(tmp_path / "0.bvh", PLAIN)
    assert (clip.motion.num_frames, clip.motion.fps, clip.motion.skeleton.num_joints) == (41, 20.0, 22)


@pytest.mark.parametrize("array, message", [
    (np.zeros((30, 426), np.float32), "426 columns, a file of another kind"), (np.zeros((30, 99), np.float32), "shape"),
    (np.zeros((30, 21, 3), np.float32), "21"), (np.zeros((0, 22, 3), np.float32), "empty|shape"),
    (np.where(np.arange(40)[:, None, None] == 7, np.nan, walk()), "NaN or infinity in 1 frames, first at frame 7"),
])  # fmt: skip
def test_what_is_no_motion_is_one_line(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "0.npy", array), torch.save(torch.from_numpy(array), tmp_path / "0.pt")
    for file in ("0.npy", "0.pt"):
        with pytest.raises(DataError, match=message) as caught:
            read_clip(tmp_path / file, PLAIN)
        assert "\n" not in str(caught.value) and len(str(caught.value)) <= 300


def test_code_in_a_file_does_not_run(tmp_path: Path) -> None:
    torch.save({"joints": Path("x")}, tmp_path / "0.pt")
    with pytest.raises(DataError, match="refused|not read"):
        read_clip(tmp_path / "0.pt", PLAIN)
