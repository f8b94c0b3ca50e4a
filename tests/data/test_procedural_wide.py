"""Clips of the wide set move like a body and do what their words say: sides, ways, counts, amounts and speeds."""

import re
from functools import lru_cache

import numpy as np
import pytest

from mld.data.sources.procedural import ProceduralSource
from mld.data.sources.procedural.actions import WIDE, Action
from mld.data.sources.procedural.body import Played, play
from mld.data.sources.procedural.captions import captions
from mld.data.sources.procedural.denials import true_clauses
from mld.data.sources.procedural.script import perform
from mld.data.sources.procedural.source import clip_script
from mld.data.sources.procedural.stage import Stage, Style

ROOMS = ("walks", "turns", "runs", "leaps", "standing")
NAMES = [name for name, entry in WIDE.items() if entry.factory.__module__.rpartition(".")[2] in ROOMS]


def act(name: str, seed: int) -> tuple[Action, np.ndarray, Played]:
    """One performance from standing to standing: the action, its heading (T,) and what was played."""
    rng = np.random.default_rng(seed)
    action = WIDE[name].factory(rng)
    stage = Stage(round((action.duration + 0.6) * 20) + 1, Style.draw(rng))
    action.play(stage, 0.3)
    return action, stage.curves["heading"], play(stage)


def moved(played: Played) -> np.ndarray:
    """Left and forward (m) from the first to the last frame; the figure faces +z at first."""
    return (played.joints[-1, 0] - played.joints[0, 0])[[0, 2]].astype(float)


def cruise(played: Played) -> float:
    """The speed (m/s) that is kept for a while: of the fastest half second, smoothed over one."""
    speed = np.linalg.norm(np.diff(played.joints[:, 0, [0, 2]].astype(float), axis=0), axis=-1) * 20
    return float(np.convolve(speed, np.ones(15) / 15, "valid").max())


@lru_cache
def clips() -> list[tuple]:
    """120 scripts, played."""
    scripts = [clip_script(3, "train", index, wide=True) for index in range(120)]
    return [(script, perform(script)) for script in scripts]


@pytest.mark.parametrize("name", NAMES)
def test_actions_move_like_a_body_and_are_told_in_many_ways(name):
    told = set()
    for seed in range(4):
        action, _, played = act(name, seed)
        joints = played.joints.astype(np.float64)
        speed = np.linalg.norm(np.diff(joints, axis=0), axis=-1) * 20
        both = played.toes_down[1:] & played.toes_down[:-1]
        assert joints[..., 1].min() > -0.001
        assert speed[:, 10:12][both].max() < 0.02  # planted feet
        assert speed.max() < 11
        assert np.linalg.norm(np.diff(joints, n=3, axis=0), axis=-1).max() < 0.45  # m per frame^3
        assert speed[:3].max() < 0.2 or action.name == "stand"
        told.update(captions(np.random.default_rng(seed), [action], "one", 6, wide=True))
    assert len(told) >= 12
    assert not any("{" in text or "[" in text or "|" in text or "  " in text for text in told)


@pytest.mark.parametrize(("name", "word"), [
    ("walk_turning", "side"), ("walk_veer", "side"), ("walk_circle", "side"), ("walk_back", "side"), ("turn", "side"),
    ("spin", "side"), ("run_turning", "side"), ("jump_turning", "side"),
])  # fmt: skip
def test_turns_go_to_the_side_that_is_told(name, word):
    for seed in range(12):
        action, heading, _ = act(name, seed)
        turned = heading[-1] - heading[0]
        assert (turned > 0.4) == (action.words[word] == "left"), (seed, turned)
        assert ("counter" in action.words.get("clock", "counter")) or turned < 0


def test_turns_are_as_wide_as_told():
    degrees = {"eighth": 45, "quarter": 90, "half": 180, "three_quarters": 270, "full": 360, "two": 720,
               "one_and_a_half": 540}  # fmt: skip
    for name in ("turn", "spin", "jump_turning"):
        for seed in range(12):
            action, heading, played = act(name, seed)
            told = degrees[action.words["amount"]]
            assert abs(np.degrees(heading[-1] - heading[0])) == pytest.approx(told, rel=0.06)
            assert np.abs(moved(played)).max() < 0.1  # on the spot


@pytest.mark.parametrize("name", ["side_step", "sidewalk", "jump_sideways", "walk_diagonal"])
def test_sideways_goes_to_the_side_that_is_told_without_turning(name):
    for seed in range(12):
        action, heading, played = act(name, seed)
        left, _ = moved(played)
        assert (left > 0.15) == (action.words["side"] == "left")
        assert np.ptp(heading) < 0.01


AHEAD, BACK = ("walk", "run", "jump_forward", "kick_walk", "skip"), ("walk_backward", "run_backward", "jump_backward")


@pytest.mark.parametrize(("name", "way"), [*((name, 1) for name in AHEAD), *((name, -1) for name in BACK)])
def test_ahead_and_back(name, way):
    for seed in range(6):
        _, heading, played = act(name, seed)
        left, forward = moved(played)
        assert way * forward > 0.3 and abs(left) < 0.25 and np.ptp(heading) < 0.01


