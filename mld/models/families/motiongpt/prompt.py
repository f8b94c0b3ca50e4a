"""Prompts with features of a frozen text encoder before their ids, and their twins without words, for guidance.

The language model's own pieces know the captions that it was trained on. Features of a sentence encoder put other words
where their likes are, so that a wording nobody wrote down is understood, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mld.models.backbones.layers import LogitSteps


@dataclass(frozen=True, eq=False)
class ReadPrompt:
    """ids: of the prompt, separator included. rows (S, Z): features of its words, if there is a text encoder. bare: the
    same without words, where answers are guided."""

    ids: list[int]
    rows: Tensor | None = None
    bare: ReadPrompt | None = None

    def __len__(self) -> int:
        return len(self.ids) + (0 if self.rows is None else len(self.rows))


class GuidedSteps:
    """Steps of prompts and of the same prompts without words: the logits lead away from the latter by `scale`, as
    classifier-free guidance does for noise (Ho and Salimans 2022)."""

    def __init__(self, said: LogitSteps, bare: LogitSteps, scale: float) -> None:
        self.said, self.bare, self.scale = said, bare, scale

    @torch.no_grad()
    def step(self, ids: Tensor | None) -> Tensor:
        said, bare = (torch.log_softmax(steps.step(ids), -1) for steps in (self.said, self.bare))
        return bare + self.scale * (said - bare)

    def keep(self, rows: Tensor) -> None:
        self.said.keep(rows)
        self.bare.keep(rows)


def split(prompts: Sequence[list[int] | ReadPrompt]) -> tuple[Any, ...]:
    """Ids and, where there are any, features of prompts: what a backbone is started with."""
    ids = [prompt.ids if isinstance(prompt, ReadPrompt) else prompt for prompt in prompts]
    rows = [prompt.rows for prompt in prompts if isinstance(prompt, ReadPrompt) and prompt.rows is not None]
    return (ids, rows) if rows else (ids,)


def bare(prompts: Sequence[list[int] | ReadPrompt]) -> list[list[int] | ReadPrompt] | None:
    """The prompts without words, those that have none as they are; none where no answer is guided."""
    found = [getattr(prompt, "bare", None) for prompt in prompts]
    return [twin or prompt for twin, prompt in zip(found, prompts)] if any(found) else None
