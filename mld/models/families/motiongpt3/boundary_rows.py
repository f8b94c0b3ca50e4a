"""The last rows of a text table, trained on while the table itself is frozen (MotionGPT3 spec 6.1).

The published code keeps the rest still by zeroing its gradient, which any weight decay undoes. Here the rows are a
parameter of their own and the table needs no gradient at all. In a state dict they are part of the table.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TABLE = "language_model.transformer.wte.weight"


class BoundaryRows(nn.Module):
    """`count` rows that stand for the last ones of `table` (V, C)."""

    def __init__(self, table: Tensor, count: int) -> None:
        super().__init__()
        self.first = len(table) - count
        self.weight = nn.Parameter(table.detach()[self.first :].clone())

    def embed(self, ids: Tensor, text: Tensor, embeddings: Tensor) -> Tensor:
        """`embeddings` (B, T, C) of ids (B, T) with the rows put in; text (B, T): where ids are text."""
        inside = text & (ids >= self.first)
        rows = self.weight[(ids - self.first).clamp(0, len(self.weight) - 1)]
        return torch.where(inside[..., None], rows, embeddings)

    def logits(self, hidden: Tensor, logits: Tensor) -> Tensor:
        """`logits` (..., V) of hidden states (..., C) with the rows put in, in place."""
        logits[..., self.first :] = F.linear(hidden, self.weight).to(logits.dtype)
        return logits


def keep_in_table(model: nn.Module, name: str) -> None:
    """From now on the state dict of `model` has the rows of its part `name`, while there is one, in `TABLE`."""
    model.register_state_dict_post_hook(_Merge(name))
    model.register_load_state_dict_pre_hook(_Split(name))


class _Merge:
    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
        rows = state.pop(f"{prefix}{self.name}.weight", None)
        if rows is not None:
            table = state[prefix + TABLE].detach()
            state[prefix + TABLE] = torch.cat((table[: len(table) - len(rows)], rows.detach()))


class _Split(_Merge):
    def __call__(self, module: nn.Module, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        part = getattr(module, self.name)
        if part is not None and prefix + TABLE in state:
            state[f"{prefix}{self.name}.weight"] = state[prefix + TABLE][part.first :]
