"""Sentences of measured facts: what they say, of which clips, how often, and that they are measured once."""

from __future__ import annotations

import json
import pickle
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from commands.common import run
from mld.data import fact_cache
from mld.data.config import DataConfig, SourceEntry
from mld.data.fact_cache import measured, mirrored
from mld.data.fact_captions import fact_sentences, phrases
from mld.data.facts_in_order import Measured, ends_facing, nearest_angle, parts_of, stops
from mld.data.sources.fact_captioned import FactCaptionedSource, mixed
from mld.data.sources.opening import build_source
from mld.errors import ConfigError
from mld.example import Caption
from mld.motion.facts.event import Event
from prepare.data import main
from tests.data.conftest import humanml3d_config, joints_config

OWN = ["a person turns and walks."]
TURN = Event("turn", 0.2, 1.4, "left", 92.0)
WALK = Event("walk", 1.6, 4.4, "", 2.1, 1, "forward")
STEPS = tuple(Event("step", t, t + 0.5, side, 0.7) for t, side in ((1.7, "left"), (2.5, "right"), (3.3, "left")))
STAND = Event("stand", 4.4, 6.0, "", 1.6)
MEASURED = Measured(6.0, 91.0, (TURN, WALK, *STEPS, STAND))


def _told(one: Measured, own: list[str] = OWN, count: int = 80) -> set[str]:
    return set(fact_sentences(np.random.default_rng(0), one, own, count))


def test_a_turn_and_three_steps_are_told_with_side_angle_count_and_end() -> None:
    told = _told(MEASURED)
    assert len(told) > 40 and all(sentence.endswith(".") for sentence in told)
    assert not any(re.search("  | [.,]|[{}]", sentence) for sentence in told)
    assert any("turns left by about 90 degrees" in sentence for sentence in told)
    assert any("quarter turn to the left" in sentence for sentence in told)
    assert any("three steps forward" in sentence for sentence in told) and any("two metres" in s for s in told)
    assert any(re.search("stops|comes to a stop|stands still", sentence) for sentence in told)
    assert any(re.search(r"(facing|faces) (to the )?left", sentence) for sentence in told)
    assert not any(re.search(r"\bright\b|backward|run", sentence) for sentence in told)


def test_the_mirrored_twin_is_told_with_the_other_side() -> None:
    twin = mirrored(MEASURED)
    assert mirrored(twin) == MEASURED and twin.turned == -91
    assert not any(re.search(r"\bleft\b", sentence) for sentence in _told(twin))
    assert any("turns right by about 90 degrees" in sentence for sentence in _told(twin))


def test_only_what_is_beyond_doubt_is_told() -> None:
    small = Event("walk", 2.0, 2.9, "", 0.5, 1, "forward")
    assert parts_of(Measured(4.0, 92.0, (TURN, small)), "") == ()  # neither a walk nor none
    five = tuple(Event("jump", t, t + 0.3, "both", 0.2, 1, way) for t, way in enumerate(("up", "forward") * 3))
    assert parts_of(Measured(6.0, 0.0, five), "") == ()  # more than a sentence can hold
    to_and_fro = (Event("turn", 2.0, 2.8, "left", 80.0), Event("turn", 3.0, 3.8, "right", -80.0))
    assert parts_of(Measured(6.0, 0.0, (WALK, *to_and_fro)), "") == ()
    assert _told(Measured(3.0, 2.0, ())) == set()


def test_what_is_meant_and_not_seen_needs_the_word_of_the_clip() -> None:
    wave = Measured(3.0, 0.0, (Event("wave", 0.5, 2.5, "right", 0.2, 3),))
    assert parts_of(wave, "a person scratches the head") == ()
    assert [part.kind for part in parts_of(wave, "someone is waving")] == ["wave"]
    assert any("waves with the right hand" in sentence for sentence in _told(wave, ["someone waves hello."]))


def test_other_activities_keep_their_sentence_and_get_a_fact_at_its_end() -> None:
    told = _told(MEASURED, ["a person dances salsa."], 6)
    assert told and all(re.match("a person dances salsa, (turning|ending|facing)", sentence) for sentence in told)
    assert _told(MEASURED, ["someone throws a ball and turns to the right."]) == set()  # the sides disagree


