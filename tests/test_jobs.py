"""Jobs in this process, in several and by Ray Data: the same results, one that fails is left out and told."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from mld import jobs
from mld.errors import DataError, MldError, RequestError
from mld.jobs import DIED, Failed, run_jobs

ROOT = Path(__file__).parents[1]
HERE = importlib.util.find_spec("ray") is not None
with_ray = pytest.mark.skipif(
    not (HERE and os.environ.get("MLD_TEST_RAY")), reason="needs the extra 'ray' and MLD_TEST_RAY=1 (CONTRIBUTING.md)"
)
WAYS = [("processes", 1), ("processes", 2), pytest.param("ray", 2, marks=with_ray)]


class Work:
    """What the jobs "error", "bug", "death" and "full" lead to; of a number its square, and who made it."""

    def __call__(self, job: int | str) -> tuple[int, int]:
        if job == "error":
            raise DataError("b.bvh: cut off; write it again")
        if job == "bug":
            raise ZeroDivisionError("by zero")
        if job == "full":
            raise OSError(errno.ENOSPC, "No space left on device", "shard-3")
        if job == "death":
            os.kill(os.getpid(), signal.SIGKILL)
        if job == "wait":
            time.sleep(600)
        return job * job, os.getpid()


@pytest.mark.parametrize(("engine", "workers"), WAYS)
def test_broken_jobs_are_told_and_left_out(engine: str, workers: int, capfd) -> None:
    deaths = engine == "ray" or workers > 1
    jobs = [0, 1, "error", *range(3, 9), "bug", 10, *(["death"] if deaths else [11]), *range(12, 30)]
    failed: list[Failed] = []
    made = dict(run_jobs(Work(), jobs, engine=engine, workers=workers, title="squares", failed=failed))
    assert {number: value for number, (value, _) in made.items()} == {i: j * j for i, j in enumerate(jobs)
                                                                      if isinstance(j, int)}  # fmt: skip
    assert (os.getpid() in {pid for _, pid in made.values()}) == (not deaths)
    reasons = {2: "error: b.bvh: cut off; write it again", 9: "bug: ZeroDivisionError: by zero", 11: f"death: {DIED}"}
    assert {one.number: one.reason for one in failed} == {key: reasons[key] for key in (2, 9, 11)[: 2 + deaths]}
    said = capfd.readouterr().err
    assert all(said.count(f"left out: {one.reason}") == 1 for one in failed) and "Traceback" not in said


@pytest.mark.parametrize("taken", range(1, 12))
def test_no_answer_is_lost_where_a_process_dies_while_jobs_are_handed_out(
    taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """taken: so many jobs are taken before."""

    class Pool:
        left = taken

        def submit(self, function, job) -> Future:
            if not Pool.left:
                Pool.left = 100
                raise BrokenProcessPool
            Pool.left -= 1
            done: Future = Future()
            done.set_result(jobs.attempt(Work(), job))
            return done

    monkeypatch.setattr(jobs, "_executor", lambda work, count: contextlib.nullcontext(Pool()))
    found = dict(run_jobs(Work(), list(range(12)), workers=2))
    assert {number: value for number, (value, _) in found.items()} == {i: i * i for i in range(12)}


@pytest.mark.parametrize(("engine", "workers"), WAYS)
def test_a_full_disk_ends_all(engine: str, workers: int) -> None:
    with pytest.raises(OSError, match="No space left on device: 'shard-3'"):
        list(run_jobs(Work(), [1, "full", 3, 4], engine=engine, workers=workers))


def test_results_come_while_others_are_at_work() -> None:
    """And what nobody waits for any more does not run on."""
    begun = time.monotonic()
    found = run_jobs(Work(), [1, "wait", 3, 4], workers=2)
    assert sorted(next(found)[0] for _ in range(3)) == [0, 2, 3]
    found.close()
    assert time.monotonic() - begun < 60


SCRIPT = """
import os, sys
from tests.test_jobs import Work
from mld.jobs import run_jobs
if __name__ == "__main__":
    for number, (value, pid) in run_jobs(Work(), [1, 2, "wait", "wait"], workers=2):
        print(pid, flush=True)
"""


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_no_process_is_left_when_it_is_stopped(sign: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "squares.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, script], env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    pids = {int(process.stdout.readline()) for _ in range(2)}
    os.killpg(process.pid, sign) if sign == signal.SIGINT else process.kill()
    process.wait(30)
    until = time.monotonic() + 20
    while any(Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids):
        assert time.monotonic() < until, "a process works on"
        time.sleep(0.05)
    assert process.stderr.read().count("Traceback") <= 1, "only the process that was asked to stop says where"


def test_mistakes_are_one_line() -> None:
    with pytest.raises(RequestError, match="did you mean 'processes'"):
        list(run_jobs(Work(), [1], engine="process"))
    with pytest.raises(RequestError, match="workers are -1"):
        list(run_jobs(Work(), [1], workers=-1))
    if not HERE:
        with pytest.raises(MldError, match=r"\[ray\]"):
            list(run_jobs(Work(), [1], engine="ray"))
