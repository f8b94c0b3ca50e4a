"""Every data source serves 272 and 276 columns, at the frame rate of the representation."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from mld.data.config import DataConfig
from mld.data.convert import convert
from mld.data.doctor import examine
from mld.data.sources.opening import build_source
from mld.motion import edit
from mld.motion.motion import Motion
from mld.motion.representations.registry import get_representation
from tests.data.conftest import figure, joints_config

NAMES = ["motion272", "motion276"]


@pytest.mark.parametrize("name", NAMES)
def test_procedural_clips(name: str) -> None:
    representation = get_representation(name)
    source = build_source(DataConfig(representation=name, procedural_size=2), "train")
    assert source.fps == representation.fps
    for index in range(2):
        motion = edit.resample(Motion(source.joints(index), 20.0), representation.fps)
        clip = source[index]
        assert clip.features.shape == (source.num_frames(index), representation.width)
        assert len(clip.features) == representation.rows(motion.num_frames)
        decoded = representation.decode_joints(clip.features)
        torch.testing.assert_close((decoded - decoded[:, :1]).norm(dim=-1), _spread(motion.joints[: len(decoded)]),
                                   atol=1e-3, rtol=0)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_joints_are_taken_for_20_fps(joints_folder: Path, name: str) -> None:
    representation = get_representation(name)
    source = build_source(joints_config(joints_folder, representation=name, min_frames=1, mirror=True), "train")
    clips = {source[index].name: source[index] for index in range(len(source))}
    assert len(clips) == 8 and source.fps == representation.fps
    wanted = representation.encode(Motion(torch.from_numpy(figure(64, 0)[2:62]), 20.0))
    torch.testing.assert_close(clips["walk0"].features, wanted, atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_columns_as_they_are_published(joints_folder: Path, tmp_path: Path, name: str) -> None:
    """`motion_data` in the place of `new_joint_vecs`, statistics in `mean_std`, split files in `split`."""
    root = tmp_path / "published"
    convert(joints_config(joints_folder, representation=name, min_frames=1), root)
    (root / "new_joint_vecs").rename(root / "motion_data")
    for folder, pattern in (("split", "*.txt"), ("mean_std", "*.npy")):
        (root / folder).mkdir()
        for file in list(root.glob(pattern)):
            shutil.move(file, root / folder / file.name)
    cfg = DataConfig(source="humanml3d", root=str(root), representation=name, splits="split", min_frames=1)
    source = build_source(cfg, "train")
    assert len(source) == 4 and source.fps == get_representation(name).fps and not source.problems
    assert source[0].features.shape[1] == get_representation(name).width
    diagnosis = examine(cfg)
    assert diagnosis.healthy, diagnosis.report
    assert any("frame rate and unit look right" in line for line in diagnosis.report)
    assert any("fit the train clips (kind 'data')" in line for line in diagnosis.report)
    np.save(root / "mean_std" / "Std.npy", np.load(root / "mean_std" / "Std.npy") * 5)
    assert not examine(cfg).healthy


def _spread(joints: torch.Tensor) -> torch.Tensor:
    return (joints - joints[:, :1]).norm(dim=-1)