def test_counts_and_distances_and_speeds() -> None:
    jumps = tuple(Event("jump", t, t + 0.3, "both", 0.2, 1, "up") for t in (0.5, 1.5))
    assert any("twice" in sentence for sentence in _told(Measured(3.0, 0.0, jumps), ["a person jumps."]))
    slow = Measured(6.0, 0.0, (Event("walk_backward", 0.0, 6.0, "", 3.0, 1, "backward"),))
    told = _told(slow, ["a person walks."])
    assert any("slowly" in sentence for sentence in told) and any("three metres" in sentence for sentence in told)
    assert any("without turning" in sentence for sentence in told)
    assert (nearest_angle(-100), nearest_angle(115), nearest_angle(350)) == (90, 0, 360)
    assert [ends_facing(Measured(1.0, a, ())) for a in (175.0, -91.0, 5.0, 448.0)] == ["back", "right", "", "left"]
    assert stops(MEASURED, parts_of(MEASURED, ""))


def test_every_phrase_of_the_table_can_be_said() -> None:
    slots = {"side", "degrees", "turn_name", "metres", "steps", "pace", "times", "hands", "curve"}
    for kind, texts in phrases()["does"].items():
        assert {slot for text in texts for slot in re.findall(r"{(\w+)}", text)} <= slots, kind
        plain = [text for text in texts if not set(re.findall(r"{(\w+)}", text)) - {"pace", "times", "side", "hands"}]
        assert plain, f"{kind} has no phrase that needs no measure"


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.8])
def test_a_drawn_caption_is_one_of_facts_so_often(share: float) -> None:
    own = tuple(Caption(text) for text in ("one", "two", "three"))
    told = mixed(own, ("four", "five", "six", "seven"), share)
    assert np.mean([caption not in own for caption in told]) == pytest.approx(share, abs=0.06)
    assert mixed(own, (), share) == own and mixed(own, ("four",), 1.0) == (Caption("four"),)


@pytest.fixture
def found(joints_folder: Path, tmp_path: Path) -> FactCaptionedSource:
    return build_source(_config(joints_folder, tmp_path), "train")


def _config(folder: Path, tmp_path: Path, **changes) -> DataConfig:
    return joints_config(folder, mirror=True, fact_captions=0.5, fact_cache=str(tmp_path / "facts"), **changes)


def test_clips_are_as_they_are_but_for_their_captions(found: FactCaptionedSource, joints_folder, tmp_path) -> None:
    plain = build_source(replace(_config(joints_folder, tmp_path), fact_captions=0.0), "train")
    assert len(found) == len(plain) == 8 and found.kinds("label") == plain.kinds("label")
    told = 0
    for i in range(len(found)):
        assert found[i].features is not None and found[i].name == plain[i].name
        assert found[i].captions[: len(plain[i].captions)] == plain[i].captions
        assert found[i].captions == tuple(caption.text for caption in found.captions(i))
        told += len(found[i].captions) > len(plain[i].captions)
    assert told >= 4 and f"{told} with sentences of facts" in found.report()
    assert not isinstance(build_source(_config(joints_folder, tmp_path), "val"), FactCaptionedSource)
    sent = pickle.loads(pickle.dumps(found))
    assert sent.captions(3) == found.captions(3) and sent.fps == 20.0


def test_facts_are_measured_once(found: FactCaptionedSource, joints_folder, tmp_path, monkeypatch) -> None:
    (file,) = (tmp_path / "facts").glob("*.json")
    assert len(json.loads(file.read_text())) == 4  # twins have those of their clips
    monkeypatch.setattr(fact_cache, "measure", None)
    again = build_source(_config(joints_folder, tmp_path), "train")
    assert [again.captions(i) for i in range(8)] == [found.captions(i) for i in range(8)]
    monkeypatch.undo()
    for damaged in ("[[1", "[]", "null", "{}", "[[1.0, 2.0, []]]", '[[1, 2, [["walk"]]]]'):  # measured anew
        file.write_text(damaged)
        anew = build_source(_config(joints_folder, tmp_path), "train")
        assert [anew.captions(i) for i in range(8)] == [found.captions(i) for i in range(8)], damaged


