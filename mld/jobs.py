"""Many jobs of one kind: in this process, in several, or by Ray Data on a cluster. Results come as they are done.

    for number, value in run_jobs(work, jobs, workers=8, failed=failed): ...

`work` is a callable that travels to every process once (a function, or an object that opens what it needs when it is
first called); a job and its result travel each time. A job that fails is told in a line and left out, also one that
takes its process along; what nobody can go on with, a full disk, ends all. Where jobs run must not show in a result:
PyTorch has one thread in each process, by default also in this one.
"""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from tqdm import tqdm

from mld.errors import MldError, RequestError, nearest, one_line

ENGINES = ("processes", "ray")
WAITING = 2  # jobs for each process that it has been handed
DIED = "its process died; too little memory?"
# Nothing that comes after it could be written either.
HOPELESS = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EROFS") if hasattr(errno, name)}
Job, Result = TypeVar("Job"), TypeVar("Result")
Work = Callable[[Any], Any]


@dataclass(frozen=True)
class Failed:
    """A job that was left out: its number, and why."""

    number: int
    reason: str


@dataclass(frozen=True)
class Answer:
    """What became of a job, on its way back: a value, or why there is none. fatal: nothing can go on."""

    value: Any = None
    reason: str = ""
    fatal: Exception | None = None


def run_jobs(
    work: Callable[[Job], Result], jobs: Sequence[Job], *, engine: str = "processes", workers: int = 1, title: str = "",
    unit: str = "job", size: Callable[[Job], int] | None = None, name: Callable[[Job], str] = str,
    failed: list[Failed] | None = None, one_thread: bool = True,
) -> Iterator[tuple[int, Result]]:  # fmt: skip
    """Number of a job and its result, in the order in which they are done, under a progress bar.

    workers: processes, 0: one for each processor; with one and no Ray jobs run in this process. size: units of a job,
    one by default. name: of a job, in the line that says why it failed. failed: is given those. one_thread: also in
    this process, so that its numbers are those of others. `RequestError` for an engine or number that is none."""
    count = check_workers(engine, workers)
    here = _here if one_thread else _as_it_is
    run = {"ray": _with_ray, "processes": _in_processes if count > 1 else here}[engine]
    total = len(jobs) if size is None else sum(size(jobs[number]) for number in range(len(jobs)))
    with tqdm(total=total, desc=title, unit=unit, leave=False, disable=not title) as bar, contextlib.closing(
        run(work, jobs, count)
    ) as answers:
        for number, answer in answers:
            bar.update(1 if size is None else size(jobs[number]))
            if answer.fatal is not None:
                raise answer.fatal
            if answer.reason:
                told = name(jobs[number])
                reason = one_line(answer.reason if told in answer.reason else f"{told}: {answer.reason}")
                tqdm.write(f"left out: {reason}", file=sys.stderr)
                if failed is not None:
                    failed.append(Failed(number, reason))
            else:
                yield number, answer.value


def check_workers(engine: str, workers: int) -> int:
    """The number of processes that is meant."""
    if engine not in ENGINES:
        raise RequestError(f"no engine '{engine}'; {nearest(engine, ENGINES)}")
    if workers < 0:
        raise RequestError(f"workers are {workers}, expected a whole number from 0 (one for each processor) on")
    return workers or processors()


def processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def attempt(work: Work, job: Any) -> Answer:
    """A job, done here. Any error of it is its own affair, unless the disk is full."""
    try:
        return Answer(work(job))
    except Exception as error:
        if any(isinstance(one, OSError) and one.errno in HOPELESS for one in (error, error.__cause__)):
            return Answer(fatal=error)
        kind = "" if isinstance(error, MldError) else f"{type(error).__name__}: "
        return Answer(reason=one_line(f"{kind}{error}"))


def one_thread() -> None:
    """For PyTorch, and for what is loaded after it: which numbers come out may depend on their number."""
    os.environ["OMP_NUM_THREADS"] = "1"
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


def _here(work: Work, jobs: Sequence[Any], count: int) -> Iterator[tuple[int, Answer]]:
    threads = None
    try:
        for number, job in enumerate(jobs):
            if threads is None and (torch := sys.modules.get("torch")) is not None:
                threads = torch.get_num_threads()
                torch.set_num_threads(1)
            yield number, attempt(work, job)
    finally:
        if threads is not None:
            sys.modules["torch"].set_num_threads(threads)


def _as_it_is(work: Work, jobs: Sequence[Any], count: int) -> Iterator[tuple[int, Answer]]:
    yield from ((number, attempt(work, job)) for number, job in enumerate(jobs))


def _in_processes(work: Work, jobs: Sequence[Any], count: int) -> Iterator[tuple[int, Answer]]:
    """A pool; where a process of it dies, the jobs it was handed are done one by one, so that one is to blame."""
    left = iter(range(len(jobs)))
    while True:
        suspects = yield from _pool(work, jobs, left, min(count, len(jobs)))
        if not suspects:
            return
        for number in suspects:
            if (yield from _pool(work, jobs, iter([number]), 1)):
                yield number, Answer(reason=DIED)


def _pool(work: Work, jobs: Sequence[Any], left: Iterator[int], count: int) -> Iterator[tuple[int, Answer]]:
    """Answers of jobs until none is left or a process dies; then the numbers of jobs that have no answer."""
    waiting: dict[Future, int] = {}
    handed: set[int] = set()
    with _executor(work, count) as pool:

        def hand_out(most: int) -> None:
            for number in islice(left, most):
                handed.add(number)
                with _interrupts_wait():  # a process that begins here inherits that
                    waiting[pool.submit(_work, jobs[number])] = number

        try:
            hand_out(WAITING * count)
            while waiting:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    answer = future.result()
                    hand_out(1)  # may find that a process died: until then the answer is among those that wait
                    handed.remove(number := waiting.pop(future))
                    yield number, answer
        except BrokenProcessPool:
            for future, number in waiting.items():
                if future.done() and future.exception() is None:
                    handed.remove(number)
                    yield number, future.result()
    return sorted(handed)


@contextlib.contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Ctrl-C comes behind the block, where the system can hold it back."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _executor(work: Work, count: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end with the block at once, whatever they are doing."""
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _begin, (work,))
    try:
        yield pool
    except BaseException:
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_of_this_process: list[Work] = []


def _begin(work: Work) -> None:
    """In a new process: Ctrl-C is for the one that started it, with which it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    one_thread()
    _of_this_process[:] = [work]


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _work(job: Any) -> Answer:
    return attempt(_of_this_process[0], job)


def _with_ray(work: Work, jobs: Sequence[Any], count: int) -> Iterator[tuple[int, Answer]]:
    from mld.ray_data import ray_answers

    found: set[int] = set()
    for number, answer in ray_answers(_InRay, work, jobs, count):
        found.add(number)
        yield number, answer
    for number in sorted(set(range(len(jobs))) - found):
        yield number, Answer(reason=DIED)


class _InRay:
    """`work` in a process of Ray, where it is made once."""

    def __init__(self, work: Work) -> None:
        one_thread()
        self.work = work

    def __call__(self, job: Any) -> Answer:
        return attempt(self.work, job)
