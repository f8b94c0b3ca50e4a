"""What happens in a clip of the wide set: one action, two or three in a row, or an arm action during another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from mld.data.sources.procedural import (  # noqa: F401  (they register their actions)
    hands,
    leaps,
    legs,
    lower,
    raising,
    runs,
    standing,
    strikes,
    things,
    trunk,
    turns,
    walks,
)
from mld.data.sources.procedural.actions import Action, registered
from mld.data.sources.procedural.captions import captions
from mld.data.sources.procedural.denials import true_clauses
from mld.data.sources.procedural.plan import Script
from mld.data.sources.procedural.stage import FPS, Style
from mld.data.sources.procedural.variety import Variety
from mld.errors import ConfigError, nearest

SHORTEST, LONGEST = 1.5, 9.8  # seconds
HANDS_BUSY = frozenset(  # nothing else is done with arms or trunk during these
    [
        "bow",
        "bend",
        "touch_toes",
        "twist",
        "crouch_down",
        "sit_on_floor",
        "lie_down",
        "sit_ups",
        "fall",
        "kick",
        "lunge",
        "balance",
        "step_touch",
        "jumping_jacks",
        "jump_up",
        "jump_forward",
        "hop",
        "pick_up",
        "throw",
        "swim",
        "crawl",
        "jump_backward",
        "jump_sideways",
        "jump_to_and_fro",
        "jump_turning",
        "jump_over",
        "star_jump",
        "tuck_jump",
        "jump_rope",
        "bounce",
        "spin",
        "walk_drunk",
        "walk_sneak",
        "walk_crouched",
        "run",
        "stand",
    ]
)
GOING = (
    "walk",
    "walk_backward",
    "walk_turning",
    "walk_veer",
    "walk_circle",
    "walk_back",
    "turn",
    "side_step",
    "march",
    "sidewalk",
    "steps",
)
FORMS = {"one": 0.54, "then": 0.22, "three": 0.09, "while": 0.15}
MOST_OFTEN, TRIES = 100, 2000
ALONE = 0.25  # share of clips some of whose sentences also say what does not happen
STAYING = 0.45  # share of clips whose last action goes down that end there
UNDER_WAY = 0.45  # share of clips that begin, and that end, with somebody who is already, and still, going


def write_wide(rng: np.random.Generator, often: Mapping[str, float] | None = None) -> Script:
    """Draw what happens. Everything random about a clip is drawn here; playing it draws nothing. often: how many times
    as often as usual an action or a form of `FORMS` is drawn."""
    before, after = (float(rng.uniform(0.1, 0.5)) for _ in range(2))
    join, actions = _draw_actions(rng, LONGEST - before - after, often or {})
    return script_of(rng, join, actions, before, after)


def script_of(
    rng: np.random.Generator, join: str, actions: tuple[Action, ...], before: float, after: float
) -> Script:
    """The script of actions that were chosen. join: "one", "then", "three" or "while"; before, after: seconds at the
    ends in which nothing happens."""
    pauses = [0.0] * len(actions)
    if join == "while":
        spare = actions[0].duration - actions[1].duration
        starts = [before, before + float(rng.uniform(0.3, 0.7)) * spare]
        busy = actions[0].duration
    else:
        busy = sum(action.duration for action in actions)
        room = LONGEST - before - after - busy
        for number in range(1, len(actions)):
            if rng.random() < 0.35:
                pauses[number] = min(float(rng.uniform(0.1, 0.7)), room / 2)
        starts = [
            before + sum(action.duration for action in actions[:number]) + sum(pauses[: number + 1])
            for number in range(len(actions))
        ]
        busy += sum(pauses)
    if join != "while" and actions[-1].rising and rng.random() < STAYING:
        actions = (*actions[:-1], replace(actions[-1], words={**actions[-1].words, "end": "there"}))
    cut = _cut(rng, join, actions, before, after)
    whole = round(max(before + busy + after, SHORTEST) * FPS) + 1
    told = true_clauses(actions) if join in ("one", "while") and rng.random() < ALONE else ()
    return Script(
        actions=actions,
        starts=tuple(start - cut[0] / FPS for start in starts),
        num_frames=whole - sum(cut),
        captions=captions(rng, actions, join, int(rng.integers(2, 7)), wide=True, true=told),
        label=f" {'then' if join == 'three' else join} ".join(action.label for action in actions),
        style=Style.draw(rng),
        breath=(float(rng.uniform(0.2, 0.3)), float(rng.uniform(0, 2 * np.pi))),
        then=captions(rng, actions[1:], "one", int(rng.integers(2, 5)), wide=True) if join == "then" else (),
        then_label=actions[1].label if join == "then" else "",
        cut=cut,
        variety=Variety.draw(rng, actions[0], before),
    )


def _cut(
    rng: np.random.Generator, join: str, actions: tuple[Action, ...], before: float, after: float
) -> tuple[int, int]:
    """Frames left out at both ends, so that the clip begins and ends in the middle of going."""
    cut = [0, 0]
    for end, (rest, action) in enumerate(((before, actions[0]), (after, actions[-1]))):
        if end and action.words.get("end") == "there":
            cut[end] = int((rest + action.rising) * FPS)
        elif join != "while" and action.loose and rng.random() < UNDER_WAY:
            cut[end] = int((rest + action.loose * float(rng.uniform(0.6, 1.0))) * FPS)
    left = sum(action.duration for action in actions) + before + after - sum(cut) / FPS
    return (cut[0], cut[1]) if left > SHORTEST + 0.3 else (0, cut[1] if actions[-1].words.get("end") == "there" else 0)


def check_often(often: Mapping[str, float], key: str) -> None:
    """`ConfigError` for names that are no action and no form, for numbers below 0, and where nothing could be drawn."""
    known = registered(wide=True)
    for name, times in often.items():
        if name not in known and name not in FORMS:
            raise ConfigError(f"{key}: '{name}' is no action and no form; {nearest(name, [*FORMS, *known])}")
        if not 0 <= times <= MOST_OFTEN:
            raise ConfigError(f"{key}: '{name}' is {times}, expected a number from 0 to {MOST_OFTEN}")
    if not any(often.get(name, 1.0) for name in FORMS):
        raise ConfigError(f"{key}: no form is left to be drawn; leave one of {', '.join(FORMS)} above 0")
    for form in FORMS:
        if often.get(form, 1.0):
            try:
                alone = {**often, **dict.fromkeys(FORMS, 0.0), form: 1.0}
                _draw_actions(np.random.default_rng(0), LONGEST - 1.0, alone)
            except ConfigError as error:
                raise ConfigError(f"{key}: {error}") from error


def _draw_actions(rng: np.random.Generator, room: float, often: Mapping[str, float]) -> tuple[str, tuple[Action, ...]]:
    """How the actions are joined, and the actions; they take at most `room` seconds."""
    join = str(rng.choice(list(FORMS), p=_shares(FORMS, often)))
    going = any(registered(wide=True)[name].weight * often.get(name, 1.0) for name in GOING)
    for _ in range(TRIES):
        drawn = tuple(_draw(rng, often) for _ in range({"one": 1, "three": 3}.get(join, 2)))
        if join == "while" and rng.random() < 0.7 and going:
            drawn = (_draw(rng, often, GOING), drawn[1])
        if _fits(join, drawn, room):
            return join, drawn
    told = f"hardly any actions of the form '{join}' can be drawn as often as is said"
    raise ConfigError(f"{told}; set '{join}' to 0, or leave more actions to be drawn")


def _fits(join: str, actions: tuple[Action, ...], room: float) -> bool:
    if join == "while":
        longer = actions[1].duration + 0.3 <= actions[0].duration <= room
        free = actions[0].name not in HANDS_BUSY and not actions[0].words.get("how")
        return longer and actions[1].arms and not actions[0].arms and free
    different = all(one.name != next_.name for one, next_ in zip(actions, actions[1:]))
    return different and sum(action.duration for action in actions) <= room


def _draw(rng: np.random.Generator, often: Mapping[str, float], names: tuple[str, ...] = ()) -> Action:
    entries = {name: entry for name, entry in registered(wide=True).items() if not names or name in names}
    shares = _shares({name: entry.weight for name, entry in entries.items()}, often)
    return list(entries.values())[int(rng.choice(len(entries), p=shares))].factory(rng)


def _shares(weights: Mapping[str, float], often: Mapping[str, float]) -> np.ndarray:
    scaled = np.array([weight * often.get(name, 1.0) for name, weight in weights.items()])
    if not scaled.sum():
        raise ConfigError("no action is left to be drawn; leave some above 0")
    return scaled / scaled.sum()
