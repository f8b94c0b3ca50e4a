"""Requests that take time: one in work, a bounded number that wait, each given up when its time is over or nobody waits
for it any more."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

LOOK = 0.2  # seconds between two looks at who still waits
USUAL = 3.0  # seconds of a request, before any was measured


class Busy(Exception):
    """Too many requests wait. seconds: after which there may be room."""

    def __init__(self, waiting: int, seconds: int) -> None:
        super().__init__(f"{waiting} requests are waiting already; try again in {seconds} s")
        self.seconds = seconds


class GivenUp(Exception):
    """The time of a request is over, or nobody waits for it any more."""


class Jobs:
    """waiting: jobs that may wait beside the one in work. timeout: seconds of a job, its waiting included."""

    def __init__(self, waiting: int, timeout: float) -> None:
        self._most, self._timeout = waiting, timeout
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mld-api")
        self._lock = threading.Lock()
        self._usual = USUAL
        self.open = 0

    async def run(self, work: Callable[[Callable[..., None]], Any], gone: Callable[[], Awaitable[bool]]) -> Any:
        """What `work(check)` gives; it calls `check` now and then, which raises `GivenUp` where nobody waits. `Busy`
        where too many wait."""
        stop = threading.Event()

        def check(*_: Any) -> None:
            if stop.is_set():
                raise GivenUp

        with self._lock:
            if self.open > self._most:
                raise Busy(self.open, max(1, math.ceil(self._usual * self.open)))
            self.open += 1
        future = self._worker.submit(self._timed, work, check)
        future.add_done_callback(lambda _: self._done())
        awaited = asyncio.wrap_future(future)
        awaited.add_done_callback(lambda done: done.cancelled() or done.exception())  # of a job that was given up
        until = time.monotonic() + self._timeout
        try:
            while not (await asyncio.wait([awaited], timeout=LOOK))[0]:
                if time.monotonic() > until or await gone():
                    raise GivenUp
            return awaited.result()
        finally:
            stop.set()
            future.cancel()

    def close(self) -> None:
        self._worker.shutdown(cancel_futures=True)

    def _timed(self, work: Callable[[Callable[..., None]], Any], check: Callable[..., None]) -> Any:
        began = time.monotonic()
        check()
        try:
            return work(check)
        finally:
            self._usual += 0.3 * (time.monotonic() - began - self._usual)

    def _done(self) -> None:
        with self._lock:
            self.open -= 1
