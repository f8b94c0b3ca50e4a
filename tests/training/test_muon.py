"""Muon: what its steps are, what it leaves to AdamW, and that processes share the work."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from mld.errors import ConfigError
from mld.training.muon import AS_ADAM, Muon, newton_schulz, shares
from mld.training.optimization import make_optimizer
from mld.training.run_config import OptimizerConfig, ParallelConfig, TrainingConfig
from tests.processes import together


class Reader(nn.Module):
    """A table, a matrix, a bias and a norm."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.layer, self.norm = nn.Embedding(40, 32), nn.Linear(32, 24), nn.LayerNorm(24)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.norm(self.layer(self.words(words)).relu())

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"all": list(self.parameters())}


def step_of(network: Reader, optimizer: torch.optim.Optimizer, seed: int) -> None:
    torch.manual_seed(seed)
    network(torch.randint(40, (8, 5))).square().mul(torch.randn(8, 5, 24)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize("shape", [(24, 24), (24, 60), (60, 24)])
def test_what_is_made_of_a_matrix_has_the_same_directions_and_singular_values_around_one(shape):
    torch.manual_seed(1)
    left, values, right = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    matrix = left @ torch.diag(torch.linspace(0.1, 3.0, len(values))) @ right
    made = newton_schulz(matrix)
    mixed = left.T @ made @ right.T
    assert (mixed - torch.diag(mixed.diagonal())).abs().max() < 1e-4
    assert (mixed.diagonal() > 0.65).all() and (mixed.diagonal() < 1.25).all()
    assert not newton_schulz(torch.zeros(shape)).any()


def test_the_first_step_of_a_matrix_is_its_orthogonal_gradient_as_large_as_a_step_of_adam():
    layer = nn.Linear(64, 32, bias=False)
    before = layer.weight.detach().clone()
    optimizer = Muon(layer.parameters(), lr=0.1, weight_decay=0.0)
    layer(torch.randn(10, 64)).square().sum().backward()
    wanted = newton_schulz(layer.weight.grad * (1 - 0.95 + 0.95 * (1 - 0.95)))
    optimizer.step()
    torch.testing.assert_close(layer.weight.detach(), before - 0.1 * AS_ADAM * 8.0 * wanted)
    full = nn.Linear(64, 64, bias=False)
    optimizer = Muon(full.parameters(), lr=0.1, weight_decay=0.0)
    before = full.weight.detach().clone()
    full(torch.randn(128, 64)).pow(2).sum().backward()
    optimizer.step()
    assert float((full.weight.detach() - before).square().mean().sqrt()) == pytest.approx(0.1 * AS_ADAM, rel=0.15)


def test_everything_else_takes_the_steps_of_adamw():
    params = {"lr": 0.02, "weight_decay": 0.1, "betas": [0.8, 0.95]}
    ours, theirs = Reader(), Reader()
    muon = make_optimizer(ours, OptimizerConfig("Muon", params))
    told = [(group["name"], group["matrices"]) for group in muon.param_groups]
    assert told == [("all", True), ("all, tables", False)]
    theirs.layer.weight.requires_grad_(False)
    adam = torch.optim.AdamW([p for p in theirs.parameters() if p.requires_grad], lr=0.02, weight_decay=0.1,
                             betas=(0.8, 0.95))  # fmt: skip
    for seed in range(4):
        with torch.no_grad():
            theirs.layer.weight.copy_(ours.layer.weight)
        step_of(ours, muon, seed)
        step_of(theirs, adam, seed)
    for name in ("words.weight", "layer.bias", "norm.weight", "norm.bias"):
        torch.testing.assert_close(ours.get_parameter(name), theirs.get_parameter(name), msg=name)


def test_it_goes_on_from_a_saved_state():
    whole, cut = Reader(), Reader()
    one, first = (make_optimizer(network, OptimizerConfig("Muon", {"lr": 0.05})) for network in (whole, cut))
    for seed in range(6):
        step_of(whole, one, seed)
    for seed in range(3):
        step_of(cut, first, seed)
    again = make_optimizer(cut, OptimizerConfig("Muon", {"lr": 0.05}))
    again.load_state_dict(first.state_dict())
    for seed in range(3, 6):
        step_of(cut, again, seed)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(cut.state_dict()[name], value, rtol=0, atol=0)


def after_three_steps() -> list[torch.Tensor]:
    more = nn.ModuleList([Reader(), nn.Linear(48, 80), nn.Linear(16, 30)])
    optimizer = Muon(more.parameters(), lr=0.05)
    for seed in range(3):
        torch.manual_seed(seed)
        for parameter in more.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
    return [parameter.detach() for parameter in more.parameters()]


def _both(rank: int, folder: Path) -> None:
    torch.save(after_three_steps(), folder / f"{rank}.pt")
    dist.barrier()


def test_processes_share_the_work_and_end_with_the_same_weights(tmp_path):
    together(_both, tmp_path)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for one, two, alone in zip(first, second, after_three_steps(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)
        torch.testing.assert_close(one, alone, rtol=1e-5, atol=1e-6)
    work = [9.0, 5.0, 4.0, 1.0, 1.0]
    owners = shares(work, 2)
    assert [sum(one for one, owner in zip(work, owners) if owner == rank) for rank in (0, 1)] == [10.0, 10.0]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"momentum": 1.0}, "momentum is 1.0"), ({"newton_steps": 0}, "newton_steps is 0"),
        ({"lr": -1.0}, "lr is -1.0"), ({"betas": [0.9, 1.0]}, "betas is 1.0"), ({"betas": [0.9]}, "betas are"),
        ({"newton_steps": 2.5}, "newton_steps is 2.5"), ({"lr": "high"}, "lr is 'high'"),
        ({"matrices": "no"}, "matrices is 'no'"),
    ],
)  # fmt: skip
def test_settings_are_checked_and_those_of_groups(params, message):
    with pytest.raises(ConfigError, match=message):
        make_optimizer(Reader(), OptimizerConfig("Muon", params))
    with pytest.raises(ConfigError, match=message):
        make_optimizer(Reader(), OptimizerConfig("Muon", {"lr": 0.1}, {"all": params}))


def test_shards_of_matrices_are_refused_before_anything_is_read():
    parallel = ParallelConfig(strategy="fsdp2", devices=2)
    with pytest.raises(ValueError, match="Muon needs whole matrices, fsdp2 has shards"):
        TrainingConfig(optimizer=OptimizerConfig("Muon", {"lr": 0.1}), parallel=parallel)


def test_settings_that_it_does_not_know_are_told():
    with pytest.raises(ConfigError, match="nesterov"):
        make_optimizer(Reader(), OptimizerConfig("Muon", {"nesterov": True}))


def test_a_kernel_is_a_matrix_with_a_row_for_each_channel_that_it_makes():
    kernel = nn.Conv1d(20, 32, 3, bias=False)
    before = kernel.weight.detach().clone()
    optimizer = Muon(kernel.parameters(), lr=0.1, weight_decay=0.0)
    kernel(torch.randn(4, 20, 9)).square().sum().backward()
    wanted = newton_schulz(kernel.weight.grad.flatten(1)).view(32, 20, 3)
    optimizer.step()
    torch.testing.assert_close(kernel.weight.detach(), before - 0.1 * AS_ADAM * 60**0.5 * wanted)
