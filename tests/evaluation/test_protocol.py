"""What a protocol draws: the same from the same seed and name, whatever surrounds it; what it leaves out and says."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mld.data.config import DataConfig
from mld.evaluation.clips import usable
from mld.evaluation.draws import Replication, by_length, draw, item_seed
from mld.evaluation.protocol import Protocol, split_identity
from mld.evaluation.settings import Settings
from mld.example import CaptionedClip
from tests.metrics.splits import clips, split

PROTOCOL = Protocol()


def test_items_depend_on_seed_and_name_only() -> None:
    whole = draw(split(40), PROTOCOL, 7)
    some = draw(usable(clips(40)[20:]), PROTOCOL, 7)
    for item, other in zip(whole[20:], some):
        assert torch.equal(item.clip.features, other.clip.features)
        assert (item.caption, item.seed) == (other.caption, other.seed)
    later = draw(split(40), PROTOCOL, 8)
    assert any(a.caption != b.caption for a, b in zip(whole, later))
    assert any(a.clip.num_frames != b.clip.num_frames for a, b in zip(whole, later))
    assert all(a.seed != b.seed for a, b in zip(whole, later))


def test_crops_are_those_of_the_published_protocol() -> None:
    lengths = []
    for seed in range(30):
        for item, clip in zip(draw(split(20), PROTOCOL, seed), clips(20)):
            units = clip.num_frames // 4
            assert item.clip.num_frames in (4 * units, 4 * units - 4)
            lengths.append(item.clip.num_frames == 4 * units)
    assert 0.6 < sum(lengths) / len(lengths) < 0.73  # two of three keep all units


@pytest.mark.parametrize("unit", [1, 2, 5])
def test_crops_are_multiples_of_the_units_of_the_data(unit: int) -> None:
    protocol = Protocol.of(Settings(), DataConfig(unit_length=unit), labelled=False)
    for item, clip in zip(draw(split(20), protocol, 3), clips(20)):
        units = clip.num_frames // unit
        assert item.clip.num_frames in (unit * units, unit * (units - 1))
    assert f"/crop=coin{unit}/" in protocol.identity("t2m")
    assert Replication(split(20), protocol, 3).crops != Replication(split(20), PROTOCOL, 3).crops


def test_a_protocol_follows_settings_and_data() -> None:
    data = DataConfig(min_frames=24, max_frames=120)
    assert Protocol.of(Settings(seed=5), data, labelled=True) == Protocol(
        min_frames=24, max_frames=120, matches="label", seed=5)  # fmt: skip
    assert Protocol.of(Settings(), data, labelled=False).matches == "item"
    assert Protocol.of(Settings(matches="item"), data, labelled=True).matches == "item"
    chosen = Settings(mode="upstream", captions="first", crop="whole", length="model")
    line = "t2m/upstream/captions=first/crop=whole/frames=24-120/length=model/features=corrected"
    assert Protocol.of(chosen, data, labelled=False).identity("t2m") == line


def test_whole_clips_and_first_captions_do_not_vary() -> None:
    protocol = Protocol(crop="whole", captions="first")
    for seed in (0, 1):
        for item, clip in zip(draw(split(10), protocol, seed), clips(10)):
            assert torch.equal(item.clip.features, clip.features)
            assert item.caption.text == clip.captions[0]


def test_all_captions_are_drawn_in_turn() -> None:
    drawn = {draw(split(1), PROTOCOL, seed)[0].caption.text for seed in range(12)}
    assert drawn == set(clips(1)[0].captions)


def test_what_cannot_be_measured_is_left_out_with_its_name() -> None:
    good, short, long, broken, mute = clips(5)
    short = replace(short, features=short.features[:39])
    long = replace(long, features=torch.zeros(200, 263))
    broken = replace(broken, features=broken.features * torch.nan)
    mute = replace(mute, captions=("", "  "))
    found = usable([good, short, long, broken, mute])
    assert [clip.name for _, clip in found.clips] == [good.name]
    assert found.left_out == {
        "not 40 to 199 frames long": [short.name, long.name], "with NaN or infinite features": [broken.name],
        "without a caption": [mute.name],
    }  # fmt: skip


def test_an_empty_caption_is_never_drawn() -> None:
    clip = replace(clips(1)[0], captions=("", "a person waves"), caption_tokens=((), ("a/DET", "person/NOUN")))
    ((_, kept),) = usable([clip]).clips
    assert (kept.captions, kept.caption_tokens) == (("a person waves",), (("a/DET", "person/NOUN"),))


def test_hashes_change_with_what_they_stand_for() -> None:
    base = split(4)
    other = [(n, replace(clip, features=clip.features + 1)) for n, clip in base.clips]
    assert replace(base, clips=tuple(other)).data_hash != base.data_hash
    assert replace(base, clips=tuple(other)).captions_hash == base.captions_hash
    for number, name in ((1, "clip000"), (0, "another")):
        moved = replace(base, clips=((number, replace(base.clips[0][1], name=name)), *base.clips[1:]))
        assert moved.data_hash != base.data_hash
    labelled = [(n, replace(clip, label="walk")) for n, clip in base.clips]
    assert replace(base, clips=tuple(labelled)).captions_hash != base.captions_hash
    renamed = [(n, replace(clip, captions=("x",))) for n, clip in base.clips]
    assert replace(base, clips=tuple(renamed)).captions_hash != base.captions_hash
    assert replace(base, clips=tuple(renamed)).data_hash == base.data_hash


def test_clips_of_one_label_match_where_wanted() -> None:
    labelled = split(20, label=True)
    assert labelled.labelled
    assert len(labelled.same("item").unique()) == 20
    assert len(labelled.same("label").unique()) == 10
    assert len(split(20).same("label").unique()) == 20


def test_the_identity_tells_protocols_apart() -> None:
    variants = [PROTOCOL, Protocol(mode="upstream"), Protocol(captions="first"), Protocol(crop="whole"),
                Protocol(min_frames=24), Protocol(length="model"), Protocol(matches="label"),
                Protocol(unit=2)]  # fmt: skip
    known = "t2m/strict/captions=random/crop=coin4/frames=40-199/length=given/matches=item/guo@1"
    assert PROTOCOL.identity("t2m", "guo@1") == known
    lines = {protocol.identity("t2m", "guo@1") for protocol in variants}
    assert len(lines) == len(variants)
    assert split_identity(PROTOCOL.identity("pred/20%-given", "guo@1"))[0] == "pred/20%-given"
    assert len({split_identity(PROTOCOL.identity(task, "guo@1"))[1] for task in ("real", "t2m", "pred/20%-given")}) == 1
    assert PROTOCOL.identity("t2m", "guo@1") != PROTOCOL.identity("t2m", "guo@2")


def test_batches_are_of_similar_length() -> None:
    items = draw(split(30), PROTOCOL, 0)
    lengths = [items[i].clip.num_frames for i in by_length(items)]
    assert lengths == sorted(lengths)


def test_item_seeds_differ_and_stay() -> None:
    assert item_seed(0, "a") == item_seed(0, "a")
    assert len({item_seed(seed, name, repeat) for seed in range(3) for name in "abc" for repeat in range(3)}) == 27


@pytest.mark.parametrize("captions", [("a person walks",), ("a", "b", "c")])
def test_a_prompt_has_the_drawn_caption_only(captions: tuple[str, ...]) -> None:
    clip = CaptionedClip("x", torch.zeros(50, 263), captions, 20.0)
    (item,) = draw(usable([clip]), PROTOCOL, 3)
    assert item.prompt().captions == (item.caption.text,)
    assert item.clip.captions == captions
