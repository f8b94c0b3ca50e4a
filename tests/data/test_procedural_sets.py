"""The basic set of made-up clips never changes; the wide set stands beside it and is asked for by name."""

import hashlib

import numpy as np
import pytest

from mld.data.config import DataConfig
from mld.data.sources.opening import build_source
from mld.data.sources.procedural.actions import ACTIONS, WIDE, registered
from mld.data.sources.procedural.captions import phrases
from mld.data.sources.procedural.script import perform
from mld.data.sources.procedural.source import clip_script
from mld.errors import ConfigError

BASIC = {(0, "train"): "e9dbe7c0cf407823", (0, "val"): "a1b20af191958e7b",
         (7, "train"): "a1a961fa8edd9da2", (7, "val"): "fc22808a79eb7e1a"}  # fmt: skip
PLAYED = [
    (0.038666, 155.2561811, -0.3217035),
    (0.9321228, 96.8081027, 3.5768387),
    (0.5794083, 128.610878, 4.0963321),
    (1.2204719, 137.530135, 5.0752845),
    (0.3214822, 3.6986941, 0.0),
    (0.8499275, 85.9949236, 1.7439507),
    (0.3197043, 5.2414359, 0.0),
    (-0.1359914, 74.4308327, -2.6186945),
    (0.4434445, 106.6626363, 1.2918386),
    (0.3279081, 26.1971765, 0.0),
    (0.6479569, 60.091953, 1.9573947),
    (0.924997, 90.53151, 2.1511521),
]


@pytest.mark.parametrize(("seed", "split"), BASIC)
def test_basic_scripts_are_what_they_were(seed, split):
    told = hashlib.sha256()
    for index in range(200):
        script = clip_script(seed, split, index)
        told.update(repr((script.captions, script.label, script.then, script.then_label, script.num_frames)).encode())
    assert told.hexdigest()[:16] == BASIC[seed, split]


def test_basic_motions_are_what_they_were():
    for index, expected in enumerate(PLAYED):
        joints = perform(clip_script(0, "train", index)).joints.astype(np.float64)
        numbers = [joints.mean(), np.abs(np.diff(joints, axis=0)).sum(), joints[-1, 0, 2]]
        np.testing.assert_allclose(numbers, expected, rtol=1e-5, atol=1e-6)


def test_sets_are_asked_for_by_name():
    assert len(ACTIONS) == 29
    assert set(registered(True)) == set(ACTIONS) | set(WIDE)
    basic, wide = (
        build_source(DataConfig(procedural_size=24, procedural_actions=name), "train") for name in ("basic", "wide")
    )
    assert basic[3].name == "train_0_00003" and wide[3].name == "wide_train_0_00003"
    assert [basic[index].captions for index in range(24)] != [wide[index].captions for index in range(24)]
    with pytest.raises(ConfigError, match="procedural_actions: 'wyde' is no set of actions; .*wide"):
        build_source(DataConfig(procedural_actions="wyde"), "train")


def test_wide_phrases_hold_the_basic_ones():
    basic, wide = phrases(), phrases(wide=True)
    assert set(wide["actions"]) >= set(basic["actions"])
    assert set(wide["joins"]) >= {"one", "then", "three", "while"}
    assert basic["actions"]["march"] == phrases()["actions"]["march"]


def test_actions_and_forms_are_drawn_as_often_as_is_asked_for():
    often = {"wave": 8.0, "sit": 0.0, "while": 0.0, "three": 3.0}
    usual, more = (
        build_source(DataConfig(procedural_size=400, procedural_actions="wide", procedural_often=asked), "train")
        for asked in ({}, often)
    )
    names = [[action.name for script in source.scripts for action in script.actions] for source in (usual, more)]
    shares = [list(map(len, (found, [name for name in found if name == "wave"]))) for found in names]
    assert 4 < (shares[1][1] / shares[1][0]) / (shares[0][1] / shares[0][0]) < 9
    assert "sit" in names[0] and "sit" not in names[1]
    assert not any(" while " in script.label for script in more.scripts)
    three = [sum(len(script.actions) == 3 for script in source.scripts) for source in (usual, more)]
    assert three[0] < 60 < three[1]
    val = [
        build_source(DataConfig(procedural_size=80, procedural_actions="wide", procedural_often=asked), "val")
        for asked in ({}, often)
    ]
    assert val[0].scripts[3].captions == val[1].scripts[3].captions, "validation stays what it is"


def test_a_few_actions_are_enough_where_no_form_needs_more():
    alone = {name: 0.0 for name in registered(True) if name != "wave"} | {"then": 0.0, "three": 0.0, "while": 0.0}
    source = build_source(DataConfig(procedural_size=20, procedural_actions="wide", procedural_often=alone), "train")
    assert {action.name for script in source.scripts for action in script.actions} == {"wave"}


@pytest.mark.parametrize(
    ("often", "message"),
    [
        ({"wafe": 2.0}, "'wafe' is no action and no form; .*wave"), ({"wave": -1.0}, "'wave' is -1.0"),
        ({"one": 0.0, "then": 0.0, "three": 0.0, "while": 0.0}, "no form is left"),
        ({"sit": 1e308}, "'sit' is 1e[+]308, expected a number from 0 to 100"),
        (dict.fromkeys(registered(True), 0.0), "no action is left"),
        ({name: 0.0 for name in registered(True) if name not in ("sit", "squat")}, "form 'while' can be drawn"),
        ({name: 0.0 for name in registered(True) if name != "wave"}, "form 'then' can be drawn"),
    ],
)  # fmt: skip
def test_how_often_actions_are_drawn_is_checked(often, message):
    with pytest.raises(ConfigError, match=f"data.procedural_often: .*{message}"):
        build_source(DataConfig(procedural_actions="wide", procedural_often=often), "train")
    with pytest.raises(ConfigError, match="procedural_often: the basic set never changes"):
        build_source(DataConfig(procedural_often={"wave": 2.0}), "train")
