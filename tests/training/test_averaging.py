"""Averaged weights: the numbers of torch's averaged copy of a network, kept of what training changes alone."""

from __future__ import annotations

import copy

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from mld.training import callbacks
from mld.training.averaging import AveragedWeights, changing
from mld.training.callbacks import Stopped
from mld.training.run_config import load_runs
from mld.training.stages import run_stages
from tests.training.test_resume import stop_after


class Small(nn.Module):
    """A part that is trained, one that is frozen with a buffer in it, and buffers that training changes."""

    def __init__(self) -> None:
        super().__init__()
        self.trained, self.frozen = nn.Linear(3, 2), nn.BatchNorm1d(3).requires_grad_(False)
        self.bare = nn.Module()
        self.bare.register_buffer("codebook", torch.randn(4, 2))
        self.register_buffer("count", torch.tensor(0))
        self.register_buffer("table", torch.ones(2), persistent=False)

    def change(self, step: int) -> None:
        with torch.no_grad():
            for tensor in (*self.trained.parameters(), self.bare.codebook):
                tensor.add_(torch.randn_like(tensor))
        self.count.fill_(step)


def reference(network: nn.Module, decay: float) -> AveragedModel:
    """A whole second network that follows the first one."""

    def update(average, current, updates):
        number = int(updates)
        weight = 1.0 - min(decay, (1 + number) / (10 + number))
        for one, other in zip(average, current):
            if one.is_floating_point():
                one.lerp_(other.to(one), weight)
            else:
                one.copy_(other)

    return AveragedModel(network, multi_avg_fn=update, use_buffers=True)


def test_numbers_are_those_of_a_whole_second_network():
    torch.manual_seed(0)
    network = Small()
    twin, averaged = reference(network, 0.9), AveragedWeights(network, 0.9)
    for step in range(30):
        network.change(step)
        twin.update_parameters(network)
        averaged.update()
    trained = copy.deepcopy(network.state_dict())
    with averaged.applied(), averaged.applied():
        for key, value in twin.module.state_dict().items():
            assert torch.equal(network.state_dict()[key], value), key
    assert all(torch.equal(network.state_dict()[key], value) for key, value in trained.items())
    assert not torch.equal(twin.module.trained.weight, trained["trained.weight"])


def test_only_what_training_changes_is_kept():
    assert changing(Small()).keys() == {"trained.weight", "trained.bias", "bare.codebook"}


def test_averages_of_half_precision_keep_their_digits():
    network = nn.Linear(1, 1, bias=False).bfloat16()
    averaged = AveragedWeights(network, 0.999)
    for step in range(40):
        with torch.no_grad():
            network.weight.fill_(1 + (step % 2))
        averaged.update()
    kept = averaged.averages["weight"].clone()
    assert kept.dtype == torch.float32 and float(kept) != float(kept.bfloat16())
    with averaged.applied():
        assert network.weight.dtype == torch.bfloat16 and network.weight.item() == float(kept.bfloat16())
    assert network.weight.item() == 2 and torch.equal(averaged.averages["weight"], kept)


def test_a_saved_state_goes_on_and_so_does_that_of_earlier_versions():
    torch.manual_seed(0)
    network = Small()
    twin, averaged = reference(network, 0.9), AveragedWeights(network, 0.9)
    for step in range(5):
        network.change(step)
        twin.update_parameters(network)
        averaged.update()
    other = AveragedWeights(network, 0.9)
    other.load_state_dict(averaged.state_dict())
    for one in (averaged, other):
        one.update()
    assert all(torch.equal(value, other.averages[name]) for name, value in averaged.averages.items())


def test_a_run_with_averages_goes_on_from_a_checkpoint_of_earlier_versions(configs, tmp_path, monkeypatch):
    """There the averages were a second network within the weights."""
    settings = ["training.ema=0.9", "training.samples=0"]
    run_stages(load_runs(configs / "tokenizer.yaml", [*settings, f"output={tmp_path / 'straight'}"]))
    broken = load_runs(configs / "tokenizer.yaml", settings)
    with monkeypatch.context() as patch:
        stop_after(patch, step=3)
        with pytest.raises(Stopped):
            run_stages(broken)
    file = broken[0].folder / "checkpoints" / "last.ckpt"
    state = torch.load(file, weights_only=True)
    old = state.pop("averaged")
    whole = {**{key.removeprefix("network."): value for key, value in state["state_dict"].items()}, **old["averages"]}
    state["state_dict"] |= {f"averaged.module.{key}": value for key, value in whole.items()}
    state["state_dict"]["averaged.n_averaged"] = torch.tensor(old["updates"])
    torch.save(state, file)
    run_stages(broken)
    one, other = (load_file(f / "tokenizer/model/model.safetensors") for f in (tmp_path / "straight", configs / "runs"))
    assert all(torch.equal(value, other[key]) for key, value in one.items())


def test_validation_and_export_have_averages_and_the_checkpoint_has_weights(configs, monkeypatch):
    seen = []
    original = callbacks.Evaluating.on_validation_end

    def look(self, trainer, module):
        seen.append({key: value.clone() for key, value in module.network.state_dict().items()})
        original(self, trainer, module)

    monkeypatch.setattr(callbacks.Evaluating, "on_validation_end", look)
    runs = load_runs(configs / "tokenizer.yaml", ["training.ema=0.9"])
    run_stages(runs)
    exported = load_file(runs[0].folder / "model" / "model.safetensors")
    state = torch.load(runs[0].folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert all(torch.equal(seen[-1][key], value) for key, value in exported.items())
    for key, value in state["averaged"]["averages"].items():
        assert torch.equal(exported[key], value)
        if key.endswith(".weight"):  # statistics are their own average
            assert not torch.equal(state["state_dict"][f"network.{key}"], value)
