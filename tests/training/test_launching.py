"""Processes that torchrun or SLURM have started: one run, as many devices as there are processes, one line for all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mld.errors import ConfigError
from mld.training.launching import losing_others, placed
from mld.training.run_config import load_runs
from tests.training.test_two_processes import losses, weights
from tests.training.two_processes import ROOT, started

SETTINGS = ["tokenizer.quantizer=orig", "training.samples=0", "training.max_steps=2", "data.batch_size=2"]
SLURM = {
    "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "1", "SLURM_NODEID": "0", "SLURM_JOB_ID": "8843",
    "SLURM_NODELIST": "127.0.0.1", "SLURM_JOB_NAME": "train",
}  # fmt: skip


def in_slurm(config: Path, *more: list[str]) -> list[tuple[int, str]]:
    """Exit codes and errors of two tasks of a job, each with settings of its own."""
    tasks = []
    for rank, own in enumerate(more):
        told = {**os.environ, **SLURM, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "train", "--cfg", str(config), *SETTINGS, *own]
        tasks.append(subprocess.Popen(command, cwd=ROOT, env=told, text=True, stderr=subprocess.PIPE, stdout=-3))
    return [(task.returncode, errors) for task in tasks for errors in [task.communicate(timeout=300)[1]]]


def test_torchrun_and_slurm_train_one_run_of_two_processes(configs, tmp_path):
    cfg, runs = configs / "tokenizer.yaml", configs / "runs"
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "23917")
    done = started(tmp_path, {"cfg": str(cfg), "overrides": [*SETTINGS, "name=torchrun"]}, by=torchrun)
    assert done.returncode == 0, done.stderr
    for code, errors in in_slurm(cfg, ["name=slurm"], ["name=slurm"]):
        assert code == 0, errors
    assert losses(runs / "torchrun", "train/loss") == losses(runs / "slurm", "train/loss")
    one, other = weights(runs / "torchrun"), weights(runs / "slurm")
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    assert "devices: 2" in (runs / "slurm" / "config.yaml").read_text()


def test_a_process_without_its_data_ends_all_with_one_line(configs):
    (code, errors), (other, cause) = in_slurm(configs / "tokenizer.yaml", [], ["data.root=/nowhere"])
    assert code == other == 2 and "error: no dataset folder '/nowhere'" in cause
    assert "error: process 1, " in errors and "no dataset folder '/nowhere'" in errors and "Traceback" not in errors


def test_numbers_of_devices_that_cannot_be(configs, monkeypatch):
    def run(*more: str):
        return load_runs(configs / "tokenizer.yaml", list(more))[0]

    with monkeypatch.context() as patch:
        for name, value in SLURM.items():
            patch.setenv(name, value)
        patch.setenv("SLURM_PROCID", "0")
        assert placed(run()).training.parallel.devices == 2
        with pytest.raises(ConfigError, match=r"devices=4 num_nodes=1, but SLURM \(srun\) has started 2 processes on"):
            placed(run("training.parallel.devices=4"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match="devices is 4, this machine has 2 GPUs; set devices=2, or accelerator=cpu"):
        placed(run("training.parallel={devices: 4, accelerator: gpu}"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="accelerator is 'gpu', but torch sees none"):
        placed(run("training.parallel.accelerator=gpu"))


def test_other_errors_of_a_step_are_not_taken_for_a_lost_process():
    with pytest.raises(RuntimeError, match="mat1 and mat2"), losing_others("", True):
        torch.ones(2, 3) @ torch.ones(2, 3)
