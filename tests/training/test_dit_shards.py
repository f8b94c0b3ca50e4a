"""The transformer on frames in shards: one process has rows by texts, the other by references. Blocks that compute
twice."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.utils.checkpoint import checkpoint

from mld.models.backbones.dit import DiT
from mld.models.backbones.dit_blocks import DiTBlock
from tests.models.dits import small_dit
from tests.processes import together

TEXTS, REFERENCES = [True, True], [False, False]


def loss(dit: DiT, by_text: list[bool]) -> torch.Tensor:
    torch.manual_seed(7)
    c, rows = dit.config, len(by_text)
    frames, reference = torch.randn(rows, 9, c.channels), torch.randn(rows, 9, c.reference_channels)
    texts, t = torch.randn(rows, 5, c.text_width), torch.linspace(100, 900, rows)
    return dit(frames, t, texts, reference, by_text=torch.tensor(by_text)).square().mean()


def gradients(dit: DiT) -> dict[str, torch.Tensor]:
    return {name: parameter.grad for name, parameter in dit.named_parameters()}


def process(rank: int, folder: Path) -> None:
    """One of two; the first writes what gradients became of both."""
    mesh, dit = init_device_mesh("cpu", (2,)), small_dit().train()
    for unit in [module for module in dit.modules() if isinstance(module, DiTBlock)]:
        fully_shard(unit, mesh=mesh)
    fully_shard(dit, mesh=mesh)
    loss(dit, REFERENCES if rank else TEXTS).backward()
    found = {name: grad.full_tensor() for name, grad in gradients(dit).items()}
    with torch.no_grad():
        seen = loss(dit.eval(), REFERENCES if rank else TEXTS)
    dist.all_reduce(seen)
    if not rank:
        torch.save((found, seen), folder / "gradients.pt")


def test_processes_whose_rows_follow_different_things_agree(tmp_path: Path) -> None:
    """In training and in validation. Without a part for weights that nobody needs they would wait for each other
    without an end."""
    together(process, tmp_path)
    dit = small_dit().train()
    ((loss(dit, TEXTS) + loss(dit, REFERENCES)) / 2).backward()
    found, seen = torch.load(tmp_path / "gradients.pt")
    with torch.no_grad():
        torch.testing.assert_close(seen, loss(dit, TEXTS) + loss(dit, REFERENCES))
    for name, wanted in gradients(dit).items():
        torch.testing.assert_close(found[name], wanted, atol=1e-6, rtol=1e-5, msg=name)


@pytest.mark.parametrize("by_text", [TEXTS, REFERENCES, [True, False]])
def test_blocks_that_compute_twice_learn_the_same(by_text: list[bool]) -> None:
    plain, twice = small_dit().train(), small_dit().train()
    for unit in twice.modules():
        if isinstance(unit, DiTBlock):
            unit.forward = functools.partial(checkpoint, unit.forward, use_reentrant=False)
    losses = []
    for dit in (plain, twice):
        losses.append(loss(dit, by_text))
        losses[-1].backward()
    assert torch.equal(losses[0], losses[1])
    assert all(torch.equal(one, other) for one, other in zip(gradients(plain).values(), gradients(twice).values()))