def test_speeds_are_unmistakable():
    for seed in range(60):
        action, _, played = act("walk", seed)
        if not action.words["how"]:
            pace, speed = action.words["pace"], cruise(played)
            assert {"slow": speed < 0.8, "normal": 0.8 < speed < 1.45, "fast": speed > 1.5}[pace], (pace, speed)
    for seed in range(12):
        action, _, played = act("run", seed)
        assert cruise(played) > {"jog": 1.5, "run": 2.1, "sprint": 2.7}[action.words["kind"]]


def test_jumps_steps_and_hops_are_counted():
    for name in ("jump_up", "jump_forward", "jump_backward", "jump_sideways", "star_jump", "hop"):
        for seed in range(8):
            action, _, played = act(name, seed)
            in_the_air = played.joints[..., 1].min(axis=1) > 0.02
            assert int(np.diff(in_the_air.astype(int)).clip(0).sum()) == int(action.words["times"]), (name, seed)
    for seed in range(16):
        action, _, played = act("steps", seed)
        lifted = ~played.toes_down
        count = int(np.diff(lifted.astype(int), axis=0).clip(0).sum())
        assert count == int(action.words["number"])


def test_hops_are_on_the_foot_that_is_told():
    for seed in range(8):
        action, _, played = act("hop", seed)
        held = 11 if action.words["side"] == "left" else 10
        assert played.joints[len(played.joints) // 2, held, 1] > 0.15


def test_limps_load_the_hurt_leg_for_a_shorter_time():
    for seed in range(80):
        action, _, played = act("walk_manner", seed)
        if action.name == "walk_limp":
            standing = played.toes_down[20:-20].sum(axis=0)
            assert (standing[0] < standing[1]) == (action.words["side"] == "left")


def test_what_is_denied_does_not_happen():
    denials = {"turn": "without turning", "walk": "staying in the same place", "run": "without running",
               "walk_circle": "without turning", "jump_up": "without jumping"}  # fmt: skip
    for name, forbidden in denials.items():
        assert forbidden not in true_clauses([act(name, 0)[0]])
    assert "without turning" in true_clauses([act("walk_backward", 1)[0]])
    assert "without moving the feet" in true_clauses([WIDE["clap"].factory(np.random.default_rng(0))])


def test_clips_are_of_all_forms_and_lengths_that_features_can_hold():
    joins = {script.label.count(" then ") for script, _ in clips()}
    assert joins >= {0, 1, 2}
    assert any(" while " in script.label for script, _ in clips())
    assert all(31 <= script.num_frames <= 199 for script, _ in clips())
    assert min(script.num_frames for script, _ in clips()) < 60
    assert max(script.num_frames for script, _ in clips()) > 180


def test_some_clips_begin_and_end_in_the_middle_of_going():
    cut = [(script, played) for script, played in clips() if any(script.cut)]
    assert cut
    for script, played in cut:
        pelvis = played.joints[:, 0].astype(float)
        assert len(pelvis) == script.num_frames
        assert np.abs(pelvis[0, [0, 2]]).max() < 1e-5
    first = next(played for script, played in cut if script.cut[0] and not script.label.startswith(("march", "run in")))
    assert np.linalg.norm(np.diff(first.joints[:4, 0].astype(float), axis=0), axis=-1).max() * 20 > 0.2


def test_feet_stand_in_different_places_at_first():
    ahead = [played.joints[0, 10, 2] - played.joints[0, 11, 2] for script, played in clips() if not script.cut[0]]
    assert min(ahead) < -0.05 and max(ahead) > 0.05


def test_features_are_encoded():
    source = ProceduralSource(6, 1, actions="wide")
    for index in range(6):
        assert source[index].features.shape == (source.num_frames(index), 263)
        assert source[index].captions == source.scripts[index].captions


def test_who_goes_down_last_may_stay_there_and_the_words_know():
    ended, rose = [], []
    for index in range(1500):
        script = clip_script(5, "train", index, wide=True)
        end = script.actions[-1].words.get("end")
        if end and " while " not in script.label:
            (ended if end == "there" else rose).append(script)
    assert 0.25 < len(ended) / len(ended + rose) < 0.65
    up = re.compile(r"\b(gets?|stands?|getting|standing|comes?|coming)\b.*\bup\b|\brises?\b|\brising\b")
    for script in ended[:20]:
        heights = perform(script).joints[:, 0, 1]
        assert heights[-1] < 0.8 * heights.max(), script.label
        told = [text for text in script.captions if len(script.actions) == 1 and up.search(text.lower())]
        assert all("without" in text for text in told), told
    for script in rose[:20]:
        heights = perform(script).joints[:, 0, 1]
        assert heights[-1] > 0.9 * heights.max(), script.label
        assert not any("stay seated" in text or "without getting up" in text for text in script.captions)
