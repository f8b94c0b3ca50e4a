"""From logits to tokens: filters, penalties, one draw per row; the decoding of every family that predicts logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mld.models.backbones.layers import LogitSteps
from mld.models.generation import GenerationSettings
from mld.models.grammar import Grammar
from mld.models.noise import RowNoise

FIRST_SORTED = (64, 4096)  # so many of the likeliest tokens does `nucleus` sort before all of them


class TokenDecoding:
    """A `Decoding` over a backbone's logits: a row's tokens are those that its grammar allows, until the one that ends
    it. Each row takes one uniform number per step, which the inverse of the cumulative distribution turns into a
    token."""

    def __init__(self, steps: LogitSteps, grammars: Sequence[Grammar], settings: GenerationSettings) -> None:
        self.steps, self.grammars, self.settings = steps, list(grammars), settings
        self.longest = settings.max_length
        self._count = 0
        self._written: Tensor | None = None  # (B, V) bool: the tokens that each row has

    def step(self, tokens: Tensor | None) -> Tensor:
        logits = self.steps.step(tokens)
        if self._written is None or tokens is None:
            self._written = torch.zeros_like(logits, dtype=torch.bool)
        else:
            self._written = self._written.scatter(1, tokens[:, None], True)
        return logits

    def draw(self, state: Tensor, noise: RowNoise) -> tuple[Tensor, Tensor]:
        logits = penalised(state, self._written, self.settings.repetition_penalty)
        allowed = torch.stack([grammar.allowed(self._count) for grammar in self.grammars]).to(logits.device)
        ids = choose(logits, allowed, noise.uniform(self._count).to(logits.device), self.settings)
        self._count += 1
        return ids, ids == torch.tensor([grammar.end_id for grammar in self.grammars], device=ids.device)

    def keep(self, rows: Tensor) -> None:
        self.steps.keep(rows)
        self.grammars = [self.grammars[row] for row in rows.tolist()]
        self._written = self._written[rows]


def choose(logits: Tensor, allowed: Tensor, uniform: Tensor, settings: GenerationSettings) -> Tensor:
    """One token (B,) from logits (B, V) among allowed (B, V) bool; uniform (B,) in [0, 1) decides when sampling."""
    logits = logits.double().masked_fill(~allowed, -torch.inf)
    if not settings.do_sample:
        return logits.argmax(-1)
    likelier = logits - logits.amax(-1, keepdim=True)  # at most 0: no temperature, however low, makes it infinite
    probabilities = torch.softmax(likelier / settings.temperature, dim=-1)
    cumulative = filtered(probabilities, settings.top_k, settings.top_p).cumsum(-1)
    target = uniform.to(cumulative)[:, None] * cumulative[:, -1:]
    return (cumulative <= target).sum(-1).clamp(max=logits.shape[-1] - 1)


def penalised(logits: Tensor, written: Tensor, penalty: float) -> Tensor:
    """Logits (B, V) with those of tokens that the answer has, written (B, V) bool, made `penalty` times less likely:
    divided where positive, multiplied where negative (CTRL, Keskar et al. 2019, section 4.1)."""
    if penalty == 1.0:
        return logits
    return torch.where(written, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def filtered(probabilities: Tensor, top_k: int, top_p: float) -> Tensor:
    """Keep the `top_k` likeliest tokens (0: all) and those as likely, then the fewest of them that hold `top_p` of
    the mass (1: all).

    probabilities (B, V); the result keeps its places and need not sum to 1."""
    if 0 < top_k < probabilities.shape[-1]:
        least = probabilities.topk(top_k, dim=-1).values[:, -1:]
        probabilities = probabilities.masked_fill(probabilities < least, 0.0)
    return nucleus(probabilities, top_p) if top_p < 1.0 else probabilities


def nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """Keep a token while the likelier ones, of equal ones those with lower ids, hold less than `top_p` of the mass.

    The likeliest few mostly hold enough: more of the 64,001 of a large vocabulary are sorted only where they do not."""
    wanted = top_p * probabilities.sum(-1, keepdim=True)
    for count in (*FIRST_SORTED, probabilities.shape[-1]):
        if count < probabilities.shape[-1]:
            ordered = probabilities.topk(count, dim=-1).values
        else:
            ordered = probabilities.sort(dim=-1, descending=True).values
        held = ordered.cumsum(-1)
        if bool((held[:, -1:] >= wanted).all()):
            break
    before = torch.cat((torch.zeros_like(held[:, :1]), held[:, :-1]), -1)
    number = (before < wanted).sum(-1, keepdim=True).clamp(min=1)
    least = ordered.gather(-1, number - 1)
    above, equal = probabilities > least, probabilities == least
    room = number - above.sum(-1, keepdim=True)
    if bool((equal.sum(-1, keepdim=True) > room).any()):
        equal &= equal.cumsum(-1) <= room
    return probabilities.masked_fill(~(above | equal), 0.0)
