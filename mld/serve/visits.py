"""Who is here: conversations by name, for pages that are loaded again; what those who left had is let go.

A conversation stays for `AWAY` seconds after its last tab has closed. Uploads that no conversation holds go, too.
"""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections import OrderedDict
from pathlib import Path

from mld.serve.conversation import Conversation
from mld.serve.results import Results

AWAY = 60.0  # seconds
UNHELD = 60.0  # seconds that an upload stays which no conversation holds: one that has just arrived is asked about soon
SWEEP = 5.0  # seconds between two looks at who has left
LEFT = 4096  # tabs that closed and are remembered: word of them may come before word that they opened
MOST = 64  # conversations that are kept; the one that was used longest ago goes


class Visits:
    """results: where the motions of conversations are. uploads: folder of the files that visitors send."""

    def __init__(self, results: Results, uploads: Path) -> None:
        self._results, self._uploads = results, uploads
        self._kept: OrderedDict[str, Conversation] = OrderedDict()
        self._left: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep_now_and_then, name="mld-visits", daemon=True)
        self._sweeper.start()

    def __len__(self) -> int:
        return len(self._kept)

    def shows(self, name: str) -> bool:
        """Whether a page with the conversation of that name is open."""
        session = self._kept.get(name)
        return session is not None and bool(session.tabs)

    def arrive(self, name: str, tab: str, begun: Conversation | None = None) -> Conversation:
        """The conversation of that name, or else the one that the tab has begun; it is shown by one more tab. What was
        asked in the tab before it had arrived is asked in that conversation."""
        begun = begun or Conversation()
        with self._lock:
            session = self._kept.get(name, begun)
            if session is not begun:
                self._kept.pop(begun.name, None)  # forgotten by itself it would let go of what is shown
                session.take_in(begun)
            if tab not in self._left:
                session.tabs.add(tab)
        self.touch(session)
        return session

    def leave(self, tab: str) -> None:
        """A tab was closed or is loaded again."""
        with self._lock:
            self._left[tab] = None
            while len(self._left) > LEFT:
                self._left.popitem(last=False)
            for session in self._kept.values():
                if tab in session.tabs:
                    session.tabs.discard(tab)
                    session.used = time.monotonic()

    def touch(self, session: Conversation) -> None:
        """A conversation is used: keep it."""
        with self._lock:
            session.used, session.name = time.monotonic(), session.name or secrets.token_urlsafe(16)
            self._kept[session.name] = session
            self._kept.move_to_end(session.name)
            surplus = [self._kept.popitem(last=False)[1] for _ in range(len(self._kept) - MOST)]
        for old in surplus:
            self.forget(old)

    def forget(self, session: Conversation) -> None:
        """Let go of what a conversation holds: its work, motions and uploads."""
        turns = session.turns
        session.clear()  # from here on none of them gets a result
        self._results.drop([*session.results, *(turn.key for turn in turns)])
        session.results.clear()
        session.files.clear()

    def sweep(self) -> None:
        """Let go of conversations that nobody shows any more, and of uploads that nobody holds."""
        now = time.monotonic()
        with self._lock:
            left = [one for one in self._kept.values() if not one.tabs and not one.followed and now - one.used > AWAY]
            for session in left:
                del self._kept[session.name]
            held = {Path(file).parent.name for one in self._kept.values() for file in one.files.copy()}
        for session in left:
            self.forget(session)
        for path in self._uploads.iterdir() if self._uploads.is_dir() else ():
            if path.name not in held and time.time() - _newest(path) > UNHELD:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

    def close(self) -> None:
        self._end.set()
        self._sweeper.join()

    def _sweep_now_and_then(self) -> None:
        while not self._end.wait(SWEEP):
            self.sweep()


def _newest(path: Path) -> float:
    """When a file, or the newest thing in a folder, was last written; now where it has just gone."""
    try:
        return max(one.stat().st_mtime for one in (path, *path.rglob("*")))
    except FileNotFoundError:
        return time.time()
