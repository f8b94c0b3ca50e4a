"""The results that the page can show and save: in memory, the newest few, under names that nobody guesses."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from mld.view.browser import ViewItem

KEPT = 64


@dataclass(frozen=True, eq=False)
class Result:
    """Motions that belong together: the samples of one answer, or what was described."""

    title: str
    items: tuple[ViewItem, ...]


class Results:
    """kept: results in memory; the oldest goes when another comes."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._results: OrderedDict[str, Result] = OrderedDict()
        self._pinned: dict[str, Result] = {}
        self._lock = threading.Lock()

    def put(self, title: str, items: Sequence[ViewItem], pinned: bool = False) -> str:
        """Keep a result, a pinned one for good; the key that it is found by."""
        key = secrets.token_urlsafe(12)
        with self._lock:
            (self._pinned if pinned else self._results)[key] = Result(title, tuple(items))
            while len(self._results) > self._kept:
                self._results.popitem(last=False)
        return key

    def get(self, key: str) -> Result | None:
        """The result; None where it is gone or never was."""
        with self._lock:
            return self._results.get(key) or self._pinned.get(key)

    def drop(self, keys: Sequence[str]) -> None:
        with self._lock:
            for key in keys:
                self._results.pop(key, None)
