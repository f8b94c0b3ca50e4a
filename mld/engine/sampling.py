"""Token sampling: logits to ids, a batch of answers at a time.

Each row has its own seeded generator and takes one uniform number per step, turned into a token by the inverse of the
cumulative distribution. So an answer depends on its prompt and seed, not on the rows beside it. Finished rows leave
the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mld.models.backbones.layers import Decoding
from mld.models.generation import GenerationSettings
from mld.models.grammar import Grammar


@dataclass(frozen=True)
class Sampled:
    """ids of one answer, without the token that ended it. complete: it was ended by that token, not by the limit."""

    ids: list[int]
    complete: bool


@torch.no_grad()
def sample(
    decoding: Decoding, grammars: Sequence[Grammar], seeds: Sequence[int], settings: GenerationSettings,
    on_step: Callable[[int], None] | None = None,
) -> list[Sampled]:
    """Continue every row of `decoding` until its grammar's end token or `settings.max_length` tokens.

    on_step is told how many answers were finished by each step."""
    draws = torch.stack([_uniform(seed, settings.max_length) for seed in seeds])
    answers: list[list[int]] = [[] for _ in grammars]
    complete = [False] * len(grammars)
    rows = list(range(len(grammars)))  # the answers still being written, in the order of the decoding's rows
    ids = written = None  # written (B, V) bool: the tokens that each of them has
    for step in range(settings.max_length):
        logits = decoding.step(ids)
        written = _noted(written, ids, logits)
        logits = penalised(logits, written, settings.repetition_penalty)
        allowed = torch.stack([grammars[row].allowed(step) for row in rows]).to(logits.device)
        chosen = choose(logits, allowed, draws[rows, step].to(logits.device), settings)
        going = []
        for place, (row, token) in enumerate(zip(rows, chosen.tolist(), strict=True)):
            if token == grammars[row].end_id:
                complete[row] = True
                continue
            answers[row].append(token)
            going.append(place)
        if on_step is not None:
            on_step(len(rows) - len(going))
        if not going:
            break
        if len(going) < len(rows):
            keep = torch.tensor(going, device=logits.device)
            decoding.keep(keep)
            chosen, written = chosen[keep], written[keep]
            rows = [rows[place] for place in going]
        ids = chosen
    return [Sampled(answer, done) for answer, done in zip(answers, complete, strict=True)]


def choose(logits: Tensor, allowed: Tensor, uniform: Tensor, settings: GenerationSettings) -> Tensor:
    """One token (B,) from logits (B, V) among allowed (B, V) bool; uniform (B,) in [0, 1) decides when sampling."""
    logits = logits.double().masked_fill(~allowed, -torch.inf)
    if not settings.do_sample:
        return logits.argmax(-1)
    probabilities = torch.softmax(logits / settings.temperature, dim=-1)
    cumulative = filtered(probabilities, settings.top_k, settings.top_p).cumsum(-1)
    target = uniform.to(cumulative)[:, None] * cumulative[:, -1:]
    return (cumulative <= target).sum(-1).clamp(max=logits.shape[-1] - 1)


def penalised(logits: Tensor, written: Tensor, penalty: float) -> Tensor:
    """Logits (B, V) with those of tokens that the answer has, written (B, V) bool, made `penalty` times less likely:
    divided where positive, multiplied where negative (CTRL, Keskar et al. 2019, section 4.1)."""
    if penalty == 1.0:
        return logits
    return torch.where(written, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def _noted(written: Tensor | None, ids: Tensor | None, logits: Tensor) -> Tensor:
    """Add the newest tokens (B,) to those that were written (B, V)."""
    if written is None:
        return torch.zeros_like(logits, dtype=torch.bool)
    return written.scatter(1, ids[:, None], True)


def filtered(probabilities: Tensor, top_k: int, top_p: float) -> Tensor:
    """Keep the `top_k` likeliest tokens (0: all), then the fewest of them that hold `top_p` of the mass (1: all).

    probabilities (B, V); the result keeps its places and need not sum to 1."""
    if 0 < top_k < probabilities.shape[-1]:
        least = probabilities.topk(top_k, dim=-1).values[:, -1:]
        probabilities = probabilities.masked_fill(probabilities < least, 0.0)
    if top_p < 1.0:
        ordered = probabilities.sort(dim=-1, descending=True).values
        before = ordered.cumsum(-1) - ordered
        needed = before < top_p * ordered.sum(-1, keepdim=True)
        least = ordered.masked_fill(~needed, torch.inf).amin(-1, keepdim=True)
        probabilities = probabilities.masked_fill(probabilities < least, 0.0)
    return probabilities


def _uniform(seed: int, count: int) -> Tensor:
    """`count` numbers of this seed's own generator; a longer draw begins with the shorter one's numbers."""
    return torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
