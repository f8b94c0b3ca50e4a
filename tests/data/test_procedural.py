"""Procedural clips look like motion (planted feet, constant bones, sane speeds), say what happens, repeat by seed."""

import pickle
import re
import time

import numpy as np
import pytest
import torch

from mld.data.clips import ClipSource
from mld.data.config import DataConfig
from mld.data.sources.opening import build_source
from mld.data.sources.procedural import ProceduralSource
from mld.data.sources.procedural.actions import ACTIONS, Action
from mld.data.sources.procedural.body import Played, play
from mld.data.sources.procedural.feet import foot_curves
from mld.data.sources.procedural.script import perform
from mld.data.sources.procedural.source import clip_script
from mld.data.sources.procedural.stage import Stage, Step, Style, ramp, through, window
from mld.errors import ConfigError
from mld.motion.representations.registry import get_representation
from mld.motion.skeletons import get_skeleton

LEFT_WRIST, RIGHT_WRIST, LEFT_FOOT, RIGHT_FOOT, LEFT_KNEE, RIGHT_KNEE = 20, 21, 10, 11, 4, 5
SEEDS = range(3)


def act(name: str, seed: int = 0) -> tuple[Action, Stage, Played]:
    """One performance of one action, from standing to standing."""
    rng = np.random.default_rng(seed)
    action = ACTIONS[name].factory(rng)
    stage = Stage(round((action.duration + 0.6) * 20) + 1, Style.draw(rng))
    action.play(stage, 0.3)
    return action, stage, play(stage)


def act_on(name: str, side: str) -> tuple[Action, Stage, Played]:
    """The first performance of an action on a given side."""
    for seed in range(60):
        performed = act(name, seed)
        if performed[0].words["side"] == side:
            return performed
    raise AssertionError(f"{name} is never done on the {side} side")


def speeds(joints: np.ndarray) -> np.ndarray:
    """(T - 1, J) in m/s."""
    return np.linalg.norm(np.diff(joints.astype(np.float64), axis=0), axis=-1) * 20


@pytest.fixture(scope="module")
def clips() -> list[tuple]:
    """60 scripts, played."""
    scripts = [clip_script(3, "train", index) for index in range(60)]
    return [(script, perform(script)) for script in scripts]


@pytest.mark.parametrize("name", list(ACTIONS))
def test_every_action_moves_like_a_body(name):
    skeleton = get_skeleton("smpl22")
    for seed in SEEDS:
        _, _, played = act(name, seed)
        joints = played.joints.astype(np.float64)
        assert np.isfinite(joints).all()
        bones = np.linalg.norm(joints[:, 1:] - joints[:, list(skeleton.parents[1:])], axis=-1)
        np.testing.assert_allclose(bones, np.broadcast_to(skeleton.bone_lengths[1:], bones.shape), atol=2e-5)
        assert joints[..., 1].min() > -0.001  # through the floor
        both = played.toes_down[1:] & played.toes_down[:-1]
        assert both.any()
        assert speeds(joints)[:, [LEFT_FOOT, RIGHT_FOOT]][both].max() < 0.02
        assert speeds(joints).max() < 9.5
        assert np.linalg.norm(np.diff(joints, n=3, axis=0), axis=-1).max() < 0.35  # m per frame^3


@pytest.mark.parametrize("name", list(ACTIONS))
def test_every_action_starts_and_stops_smoothly(name):
    _, _, played = act(name, 1)
    speed = speeds(played.joints)
    assert speed[:3].max() < 0.1
    assert speed[-3:].max() < 0.1
    assert abs(played.joints[-1, 0, 1] - played.joints[0, 0, 1]) < 0.03  # standing again


