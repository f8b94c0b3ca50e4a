"""A folder of motion files with captions as a source, without a step in between."""

import dataclasses
from pathlib import Path

import pytest
import roma
import torch

from mld.data.config import DataConfig, SourceEntry
from mld.data.own_motions import build_folder, split_trials
from mld.data.sources.opening import build_source
from mld.errors import ConfigError, DataError
from mld.motion.motion import Motion
from mld.motion.representations.registry import get_representation
from tests.walking import walker

NAMES = ("walk_slowly", "turn_left", "go", "step", "stride")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five BVH files, one of them also as glTF, one longer than a clip may be; some have captions."""
    root = tmp_path / "captures"
    (root / "a").mkdir(parents=True)
    for number, name in enumerate(NAMES):
        Motion(walker(60 + 200 * (number == 0), yaw=number), 20.0).save(root / "a" / f"{name}.bvh")
    Motion(walker(60), 20.0).save(root / "go.glb")
    (root / "a" / "go.txt").write_text("A person goes.#a/DET person/NOUN#0.0#0.0\n")
    (root / "captions.csv").write_text('step,"one, two, and a step"\n')
    return root


def _config(root: Path, **changes) -> DataConfig:
    return DataConfig(source="files", root=str(root), **changes)


def _clips(root: Path, **changes) -> dict:
    sources = [build_source(_config(root, **changes), split) for split in ("train", "val", "test")]
    return {source[i].name: source[i] for source in sources for i in range(len(source))}


def test_files_are_imported_cut_and_captioned(folder: Path) -> None:
    clips = _clips(folder)
    assert set(clips) == {"walk_slowly_00", "walk_slowly_01", "turn_left", "go", "step", "stride"}
    assert clips["go"].captions == ("A person goes.",) and clips["step"].captions == ("one, two, and a step",)
    assert clips["turn_left"].captions == ("turn left.",) and clips["walk_slowly_01"].captions == ("walk slowly.",)
    assert clips["step"].features.shape == (59, 263) and clips["walk_slowly_00"].num_frames == 129


def test_they_are_the_clips_of_a_folder_that_the_command_writes(folder: Path, tmp_path: Path) -> None:
    build_folder(folder, tmp_path / "set", captions=folder / "captions.csv")
    for split in ("train", "val", "test"):
        made = build_source(_config(folder), split)
        written = build_source(DataConfig(source="joints", root=str(tmp_path / "set")), split)
        assert [made[i].name for i in range(len(made))] == [written[i].name for i in range(len(written))]
        for i in range(len(made)):
            assert made[i].captions == written[i].captions
            torch.testing.assert_close(made[i].features, written[i].features)


def test_split_files_grades_and_twins(folder: Path) -> None:
    (folder / "splits").mkdir()
    (folder / "splits" / "train.txt").write_text("go\nstep\nstride\nnobody\n")
    source = build_source(_config(folder, quality=["good"], mirror=True), "train")
    assert [source[i].name for i in range(len(source))] == ["go", "Mgo", "step", "Mstep"]
    assert "left out: 1 of quality fair" in source.report()
    assert [str(problem) for problem in source.problems] == ["train.txt: there is no motion file 'nobody'"]
    with pytest.raises(DataError, match="no split file"):
        build_source(_config(folder), "val")


def test_a_file_that_cannot_be_read_is_a_problem(folder: Path) -> None:
    train = split_trials(NAMES)["train"]
    (folder / "a" / f"{train[0]}.bvh").write_text("HIERARCHY\nROOT a {")
    (folder / "go.glb").unlink()
    source = build_source(_config(folder), "train")
    assert [problem.file for problem in source.problems] == [f"a/{train[0]}.bvh"] and len(source) >= 2


def test_what_cannot_be_a_source_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="data.representation: motion files cannot be written as 'kit'"):
        build_source(_config(folder, representation="kit"), "train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no motion file"):
        build_source(_config(tmp_path / "empty"), "train")


def test_own_files_beside_made_up_motion(folder: Path) -> None:
    mixture = DataConfig(sources=[SourceEntry("files", str(folder)), SourceEntry("procedural", procedural_size=4)])
    source = build_source(mixture, "train")
    assert {source[i].name.split("/")[0] for i in range(len(source))} == {"captures", "procedural"}


def test_rotations_of_the_files_are_kept_and_the_time_is_theirs(folder: Path) -> None:
    """272 columns have 30 frames a second, and rotations of a body: those of the file, twist included."""
    representation = get_representation("motion272")
    path = folder / "a" / "step.bvh"
    motion = Motion.load(path)
    joint = motion.skeleton.index("l_elbow")
    turned = motion.rotations.clone()
    turned[:, joint] = turned[:, joint] @ roma.rotvec_to_rotmat(torch.tensor([1.0, 0.0, 0.0]))  # about the T-pose's arm
    dataclasses.replace(motion, rotations=turned).save(folder / "a" / "step.npz")
    path.unlink()
    clips = _clips(folder, representation="motion272", mirror=True)
    assert clips["step"].num_frames / 30 == pytest.approx(motion.duration, abs=0.05)
    expected = representation.encode(Motion.load(folder / "a" / "step.npz"))
    columns = representation.blocks["joint_rotations"]
    torch.testing.assert_close(clips["step"].features[:, columns], expected[:, columns], atol=1e-4, rtol=0)
    bare = representation.encode(dataclasses.replace(motion, rotations=None))
    assert (bare[:, columns] - expected[:, columns]).abs().max() > 0.3
    pairs = build_source(_config(folder, representation="motion272", pairs=0.6, max_frames=400), "train")
    joined = [(pair, pairs[len(pairs.source) + i]) for i, pair in enumerate(pairs.pairs)]
    assert len(joined) >= 2
    for pair, clip in joined:
        given = pairs.source[pair.given].features[pair.start : pair.stop]
        torch.testing.assert_close(clip.features[: pair.history, columns], given[:, columns], atol=1e-3, rtol=0)
