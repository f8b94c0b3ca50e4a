"""What happens in a clip: one action, two in a row, or an arm action during a walk; and its performance on a stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from mld.data.sources.procedural import gait, gestures, jumps, moves  # noqa: F401  (they register their actions)
from mld.data.sources.procedural.actions import ACTIONS, Action
from mld.data.sources.procedural.body import Played, play
from mld.data.sources.procedural.captions import captions
from mld.data.sources.procedural.plan import Script
from mld.data.sources.procedural.stage import FPS, Stage, Style
from mld.data.sources.procedural.wide import write_wide

SHORTEST, LONGEST = 2.0, 7.9  # seconds
FORMS = {"one": 0.55, "then": 0.27, "while": 0.18}
UNDER_ARMS = ("walk", "walk_backward", "walk_turning", "walk_circle", "turn", "side_step", "march")
WHILE_WALKING = ("wave", "raise_arm", "clap", "punch", "arm_circles", "look_around")


def write_script(rng: np.random.Generator, wide: bool = False, often: Mapping[str, float] | None = None) -> Script:
    """Draw what happens. Everything random about a clip is drawn here; playing it draws nothing."""
    if wide:
        return write_wide(rng, often)
    join, actions = _draw_actions(rng)
    before, after = (float(rng.uniform(0.15, 0.45)) for _ in range(2))
    if join == "while":
        spare = actions[0].duration - actions[1].duration
        starts = (before, before + float(rng.uniform(0.3, 0.7)) * spare)
        busy = actions[0].duration
    else:
        starts = tuple(before + sum(action.duration for action in actions[:number]) for number in range(len(actions)))
        busy = sum(action.duration for action in actions)
    seconds = max(before + busy + after, SHORTEST)
    script = Script(
        actions=actions,
        starts=starts,
        num_frames=round(seconds * FPS) + 1,
        captions=captions(rng, actions, join, count=int(rng.integers(2, 5))),
        label=f" {join} ".join(action.label for action in actions),
        style=Style.draw(rng),
        breath=(float(rng.uniform(0.2, 0.3)), float(rng.uniform(0, 2 * np.pi))),
    )
    if join != "then":
        return script
    second = captions(rng, actions[1:], "one", count=int(rng.integers(2, 5)))  # drawn last: the clip stays what it was
    return replace(script, then=second, then_label=actions[1].label)


def perform(script: Script) -> Played:
    """Play a script: joints (T, 22, 3) at 20 fps."""
    stage = Stage(script.num_frames + sum(script.cut), script.style)
    if script.variety:
        script.variety.prepare(stage)
    rate, phase = script.breath
    air = np.sin(2 * np.pi * rate * stage.t + phase)
    stage.add(tilt=-0.01 * air, left_side=0.012 * air, right_side=0.012 * air)
    for action, start in zip(script.actions, script.starts):
        action.play(stage, start + script.cut[0] / FPS)
    return _cut(play(stage), script.cut) if any(script.cut) else play(stage)


def _cut(played: Played, cut: tuple[int, int]) -> Played:
    """Without so many frames at the beginning and at the end; it begins over the origin, facing +z again."""
    joints = played.joints[cut[0] : len(played.joints) - cut[1]].astype(np.float64)
    left = (joints[0, 1] - joints[0, 2]) + (joints[0, 16] - joints[0, 17])
    cos, sin = np.array([left[0], left[2]]) / np.hypot(left[0], left[2])
    joints = joints - joints[0, 0] * [1, 0, 1]
    x, z = joints[..., 0].copy(), joints[..., 2].copy()
    joints[..., 0], joints[..., 2] = cos * x + sin * z, cos * z - sin * x
    return Played(joints.astype(np.float32), played.toes_down[cut[0] : len(played.toes_down) - cut[1]])


def _draw_actions(rng: np.random.Generator) -> tuple[str, tuple[Action, ...]]:
    """How the actions are joined, and the actions; they fit into the longest clip."""
    join = str(rng.choice(list(FORMS), p=list(FORMS.values())))
    while True:
        if join == "one":
            drawn = (_draw(rng),)
        elif join == "then":
            drawn = (_draw(rng), _draw(rng))
        else:
            drawn = (_draw(rng, UNDER_ARMS), _draw(rng, WHILE_WALKING))
        if _fits(join, drawn):
            return join, drawn


def _fits(join: str, actions: tuple[Action, ...]) -> bool:
    if join == "while":
        return actions[1].duration + 0.3 <= actions[0].duration <= LONGEST - 0.9
    different = len({action.name for action in actions}) == len(actions)
    return different and sum(action.duration for action in actions) <= LONGEST - 0.9


def _draw(rng: np.random.Generator, names: tuple[str, ...] = ()) -> Action:
    entries = [ACTIONS[name] for name in names or ACTIONS]
    weights = np.array([entry.weight for entry in entries])
    return entries[int(rng.choice(len(entries), p=weights / weights.sum()))].factory(rng)
