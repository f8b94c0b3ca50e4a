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
    """ids: of the prompt, separator included; they are its length. rows (S, Z): features of its words, if there is a
    text encoder, which have a limit of their own. bare: the same without words, where answers are guided."""

    ids: list[int]
    rows: Tensor | None = None
    bare: ReadPrompt | None = None

    def __len__(self) -> int:
        return len(self.ids)


class GuidedSteps:
    """Steps of prompts and, of those that are guided (B,) bool, of the same prompts without words: their logits lead
    away from the latter by `scale`, as classifier-free guidance does for noise (Ho and Salimans 2022). Those of other
    rows are as they are.

    bare: of the guided rows alone, at least one."""

    def __init__(self, said: LogitSteps, bare: LogitSteps, guided: Tensor, scale: float) -> None:
        self.said, self.bare, self.guided, self.scale = said, bare, guided, scale

    @torch.no_grad()
    def step(self, ids: Tensor | None) -> Tensor:
        logits = self.said.step(ids)
        places = self.guided.nonzero()[:, 0].to(logits.device)
        if not len(places):
            return logits
        bare = self.bare.step(None if ids is None else ids[places])
        said, bare = (torch.log_softmax(each, -1) for each in (logits[places], bare))
        return logits.index_add(0, places, (self.scale - 1) * (said - bare))

    def keep(self, rows: Tensor) -> None:
        self.said.keep(rows)
        rows = rows.to(self.guided.device)
        places, self.guided = self.guided.cumsum(0)[rows] - 1, self.guided[rows]
        if bool(self.guided.any()):
            self.bare.keep(places[self.guided])


def split(prompts: Sequence[list[int] | ReadPrompt]) -> tuple[Any, ...]:
    """Ids and, where there are any, features of prompts: what a backbone is started with. All have some, or none."""
    ids = [prompt.ids if isinstance(prompt, ReadPrompt) else prompt for prompt in prompts]
    rows = [prompt.rows for prompt in prompts if isinstance(prompt, ReadPrompt) and prompt.rows is not None]
    return (ids, rows) if rows else (ids,)


def bare_of(prompts: Sequence[list[int] | ReadPrompt]) -> list[ReadPrompt | None]:
    """The same prompts without words, none of those whose answers are not guided."""
    return [prompt.bare if isinstance(prompt, ReadPrompt) else None for prompt in prompts]
