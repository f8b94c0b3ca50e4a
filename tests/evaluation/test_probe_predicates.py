"""Probes: made-up clips of a label pass its predicate, others do not; bad lists are refused in one line."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mld.data.sources.procedural.actions import ACTIONS, registered
from mld.data.sources.procedural.script import Script, perform
from mld.data.sources.procedural.stage import FPS, Style
from mld.data.sources.procedural.wide import script_of
from mld.errors import DataError
from mld.evaluation.suites.probes import prompts
from mld.evaluation.suites.probes.ordering import in_order
from mld.evaluation.suites.probes.predicates import GROUPS, Probe, check, read_probes, shows
from mld.evaluation.suites.probes.prompts import read_suite
from mld.evaluation.suites.probes.specs import Spec
from mld.motion.facts import Event, Facts, arms, thresholds
from mld.yaml_text import read_yaml

CLIPS = 10
# Label of a made-up clip, the fact that it shows; {side} is the clip's own side.
TRUE = {
    "walk": "forward", "walk_backward": "backward", "run": "runs", "side_step": "side_{side}", "turn": "turns_{side}",
    "walk_circle": "circle_{side}", "spin": "full_{side}", "march": "marches", "jump_up": "jumps_up",
    "jump_forward": "jumps_forward", "hop": "hops_{side}", "jumping_jacks": "jumping_jacks", "clap": "claps",
    "kick": "kicks_{side}", "raise_knee": "raises_{side}_knee", "squat": "squats", "sit": "sits", "bow": "bows",
    "pick_up": "picks_up_{side}", "lunge": "lunges_{side}", "arm_circles": "circles_arms", "throw": "throws_{side}",
}  # fmt: skip
SPECIFIC = {
    "backward": {"walk_backward"}, "runs": {"run"}, "marches": {"march"}, "hops": {"hop"}, "kicks": {"kick"},
    "claps": {"clap"}, "bows": {"bow"}, "lunges": {"lunge"}, "circles_arms": {"arm_circles"},
    "jumps": {"jump_up", "jump_forward", "jumping_jacks"}, "sits": {"sit", "pick_up"}, "kneels": set(), "lies": set(),
    "full_turn": {"spin", "walk_circle"}, "picks_up": {"pick_up"}, "jumping_jacks": {"jumping_jacks"},
}  # fmt: skip


def _played(name: str, seed: int) -> tuple[dict[str, str], Facts]:
    rng = np.random.default_rng([seed, 14])
    action = ACTIONS[name].factory(rng)
    frames = round((action.duration + 0.6) * FPS) + 1
    script = Script((action,), (0.3,), frames, (), action.label, Style.draw(rng), (0.25, 0.0))
    return action.words, Facts(perform(script).joints)


def _clips(name: str) -> Iterator[tuple[dict[str, str], Facts]]:
    return (_played(name, seed) for seed in range(CLIPS))


@pytest.mark.parametrize("name", TRUE)
def test_made_up_clips_show_what_they_are_called(name: str) -> None:
    hits = [shows(TRUE[name].format(**words), facts) for words, facts in _clips(name)]
    assert np.mean(hits) >= 0.95


@pytest.mark.parametrize("name", [name for name, fact in TRUE.items() if "{side}" in fact])
def test_the_other_side_is_not_shown(name: str) -> None:
    for words, facts in _clips(name):
        other = "right" if words["side"] == "left" else "left"
        assert not shows(TRUE[name].format(side=other), facts)


def test_other_labels_do_not_show_specific_facts() -> None:
    made = {name: [_played(name, 50 + seed)[1] for seed in range(2)] for name in TRUE}
    for fact, own in SPECIFIC.items():
        wrong = [shows(fact, facts) for name, clips in made.items() if name not in own for facts in clips]
        assert np.mean(wrong) <= 0.1, fact


@pytest.mark.parametrize(("name", "event"), [("jump_up", "jump"), ("squat", "squat"), ("clap", "clap"), ("hop", "hop")])
def test_counts_are_those_played(name: str, event: str) -> None:
    right = [sum(e.count for e in facts.find(event)) == int(words["times"]) for words, facts in _clips(name)]
    assert np.mean(right) >= 0.9


def test_noise_sliding_and_another_size_change_nothing() -> None:
    rng = np.random.default_rng(3)
    for name in ("walk", "jump_up", "kick", "squat"):
        words, facts = _played(name, 1)
        slid = facts.joints + 0.1 * np.arange(len(facts.joints))[:, None, None] / FPS * [1.0, 0, 0]  # 0.1 m/s
        worse = 0.7 * (slid + rng.normal(0, 0.006, facts.joints.shape)) + [3.0, 0.4, -2.0]
        assert shows(TRUE[name].format(**words), Facts(worse)), name


def test_the_list_has_all_groups_and_every_prompt_can_fail() -> None:
    probes = read_probes()
    assert len(probes) >= 150
    assert {probe.group for probe in probes} == set(GROUPS)
    assert len({probe.prompt for probe in probes}) == len(probes)
    lying_still = _played("walk", 0)[1].joints[:1].repeat(60, 0) @ np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    passed = [probe.id for probe in probes if check(probe, lying_still, FPS).passed]
    assert set(passed) <= {"lie"}


def test_order_counts_both_ways() -> None:
    then, first = ({probe.id: probe for probe in read_probes()}[name] for name in ("squat_jump", "jump_squat"))
    squat, jump = _played("squat", 0)[1].joints, _played("jump_up", 0)[1].joints
    both = np.concatenate([squat, jump + (squat[-1, 0] - jump[0, 0]) * [1.0, 0, 1.0]])
    assert check(then, both, FPS).passed
    verdict = check(first, both, FPS)
    assert not verdict.passed and "after the rest" in verdict.reasons[0]


def test_a_part_that_is_missing_is_soon_found_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of sixty steps there are millions of ways to take six before a kick that never comes."""
    asked = 0

    def fits(spec: Spec, event: Event) -> bool:
        nonlocal asked
        asked += 1
        return spec.name == event.name

    monkeypatch.setattr(Spec, "fits", fits)
    steps = [Event("step", 0.5 * n, 0.5 * n + 0.4, ("left", "right")[n % 2]) for n in range(60)]
    assert in_order([[Spec("step")]] * 6 + [[Spec("kick")]], steps) == 6 and asked < 60 * 60 * 7
    kick = Event("kick", 2.6, 2.9, "left", 0.5)
    assert in_order([[Spec("step")]] * 6 + [[Spec("kick")]], [*steps, kick]) == 6  # too soon: five steps before it
    assert in_order([[Spec("step")]] * 5 + [[Spec("kick")]], [*steps, kick]) is None


