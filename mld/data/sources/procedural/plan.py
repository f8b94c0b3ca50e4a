"""A clip before it is played."""

from __future__ import annotations

from dataclasses import dataclass

from mld.data.sources.procedural.actions import Action
from mld.data.sources.procedural.stage import Style
from mld.data.sources.procedural.variety import Variety


@dataclass(frozen=True)
class Script:
    """A clip before it is played: actions with their starts (s), sentences, label, and the way the person moves."""

    actions: tuple[Action, ...]
    starts: tuple[float, ...]
    num_frames: int
    captions: tuple[str, ...]
    label: str
    style: Style
    breath: tuple[float, float]  # rate (Hz), phase (rad)
    then: tuple[str, ...] = ()  # sentences of the second of two actions in a row
    then_label: str = ""
    cut: tuple[int, int] = (0, 0)  # frames left out at the beginning and at the end, where the person is already moving
    variety: Variety | None = None
