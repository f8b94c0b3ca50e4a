"""Two processes learn what one learns: copies of the network (DDP), and a network cut into shards (FSDP2)."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mld.training.run_config import load_runs
from mld.training.run_folder import open_run
from mld.training.stages import resume, run_stages
from tests.training.two_processes import in_two

# A codebook learned by gradient: one that is seated starts from the rows of process 0. Windows of one length: the mean
# over a batch is then the mean over its halves.
SETTINGS = [
    "tokenizer.quantizer=orig", "training.samples=0", "training.ema=0.9", "training.gradient_clip=0.05",
    "training.scheduler.name=constant", "training.optimizer.name=AdamW",
]  # fmt: skip
TWO = ["training.parallel.devices=2", "data.batch_size=2"]
CLOSE = {"rtol": 2e-4, "atol": 2e-5}  # sums of halves are rounded otherwise


def losses(folder: Path, name: str) -> list[float]:
    with open(folder / "metrics.csv", newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def assert_close(one: Path, other: Path) -> None:
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        torch.testing.assert_close(theirs[key], value, **CLOSE, msg=key)


def last_state(folder: Path) -> dict:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def moments(state: dict) -> list[torch.Tensor]:
    entries = state["optimizer_states"][0]["state"]
    return [entries[number][key] for number in sorted(entries) for key in sorted(entries[number])]


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_processes_equal_one_and_go_on_exactly(configs, tmp_path, strategy):
    cfg, runs = str(configs / "tokenizer.yaml"), configs / "runs"
    two = [*SETTINGS, *TWO, f"training.parallel.strategy={strategy}"]
    run_stages(load_runs(cfg, [*SETTINGS, "name=one"]))
    run_stages(load_runs(cfg, [*SETTINGS, "name=begun", "training.max_steps=2"]))
    in_two(
        tmp_path,
        {"cfg": cfg, "overrides": [*two, "name=two"]},
        {"cfg": cfg, "overrides": [*two, "name=half", "training.max_steps=3"]},
        {"resume": str(runs / "half"), "overrides": ["training.max_steps=6"]},
        {"resume": str(runs / "begun"), "overrides": ["training.max_steps=4", TWO[0], two[-1]]},
    )
    # one process and two; what is logged in training is the loss of process 0, of its part of the batch
    assert_close(runs / "one", runs / "two")
    one, other = losses(runs / "one", "val/loss"), losses(runs / "two", "val/loss")
    assert len(one) == 3 and one == pytest.approx(other, rel=0.02), "two processes weigh clips a little otherwise"
    used = [losses(runs / name, "val/codebook_used") for name in ("one", "two")]
    assert used[0] == used[1] and min(used[0]) > 0, "codes of both processes are counted together"
    assert len(losses(runs / "two", "val/code_perplexity")) == 3 <= 3 * min(losses(runs / "two", "val/code_perplexity"))
    states = [last_state(runs / name) for name in ("one", "two", "half")]
    assert states[0]["state_dict"].keys() == states[1]["state_dict"].keys()
    for ours, theirs in zip(moments(states[0]), moments(states[1]), strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE)
    # two, interrupted, and two again
    straight, halved = weights(runs / "two"), weights(runs / "half")
    assert all(torch.equal(value, halved[key]) for key, value in straight.items())
    assert len(moments(states[1])) > 10
    assert all(torch.equal(a, b) for a, b in zip(moments(states[1]), moments(states[2]), strict=True))
    # one and then two, two and then one
    assert open_run(runs / "begun").progress.step == 4
    run = open_run(runs / "two")
    resume(run.path, run.resumed(["training.max_steps=7", "training.parallel={devices: 1, strategy: auto}"]))
    assert run.progress.step == 7


def generator(configs: Path) -> list[str]:
    """Settings of a generator over a frozen tokenizer; a batch may hold but one of its tasks."""
    short = ["training.max_steps=2", "training.samples=0"]
    folder = run_stages(load_runs(configs / "vae.yaml", short))[0]
    return [f"init_from={folder}", "training.ema=0.9", "training.samples=1", "data.batch_size=1"]


def test_a_flow_whose_rows_follow_texts_or_references_goes_on_exactly(configs, tmp_path):
    """A process may have rows of one kind alone: weights of the other kind still agree."""
    cfg, runs = str(configs / "flow.yaml"), configs / "runs"
    two = [*TWO, "training.parallel.strategy=fsdp2", "training.samples=0", "training.scheduler.name=constant",
           "data.batch_size=1", "training.activation_checkpointing=true"]  # fmt: skip
    in_two(
        tmp_path,
        {"cfg": cfg, "overrides": [*two, "name=whole", "training.max_steps=4"]},
        {"cfg": cfg, "overrides": [*two, "name=half", "training.max_steps=2"]},
        {"resume": str(runs / "half"), "overrides": ["training.max_steps=4"]},
    )
    straight, halved = weights(runs / "whole"), weights(runs / "half")
    assert all(torch.equal(value, halved[key]) for key, value in straight.items())
    states = [last_state(runs / name) for name in ("whole", "half")]
    assert len(moments(states[0])) > 20
    assert all(torch.equal(a, b) for a, b in zip(*map(moments, states), strict=True))


def test_a_network_with_frozen_parts_changes_the_number_of_processes(configs, tmp_path):
    """Shards, pictures and answers in the middle of them, and a run that goes on in another number of processes."""
    cfg, runs, settings = str(configs / "latents.yaml"), configs / "runs", generator(configs)
    sharded = [*settings, "training.parallel.devices=2", "training.parallel.strategy=fsdp2"]
    run_stages(load_runs(cfg, [*settings, "name=one", "training.max_steps=2"]))
    in_two(
        tmp_path,
        {"cfg": cfg, "overrides": [*sharded, "name=two", "training.max_steps=2"]},
        {"resume": str(runs / "one"), "overrides": ["training.max_steps=4", *sharded[-2:]]},
    )
    states = [last_state(runs / name) for name in ("one", "two")]
    assert [state["global_step"] for state in states] == [4, 2]
    assert states[0]["state_dict"].keys() == states[1]["state_dict"].keys()
    for state in states:
        assert all(tensor.isfinite().all() for tensor in moments(state))
    tokenizer = weights(configs / "runs" / "vae")
    for name in ("one", "two"):
        found = weights(runs / name)
        assert all(torch.equal(value, found[f"tokenizer.{key}"]) for key, value in tokenizer.items())
    run = open_run(runs / "two")
    one_again = ["training.max_steps=4", "training.parallel.devices=1", "training.parallel.strategy=auto"]
    resume(run.path, run.resumed(one_again))
    assert run.progress.step == 4 and (run.samples / "step_00000004.png").is_file()
