"""What the transformer on frames keeps for the backward pass is what a formula says."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from mld.models.backbones.dit import DiT, DiTConfig
from mld.models.backbones.dit_blocks import DiTBlock
from mld.models.backbones.dit_memory import dit_bytes

ITEMS, FRAMES, WORDS = 6, 40, 64
SIZES = DiTConfig(4, 2, 4, 64, 256, 276, 138, 80, 32, positions=64)


def kept(by_text: bool, half: bool, again: bool, layers: int = SIZES.layers) -> int:
    """Bytes that a forward pass keeps besides weights and their copies in half precision."""
    torch.manual_seed(0)
    dit = DiT(replace(SIZES, layers=layers)).train()
    for unit in dit.modules():
        if again and isinstance(unit, DiTBlock):
            unit.forward = functools.partial(checkpoint, unit.forward, use_reentrant=False)
    own = {parameter.untyped_storage().data_ptr() for parameter in dit.parameters()}
    shapes = {tuple(p.shape) for p in dit.parameters()} | {tuple(p.t().shape) for p in dit.parameters() if p.ndim == 2}
    seen: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        seen.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    rows = torch.full((ITEMS,), by_text)
    reference = torch.randn(ITEMS, FRAMES, 138)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), torch.autocast("cpu", enabled=half):
        dit(torch.randn(ITEMS, FRAMES, 276), torch.rand(ITEMS), torch.randn(ITEMS, WORDS, 80), reference, by_text=rows)
    others = {place: one for place, one in seen.items() if place not in own and tuple(one.shape) not in shapes}
    return sum(one.untyped_storage().nbytes() for one in others.values())


@pytest.mark.parametrize("half", [False, True])
def test_activations_are_what_a_formula_says(half: bool) -> None:
    """Within a quarter, below: the CPU's norms keep a number more for each of theirs than those of a GPU. Of rows by
    references, which keep more; with activation checkpointing one block has yet to be computed a second time."""
    plain, twice = kept(False, half, False), kept(False, half, True)
    block = plain - kept(False, half, False, SIZES.layers - 1)
    assert plain > kept(True, half, False) and twice < 0.1 * plain
    said = [dit_bytes(SIZES, ITEMS, FRAMES, WORDS, half, again) for again in (False, True)]
    ratios = [said[0] / plain, said[1] / (twice + block)]
    assert all(0.75 < ratio <= 1.02 for ratio in ratios), ratios


def test_texts_alone_need_less() -> None:
    light = DiTConfig(4, 0, 4, 64, 256, 276, 0, 80, 32, positions=64)
    assert dit_bytes(light, ITEMS, FRAMES, 8, False, False) < dit_bytes(SIZES, ITEMS, FRAMES, 8, False, False)
    assert dit_bytes(light, ITEMS, FRAMES, 80, False, False) > dit_bytes(light, ITEMS, FRAMES, 8, False, False)
    assert dit_bytes(light, ITEMS, 900, 8, False, False) == dit_bytes(light, ITEMS, 64, 8, False, False)
