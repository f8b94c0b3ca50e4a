"""Pairs of a given motion and what follows, and their examples."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from mld.data.config import DataConfig, SourceEntry
from mld.data.datamodule import CaptionedCrops, InstructionExamples, MotionDataModule
from mld.data.instructions import InstructionSet, stretches
from mld.data.sources.opening import build_source
from mld.data.sources.pairs import PairedSource
from mld.errors import ConfigError, DataError
from mld.example import CaptionedClip, Clip, Text
from mld.motion.representations.registry import get_representation
from mld.training.data import Sources

CFG = DataConfig(
    representation="motion272", procedural_size=24, max_frames=300, pairs=0.5, pair_frames=[20, 60],
    instructions="stream", quote_probability=0.0,
)  # fmt: skip
REPRESENTATION = get_representation("motion272")


@pytest.fixture(scope="module")
def source() -> PairedSource:
    return build_source(CFG, "train")


def aligned(joints: torch.Tensor) -> torch.Tensor:
    """Joints (T, J, 3) seen from the body of their first frame."""
    across = joints[0, 1] - joints[0, 2]
    yaw = torch.atan2(across[2], across[0])
    cos, sin = torch.cos(yaw), torch.sin(yaw)
    x, z = (joints - joints[0, 0])[..., 0], (joints - joints[0, 0])[..., 2]
    return torch.stack([x * cos + z * sin, joints[..., 1], z * cos - x * sin], -1)


def test_a_share_of_the_clips_are_pairs_and_only_in_training(source: PairedSource) -> None:
    assert len(source) == 48 and len(source.pairs) == 24
    assert all(source[i].history == 0 for i in range(24))
    assert all(20 <= source[i].history <= 60 and source[i].history % 4 == 0 for i in range(24, 48))
    assert len(build_source(replace(CFG, pairs=0.2), "train").pairs) == 6
    assert not isinstance(build_source(CFG, "val"), PairedSource)
    assert "24 pairs" in source.report()


def test_lengths_are_known_before_a_pair_is_joined_and_fit(source: PairedSource) -> None:
    fresh = build_source(CFG, "train")
    assert [fresh[i].num_frames for i in range(len(fresh))] == fresh.lengths.tolist()
    assert fresh.lengths.max() <= 300
    assert all(fresh[i].num_frames >= fresh[i].history + 4 for i in range(len(fresh)))


def test_the_same_seed_gives_the_same_pairs_in_any_order_and_process(source: PairedSource) -> None:
    again = build_source(CFG, "train")
    sent = pickle.loads(pickle.dumps(again))
    for one in (again[40], sent[40]):
        assert one.name == source[40].name and torch.equal(one.features, source[40].features)
    other = build_source(replace(CFG, pair_seed=1), "train")
    assert [other[i].name for i in range(24, 48)] != [source[i].name for i in range(24, 48)]


def test_two_actions_in_a_row_are_a_pair_as_they_are(source: PairedSource) -> None:
    scripts, seen = source.source.scripts, 0
    for number, pair in enumerate(source.pairs):
        if pair.own is None:
            continue
        seen += 1
        clip, script = source[24 + number], scripts[pair.index]
        whole = source.source[pair.index].features
        assert torch.equal(clip.features, whole[pair.start :])
        assert pair.stop / 30 <= script.starts[1] < (pair.stop + 4) / 30  # A ends in the unit in which B starts
        assert clip.captions == script.then and clip.label == script.actions[1].label
        assert not set(clip.captions) & set(script.captions)
    assert seen == len([1 for pair in source.pairs if pair.own]) >= 2


def test_joining_leaves_the_given_motion_and_the_rest_of_what_follows(source: PairedSource) -> None:
    joined = [(number, pair) for number, pair in enumerate(source.pairs) if pair.own is None]
    assert len(joined) >= 10
    for number, pair in joined[:6]:
        clip = source[24 + number]
        joints = REPRESENTATION.decode_joints(clip.features)
        given = REPRESENTATION.decode_joints(source.source[pair.given].features[pair.start : pair.stop])
        after = REPRESENTATION.decode_joints(source.source[pair.index].features)
        floors = joints[: pair.history, :, 1].min() - given[..., 1].min()
        assert torch.allclose(aligned(joints[: pair.history]), aligned(given) + torch.tensor([0, floors, 0]), atol=2e-3)
        rest = slice(pair.history + 31, None)
        assert torch.allclose(aligned(joints[rest]), aligned(after[31:]) + torch.tensor([0, floors, 0]), atol=2e-3)
        assert clip.captions == source.source[pair.index].captions


def test_no_joint_jumps_where_motions_are_joined(source: PairedSource) -> None:
    for number, pair in enumerate(source.pairs):
        if pair.own is None:
            joints = REPRESENTATION.decode_joints(source[24 + number].features)
            around = joints[pair.history - 2 : pair.history + 3].diff(dim=0).norm(dim=-1)
            assert around.max() * 30 < 6.5  # metres per second


def test_statistics_and_captions_are_those_of_the_clips(source: PairedSource) -> None:
    from mld.data.clips import recordings

    assert len(list(recordings(source))) == 24
    for i in (3, 30, 47, -1):
        assert tuple(caption.text for caption in source.captions(i)) == source[i].captions
    with pytest.raises(IndexError):
        source[48]


def test_one_instruction_serves_clips_and_pairs(source: PairedSource) -> None:
    stream = InstructionSet.load("stream")
    clip, pair = source[0], source[30]
    for seed in range(12):  # no unit is lost of a pair, whatever is drawn
        example = stream.draw("Text-to-Motion/stream", pair, np.random.default_rng(seed), CFG)
        text, given = example.prompt
        assert isinstance(text, Text) and text.text in pair.captions
        assert torch.equal(given.features, pair.features[: pair.history]) and given.start == 0
        (rest,) = example.target
        assert rest.start == pair.history
        assert torch.equal(rest.features, pair.features[pair.history : pair.num_frames // 4 * 4])
    (text,) = stream.draw("Text-to-Motion/stream", clip, np.random.default_rng(0), CFG).prompt
    assert text.text in clip.captions


def test_tokens_are_cut_where_the_given_motion_ends(source: PairedSource) -> None:
    pair = source[30]
    latents = torch.randn(pair.num_frames // 4, 16)
    cut = InstructionExamples(source, CFG, {source[i].name: latents if i == 30 else latents[:1] for i in range(48)})
    example = cut[30, 5]
    assert torch.equal(torch.cat([example.prompt[1].tokens, example.target[0].tokens]), latents)
    assert len(example.prompt[1].tokens) == pair.history // 4


def test_stretches_of_whole_clip_tokenizers_know_what_is_given() -> None:
    stream = InstructionSet.load("stream")
    placeholders = stream.motions(stream.subtasks)
    assert stretches(81, placeholders, CFG, history=24) == ((0, 24), (24, 80))
    assert stretches(40, placeholders, replace(CFG, token_drop_probability=0.0)) == ((0, 40),)


def test_pairs_and_mixtures_of_known_clips_are_known(source: PairedSource, monkeypatch) -> None:
    """No clip is read for it."""
    from mld.data.clips import fingerprint, histories
    from mld.data.sources.mixed import MixedSource, Part

    assert fingerprint(source) is None and fingerprint(MixedSource([Part("a", source, 1.0)], "train")) is None
    monkeypatch.setattr(type(source.source), "fingerprint", "17", raising=False)
    monkeypatch.setattr(type(source.source), "histories", np.zeros(len(source.source)), raising=False)
    monkeypatch.setattr(type(source.source), "__getitem__", None)
    again = PairedSource(source.source, replace(CFG, pair_seed=9))
    assert len({fingerprint(source), fingerprint(again), "17"}) == 3
    assert histories(source).tolist() == [0] * len(source.source) + [pair.history for pair in source.pairs]
    mixed = MixedSource([Part("a", source, 0.5), Part("b", again, 0.5)], "train")
    assert len(fingerprint(mixed)) == 32 and len(histories(mixed)) == len(source) + len(again)


def test_pairs_in_a_mixture_and_by_entry() -> None:
    entries = [SourceEntry("procedural", procedural_size=8)]
    entries.append(SourceEntry("procedural", name="b", procedural_size=6, pairs=0.0))
    mixture = build_source(replace(CFG, sources=entries), "train")
    assert len(mixture) == 8 + 8 + 6
    assert mixture[10].history and not mixture[18].history
    assert mixture[10].name.startswith("procedural/pair_00002_")


def test_stages_share_the_clips_beneath_pairs() -> None:
    sources = Sources()
    plain = sources.open(replace(CFG, pairs=0.0), "train")
    assert sources.open(CFG, "train").source is plain


def test_batches_are_the_same_with_and_without_workers() -> None:
    batches = []
    for workers in (0, 2):
        module = MotionDataModule(replace(CFG, batch_size=8, num_workers=workers), "examples", seed=3)
        batches.append([example for batch in module.train_dataloader() for example in batch])
    assert [one.name for one in batches[0]] == [one.name for one in batches[1]]
    for one, two in zip(*batches):
        assert one.prompt[0] == two.prompt[0] and torch.equal(one.target[0].features, two.target[0].features)


def test_evaluators_learn_what_follows_alone(source: PairedSource) -> None:
    pairs = CaptionedCrops(source, replace(CFG, window=None, unit_length=1))
    found = [pairs[30, seed] for seed in range(3)]
    assert all(len(one.features) <= source[30].num_frames - source[30].history for one in found)
    assert all(one.caption.text in source[30].captions for one in found)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"pairs": 1.0}, "data.pairs: 1.0 is a share"),
        ({"pairs": -0.1}, "data.pairs: -0.1 is a share"),
        ({"pair_frames": [60, 20]}, "data.pair_frames"),
        ({"pair_frames": [2, 20]}, "data.pair_frames"),
        ({"pair_frames": [20]}, "data.pair_frames"),
        ({"pair_frames": [300, 320]}, "leave nothing of max_frames 300"),
    ],
)
def test_settings_that_make_no_pairs(setting: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_source(replace(CFG, **setting), "train")


def test_other_instructions_are_refused_before_and_while_training(source: PairedSource) -> None:
    with pytest.raises(ConfigError, match="set data.instructions=stream"):
        InstructionExamples(source, replace(CFG, instructions="pretrain"), None)
    pretrain = InstructionSet.load("pretrain")
    with pytest.raises(DataError, match="begins with a given motion"):
        pretrain.draw("Text-to-Motion/t2m", source[30], np.random.default_rng(0), CFG)


def test_a_clip_that_is_given_whole_is_refused() -> None:
    clip = CaptionedClip("x", torch.zeros(23, 272), ("a person waves",), 30.0, history=20)
    with pytest.raises(DataError, match="20 of 23 frames are given, none follows"):
        InstructionSet.load("stream").draw("Text-to-Motion/stream", clip, np.random.default_rng(0), CFG)
    assert Clip(clip.features).start == 0


def test_clips_too_long_to_be_joined_make_no_pairs() -> None:
    short = build_source(replace(CFG, max_frames=40, pair_frames=[20, 24]), "train")
    assert all(pair.own for pair in short.pairs) and "joined" in short.report()
