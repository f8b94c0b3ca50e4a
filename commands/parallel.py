"""Several processes for one command, `--devices N`: each gets a part of the clips, the first one speaks and writes."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

from commands.common import EXIT_INTERRUPTED, EXIT_OK, EXIT_SOME_FAILED, run

PATIENCE = timedelta(days=7)  # the slowest process may be far behind
WORKER = "MLD_RANK"  # set in the environment of the processes that are started here
GRACE = 5.0  # seconds that the others get to end by themselves


def launch(main: Callable[[Sequence[str]], int | None], arguments: Sequence[str], count: int) -> int:
    """Run `main(arguments)` in `count` processes that see each other; the exit code of the first that fails, or 0."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            context.Process(target=_work, args=(main, list(arguments), rank, count, folder)) for rank in range(count)
        ]
        for process in processes:
            process.start()
        try:
            code = _watch(processes, Path(folder))
        except KeyboardInterrupt:
            code = EXIT_INTERRUPTED
        finally:
            for process in processes:
                process.terminate()
                process.join()
    return code


def is_worker() -> bool:
    """Whether this process is one of several that `launch` has started."""
    return WORKER in os.environ


def device_of(wanted: str) -> str:
    """The device of this process: each its own GPU where "cuda" is wanted."""
    import torch

    from mld.metrics import ranks

    if wanted == "cuda" and ranks.world() > 1:
        return f"cuda:{ranks.rank() % torch.cuda.device_count()}"
    return wanted


def _watch(processes: list, folder: Path) -> int:
    """Wait for all; when one fails, show what it said unless the first process failed, too, and speaks itself."""
    while any(process.is_alive() for process in processes):
        failed = [i for i, process in enumerate(processes) if process.exitcode not in (None, 0)]
        if failed:
            end = time.monotonic() + GRACE
            while processes[0].is_alive() and time.monotonic() < end:
                time.sleep(0.05)
            break
        time.sleep(0.05)
    codes = [process.exitcode for process in processes]
    failed = [i for i, code in enumerate(codes) if code not in (None, 0)]
    if failed and codes[0] in (None, 0):
        with contextlib.suppress(OSError):
            print((folder / f"{failed[0]}.err").read_text().strip() or f"process {failed[0]} died", file=sys.stderr)
    return abs(codes[0] or codes[failed[0]]) if failed else 0


def _work(main: Callable, arguments: list[str], rank: int, count: int, folder: str) -> None:
    os.environ[WORKER] = str(rank)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch
    import torch.distributed as dist

    if rank:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (lives as long as the process)
        sys.stderr = open(Path(folder) / f"{rank}.err", "w")  # noqa: SIM115
    torch.set_num_threads(max(1, torch.get_num_threads() // count))
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=count, timeout=PATIENCE)
    code = run(main, arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    if code not in (EXIT_OK, EXIT_SOME_FAILED):
        os._exit(code)  # without waiting for threads that hang on the other processes
    gc.collect()  # what holds the group keeps its threads, and those that outlive Python end with a signal
    dist.destroy_process_group()
    sys.exit(code if rank == 0 else EXIT_OK)  # "some items failed" is for the first process to say


def _end_with_parent() -> None:
    """A command that is killed leaves no processes behind."""
    multiprocessing.parent_process().join()
    os._exit(EXIT_INTERRUPTED)
