"""What happens in a clip of the wide set: one action, two or three in a row, or an arm action during another one."""

from __future__ import annotations

import numpy as np

from mld.data.sources.procedural import hands, leaps, raising, runs, strikes, turns, walks  # noqa: F401  (they register their actions)
from mld.data.sources.procedural import legs, lower, things, trunk  # noqa: F401
from mld.data.sources.procedural.actions import Action, registered
from mld.data.sources.procedural.captions import captions
from mld.data.sources.procedural.plan import Script
from mld.data.sources.procedural.stage import FPS, Style

SHORTEST, LONGEST = 1.5, 9.8  # seconds
HANDS_BUSY = frozenset(  # nothing else is done with arms or trunk during these
    "bow bend touch_toes twist crouch_down sit_on_floor lie_down sit_ups fall kick lunge balance step_touch jumping_jacks "
    "jump_up jump_forward hop pick_up throw swim crawl".split()
)
FORMS = {"one": 0.55, "then": 0.2, "three": 0.1, "while": 0.15}


def write_wide(rng: np.random.Generator) -> Script:
    """Draw what happens. Everything random about a clip is drawn here; playing it draws nothing."""
    before, after = (float(rng.uniform(0.1, 0.5)) for _ in range(2))
    join, actions = _draw_actions(rng, LONGEST - before - after)
    if join == "while":
        spare = actions[0].duration - actions[1].duration
        starts = (before, before + float(rng.uniform(0.3, 0.7)) * spare)
        busy = actions[0].duration
    else:
        starts = tuple(before + sum(action.duration for action in actions[:number]) for number in range(len(actions)))
        busy = sum(action.duration for action in actions)
    return Script(
        actions=actions,
        starts=starts,
        num_frames=round(max(before + busy + after, SHORTEST) * FPS) + 1,
        captions=captions(rng, actions, join, int(rng.integers(2, 7)), wide=True),
        label=f" {'then' if join == 'three' else join} ".join(action.label for action in actions),
        style=Style.draw(rng),
        breath=(float(rng.uniform(0.2, 0.3)), float(rng.uniform(0, 2 * np.pi))),
        then=captions(rng, actions[1:], "one", int(rng.integers(2, 5)), wide=True) if join == "then" else (),
        then_label=actions[1].label if join == "then" else "",
    )


def _draw_actions(rng: np.random.Generator, room: float) -> tuple[str, tuple[Action, ...]]:
    """How the actions are joined, and the actions; they take at most `room` seconds."""
    join = str(rng.choice(list(FORMS), p=list(FORMS.values())))
    while True:
        drawn = tuple(_draw(rng) for _ in range({"one": 1, "three": 3}.get(join, 2)))
        if _fits(join, drawn, room):
            return join, drawn


def _fits(join: str, actions: tuple[Action, ...], room: float) -> bool:
    if join == "while":
        longer = actions[1].duration + 0.3 <= actions[0].duration <= room
        return longer and actions[1].arms and not actions[0].arms and actions[0].name not in HANDS_BUSY
    different = all(one.name != next_.name for one, next_ in zip(actions, actions[1:]))
    return different and sum(action.duration for action in actions) <= room


def _draw(rng: np.random.Generator) -> Action:
    entries = list(registered(wide=True).values())
    weights = np.array([entry.weight for entry in entries])
    return entries[int(rng.choice(len(entries), p=weights / weights.sum()))].factory(rng)
