"""Files of motions, made in threads of their own: few at once, few that wait, each once for all who ask for it."""

from __future__ import annotations

import tempfile
import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from mld.serve.page import viewer as stage
from mld.serve.results import Result

PICTURES = ("mp4", "gif", "png", "html")  # kinds that bear a title
AT_ONCE = 2  # files that are made at the same time
MOST_WAITING = 24
KEPT = 64_000_000  # bytes of made files

Wanted = tuple[str, int, str, str]  # key of the result, number, kind, joint names


class Kitchen:
    """work: a folder for what is being made; nothing stays there."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="mld-files")
        self._making: dict[Wanted, Future[bytes]] = {}
        self._made: OrderedDict[Wanted, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def order(self, wanted: Wanted, result: Result) -> Future[bytes] | None:
        """The file to come, or that is there already; None where too many wait."""
        with self._lock:
            if wanted in self._made:
                self._made.move_to_end(wanted)
                done: Future[bytes] = Future()
                done.set_result(self._made[wanted])
                return done
            if wanted in self._making:
                return self._making[wanted]
            if len(self._making) >= AT_ONCE + MOST_WAITING:
                return None
            future = self._making[wanted] = self._threads.submit(self._make, wanted, result)
        future.add_done_callback(lambda done: self._finish(wanted, done))
        return future

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)

    def _make(self, wanted: Wanted, result: Result) -> bytes:
        _, number, kind, names = wanted
        return made(result, number, kind, names, self._work)

    def _finish(self, wanted: Wanted, done: Future[bytes]) -> None:
        with self._lock:
            self._making.pop(wanted, None)
            if done.cancelled() or done.exception() is not None:
                return
            self._made[wanted] = done.result()
            while sum(map(len, self._made.values())) > KEPT:
                self._made.popitem(last=False)


def made(result: Result, number: int, kind: str, names: str, work: Path) -> bytes:
    """The motion as the content of a file; nothing stays on disk."""
    item = result.items[number]
    options = {"names": names} if kind in stage.NAMED else {"title": item.caption} if kind in PICTURES else {}
    with tempfile.TemporaryDirectory(dir=work) as folder:
        return item.motion.save(Path(folder) / f"{item.stem}.{kind}", **options).read_bytes()