def test_a_twin_has_the_facts_of_its_own_motion(joints_folder: Path, tmp_path: Path) -> None:
    plain = build_source(joints_config(joints_folder, mirror=True), "train")
    by_exchange = measured(plain, tmp_path / "a")
    for i in (1, 3):
        twin = fact_cache.measure(_joints(plain, i), 20.0)
        assert twin.turned == pytest.approx(by_exchange[i].turned, abs=2.0)
        assert [e.name for e in twin.events if e.name in ("walk", "turn")] == [
            e.name for e in by_exchange[i].events if e.name in ("walk", "turn")]  # fmt: skip


def _joints(source, index: int) -> np.ndarray:
    from mld.motion.representations.registry import get_representation

    return get_representation(source.representation).decode(source[index].features).joints.numpy()


def test_composed_clips_are_told_by_facts_as_well(joints_folder: Path, tmp_path: Path) -> None:
    cfg = _config(joints_folder, tmp_path, compose=0.3)
    source = build_source(replace(cfg, fact_captions=1.0), "train")
    texts = " ".join(caption.text for i in range(8, len(source)) for caption in source.captions(i))
    assert re.search("metre|meter|steps|straight|ahead|forward", texts)


def test_made_up_clips_of_a_mixture_keep_their_own_sentences() -> None:
    cfg = DataConfig(fact_captions=0.5, sources=[SourceEntry("procedural"), SourceEntry("joints", "x")])
    made, real = cfg.used()
    assert (made.fact_captions, real.fact_captions) == (0.0, 0.5)


def test_settings_that_tell_no_facts(humanml3d_folder: Path) -> None:
    with pytest.raises(ConfigError, match="data.fact_captions: 1.5 is a share"):
        build_source(humanml3d_config(humanml3d_folder, fact_captions=1.5), "train")


def test_the_command_writes_what_training_gets(joints_folder: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = tmp_path / "told.jsonl"
    options = ["captions", "--source", "joints", "--root", str(joints_folder), "--mirror", "--compose", "0.3"]
    assert main([*options, "--fact-captions", "0.5", "--out", str(out)]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 11 and rows[1]["name"] == "Mwalk0" and rows[-1]["name"].startswith("composed_")
    assert rows[0]["captions"][0] == "a person does walk0 with the left arm." and rows[0]["frames"] == 59
    assert list((tmp_path / "cache" / "mld" / "facts").glob("*.json"))
    assert main([*options, "--limit", "2"]) == 0
    assert "walk0 (59 frames)" in capsys.readouterr().out


def test_sentences_of_made_up_clips_of_either_set(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    options = ["captions", "--source", "procedural", "--procedural-size", "3", "--limit", "1", "--procedural-actions"]
    for actions, name in (("basic", "train_0_00000"), ("wide", "wide_train_0_00000")):
        assert run(main, [*options, actions]) == 0
        assert capsys.readouterr().out.startswith(name)
    assert run(main, [*options, "wilde"]) == 2 and "did you mean 'wide'" in capsys.readouterr().err


def test_real_clips_get_sentences_that_agree_with_their_labels(real_data: Path, tmp_path: Path) -> None:
    """Of CMU trials that are labelled by side, the facts say that side."""
    cfg = joints_config(real_data, fact_captions=1.0, fact_cache=str(tmp_path), max_frames=199)
    source = build_source(cfg, "train")
    turns = [i for i in range(len(source)) if re.search(r"90-degree (left|right) turn", source[i].label)]
    sided = 0
    for i in turns:
        side, other = ("left", "right") if "left" in source[i].label else ("right", "left")
        facts = " ".join(source.facts(i))
        assert not re.search(rf"turn\w* (?:to the )?{other}|turn to the {other}", facts), (source[i].name, facts)
        sided += bool(re.search(rf"\b{side}\b", facts))
    assert len(turns) >= 5 and sided >= 0.6 * len(turns)
