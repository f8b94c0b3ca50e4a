"""ViMoGen's transformer with random weights, for benchmarks: samples by the published loop and by the fast way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from mld.models.backbones.dit import DiT, DiTConfig
from mld.models.families.vimogen.guidance import Exact, Faithful
from mld.models.heads.flow import sigmas, solve
from mld.padding import mask_of

SIZES = {
    "middle": DiTConfig(layers=8, reference_layers=4, heads=4, width=512, ffn=2986),
    "slice": DiTConfig(layers=2, reference_layers=1),  # of the published width
    "published": DiTConfig(),
}
BRANCHES = ("text", "reference", "mixed")
GUIDANCE, SHIFT, STRENGTH = 5.0, 5.0, 0.7
WORDS = 104  # features of a usual detailed prompt (vimogen spec 7)


def untrained(size: str) -> DiT:
    torch.manual_seed(0)
    return DiT(SIZES[size]).eval()


def ways(dit: DiT, branch: str, lengths: Sequence[int], steps: int) -> dict[str, Callable[[], Tensor]]:
    """The two ways from noise to frames (B, T, C) of so many rows, in so many Euler steps."""
    torch.manual_seed(1)
    c, mask = dit.config, mask_of(lengths)
    led = [branch == "reference" or (branch == "mixed" and row % 2 == 1) for row in range(len(lengths))]
    references = [torch.randn(length, c.reference_channels) if by else None for by, length in zip(led, lengths)]
    texts = [torch.randn(WORDS, c.text_width) for _ in lengths]
    null, noise = torch.randn(1, c.text_width), torch.randn(*mask.shape, c.channels)
    levels = sigmas(steps, SHIFT, STRENGTH)

    def made(way: type[Faithful] | type[Exact]) -> Tensor:
        with torch.no_grad():
            velocity = way(dit, texts, null, references, mask, GUIDANCE)
            return solve(velocity, noise, levels)[mask]

    return {"faithful": partial(made, Faithful), "exact": partial(made, Exact)}
