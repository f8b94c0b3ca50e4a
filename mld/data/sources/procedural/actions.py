"""What an action is, and the register of all actions by name.

A factory draws the parameters of one performance and returns an `Action`: how long it takes, how it plays on a stage,
and the words that tell what it does. Actions begin and end standing, so that they can follow one another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from mld.data.sources.procedural.stage import Stage

Factory = Callable[[np.random.Generator], "Action"]


@dataclass(frozen=True)
class Action:
    """One performance. `words` fill the slots of the phrases of `name`; `label` groups performances of one kind.

    play(stage, start) writes the action onto the stage from `start` (s); it takes `duration` seconds.
    arms: only arms, head and trunk move, so it can be done while walking. travels: the legs are busy.
    loose: seconds that may be cut off at either end, where it goes on, with the words still true.
    rising: seconds at the end in which the body comes up again; they may be cut off where nothing follows, and then
    the word `end` is "there" and no longer "up".
    """

    name: str
    duration: float
    play: Callable[[Stage, float], None]
    words: dict[str, str] = field(default_factory=dict)
    label: str = ""
    arms: bool = False
    travels: bool = False
    loose: float = 0.0
    rising: float = 0.0


@dataclass(frozen=True)
class Entry:
    """A registered action: its factory and how often it is drawn."""

    factory: Factory
    weight: float


ACTIONS: dict[str, Entry] = {}  # the basic set: a seed gives the same clips for ever, so nothing is added here
WIDE: dict[str, Entry] = {}


def action(weight: float = 1.0, wide: bool = False) -> Callable[[Factory], Factory]:
    """Register a factory under its own name, in the basic set or, `wide`, beside it.

    In the wide set an action of the same name stands for the basic one, and one of weight 0 is never drawn."""

    def register(factory: Factory) -> Factory:
        (WIDE if wide else ACTIONS)[factory.__name__] = Entry(factory, weight)
        return factory

    return register


def registered(wide: bool) -> dict[str, Entry]:
    """The actions of a set by name, in a fixed order. The wide set holds the basic one."""
    return {**ACTIONS, **WIDE} if wide else ACTIONS


def either(rng: np.random.Generator, *choices):
    """One of the choices, all alike."""
    return choices[int(rng.integers(len(choices)))]


def sign(side: str) -> float:
    """+1 for left, -1 for right: the direction along the body's left axis, and of a turn."""
    return 1.0 if side == "left" else -1.0


def other(side: str) -> str:
    return "right" if side == "left" else "left"
