"""What one browser tab has asked so far, and what became of it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from mld.motion.motion import Motion
from mld.serve.page.form_input import Ask

WAITING, WORKING, DONE, STOPPED, FAILED = "waiting", "working", "done", "stopped", "failed"
MOST_TURNS = 50


@dataclass(eq=False)
class Turn:
    """One question and its answer. said: the question in words; given: names of its motions; key: of the result
    among those kept; facts: small print under the answer; about: small print on the given motions."""

    said: str
    ask: Ask | None = None
    state: str = WAITING
    given: tuple[str, ...] = ()
    about: tuple[str, ...] = ()
    text: str = ""
    key: str = ""
    samples: int = 0
    facts: str = ""
    step: str = ""
    began: float = field(default_factory=time.monotonic)
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def open(self) -> bool:
        return self.state in (WAITING, WORKING)

    def end(self, state: str, text: str) -> None:
        self.state, self.text = state, text


@dataclass(eq=False)
class Conversation:
    """turns: in order, the oldest are forgotten. last: motions that were shown, newest last, to go on with."""

    turns: list[Turn] = field(default_factory=list)
    last: list[Motion] = field(default_factory=list)
    shown: str = ""

    def add(self, turn: Turn) -> Turn:
        self.turns = [*self.turns[-MOST_TURNS + 1 :], turn]
        return turn

    def waiting(self) -> Turn | None:
        return next((turn for turn in self.turns if turn.state == WAITING), None)

    @property
    def busy(self) -> bool:
        return any(turn.open for turn in self.turns)

    def stop(self) -> None:
        """Stop what runs, forget what waits."""
        for turn in self.turns:
            if turn.open:
                turn.stop.set()
            if turn.state == WAITING:
                turn.end(STOPPED, "Stopped.")

    def clear(self) -> None:
        self.stop()
        self.turns, self.last, self.shown = [], [], ""
