"""Clips composed of two and three others, in one source and across a mixture; kinds that are balanced."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mld.data.balance import JOINED, draw_weights, kind_shares
from mld.data.clips import recordings
from mld.data.config import DataConfig, SourceEntry
from mld.data.datamodule import MotionDataModule, order_of
from mld.data.sources.composing import ComposedSource
from mld.data.sources.opening import build_source
from mld.errors import ConfigError
from mld.motion.representations.registry import get_representation
from mld.training.data import Sources
from tests.data.conftest import joints_config

CFG = DataConfig(procedural_size=24, compose=0.5, max_frames=199)


@pytest.fixture(scope="module")
def source() -> ComposedSource:
    return build_source(CFG, "train")


def test_a_share_of_the_train_split_is_composed_of_two_or_three_clips(source: ComposedSource) -> None:
    assert len(source) == 48 and len(source.sequences) == 24
    assert {len(each.clips) for each in source.sequences} == {2, 3}
    assert all(len(set(each.clips)) == len(each.clips) for each in source.sequences)
    assert len(build_source(replace(CFG, compose=0.2), "train").sequences) == 6
    assert not isinstance(build_source(CFG, "val"), ComposedSource)
    assert "24 composed clips" in source.report()


def test_lengths_and_captions_are_known_before_a_clip_is_made_and_fit() -> None:
    fresh = build_source(CFG, "train")
    told = [fresh.captions(i) for i in range(len(fresh))]
    assert fresh.lengths.max() <= 199
    for i in (0, 23, 24, 30, 47):
        assert fresh[i].num_frames == fresh.lengths[i]
        assert fresh[i].captions == tuple(caption.text for caption in told[i])
    with pytest.raises(IndexError):
        fresh[48]


def test_the_parts_come_in_the_order_of_the_sentence_and_whole(source: ComposedSource) -> None:
    representation = get_representation("humanml3d")
    for number in (0, 1, 2):
        sequence, clip = source.sequences[number], source[24 + number]
        joints = representation.decode_joints(clip.features)
        for start, index in zip(sequence.starts[1:], sequence.clips[1:]):
            part = representation.decode_joints(source[index].features)
            rest = slice(start + 31, start + len(part) - 1)
            height = joints[rest, :, 1] - part[31:, :, 1][: len(joints[rest])]
            assert height.std() < 0.02  # the same poses, on the same floor
        assert clip.label == ", then ".join(source[i].label for i in sequence.clips)
        assert 1 <= len(clip.captions) <= 4 == len(set(clip.captions)) or len(set(clip.captions)) == len(clip.captions)


def test_no_joint_jumps_at_a_seam_and_feet_slide_little_more(source: ComposedSource) -> None:
    representation = get_representation("humanml3d")
    seam, usual = [], []
    for number, sequence in enumerate(source.sequences[:12]):
        joints = representation.decode_joints(source[24 + number].features)
        for start in sequence.starts[1:]:
            around = joints[start - 2 : start + 3].diff(dim=0).norm(dim=-1)
            assert around.max() * 20 < 6.5  # metres per second
            seam.append(_slides(joints[start - 2 : start + 10]))
        usual += [_slides(representation.decode_joints(source[index].features)) for index in sequence.clips]
    assert np.mean(seam) <= 1.3 * np.mean(usual) + 0.03


def _slides(joints: torch.Tensor) -> float:
    """Mean horizontal speed in m/s of toes while they are low."""
    toes = joints[:, [10, 11]]
    low = toes[:-1, :, 1] < joints[..., 1].min() + 0.05
    speed = toes.diff(dim=0)[..., [0, 2]].norm(dim=-1) * 20
    return float(speed[low].mean()) if low.any() else 0.0


def test_the_same_seed_gives_the_same_clips_in_any_order_and_process(source: ComposedSource) -> None:
    again = build_source(CFG, "train")
    sent = pickle.loads(pickle.dumps(again))
    for one in (again[40], sent[40]):
        assert one.name == source[40].name and one.captions == source[40].captions
        assert torch.equal(one.features, source[40].features)
    other = build_source(replace(CFG, compose_seed=1), "train")
    assert [each.clips for each in other.sequences] != [each.clips for each in source.sequences]


def test_statistics_are_not_taken_of_what_was_joined(source: ComposedSource) -> None:
    assert len(list(recordings(source))) == 24
    mixture = build_source(replace(CFG, sources=[SourceEntry("procedural", procedural_size=6)]), "train")
    assert len(mixture) == 12 and len(list(recordings(mixture))) == 6


def test_what_follows_last_is_a_pair_for_streams() -> None:
    cfg = replace(CFG, representation="motion272", max_frames=300, pairs=0.3, pair_frames=[20, 200])
    pairs = build_source(replace(cfg, instructions="stream"), "train")
    own = [pair.own for pair in pairs.pairs if pair.own and pair.own.index >= 24]
    assert own
    sequence = pairs.source.sequences[own[0].index - 24]
    assert own[0].switch == sequence.starts[-1]
    assert own[0].captions == pairs.source.source.captions(sequence.clips[-1])


def test_mirrored_twins_are_composed_with_their_own_words(joints_folder: Path) -> None:
    found = build_source(joints_config(joints_folder, mirror=True, compose=0.6, quality=["good"]), "train")
    sides = {"left", "right"}
    for number, sequence in enumerate(found.sequences):
        names = [found[i].name for i in sequence.clips]
        expected = ["right" if name.startswith("M") else "left" for name in names]
        for text in found[6 + number].captions:
            told = [word for word in text.replace(",", "").replace(".", "").split() if word in sides]
            assert told in (expected, expected[::-1])
    assert found.sequences


def test_a_mixture_is_composed_across_its_sources() -> None:
    entries = [
        SourceEntry("procedural", procedural_size=8, weight=3),
        SourceEntry("procedural", name="b", procedural_size=8, procedural_seed=2, compose=0.5),
    ]
    mixture = build_source(replace(CFG, compose=0.25, sources=entries), "train")
    shares = {part.name: part.share for part in mixture.parts}
    assert shares == pytest.approx({"procedural": 0.5625, "b": 0.1875, "composed": 0.25})
    assert [len(part.source) for part in mixture.parts] == [8, 16, 8]
    assert len(mixture.parts[0].source) == 8  # the share of the mixture is not that of its entries
    composed = mixture.parts[2].source
    origins = {int(mixture.part_of[i]) for each in composed.sequences for i in each.clips}
    assert origins == {0, 1}
    assert mixture[31].name.startswith("composed/composed_00007_") and mixture[31].num_frames == mixture.lengths[31]
    assert "25%  composed: 8 clips" in mixture.report()
    drawn = order_of(mixture, CFG).draw(0, np.random.default_rng(0), 0, 400, 400)
    assert np.bincount(mixture.part_of[drawn]).tolist() == [225, 75, 100]


def test_batches_are_the_same_with_and_without_workers() -> None:
    batches = []
    for workers in (0, 2):
        module = MotionDataModule(replace(CFG, batch_size=8, num_workers=workers), "examples", seed=3)
        batches.append([example for batch in module.train_dataloader() for example in batch])
    assert [one.name for one in batches[0]] == [one.name for one in batches[1]]
    assert all(one.prompt[0] == two.prompt[0] for one, two in zip(*batches) if hasattr(one.prompt[0], "text"))


def test_stages_share_the_clips_beneath() -> None:
    sources = Sources()
    plain = sources.open(replace(CFG, compose=0.0), "train")
    assert sources.open(CFG, "train").source is plain


def test_kinds_count_by_their_square_root_and_joined_ones_as_they_are() -> None:
    kind_of, shares = kind_shares(["walk"] * 16 + ["kick"] + ["bow"] * 4 + [JOINED] * 9)
    by_kind = dict(zip(("joined", "bow", "kick", "walk"), shares))
    assert by_kind == pytest.approx({"joined": 0.3, "bow": 0.2, "kick": 0.1, "walk": 0.4})
    assert len(kind_of) == 30


@pytest.mark.parametrize("mixed", [False, True])
def test_a_balanced_source_is_drawn_by_label(joints_folder: Path, mixed: bool) -> None:
    lines = (joints_folder / "clips.jsonl").read_text().replace('"label": "walk"', '"label": "walk left"')
    (joints_folder / "clips.jsonl").write_text(lines.replace("walk left", "kick left", 1))  # walk0
    cfg = joints_config(joints_folder, mirror=True, balance="label")
    if mixed:
        cfg = DataConfig(sources=[SourceEntry("joints", str(joints_folder), mirror=True, balance="label")])
    source = build_source(cfg, "train")
    assert len(source) == 8  # two are kicks, twins included
    order = order_of(source, cfg)
    drawn = order.draw(0, np.random.default_rng(0), 0, 800, 800)
    kicks = float(np.isin(drawn, [0, 1]).mean())
    assert kicks == pytest.approx(np.sqrt(2) / (np.sqrt(2) + np.sqrt(6)), abs=0.01)
    assert np.bincount(drawn, minlength=8).min() > 60
    assert order.counts(80) == ([80] if mixed else [])
    assert draw_weights(source, "label").sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"compose": 1.0}, "data.compose: 1.0 is a share"),
        ({"compose_seed": -1}, "a seed must be at least 0"),
        ({"balance": "size"}, "data.balance: 'size'"),
        ({"sources": [SourceEntry("procedural", name="composed")]}, "is called 'composed', too"),
        ({"source": "babel_stream", "root": "x", "representation": "motion272"}, "follow on others already"),
    ],
)
def test_settings_that_compose_nothing(setting: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(CFG, **setting).check()


def test_a_source_without_labels_cannot_be_balanced(humanml3d_folder: Path) -> None:
    cfg = DataConfig(source="humanml3d", root=str(humanml3d_folder), balance="label")
    with pytest.raises(ConfigError, match="data.balance: the clips of 'humanml3d train' have no label"):
        order_of(build_source(cfg, "train"), cfg)


def test_seams_tell_a_smooth_row_from_a_rough_one() -> None:
    """Standing goes on from standing, and not from a run that is cut off."""
    from mld.data.seams import Seams

    class Two:
        representation, fps = "humanml3d", 20.0

        def __init__(self) -> None:
            made = build_source(replace(CFG, compose=0.0), "train")
            still = next(i for i in range(24) if "walk" not in made[i].label and "run" not in made[i].label)
            walk = next(i for i in range(24) if "walk" in made[i].label)
            middle = made[walk].num_frames // 2
            self.clips = [made[still], replace(made[walk], features=made[walk].features[:middle]), made[still]]

        def __getitem__(self, index: int):
            return self.clips[index]

    seams = Seams(Two(), [0, 1, 2])
    assert seams.cost([0, 2]) < 0.2 < 0.4 < seams.cost([1, 0])
    wide = build_source(replace(CFG, procedural_size=200, procedural_actions="wide", compose=0.0), "train")
    sitting = [i for i, script in enumerate(wide.scripts) if script.label == "sit"]
    seated = next(i for i in sitting if wide.scripts[i].actions[0].words["end"] == "there")
    assert Seams(wide, [seated, 0, 1]).cost([seated, 0]) > 1.0, "who sits does not go over into standing"
    assert seams.cost([0, 2, 1]) == max(seams.cost([0, 2]), seams.cost([2, 1]))
