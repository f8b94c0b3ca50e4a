"""Small transformers on frames, and what their rows follow, for tests."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mld.models.backbones.dit import DiT, DiTConfig
from mld.padding import mask_of

SMALL = {"layers": 2, "reference_layers": 1, "heads": 2, "width": 16, "ffn": 40, "channels": 12,
         "reference_channels": 7, "text_width": 10, "time_waves": 8, "positions": 64}  # fmt: skip


def small_dit(seed: int = 0, **sizes: int) -> DiT:
    """In eval mode; no weight is 0 or 1, so that all of them count."""
    torch.manual_seed(seed)
    dit = DiT(DiTConfig(**{**SMALL, **sizes})).eval()
    with torch.no_grad():
        for parameter in dit.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return dit


@dataclass
class Rows:
    """A batch: states (B, T, C), masks (B, T), texts (S, Z), references (T_b, R) or None."""

    state: Tensor
    mask: Tensor
    texts: list[Tensor]
    references: list[Tensor | None]

    def row(self, index: int) -> Rows:
        """A row alone, without padding."""
        frames = int(self.mask[index].sum())
        return Rows(self.state[index : index + 1, :frames], self.mask[index : index + 1, :frames],
                    [self.texts[index]], [self.references[index]])  # fmt: skip


def rows_of(dit: DiT, lengths: list[int], words: list[int | None], seed: int = 1) -> Rows:
    """Rows of so many frames that follow a text of so many words, or a reference where that is None."""
    torch.manual_seed(seed)
    c = dit.config
    state = torch.randn(len(lengths), max(lengths), c.channels)
    texts = [torch.randn(count or 0, c.text_width) for count in words]
    references = [torch.randn(length, c.reference_channels) if count is None else None
                  for length, count in zip(lengths, words)]  # fmt: skip
    return Rows(state, mask_of(lengths), texts, references)
