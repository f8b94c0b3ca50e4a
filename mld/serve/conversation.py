"""What one browser tab has asked so far, and what became of it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field

from mld.motion.motion import Motion
from mld.serve.page.form_input import Ask

WAITING, WORKING, DONE, STOPPED, FAILED = "waiting", "working", "done", "stopped", "failed"
MOST_TURNS = 50
PATIENCE = 10.0  # seconds that a request keeps its place when nobody looks at it; a reload takes less


@dataclass(eq=False)
class Turn:
    """One question and its answer. said: the question in words; given: names of its motions; key: of the result
    among those kept; facts: small print under the answer; about: small print on the given motions; looked: when
    somebody last looked at it; work: what answers it, once it is in the queue."""

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
    looked: float = field(default_factory=time.monotonic)
    stop: threading.Event = field(default_factory=threading.Event)
    keeping: threading.Lock = field(default_factory=threading.Lock)
    work: Future | None = None

    @property
    def open(self) -> bool:
        return self.state in (WAITING, WORKING)

    @property
    def unwanted(self) -> bool:
        """Whether it was stopped, or whoever asked has gone."""
        return self.stop.is_set() or time.monotonic() - self.looked > PATIENCE

    def cancel(self) -> None:
        with self.keeping:
            self.stop.set()

    def end(self, state: str, text: str) -> None:
        self.state, self.text = state, text


@dataclass(eq=False)
class Conversation:
    """turns: in order, the oldest are forgotten. last: motions that were shown, newest last, to go on with. files:
    uploads that belong to it. results: keys of its answers, those of forgotten turns, too. name: what a page that is
    loaded again finds it by. tabs: open pages that show it; used: when one of them last did something. watcher: who
    follows its answers, the newest if there are several."""

    turns: list[Turn] = field(default_factory=list)
    last: list[Motion] = field(default_factory=list)
    shown: str = ""
    files: set[str] = field(default_factory=set)
    results: set[str] = field(default_factory=set)
    name: str = ""
    tabs: set[str] = field(default_factory=set)
    used: float = field(default_factory=time.monotonic)
    watcher: object = None

    def add(self, turn: Turn) -> Turn:
        self.turns = [*self.turns[-MOST_TURNS + 1 :], turn]
        return turn

    def take_in(self, begun: Conversation) -> None:
        """What a tab has begun before it found this conversation goes on in it: both objects are one from here on, also
        for whoever works on an answer in the other one, or shows it."""
        self.turns = [*self.turns, *begun.turns]
        self.last, self.shown = [*self.last, *begun.last], begun.shown or self.shown
        self.files |= begun.files
        self.results |= begun.results
        begun.__dict__ = self.__dict__

    def next(self) -> Turn | None:
        """The oldest turn without an answer."""
        return next((turn for turn in self.turns if turn.open), None)

    @property
    def busy(self) -> bool:
        return self.next() is not None

    @property
    def followed(self) -> bool:
        """Whether somebody waits for one of its answers."""
        return any(turn.open and not turn.unwanted for turn in self.turns)

    def stop(self) -> None:
        """Stop what runs, forget what waits."""
        for turn in self.turns:
            if turn.open:
                turn.cancel()
            if turn.state == WAITING:
                turn.end(STOPPED, "Stopped.")

    def clear(self) -> None:
        self.stop()
        self.turns, self.last, self.shown = [], [], ""
