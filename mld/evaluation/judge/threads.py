"""Many questions at once: endpoints answer several as fast as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(work: Callable[[Item], Result], items: Sequence[Item], threads: int) -> Iterator[tuple[int, Result]]:
    """Number and result of each item, as they are done; in order with one thread. What is raised ends all of it, items
    that are not begun are left."""
    if threads <= 1:
        yield from ((number, work(item)) for number, item in enumerate(items))
        return
    pool, waiting = ThreadPoolExecutor(threads), dict[Future, int]()
    try:
        left = iter(enumerate(items))
        for number, item in left:
            waiting[pool.submit(work, item)] = number
            if len(waiting) < 2 * threads:
                continue
            yield from _done(waiting)
        while waiting:
            yield from _done(waiting)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _done(waiting: dict[Future, int]) -> Iterator[tuple[int, Result]]:
    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
        yield waiting.pop(future), future.result()
