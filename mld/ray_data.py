"""Jobs by Ray Data (extra `ray`): in the cluster of RAY_ADDRESS, or in a Ray of our own on this machine.

A data set of jobs is mapped by actors, each of which has made what it works with once; Ray Data hands out the work,
starts actors that died again, and streams results. Every machine of a cluster needs this package, and the files that
jobs name, at the same places.
"""

from __future__ import annotations

import logging
import os
import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mld.errors import MldError, missing_extra

# For the processes that Ray starts here: it tells its makers nothing, and lets the work have the processor like other
# programs (by itself it makes it wait for all others).
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
AGAIN = 1  # a job that took its actor along is tried so often again
BLOCKS = 8  # of the data set, at least, for each actor, so that all end at about the same time


def ray_answers(
    actor: Callable[[Any], Callable[[Any], Any]], work: Any, jobs: Sequence[Any], workers: int
) -> Iterator[tuple[int, Any]]:
    """Numbers of jobs and what `actor(work)` makes of each, as they are done. Jobs that took their actor along are
    missing. `MldError` where Ray is missing or does not start."""
    if not jobs:
        return
    ray, left = _cluster(workers), set(range(len(jobs)))
    for blocks in (max(BLOCKS * workers, 200), len(jobs)):  # what died may have taken others of its block along
        todo = {number: jobs[number] for number in sorted(left)}
        for number, answer in _mapped(ray, actor, work, todo, blocks, workers):
            left.discard(number)
            yield number, answer


def _mapped(ray: Any, actor: Callable, work: Any, jobs: dict[int, Any], blocks: int, workers: int) -> Iterator:
    if not jobs:
        return
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1
    rows = [{"number": number, "job": pickle.dumps(job)} for number, job in jobs.items()]
    with warnings.catch_warnings():  # these two have no other name yet; without them it would try for ever
        warnings.filterwarnings("ignore", ".*ray_remote_args.*")
        done = ray.data.from_items(rows, override_num_blocks=min(len(rows), blocks)).map(
            _Row, fn_constructor_args=(actor, work), num_cpus=1, max_restarts=-1, max_task_retries=AGAIN,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=min(workers, len(rows))),
        )  # fmt: skip
    try:
        for row in done.iter_rows():
            yield row["number"], pickle.loads(row["answer"])
    except ray.exceptions.RayError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip(" ^")]
        raise MldError(f"Ray could not begin this work: {lines[-1] if lines else type(error).__name__}") from error


class _Row:
    """A row of the data set: a job, pickled, to its answer."""

    def __init__(self, actor: Callable[[Any], Callable[[Any], Any]], work: Any) -> None:
        self._do = actor(work)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"number": row["number"], "answer": pickle.dumps(self._do(pickle.loads(row["job"])))}


def _cluster(workers: int) -> Any:
    """The package `ray`, with a cluster, which stays for what this process does next: starting one takes long. It ends
    with the process."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise missing_extra(str(error.name or "ray"), "ray") from error
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what went wrong is told by whom it concerns
    try:
        if ray.is_initialized():
            pass
        elif os.environ.get("RAY_ADDRESS"):
            ray.init(log_to_driver=False)
        else:
            cpus = max(workers, os.cpu_count() or 1)
            ray.init("local", num_cpus=cpus, include_dashboard=False, log_to_driver=False, configure_logging=False,
                     _node_ip_address="127.0.0.1")  # fmt: skip
    except (RuntimeError, OSError, ValueError) as error:
        raise MldError(f"Ray did not start: {str(error).splitlines()[0][:200]}") from error
    return ray
