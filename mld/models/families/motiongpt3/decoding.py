"""Answers of the two-branch model: text one token per row and step, motion at once (MotionGPT3 spec 3.6).

`TwoBranchDecoding` keeps keys and values; `TwoBranchRecompute` runs everything anew at each step and is its oracle.
Prompts stand at the right end (left padding) and positions count real tokens, so an answer does not depend on its
batch. The published code does the same for text; for motion, which is one pass, padding stands on the right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from mld.models.backbones.mot_gpt2 import MoTGPT2
from mld.models.contracts.sampling import StepHook
from mld.models.families.motiongpt3.batch import Batch, Collator
from mld.models.families.motiongpt3.layout import Prompt
from mld.models.noise import RowNoise

TEXT = 0


class TwoBranchModel(Protocol):
    """What decoding needs of the model."""

    language_model: MoTGPT2
    device: torch.device
    collate: Collator

    def embeddings(self, batch: Batch) -> Tensor: ...

    def text_embeddings(self, ids: Tensor) -> Tensor: ...

    def hidden(self, batch: Batch) -> Tensor: ...

    def text_logits(self, hidden: Tensor) -> Tensor: ...

    def condition(self, prompts: Sequence[Prompt]) -> Tensor: ...

    def frames(self, prompts: Sequence[Prompt], condition: Tensor, seeds: Sequence[int]) -> list[int]: ...

    def sample(self, condition: Tensor, seeds: Sequence[int], on_step: StepHook | None = None) -> Tensor: ...


class TwoBranchDecoding:
    """batch: prompts, padded on the left."""

    def __init__(self, model: TwoBranchModel, batch: Batch) -> None:
        self.model, self.batch = model, batch
        self.mask = batch.mask
        self.cache = model.language_model.new_cache()

    @torch.no_grad()
    def step(self, ids: Tensor | None) -> Tensor:
        """Logits (B, V) of the next token, after `ids` (B,) have been appended; None for the first step."""
        if ids is None:
            embeddings, types = self.model.embeddings(self.batch), self.batch.computed
            positions = (self.mask.cumsum(1) - 1).masked_fill(~self.mask, 1)
        else:
            embeddings, types = self.model.text_embeddings(ids[:, None]), TEXT
            positions = self.mask.sum(1, keepdim=True)
            self.mask = torch.cat((self.mask, torch.ones_like(self.mask[:, :1])), 1)
        self.model.language_model.check_length(int(positions.max()) + 1)
        hidden = self.model.language_model(embeddings, types, self.mask, positions, self.cache)
        return self.model.text_logits(hidden[:, -1])

    def keep(self, rows: Tensor) -> None:
        if self.cache.length == 0:
            raise ValueError("rows can be dropped after the first step")
        self.mask = self.mask[rows]
        self.cache.keep(rows)


class TwoBranchRecompute:
    """The same answers without a cache; padding stands on the right."""

    def __init__(self, model: TwoBranchModel, prompts: Sequence[Prompt]) -> None:
        self.model, self.prompts = model, list(prompts)

    @torch.no_grad()
    def step(self, ids: Tensor | None) -> Tensor:
        new = [()] * len(self.prompts) if ids is None else [(token,) for token in ids.tolist()]
        self.prompts = [
            replace(prompt, ids=(*prompt.ids, *token)) for prompt, token in zip(self.prompts, new)
        ]
        batch = self.model.collate(self.prompts, self.model.device)
        last = batch.mask.sum(1) - 1
        return self.model.text_logits(self.model.hidden(batch)[torch.arange(len(last), device=last.device), last])

    def keep(self, rows: Tensor) -> None:
        self.prompts = [self.prompts[i] for i in rows.tolist()]


class ClipDenoising:
    """Motions as latents of whole clips: one pass over the prompts, then one run of the head."""

    def __init__(self, model: TwoBranchModel, prompts: Sequence[Prompt]) -> None:
        self.model, self.prompts = model, prompts
        self.condition = model.condition(prompts)

    def lengths(self, noise: RowNoise) -> list[int]:
        return self.model.frames(self.prompts, self.condition, noise.seeds)

    def sample(self, mask: Tensor, noise: RowNoise, on_step: StepHook | None = None) -> Tensor:
        return self.model.sample(self.condition, noise.seeds, on_step)
