"""What both backbones share: padding, growing embeddings for new tokens, and steps without a cache.

`LogitSteps` are one batch of answers in the making: `step(ids)` appends one token per row (None: nothing yet) and gives
the logits (B, V) of the next one; `keep(rows)` drops finished rows. `Recompute` runs the whole network at each step:
slow and obvious, it is the oracle of the cached decodings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from mld.errors import ConfigError

IGNORE = -100  # a label that does not count


class LogitSteps(Protocol):
    def step(self, ids: Tensor | None) -> Tensor: ...

    def keep(self, rows: Tensor) -> None: ...


def pad(rows: Sequence[Sequence[int]], value: int, device: torch.device, left: bool = False) -> tuple[Tensor, Tensor]:
    """Ragged ids as a tensor (B, L) and its mask (B, L) bool; padding stands right, or left."""
    length = max(len(row) for row in rows)
    ids = torch.full((len(rows), length), value, dtype=torch.long)
    mask = torch.zeros(len(rows), length, dtype=torch.bool)
    for i, row in enumerate(rows):
        span = slice(length - len(row), length) if left else slice(0, len(row))
        ids[i, span] = torch.tensor(row, dtype=torch.long)
        mask[i, span] = True
    return ids.to(device), mask.to(device)


def grown(weight: Tensor, size: int, init: str, std: float) -> nn.Parameter:
    """`weight` (N, D) cut or extended to `size` rows. New rows: "normal" = N(0, std), "mean" = the mean of the old
    rows with a little noise (what recent transformers versions do)."""
    old = weight.detach()[:size].float()
    shape = (size - len(old), weight.shape[1])
    if init == "normal":
        new = torch.randn(shape, device=old.device) * std
    elif init == "mean":
        new = old.mean(0) + 1e-4 * torch.randn(shape, device=old.device)
    else:
        raise ConfigError(f"new_token_init '{init}' is not one of normal, mean")
    return nn.Parameter(torch.cat((old, new)))


class WordReader(nn.Sequential):
    """Features (..., Z) of a frozen text encoder as embeddings (..., width). std: of their numbers at the start."""

    def __init__(self, features: int, width: int, std: float) -> None:
        linear = nn.Linear(features, width)
        nn.init.normal_(linear.weight, std=std * features**-0.5)
        nn.init.zeros_(linear.bias)
        super().__init__(nn.LayerNorm(features, elementwise_affine=False), linear)


class Recompute:
    """Steps without a cache; `backbone.next_logits(prompts, answers)` sees everything at each step. features: (R, Z) of
    words, as a third argument, of a backbone that reads such."""

    def __init__(
        self, backbone, prompts: Sequence[Sequence[int]], features: Sequence[Tensor] | None = None
    ) -> None:
        self.backbone = backbone
        self.prompts = [list(prompt) for prompt in prompts]
        self.features = None if features is None else list(features)
        self.answers: list[list[int]] = [[] for _ in prompts]

    def step(self, ids: Tensor | None) -> Tensor:
        if ids is not None:
            for answer, token in zip(self.answers, ids.tolist(), strict=True):
                answer.append(token)
        read = () if self.features is None else (self.features,)
        return self.backbone.next_logits(self.prompts, self.answers, *read)

    def keep(self, rows: Tensor) -> None:
        self.prompts = [self.prompts[i] for i in rows.tolist()]
        self.answers = [self.answers[i] for i in rows.tolist()]
        self.features = None if self.features is None else [self.features[i] for i in rows.tolist()]