@pytest.mark.parametrize("text", [
    "nothing: [", "{}", "- {id: a, prompt: b}", "actions: 3",
    "actions: [{id: a, prompt: b, expect: [wlaks]}]", "actions: [{id: a, prompt: b, expect: [{forward: far}]}]",
    "actions: [{id: a, prompt: b, expect: [{did: fly}]}]", "actions: [{id: a, prompt: b, expect: [{order: walk}]}]",
    "actions: [{id: a, prompt: b, expect: [walks]}, {id: a, prompt: c, expect: [walks]}]",
])  # fmt: skip
def test_bad_lists_are_refused_in_a_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        read_probes(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 300 + len(str(path))


@pytest.mark.parametrize("expectation, message", [
    ("{never: turn, over: '> 40'}", "no number to compare"), ("{never: turn, over: .nan}", "no number to compare"),
    ("{order: [walk, turn], forward: '> 1'}", "order stands alone, 'forward'"),
    ("{any: [walks], side: left}", "stands alone"),
    ("{order: [walk, []]}", "an event is a name"), ("{order: [walk, {did: turn, 1: 2}]}", "an event has no 1"),
    ("{order: null}", "order needs a list"), ("{while: walk}", "while needs a list"),
    ("{any: null}", "any needs a list"),
    ("{any: []}", "any needs a list"), ("{all: []}", "all needs a list"), ("{any: walks}", "any needs a list"),
    ("{more: punch}", "more names one event"), ("{more: {punch: both}}", "more names one event"),
    ("{more: {punch: left, kick: left}}", "more names one event"), ("{down: left, side: right}", "down stands alone"),
    ("{not: walks, forward: '> 1'}", "not stands alone"), ("{goes: false}", "write goes, or {not: goes}"),
    ("{forward: .nan}", "no number"), ("{forward: .inf}", "no number"), ("{forward: 5 to 1}", "the smaller one first"),
    ("{forward: '> ' }", "no comparison"), ("{count: {jump: -1}}", "whole numbers from 0"),
    ("{count: {jump: 2.5}}", "whole"),
    (f"{{count: {{jump: {'9' * 390}}}}}", "no number"), (f"{{forward: {'9' * 390}}}", "no number"),
    ("{did: walk, way: fowrard}", "way is forward"), ("{did: walk, side: left}", "walk has no side"),
    ("{did: turn, side: right, amount: '>= 40'}", "to the right below 0"), ("{on: 2}", "no measure or form True"),
    (f"{{forward: [{', '.join('1' * 900)}]}}", "no comparison"),
])  # fmt: skip
def test_an_expectation_that_nobody_would_check_is_refused(tmp_path: Path, expectation: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"mine:\n- {{id: a, prompt: b, expect: [{expectation}]}}")
    with pytest.raises(DataError, match=re.escape(message)) as error:
        read_probes(path)
    assert "\n" not in str(error.value) and len(str(error.value)) <= 300


@pytest.mark.parametrize("entries, message", [
    ("{id: a, id: b, prompt: x, expect: [walks]}", "the key 'id' is there twice"),
    ("{id: true, prompt: x, expect: [walks]}", "the id True cannot be a name"),
    ("{id: 'a.', prompt: x, expect: [walks]}", "cannot be a name"),
    ("{id: a, prompt: 5, expect: [walks]}", "5 is no text"),
    ("{id: a, prompt: yes, expect: [walks]}", "True is no text"),
    ("{id: a, group: other, prompt: x, expect: [walks]}", "write one"),
    ("{id: a, prompt: x, seconds: true, expect: [walks]}", "seconds has to be"),
    ("{id: a, prompt: x, seconds: 0.2, expect: [walks]}", "above 0.5"),
    ("{id: a, prompt: x, 1: 2, expect: [walks]}", "field 1"),
    ("{id: a, prompt: x, expect: [walks]}, {id: A, prompt: y, expect: [walks]}", "would share a file"),
    ("{id: 7, prompt: x, expect: [walks]}, {id: '007', prompt: y, expect: [walks]}", "would share a file"),
    ("", "no prompts"),
    ('{id: a, prompt: "x\\0", expect: [walks]}', "needs words"),
])  # fmt: skip
def test_an_entry_that_would_be_taken_for_another_is_refused(tmp_path: Path, entries: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"mine: [{entries}]")
    with pytest.raises(DataError, match=re.escape(message)) as error:
        read_probes(path)
    assert len(str(error.value)) <= 300


@pytest.mark.parametrize("group", ["", "a|b", "<b>", "t2m/R01", "a\n", "x" * 200])
def test_a_group_has_a_name_that_tables_take(tmp_path: Path, group: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps({group: [{"id": "a", "prompt": "x", "expect": ["walks"]}]}))
    with pytest.raises(DataError, match="the group .* cannot be a name"):
        read_probes(path)


def test_numbers_are_written_as_people_do_and_pipes_are_no_lists(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    expect = "[{forward: '> .5'}, {turned: -20. to +20}]"
    path.write_text(f'mine: [{{id: a, prompt: "wave \\ud83d\\udc4b", expect: {expect}}}]')
    (probe,) = read_probes(path)
    assert probe.prompt == "wave \U0001f44b" and check(probe, _played("walk", 0)[1].joints, FPS).passed
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(DataError, match="a pipe"):
        read_probes(tmp_path / "pipe.yaml")


def test_the_hash_of_a_list_follows_the_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number in the table of thresholds or in a detector changes what passes, so lists of both are not the same."""
    before = read_suite().hash
    assert Path(thresholds.__file__) in prompts.DECIDING and Path(arms.__file__) in prompts.DECIDING
    for module, told, changed in ((thresholds, "turn_least: float = 30.0", 35.0), (arms, "IN_TURN = 0.9", 0.8)):
        text = Path(module.__file__).read_text(encoding="utf-8")
        copy = tmp_path / Path(module.__file__).name
        other = text.replace(told, f"{told.rpartition(' ')[0]} {changed}")
        assert other != text
        for new, same in ((other, False), (f"# Why.\n{text}", True)):
            copy.write_text(new, encoding="utf-8")
            files = [copy if path == Path(module.__file__) else path for path in prompts.DECIDING]
            with monkeypatch.context() as patch:
                patch.setattr(prompts, "DECIDING", files)
                assert (read_suite().hash == before) == same


def test_a_list_with_groups_of_its_own_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("- {id: a, group: mine, prompt: a person walks, expect: [walks, {turned: -20 to 20}], seconds: 4}")
    (probe,) = read_probes(path)
    assert isinstance(probe, Probe) and (probe.group, probe.seconds, probe.facts) == ("mine", 4.0, ("walks",))
    assert check(probe, _played("walk", 0)[1].joints, FPS).passed


def test_every_probe_has_a_performance_of_the_wide_set() -> None:
    """The table that `benchmarks/probe_facts_made_up.py` counts with."""
    table = read_yaml((Path(__file__).parents[2] / "benchmarks" / "probe_performances.yaml").read_bytes())
    assert set(table) == {probe.id for probe in read_probes()}
    actions = registered(wide=True)
    for specs in table.values():
        for spec in specs if isinstance(specs, list) else [specs]:
            assert all(part.split("[")[0] in actions for part in re.split(r" [>+] ", spec)), spec


@pytest.mark.parametrize(("name", "words", "fact"), [
    ("lunge", {"where": "side"}, "lunges"), ("throw", {"kind": "under"}, "throws"),
    ("throw", {"kind": "both"}, "throws"),
    ("look", {"where": "left"}, "looks_left"), ("look", {"where": "right"}, "looks_right"),
    ("pick_up", {"side": "left", "kind": "up"}, "picks_up_left"), ("bow", {"deep": "slightly"}, "bows"),
    ("run", {"kind": "jog"}, "runs"), ("punch", {"side": "left", "kind": "straight"}, "punches_left"),
])  # fmt: skip
def test_wide_clips_show_what_they_are_called(name: str, words: dict[str, str], fact: str) -> None:
    shown = []
    for seed in range(200):
        rng = np.random.default_rng([seed, 15])
        action = registered(wide=True)[name].factory(rng)
        if words.items() <= action.words.items() and len(shown) < CLIPS:
            script = script_of(rng, "one", (action,), 0.3, 0.3)
            shown.append(shows(fact, Facts(perform(script).joints)))
    assert len(shown) >= 5 and np.mean(shown) >= 0.9


def test_a_chest_pass_is_no_punch_and_a_jump_throws_nothing() -> None:
    for name, event in (("jump_over", "throw"), ("jump_forward", "punch"), ("jump_up", "punch")):
        rng = np.random.default_rng([3, 15])
        action = registered(wide=True)[name].factory(rng)
        assert not Facts(perform(script_of(rng, "one", (action,), 0.3, 0.3)).joints).find(event), name
