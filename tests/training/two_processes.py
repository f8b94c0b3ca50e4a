"""Training runs one after the other in two processes on the CPU: `python -m tests.training.two_processes FILE`.

The file lists runs in JSON: `{"cfg": path, "overrides": [...]}`, or `{"resume": folder, "overrides": [...]}`. The
trainer starts the second process, with the same command. Each says at last whether it has let go of the other."""

from __future__ import annotations

import atexit
import json
import sys
from pathlib import Path

import torch

from mld.training.run_config import load_runs
from mld.training.run_folder import open_run
from mld.training.stages import resume, run_stages


def tell() -> None:
    print("connection", "open" if torch.distributed.is_initialized() else "closed", flush=True)


if __name__ == "__main__":
    atexit.register(tell)  # called after what is registered later
    for run in json.loads(Path(sys.argv[1]).read_text()):
        if "resume" in run:
            folder = open_run(run["resume"])
            resume(folder.path, folder.resumed(run["overrides"]))
        else:
            run_stages(load_runs(run["cfg"], run["overrides"]))
