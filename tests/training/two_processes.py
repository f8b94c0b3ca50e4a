"""Training runs one after the other in two processes on the CPU: `python -m tests.training.two_processes FILE`.

The file lists runs in JSON: `{"cfg": path, "overrides": [...]}`, or `{"resume": folder, "overrides": [...]}`; with
`"kill": {"rank": 1, "step": 4, "writing": true}` the process 1 ends as by `kill -9` in the step that follows step 4, or
in the middle of writing the state of step 4. The trainer starts the second process, with the same command. Each says at
last whether it has let go of the other."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
KILLED = "killed_at"  # file beside that of the runs
PATIENCE = 900  # seconds on the clock; a minute of CPU on a machine with other things to do


def in_two(tmp_path: Path, *runs: dict) -> None:
    done = started(tmp_path, *runs)
    assert done.returncode == 0, done.stdout + done.stderr
    closed = done.stdout.count("connection closed") == 2 and "connection open" not in done.stdout
    assert closed, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def started(tmp_path: Path, *runs: dict, by: tuple[str, ...] = (sys.executable,)) -> subprocess.CompletedProcess:
    """by: what starts Python."""
    file = tmp_path / "runs.json"
    file.write_text(json.dumps(runs))
    command = [*by, "-m", "tests.training.two_processes", str(file)]
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired as late:
        told = [(part or b"").decode(errors="replace")[-3000:] for part in (late.stdout, late.stderr)]
        raise AssertionError(f"not at its end after {PATIENCE} s; so far:\n" + "\n".join(told)) from None


def tell() -> None:
    import torch

    print("connection", "open" if torch.distributed.is_initialized() else "closed", flush=True)


def deadly(rank: int, step: int, writing: bool = False) -> None:
    """From now on the process of that rank ends by itself."""
    from lightning.pytorch.utilities.rank_zero import rank_zero_only

    from mld.training import sharded_strategy
    from mld.training.module import TrainingModule

    def end() -> None:
        if rank_zero_only.rank == rank:
            Path(sys.argv[1]).with_name(KILLED).write_text(str(time.time()))
            os.kill(os.getpid(), signal.SIGKILL)

    if not writing:
        train = TrainingModule.training_step
        TrainingModule.training_step = lambda self, *given: (self.global_step == step and end()) or train(self, *given)
        return
    save = sharded_strategy.save_tensors

    def half(tensors, folder):
        if f"step_{step:08d}" in folder.name:
            (folder / f"__{rank_zero_only.rank}_0.distcp").write_bytes(b"half")
            end()
        return save(tensors, folder)

    sharded_strategy.save_tensors = half


def main(file: Path) -> None:
    from mld.training.run_config import load_runs
    from mld.training.run_folder import open_run
    from mld.training.stages import resume, run_stages

    for run in json.loads(file.read_text()):
        if "kill" in run:
            deadly(**run["kill"])
        if "resume" in run:
            folder = open_run(run["resume"])
            resume(folder.path, folder.resumed(run["overrides"]))
        else:
            run_stages(load_runs(run["cfg"], run["overrides"]))


if __name__ == "__main__":
    from commands.common import run

    atexit.register(tell)  # called after what is registered later
    sys.exit(run(lambda given: main(Path(given[0]))))
