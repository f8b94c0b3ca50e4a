"""States in shards, of a MotionMillion that two processes train: no process ever has one whole, and none is lost."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from mld.errors import CheckpointError
from mld.training.parallel import LARGE, writes_shards
from mld.training.run_config import ParallelConfig, load_runs
from mld.training.run_folder import RunFolder, open_run
from mld.training.sharded_state import joined
from mld.training.stages import check_weights, resume, run_stages
from tests.training.conftest import write_configs, write_dataset
from tests.training.test_two_processes import assert_close, last_state, losses, moments, weights
from tests.training.two_processes import KILLED, in_two, started

ROUNDED = 1e-6  # sums of halves are rounded otherwise
TWO = ["training.parallel.devices=2", "training.parallel.strategy=fsdp2", "data.batch_size=2"]
SHARDED = [*TWO, "training.parallel.checkpoint=sharded"]
AGAIN, BF16 = "training.activation_checkpointing=true", "training.parallel.precision=bf16-mixed"
ONE = ["training.parallel={devices: 1, strategy: auto}", "training.accumulate=2"]


@pytest.fixture(scope="module")
def million(tmp_path_factory) -> Path:
    """Configs of a MotionMillion over clips of as many codes each (long ones: of those no crop gives one up): the mean
    over a batch is then that over its halves."""
    folder = tmp_path_factory.mktemp("million")
    configs = write_configs(folder / "configs", write_dataset(folder / "data", growing=0))
    settings = ["training.max_steps=2", "training.samples=0", "tokenizer.down_t=4", "data.unit_length=16"]
    tokenizer = run_stages(load_runs(configs / "tokenizer.yaml", settings))[0]
    file = configs / "million.yaml"
    text = file.read_text().replace("instructions: stream,", "instructions: stream, unit_length: 16,")
    file.write_text(text + f"init_from: {tokenizer}\n")
    return configs


def whole(folder: Path) -> dict:
    return joined(last_state(folder), folder / "checkpoints" / "last.ckpt")


def assert_equal_states(one: dict, other: dict) -> None:
    assert one["state_dict"].keys() == other["state_dict"].keys() and len(moments(one)) > 20
    pairs = [*zip(moments(one), moments(other), strict=True)]
    pairs += [(value, other["state_dict"][key]) for key, value in one["state_dict"].items()]
    pairs += [(value, other["averaged"]["averages"][key]) for key, value in one["averaged"]["averages"].items()]
    assert all(torch.equal(a, b) for a, b in pairs)
    assert one["optimizer_states"][0]["param_groups"] == other["optimizer_states"][0]["param_groups"]
    assert [one[key] for key in ("TrainingData", "lr_schedulers", "progress")] == [
        other[key] for key in ("TrainingData", "lr_schedulers", "progress")
    ]


@pytest.fixture(scope="module")
def trained(million, tmp_path_factory) -> Path:
    """The folder of runs of one process and of two: by DDP, in shards with gathered states, and with states in shards,
    one of those interrupted; some compute their units twice, one in half precision, two change their processes."""
    cfg, runs = str(million / "million.yaml"), million / "runs"
    run_stages(load_runs(cfg, ["name=one"]))
    halves = ["data.batch_size=2", "training.accumulate=2"]  # four steps of an epoch of four and a half
    run_stages(load_runs(cfg, ["name=alone", "training.max_steps=4", *halves]))
    run_stages(load_runs(cfg, ["name=grown", "training.max_steps=2", *halves]))
    in_two(
        tmp_path_factory.mktemp("two"),
        {"cfg": cfg, "overrides": [*TWO, "name=ddp", "training.parallel.strategy=ddp", AGAIN]},
        {"cfg": cfg, "overrides": [*TWO, "name=gathered"]},
        {"cfg": cfg, "overrides": [*SHARDED, "name=sharded", "training.keep_checkpoints=2"]},
        {"cfg": cfg, "overrides": [*SHARDED, "name=half", "training.max_steps=3", AGAIN]},
        {"resume": str(runs / "half"), "overrides": ["training.max_steps=6"]},
        {"cfg": cfg, "overrides": [*SHARDED, "name=bf16", "training.max_steps=2", BF16, "training.samples=1"]},
        {"cfg": cfg, "overrides": [*SHARDED, "name=shrunk", "training.max_steps=2"]},
        {"resume": str(runs / "grown"), "overrides": ["training.max_steps=4", "training.accumulate=1", *TWO[:2]]},
    )
    return runs


def test_losses_of_two_are_those_of_one_and_no_state_is_lost(trained):
    runs = trained
    one = losses(runs / "one", "train/loss")
    assert len(one) == 6 and one[-1] < one[0]
    for name in ("ddp", "gathered", "sharded", "half"):
        assert losses(runs / name, "train/loss") == pytest.approx(one, abs=ROUNDED, rel=ROUNDED), name
        assert losses(runs / name, "val/loss") == pytest.approx(losses(runs / "one", "val/loss"), rel=ROUNDED), name
        assert_close(runs / "one", runs / name)
    folder = runs / "sharded" / "checkpoints"
    assert {path.name for path in folder.glob("*.shards")} == {"step_00000004.shards", "step_00000006.shards"}
    assert {path.name[:4] for path in (folder / "step_00000006.shards").glob("*.distcp")} == {"__0_", "__1_"}
    assert (folder / "last.ckpt").stat().st_size < 0.2 * (runs / "gathered/checkpoints/last.ckpt").stat().st_size
    for name in ("sharded", "half"):
        assert_equal_states(whole(runs / "gathered"), whole(runs / name))
        assert all(torch.equal(value, weights(runs / name)[key]) for key, value in weights(runs / "gathered").items())

    assert losses(runs / "bf16", "train/loss") == pytest.approx(one[:2], rel=2e-2)
    assert {value.dtype for value in weights(runs / "bf16").values()} >= {torch.float32}
    assert (runs / "bf16" / "samples" / "step_00000002.png").is_file()

    # one, then two; two, then one, which adds up the halves
    for curve in ("train/loss", "val/loss"):
        assert losses(runs / "grown", curve) == pytest.approx(losses(runs / "alone", curve), rel=ROUNDED)
    assert_close(runs / "alone", runs / "grown")
    run = open_run(runs / "shrunk")
    resume(run.path, run.resumed(["training.max_steps=4", *ONE]))
    assert losses(run.path, "train/loss") == pytest.approx(one[:4], rel=ROUNDED)
    assert losses(run.path, "val/loss") == pytest.approx(losses(runs / "one", "val/loss")[:2], rel=ROUNDED)


@pytest.mark.parametrize("writing", [False, True])
def test_a_process_that_is_killed_ends_the_other_and_loses_nothing(million, trained, tmp_path, writing):
    """`kill -9` of one process, in a step and in the middle of writing its shard of step 4."""
    cfg, runs = str(million / "million.yaml"), trained
    wanted = [*SHARDED, f"name=killed_{writing}"]
    deadly = {"rank": 1, "step": 4 if writing else 5, "writing": writing}
    done = started(tmp_path, {"cfg": cfg, "overrides": wanted, "kill": deadly})
    assert time.time() - float((tmp_path / KILLED).read_text()) < 60
    told = [line for line in done.stderr.splitlines() if "error: " in line or "Child process with PID" in line]
    # Lightning looks every five seconds whether a process has ended, and then ends what is left of the others
    assert done.returncode in (2, -9) and "Traceback" not in done.stderr
    assert told[0].startswith("error: another process of this run has ended") or "terminated with code -9" in told[0]
    run = RunFolder(runs / wanted[-1].partition("=")[2])
    assert run.progress.step == (2 if writing else 4)
    again = started(tmp_path, {"cfg": cfg, "overrides": wanted})
    assert again.returncode == 0, again.stderr
    assert {path.name for path in run.checkpoints.glob("*.shards")} <= {"step_00000006.shards", "step_00000004.shards"}
    assert not [path for path in run.checkpoints.rglob("*") if path.name.startswith(".step")]
    assert_equal_states(whole(runs / "gathered"), whole(run.path))


def test_damaged_shards_are_not_trained_on(trained, capsys):
    run = RunFolder(trained / "sharded")
    victim = next((run.checkpoints / "step_00000006.shards").glob("__1_*"))
    content = victim.read_bytes()
    victim.write_bytes(content[:3000] + bytes([content[3000] ^ 1]) + content[3001:])
    for file in (run.last, run.checkpoints / "step_00000006.ckpt"):
        file.touch()  # what a process has looked at it does not look at again
    open_run(run.path)
    assert f"last.ckpt: damaged (step_00000006.shards/{victim.name}); going on from" in capsys.readouterr().err
    assert run.progress.step == 4


def test_large_networks_are_written_in_shards():
    assert writes_shards(ParallelConfig(strategy="fsdp2"), LARGE)
    assert not writes_shards(ParallelConfig(strategy="fsdp2"), LARGE - 1)
    assert not writes_shards(ParallelConfig(strategy="fsdp2", checkpoint="whole"), LARGE)
    assert not writes_shards(ParallelConfig(strategy="ddp", devices=2), LARGE)


def test_a_state_of_another_size_is_told_of(trained):
    run = RunFolder(trained / "sharded")
    weights = {name: torch.empty(value.shape) for name, value in run.last_weights().items()}
    check_weights(run.last_weights(), weights, run.last)
    weights["network.embed.weight"] = torch.empty(17, 32)
    message = r"last.ckpt: of another network \(network.embed.weight is of shape \(18, 32\), here it is \(17, 32\)\)"
    with pytest.raises(CheckpointError, match=message):
        check_weights(run.last_weights(), weights, run.last)