@pytest.mark.parametrize("name", ["walk", "run", "walk_circle", "squat", "sit", "jump_up", "march"])
def test_knees_bend_forward_and_elbows_inward_of_straight(name):
    _, stage, played = act(name, 2)
    joints, heading = played.joints.astype(np.float64), stage.curves["heading"]
    facing = np.stack([np.sin(heading), np.zeros_like(heading), np.cos(heading)], axis=-1)
    for hip, knee, ankle in ((1, 4, 7), (2, 5, 8)):
        middle = (joints[:, hip] + joints[:, ankle]) / 2
        assert ((joints[:, knee] - middle) * facing).sum(-1).min() > -0.02
    for shoulder, elbow, wrist in ((16, 18, 20), (17, 19, 21)):
        middle = (joints[:, shoulder] + joints[:, wrist]) / 2
        assert ((joints[:, elbow] - middle) * facing).sum(-1).max() < 0.08


def test_some_foot_bears_the_weight_unless_running_or_jumping(clips):
    airborne = ("run", "jump_up", "jump_forward", "hop", "jumping_jacks")
    for script, played in clips:
        if not any(action.name in airborne for action in script.actions):
            lowest = played.joints[..., 1].min(axis=1)
            assert lowest.max() < 0.03, script.captions[0]


@pytest.mark.parametrize(("name", "forward"), [("walk", 1), ("run", 1), ("jump_forward", 1), ("walk_backward", -1)])
def test_displacement_is_along_the_facing(name, forward):
    for seed in SEEDS:
        action, _, played = act(name, seed)
        moved = played.joints[-1, 0] - played.joints[0, 0]  # the figure faces +z
        assert forward * moved[2] > 0.35
        assert abs(moved[0]) < 0.08
        if name in ("walk", "run"):
            cruise = speeds(played.joints[:, :1])[len(played.joints) // 2 - 4 :][:8].mean()
            assert (0.4 < cruise < 1.9) if name == "walk" else (1.5 < cruise < 3.2)


def test_pace_words_mean_speed():
    cruise = {}
    for seed in range(20):
        action, _, played = act("walk", seed)
        middle = len(played.joints) // 2
        cruise.setdefault(action.words["pace"], []).append(speeds(played.joints[middle - 10 : middle + 10, :1]).mean())
    assert max(cruise["slow"]) < min(cruise["normal"])
    assert max(cruise["normal"]) < min(cruise["fast"])


@pytest.mark.parametrize("side", ["left", "right"])
def test_sides_are_what_the_words_say(side):
    sign = 1 if side == "left" else -1
    wrist, idle = (LEFT_WRIST, RIGHT_WRIST) if side == "left" else (RIGHT_WRIST, LEFT_WRIST)
    foot, knee = (LEFT_FOOT, LEFT_KNEE) if side == "left" else (RIGHT_FOOT, RIGHT_KNEE)
    for name in ("turn", "spin", "walk_turning", "walk_circle"):
        _, stage, _ = act_on(name, side)
        assert sign * (stage.curves["heading"][-1] - stage.curves["heading"][0]) > 0.8, name
    moved = act_on("side_step", side)[2].joints
    assert sign * (moved[-1, 0, 0] - moved[0, 0, 0]) > 0.4
    for name in ("wave", "raise_arm", "throw"):
        joints = act_on(name, side)[2].joints
        assert joints[:, wrist, 1].max() > joints[:, idle, 1].max() + 0.1, name
    for name, joint in (("kick", foot), ("raise_knee", knee)):
        joints = act_on(name, side)[2].joints
        assert np.ptp(joints[:, joint, 1]) > 0.2, name
    joints = act_on("hop", side)[2].joints
    held = RIGHT_FOOT if side == "left" else LEFT_FOOT
    assert joints[len(joints) // 2, held, 1] > 0.15


def test_captions_name_the_side_and_only_that(clips):
    for script, _ in clips:
        sides = {action.words.get("side") for action in script.actions}
        both_named = any("other" in action.words for action in script.actions)
        assert 1 <= len(script.captions) <= 4
        assert len(set(script.captions)) == len(script.captions)
        for caption in script.captions:
            assert caption == caption.strip().lower()
            assert caption.endswith(".")
            assert "  " not in caption and "{" not in caption and " ." not in caption
            if not both_named:
                for side in ("left", "right"):
                    assert (side in re.findall(r"\w+", caption)) == (side in sides)


def test_counts_are_told_and_done():
    for seed in range(6):
        action, _, played = act("jump_up", seed)
        in_the_air = played.joints[..., 1].min(axis=1) > 0.03
        assert int(np.diff(in_the_air.astype(int)).clip(0).sum()) == int(action.words["times"])


def test_forms_all_occur_and_arms_move_while_walking(clips):
    labels = [script.label for script, _ in clips]
    assert any(" then " in label for label in labels)
    assert any(" while " in label for label in labels)
    assert all(40 <= script.num_frames - 1 <= 160 for script, _ in clips)


def test_same_seed_same_clips_and_other_seeds_and_splits_others():
    first, again = (ProceduralSource(6, seed=5) for _ in range(2))
    for index in (0, 5):
        assert torch.equal(first[index].features, again[index].features)
        assert first[index].captions == again[index].captions
    longer = ProceduralSource(40, seed=5)
    assert torch.allclose(longer[5].features, first[5].features, atol=1e-5)  # the size does not change a clip
    for different in (ProceduralSource(6, seed=6), ProceduralSource(6, seed=5, split="val")):
        same = [first[i].captions == different[i].captions and first.num_frames(i) == different.num_frames(i)
                for i in range(6)]  # fmt: skip
        assert not any(same)


def test_source_is_a_clip_source_and_its_features_are_those_of_its_joints():
    source = ProceduralSource(8, seed=0)
    representation = get_representation("humanml3d")
    assert isinstance(source, ClipSource)
    assert (len(source), source.fps, source.problems) == (8, 20.0, [])
    assert "8 clips" in source.report()
    for index in range(8):
        clip = source[index]
        assert clip.features.shape == (source.num_frames(index), 263)
        assert clip.num_frames == source.num_frames(index)
        decoded = representation.decode_joints(clip.features).numpy()
        joints = source.joints(index)[:-1] - source.joints(index)[0, 0] * [1, 0, 1]
        assert np.abs(decoded - joints).max() < 0.03
    with pytest.raises(IndexError):
        source[8]


def test_source_travels_to_workers():
    source = ProceduralSource(3, seed=4, split="val")
    there = pickle.loads(pickle.dumps(source))
    assert torch.equal(there[2].features, source[2].features)
    assert there[2].name == source[2].name


def test_build_source_makes_it_from_a_config():
    source = build_source(DataConfig(source="procedural", procedural_size=4, procedural_seed=2), "val")
    assert len(source) >= 1
    assert source[0].captions == ProceduralSource(len(source), 2, split="val")[0].captions


def test_representation_of_another_skeleton_is_refused():
    with pytest.raises(ConfigError, match="humanml3d"):
        ProceduralSource(2, 0, representation="kit")


def test_generation_is_quick():
    began = time.process_time()
    source = ProceduralSource(64, seed=9)
    for index in range(64):
        source[index]
    assert time.process_time() - began < 4.0  # about 10 ms a clip, with room for slow machines


def test_easing_curves():
    t = np.linspace(0, 2, 201)
    rise = ramp(t, 0.5, 1.5)
    assert rise[0] == 0 and rise[-1] == 1 and (np.diff(rise) >= 0).all()
    assert window(t, 0.2, 1.8)[[0, 100, 200]].tolist() == [0, 1, 0]
    moved = through(t, [0.0, 1.0, 2.0], [0.0, 3.0, -1.0])
    assert moved[[0, 100, 200]] == pytest.approx([0, 3, -1])


def test_planted_foot_stays_and_turns_about_its_toes():
    t = np.arange(60) / 20
    step = Step(lift=1.0, land=1.5, x=0.1, z=0.6, yaw=0.2, off=0.6, on=-0.2)
    foot = foot_curves(t, (0.1, 0.0, 0.0), [step], length=0.145)
    assert (~foot.standing).sum() == 10
    assert foot.pitch[19] > 0.3  # heel up before the foot lifts
    assert foot.ankle[19, 1] > foot.ankle[0, 1]
    np.testing.assert_allclose(foot.ankle[-1], [0.1, 0.055, 0.6], atol=1e-9)
