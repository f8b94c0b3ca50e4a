"""What captions name, and whether motions show it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

from mld.metrics.captions.claims import ACTIONS, ClaimScores, claims, happens, on_side
from mld.metrics.captions.wording import SLIPS
from mld.motion.facts import Event
from mld.motion.facts.events import EVENTS
from tests.walking import walker


@dataclass
class Shown:
    """Facts that are said, not measured."""

    events: tuple[Event, ...] = ()
    forward: float = 0.0
    leftward: float = 0.0
    busy: str = ""

    def activity(self, limb: str) -> float:
        return 1.0 if limb == self.busy else 0.1


@pytest.mark.parametrize("text, actions, sides", [
    ("a person turns left", {"turn"}, {("turn", "left")}),
    ("Someone spins counter-clockwise, twice", {"turn"}, {("turn", "left")}),
    ("turn clockwise", {"turn"}, {("turn", "right")}),
    ("makes a right turn and walks", {"turn", "walk"}, {("turn", "right")}),
    ("a person turns and raises the right hand", {"turn", "raise an arm"}, {("arm", "right")}),
    ("he lifts his left knee", {"raise a knee"}, {("leg", "left")}),
    ("kicks with the right foot", {"kick"}, {("leg", "right")}),
    ("takes two steps to the left", set(), {("step", "left")}),
    ("jogs backwards", {"run backward"}, {("way", "backward")}),
    ("walks forward without turning left", {"walk"}, {("way", "forward")}),
    ("picks something up from the floor", {"pick up"}, set()), ("a salsa", set(), set()), ("", set(), set()),
])  # fmt: skip
def test_what_is_said(text: str, actions: set[str], sides: set[tuple[str, str]]) -> None:
    found = claims(text)
    assert (found.actions, found.sides) == (actions, sides)


@pytest.mark.parametrize("text, actions, sides", [
    ("walks without raising his left hand", {"walk"}, set()), ("does not turn left or right", set(), set()),
    ("he doesn\u2019t jump but runs", {"run"}, set()), ("runs instead of walking forward", {"run"}, set()),
    ("steps forward, never turning or kicking with the right leg", set(), {("way", "forward")}),
    ("isnt jumping and turning. Then walks", {"walk"}, set()),
    ("not only jumps but also kicks", {"jump", "kick"}, set()),
    ("without using the arms, he squats and waves", {"squat", "wave"}, set()),
    ("walks with no turning to the left", {"walk"}, set()), ("stands, neither walking nor turning", set(), set()),
])  # fmt: skip
def test_what_is_denied_is_not_said(text: str, actions: set[str], sides: set[tuple[str, str]]) -> None:
    found = claims(text)
    assert (found.actions, found.sides) == (actions, sides)


@pytest.mark.parametrize("text, sides", [
    ("turned around and left the room", set()), ("a person turns around, waves and left", set()),
    ("he left his hand on the table and turned", set()), ("the man turned and left.", set()),
    ("turned and left hand raised", {("arm", "left")}),
    ("turns right away", set()), ("turns right after the wall", set()), ("turns at a right angle", set()),
    ("turns right around and sits", set()), ("turns right around the table", {("turn", "right")}),
    ("walks up to him right away", set()), ("stands upright and turns", set()),
    ("turns right in place", {("turn", "right")}), ("turns left a little", {("turn", "left")}),
    ("turns leftwards", {("turn", "left")}), ("moves rightward", {("step", "right")}),
    ("turns to the left-hand side", {("turn", "left")}), ("makes a right-hand turn", {("turn", "right")}),
    ("turns around about ninety degrees to the left", {("turn", "left")}),
    ("turns left and right", {("turn", "left"), ("turn", "right")}), ("steps left", {("step", "left")}),
    ("turns and steps to their right", {("step", "right")}), ("walks to the far left", {("step", "left")}),
    ("raises left and right arms", {("arm", "left"), ("arm", "right")}), ("three left jabs", {("arm", "left")}),
    ("turns his head to the left", set()), ("rotates the torso left and right", set()),
    ("turns his whole body to the left", {("turn", "left")}), ("circles his arms clockwise", set()),
    ("spins ccw", {("turn", "left")}), ("turns anti-clockwise", {("turn", "left")}),
    ("leans forward", set()), ("kicks the leg backwards", set()),
    ("makes a right turn on the spot", {("turn", "right")}),
    ("leans over forward and walks backwards", {("way", "backward")}),
    ("balances on the right leg", {("standing leg", "right")}), ("stands on one leg", set()),
    ("stands on his left leg and lifts the right leg", {("standing leg", "left"), ("leg", "right")}),
    ("takes a big step forward with the right foot", {("way", "forward")}),
    ("walks, starting with the left foot", set()),
    ("steps and kicks with the left foot", {("leg", "left")}),
    ("lifts the right hand feet planted", {("arm", "right")}),
    ("trun lfet", {("turn", "left")}), ("steps backwrad", {("way", "backward")}), ("hadn't a hand", set()),
])  # fmt: skip
def test_left_and_right_are_sides_where_they_are(text: str, sides: set[tuple[str, str]]) -> None:
    assert claims(text).sides == sides


@pytest.mark.parametrize("text, actions", [
    ("carries two boxes", set()), ("someone boxes, a left and a right", {"punch"}), ("shadow boxing", {"punch"}),
    ("shoots with bow and arrow", set()), ("takes a bow", {"bow"}), ("runs his hand through his hair", set()),
    ("turns the steering wheel", set()), ("turns a cartwheel", set()), ("they turn their head", set()),
    ("puts the hands on the knees", set()), ("lifts a crate with both hands", set()), ("puts his arms down", set()),
    ("puts both hands up", {"raise an arm"}), ("stands with arms outstretched", {"raise an arm"}),
    ("holds out the other arm", {"raise an arm"}), ("jogs with bent knees", {"run"}), ("bends the elbows", set()),
    ("runs quickly backwards", {"run backward"}), ("runs forward, then walks", {"run", "walk"}),
    ("stepping sideways", {"side step"}), ("laid down", {"lie"}), ("does sit-ups", set()),
    ("a persn wlaks and clasps hands", {"walk"}), ("climbs a steep hill", set()), ("jumpping", {"jump"}),
])  # fmt: skip
def test_words_that_sound_like_an_action(text: str, actions: set[str]) -> None:
    assert claims(text).actions == actions


def test_slips_are_no_other_words() -> None:
    assert not {"felt", "rise", "hoping", "steep", "couch", "caps"} & set(SLIPS)
    assert {SLIPS[word] for word in ("rihgt", "backwrad", "kiks", "waalk")} == {"right", "backward", "kicks", "walk"}


def test_actions_are_events_that_there_are() -> None:
    assert {name for _, events in ACTIONS.values() for name in events} <= set(EVENTS)


def test_sides_are_told_apart() -> None:
    left = Shown((Event("turn", 0, 1, "left", 90.0), Event("kick", 1, 2, "left", 0.5)))
    assert on_side("turn", "left", left) and not on_side("turn", "right", left)
    assert on_side("leg", "left", left) and not on_side("leg", "right", left)
    assert happens("kick", left) and not happens("punch", left)
    stands = Shown((Event("one_leg", 0, 2, "left", 2.0), Event("knee_raise", 0, 1, "right", 0.3)))
    assert on_side("standing leg", "left", stands) and not on_side("standing leg", "right", stands)
    assert on_side("leg", "right", stands) and not on_side("leg", "left", stands)
    busy = Shown(busy="right_arm", forward=-1.0, leftward=0.5)
    assert on_side("arm", "right", busy) and not on_side("arm", "left", busy)
    assert on_side("way", "backward", busy) and not on_side("way", "forward", busy)
    assert on_side("step", "left", busy) and not on_side("step", "right", busy)


def test_scores_are_shares_of_what_is_named() -> None:
    metric = ClaimScores()
    turn = Shown((Event("turn", 0, 1, "left", 90.0), Event("walk", 0, 2, "", 2.0)))
    metric.add("a person walks and turns right", ["someone walks, then turns left"], turn)
    metric.add("a dance", ["somebody kicks"], Shown())  # no known word, and a reference that is not measured
    values = {name: score.value for name, score in metric.scores().items()}
    assert values == {
        "actions_said": 100, "actions_true": 100, "sides_said": 0, "sides_true": 0,
        "actions_true_real": pytest.approx(200 / 3), "sides_true_real": 100,
    }  # fmt: skip
    nothing = ClaimScores()
    nothing.add("a dance", ["a dance"], Shown())
    assert all(score.value is None and score.reason for score in nothing.scores().values())


def test_a_figure_that_walks_a_curve() -> None:
    metric = ClaimScores()
    for turning, side in ((0.03, "left"), (-0.03, "right")):
        joints = walker(80, turning=turning)
        assert math.isclose(float(joints[0, 0, 0]), 0.0, abs_tol=1e-6)
        metric.update(f"a person walks and turns {side}", ["walking"], joints, 20.0)
        metric.update("a person sits down", ["walking"], joints, 20.0)
    scores = metric.scores(draws=100)
    assert scores["sides_true"].value == 100 and scores["actions_said"].value == 50
    assert scores["actions_true"].value == pytest.approx(200 / 3) and scores["actions_true_real"].value == 100
    assert scores["actions_said"].interval is not None
