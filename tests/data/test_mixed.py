"""Several sources in one mixture: what it holds, how its clips are called, and what is refused."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from mld.config import load_config
from mld.data.config import DataConfig, SourceEntry
from mld.data.datamodule import MotionDataModule
from mld.data.doctor import ERROR, examine
from mld.data.sources.opening import build_source
from mld.errors import ConfigError, DataError
from mld.example import Caption
from mld.training.data import SomeClips, Sources
from tests.data.conftest import humanml3d_config, joints_config

MADE = SourceEntry("procedural", procedural_size=16, procedural_seed=3, name="made")


def _config(*entries: SourceEntry, **changes) -> DataConfig:
    return DataConfig(sources=list(entries), **{"batch_size": 4, "window": 32, **changes})


@pytest.fixture
def three(joints_folder: Path, humanml3d_folder: Path) -> DataConfig:
    """Joints, a HumanML3D folder and made-up clips."""
    joints = SourceEntry("joints", str(joints_folder), mirror=True, quality=["good"])
    features = SourceEntry("humanml3d", str(humanml3d_folder), weight=2, name="h3d", min_frames=52)
    return _config(joints, features, MADE)


def test_a_mixture_holds_the_clips_of_all_sources_under_names_of_their_own(three: DataConfig) -> None:
    source = build_source(three, "train")
    parts = {part.name: part.source for part in source.parts}
    assert {name: len(part) for name, part in parts.items()} == {"joints": 6, "h3d": 2, "made": 16}
    assert [part.share for part in source.parts] == [0.25, 0.5, 0.25]
    names = [source[i].name for i in range(len(source))]
    assert len(set(names)) == len(source) == 24
    assert names[:2] == ["joints/walk0", "joints/Mwalk0"] and names[6] == "h3d/walk2" and names[-1].startswith("made/")
    assert torch.equal(source[7].features, parts["h3d"][1].features) and source[7].caption_tokens
    with pytest.raises(IndexError):
        source[24]


def test_lengths_and_captions_are_those_of_the_clips(three: DataConfig, humanml3d_folder, joints_folder) -> None:
    configs = [three, humanml3d_config(humanml3d_folder), joints_config(joints_folder), DataConfig(procedural_size=6)]
    sources = [build_source(cfg, "train") for cfg in configs]
    for source in (*sources, SomeClips(sources[0], 7), pickle.loads(pickle.dumps(sources[0]))):
        assert isinstance(source.lengths, np.ndarray) and source.lengths.shape == (len(source),)
        for i in range(len(source)):
            clip = source[i]
            assert clip.num_frames == source.lengths[i] == source.num_frames(i)
            tokens = clip.caption_tokens or [()] * len(clip.captions)
            assert source.captions(i) == tuple(Caption(*both) for both in zip(clip.captions, tokens))


def test_captions_need_no_features(three: DataConfig, humanml3d_folder: Path) -> None:
    source = build_source(three, "train")
    for file in (humanml3d_folder / "new_joint_vecs").iterdir():
        file.unlink()
    assert source.captions(6)[0].text == "a person does walk2."
    with pytest.raises(DataError, match="missing"):
        source[6]


def test_the_report_tells_every_source_and_its_share(three: DataConfig) -> None:
    first, *lines = build_source(three, "train").report().split("\n")
    assert first.startswith("mixture train of joints, h3d, made: 24 clips, ")
    assert [line.split()[:5] for line in lines] == [
        ["25%", "joints", "train:", "6", "clips,"],
        ["50%", "h3d:", "humanml3d", "train:", "2"],
        ["25%", "made:", "procedural", "train:", "16"],
    ]
    assert "1 of quality fair" in lines[0] and "2 shorter than 52 frames" in lines[1]
    validation = SomeClips(build_source(three, "val"), 3)
    assert validation.report().split("\n")[0].endswith("; validating on 3")
    assert [validation[i].name for i in range(3)] == ["joints/hop0", "made/val_3_00000", "made/val_3_00001"]


def test_a_source_without_weight_is_left_out_of_everything(three: DataConfig) -> None:
    three.sources[0].weight = 0.0
    three.sources[0].root = "nowhere"
    for split in ("train", "val", "test"):
        assert [part.name for part in build_source(three, split).parts] == ["h3d", "made"]


def test_problems_are_under_the_name_of_their_source(three: DataConfig, humanml3d_folder: Path) -> None:
    (humanml3d_folder / "texts" / "walk3.txt").write_text("no caption#\n")
    assert [problem.file for problem in build_source(three, "train").problems] == ["h3d/texts/walk3.txt"]


def test_batches_draw_each_source_by_weight_for_every_kind_of_item(three: DataConfig) -> None:
    for kind in ("features", "examples", "pairs"):
        module = MotionDataModule(three, kind, seed=1)
        sampler = module.train_dataloader().batch_sampler
        assert sampler.served(sampler.after(6)) == {"joints": 6, "h3d": 12, "made": 6}
    module = MotionDataModule(three, "features", seed=1)
    drawn = [name.split("/")[0] for batch in module.train_dataloader() for name in batch.names]
    assert {name: drawn.count(name) for name in drawn} == {"joints": 6, "h3d": 12, "made": 6}


def test_batches_of_a_mixture_do_not_depend_on_the_number_of_workers(three: DataConfig) -> None:
    alone, helped = (
        list(MotionDataModule(_config(*three.sources, num_workers=n), "features", 1).train_dataloader()) for n in (0, 2)
    )
    assert [batch.names for batch in alone] == [batch.names for batch in helped]
    assert all(torch.equal(a.features, b.features) for a, b in zip(alone, helped))


def test_mixtures_share_the_sources_that_were_opened(three: DataConfig) -> None:
    sources = Sources()
    first = sources.open(three, "train")
    assert sources.open(_config(*three.sources, batch_size=9), "train") is first
    other = sources.open(_config(*three.sources[:2]), "train")
    assert [part.source for part in other.parts] == [part.source for part in first.parts[:2]]


def test_no_source_may_vanish_because_its_clips_are_short(three: DataConfig) -> None:
    with pytest.raises(DataError, match="joints train: every clip is shorter than the window of 60 frames"):
        MotionDataModule(_config(*three.sources, window=60, drop_short=True)).train_dataloader()
    module = MotionDataModule(_config(*three.sources, window=53, drop_short=True))
    assert module.report().split("\n")[0].endswith("1 clips shorter than the window of 53 frames unused")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{source: procedural, weigth: 2}", "data.yaml: unknown key 'sources[0].weigth'; did you mean 'weight'?"),
        ("{root: somewhere}", "data.yaml: key 'sources[0].source' is missing"),
        ("{source: joint, root: x}", "data.yaml: sources[0]: source 'joint' is unknown; did you mean 'joints'?"),
        ("{source: procedural, weight: -1}", "sources[0]: weight is -1.0"),
        ("{source: procedural, name: a/b}", "sources[0]: name is 'a/b'"),
        ("{source: procedural, window: 3}", "unknown key 'sources[0].window'"),
        ("{source: joints}", "data.sources[0].root: source 'joints' needs the path"),
        ("{source: procedural, compose: 1.5}", "data.sources[0].compose: 1.5 is a share of clips"),
        ("{source: procedural, fact_captions: -1}", "data.sources[0].fact_captions: -1.0 is a share of captions"),
        ("{source: procedural, mirror: true}", "data.sources[0].mirror: only source 'joints' or 'files'"),
        ("{source: procedural, min_frames: 500}", "data.sources[0].min_frames: 500 must lie between 1 and max_frames"),
        ("{source: procedural}, {source: procedural}", "data.sources[1].name: data.sources[0] is called 'procedural'"),
        ("{source: procedural, weight: 0}", "data.sources: all weights are 0"),
        ("{source: procedural, weight: .nan}", "sources[0]: weight is nan"),
        ("{source: procedural, weight: 1e308}, {source: procedural, name: b, weight: 1e308}", "weights are too large"),
        ("{source: procedural, procedural_seed: -1}", "data.sources[0].procedural_seed: -1 must be at least 0"),
        ("{source: humanml3d, root: x, representation: kit}", "data.sources[0].representation: 'kit' is not"),
    ],
)
def test_mistakes_in_an_entry_are_told_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "data.yaml").write_text(f"sources: [{text}]\n")
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config(tmp_path / "data.yaml", [], DataConfig).check()


@pytest.mark.parametrize("window", [0, -1])
def test_a_window_has_a_frame(window: int) -> None:
    with pytest.raises(ConfigError, match=f"data.window: {window} must be at least 1"):
        _config(MADE, window=window).check()


def test_a_root_beside_sources_is_not_passed_over() -> None:
    with pytest.raises(ConfigError, match=re.escape("data.root: 'x' is not read where there are data.sources")):
        _config(MADE, source="joints", root="x").check()


def test_sources_that_do_not_fit_together_are_refused_with_the_entry(three: DataConfig, tmp_path: Path) -> None:
    three.sources[1].fps = 12.5
    with pytest.raises(DataError, match=re.escape("data.sources[1] (h3d) has 12.5 frames per second, joints has 20;")):
        build_source(three, "train")
    three.sources[1].root = str(tmp_path / "nowhere")
    with pytest.raises(DataError, match=re.escape("data.sources[1] (h3d): no dataset folder")) as caught:
        build_source(three, "train")
    assert "set data.sources[1].root to where the data lies" in str(caught.value)  # and not `data.root`
    with pytest.raises(ConfigError, match=re.escape("data.sources[0].representation: procedural clips cannot")):
        build_source(_config(MADE, representation="kit"), "train")


def test_joints_of_another_frame_rate_are_encoded_to_that_of_the_mixture(joints_folder: Path) -> None:
    slow = SourceEntry("joints", str(joints_folder), fps=10)
    source = build_source(_config(slow, MADE), "train")
    assert source.fps == 20 and source.lengths[0] == 118


def test_the_doctor_looks_at_every_source(three: DataConfig) -> None:
    diagnosis = examine(three)
    assert diagnosis.healthy, diagnosis.findings
    report = "\n".join(diagnosis.report)
    assert "data.sources[1] (h3d), weight 2" in report and "layout 'humanml3d'" in report
    assert "procedural val: 2 clips" in report
    three.sources[0].root = "nowhere"
    diagnosis = examine(three)
    assert not diagnosis.healthy
    assert [finding.message.split(" (in")[0] for finding in diagnosis.findings if finding.level == ERROR] == [
        "data.sources[0] (nowhere): no dataset folder 'nowhere'"
    ]
    assert "layout 'humanml3d'" in "\n".join(diagnosis.report), "the others are looked at all the same"
