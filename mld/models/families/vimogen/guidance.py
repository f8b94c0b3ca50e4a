"""Velocities of a sampling step after guidance: the published loop, and an exact fast way (vimogen spec 6).

A row follows its text, guided away from the null text, or its reference, without guidance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from mld.models.backbones.dit import DiT, key_mask
from mld.models.backbones.dit_blocks import Across, KeysValues
from mld.models.heads.flow import TRAINED
from mld.padding import mask_of, padded

TEXT_ROWS = 226  # texts are filled up to so many rows, which are looked at although they are zeros
KEPT = 4 * 2**30  # bytes of keys and values that are kept between steps; of more, they are computed anew


class Guided(Protocol):
    """The velocity of states (B, T, C) at a timestep from 0 to 1000, after guidance, float32."""

    def __call__(self, state: Tensor, t: float) -> Tensor: ...


@dataclass(frozen=True)
class Above:
    """Guidance at levels from `least` on; below, where a motion is all but decided and guidance would only coarsen it,
    none and half of the work (Kynkäänniemi et al. 2024, "Applying Guidance in a Limited Interval")."""

    guided: Guided
    plain: Guided
    least: float

    def __call__(self, state: Tensor, t: float) -> Tensor:
        return (self.guided if t >= TRAINED * self.least else self.plain)(state, t)


class Faithful:
    """The published loop: every step computes everything anew, for each row once with its condition and once without.

    texts: features (S, Z) of each row, S from 0 on; zeros fill them up to `text_rows`, longer ones stay whole. null
    (N, Z): features of the null text, filled up alike. references: (T_b, R) of rows that follow one, which then have no
    use for their text, None of the others. mask (B, T): frames that are real. scale: how far the condition leads away
    from the null text."""

    def __init__(
        self, dit: DiT, texts: Sequence[Tensor], null: Tensor, references: Sequence[Tensor | None], mask: Tensor,
        scale: float, text_rows: int = TEXT_ROWS,
    ) -> None:  # fmt: skip
        check_rows(texts, references, mask)
        device, self.dit, self.scale = mask.device, dit, scale
        texts, null = features_for(dit, texts, device), features_for(dit, [null], device)[0]
        counts = row_counts(texts, text_rows)
        self.texts, rows = _filled([*texts, *[null] * len(texts)], [*counts, *(max(n, len(null)) for n in counts)])
        self.text_mask = None if rows.all() else rows.to(device)
        by_text = [reference is None for reference in references]
        self.by_text, self.mask = torch.tensor(by_text, device=device), mask.repeat(2, 1)
        self.reference, self.reference_mask = None, None
        if dit.config.reference_channels:
            rows, real = _in_place(references, mask.shape[1], dit.config.reference_channels)
            self.reference = torch.cat((rows, torch.zeros_like(rows))).to(device)
            self.reference_mask = real.repeat(2, 1).to(device)

    @torch.no_grad()
    def __call__(self, state: Tensor, t: float) -> Tensor:
        found = self.dit(
            state.repeat(2, 1, 1), torch.tensor([t], device=state.device), self.texts,
            self.reference, self.mask, self.reference_mask, self.by_text.repeat(2), self.text_mask, encode_all=True,
        )  # fmt: skip
        condition, null = found.chunk(2)
        return torch.where(self.by_text[:, None, None], null + self.scale * (condition - null), condition)


class Exact:
    """The same velocities (arguments as of `Faithful`) with nothing computed twice or for nobody:

    * keys and values of texts are computed once, those of the null text once for all rows;
    * the rows of zeros behind a text are one key, whose score is raised by the logarithm of their number;
    * a row that follows a reference stands once in the batch, and no text is embedded for it;
    * the encoder of references reads those rows alone. What it gives depends on the time, and so do keys and values of
      it: they cannot be kept from step to step;
    * one vector of the time serves all rows, and rows with and without their condition are one batch."""

    def __init__(
        self, dit: DiT, texts: Sequence[Tensor], null: Tensor, references: Sequence[Tensor | None], mask: Tensor,
        scale: float, text_rows: int = TEXT_ROWS,
    ) -> None:  # fmt: skip
        check_rows(texts, references, mask)
        self.dit, self.scale = dit, scale
        texts, null = features_for(dit, texts, mask.device), features_for(dit, [null], mask.device)[0]
        by_text = [row for row, reference in enumerate(references) if reference is None]
        self.text_rows = torch.tensor(by_text, device=mask.device)
        self.guided = bool(by_text) and scale != 1
        self.mask = _keys(torch.cat((mask, mask[by_text])) if self.guided else mask)
        self.texts = self._texts([texts[row] for row in by_text], null, text_rows, len(mask)) if by_text else []
        self.told = self._told(texts, null, [reference is None for reference in references])
        self.reference_rows: Tensor | None = None
        if len(by_text) < len(mask):
            rows = [row for row, reference in enumerate(references) if reference is not None]
            self.reference_rows = torch.tensor(rows, device=mask.device)
            found = _in_place([references[row] for row in rows], mask.shape[1], dit.config.reference_channels)
            self.reference, self.reference_mask = found[0].to(mask.device), _keys(found[1].to(mask.device))
            self.encoder_mask = _keys(mask[rows])

    @torch.no_grad()
    def __call__(self, state: Tensor, t: float) -> Tensor:
        dit, rows = self.dit, len(state)
        embedded, time = dit.time(torch.tensor([t], device=state.device), self.told)
        across = list(self.texts)
        if self.reference_rows is not None:
            own = time if self.told is None else time[self.reference_rows]
            states = dit.encoded(self.reference, own, self.encoder_mask)
            across.append(Across("reference", self.reference_rows, states, mask=self.reference_mask))
        stream = dit.placed(dit.embed, state)
        if self.guided:
            stream = torch.cat((stream, stream[self.text_rows]))
        found = dit.through(stream, embedded, time, self.mask, across)
        if not self.guided:
            return found
        condition, null = found[:rows], found[rows:]
        away = (self.scale - 1) * (condition[self.text_rows] - null)
        return condition.index_add(0, self.text_rows, away)

    @torch.no_grad()
    def _told(self, texts: Sequence[Tensor], null: Tensor, by_text: Sequence[bool]) -> Tensor | None:
        """What goes with the time of all rows, those of the null text last."""
        if self.dit.text_pool is None:
            return None
        follows = torch.tensor(by_text, device=self.text_rows.device)
        own = self.dit.told(padded(texts)[0], follows)
        if not self.guided:
            return own
        nothing = self.dit.told(null[None], torch.ones(1, dtype=torch.bool, device=follows.device))
        return torch.cat((own, nothing.expand(len(self.text_rows), -1)))

    @torch.no_grad()
    def _texts(self, texts: Sequence[Tensor], null: Tensor, text_rows: int, rows: int) -> list[Across]:
        """What rows look at that follow a text: their own and, under guidance, the null text; those rows stand last."""
        counts = row_counts(texts, text_rows)
        distinct = [Distinct.of(text, count) for text, count in zip(texts, counts)]
        own, scores = [one.rows for one in distinct], _scores([one.scores for one in distinct])
        across = [self._looked_at(self.text_rows, own, scores)]
        if self.guided:
            nothing = [Distinct.of(null, max(count, len(null))) for count in counts]
            places = torch.arange(rows, rows + len(texts), device=self.text_rows.device)
            widest = max((one.rows for one in nothing), key=len)  # the same but for a key of zeros that some need
            across.append(self._looked_at(places, [widest], _scores([one.scores for one in nothing])))
        return across

    def _looked_at(self, places: Tensor, texts: Sequence[Tensor], scores: Tensor) -> Across:
        """texts: of each row, or one for all. scores (R, K), minus infinity for what is not there."""
        dit = self.dit
        states = dit.read(padded(texts)[0])
        mask = scores.to(states.device)[:, None, None] if scores.any() else None
        if 2 * states.nbytes * len(dit.blocks) > KEPT:
            return Across("text", places, states, mask=mask)
        seen: list[KeysValues] = [block.text_attention.keys_values(states) for block in dit.blocks]
        return Across("text", places, seen=seen, mask=mask)


@dataclass(frozen=True)
class Distinct:
    """Rows (K, Z) of a text that differ, its zeros as one at the end, and what is added to their scores (K,)."""

    rows: Tensor
    scores: Tensor

    @classmethod
    def of(cls, text: Tensor, count: int) -> Distinct:
        """A text (S, Z) that zeros fill up to so many rows. Attention does not care for the order of what it sees."""
        words = text[text.any(1)]
        zeros = count - len(words)
        scores = torch.zeros(len(words) + bool(zeros), dtype=torch.float64)
        if zeros:
            words, scores[-1] = torch.cat((words, text.new_zeros(1, text.shape[1]))), math.log(zeros)
        return cls(words, scores)


def check_rows(texts: Sequence[Tensor], references: Sequence[Tensor | None], mask: Tensor) -> None:
    """ValueError where these are not of the same rows, or a reference is longer than the batch."""
    if not len(texts) == len(references) == len(mask):
        raise ValueError(f"{len(texts)} texts and {len(references)} references for {len(mask)} rows")
    longest = max((len(reference) for reference in references if reference is not None), default=0)
    if longest > mask.shape[1]:
        raise ValueError(f"a reference of {longest} frames for rows of {mask.shape[1]}")


def features_for(dit: DiT, texts: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Texts where and as the network reads them."""
    return [text.to(device, dit.text_embed[0].weight.dtype) for text in texts]


def row_counts(texts: Sequence[Tensor], text_rows: int) -> list[int]:
    """Rows that are looked at of each text, zeros included."""
    return [max(text_rows, len(text), 1) for text in texts]


def _filled(texts: Sequence[Tensor], counts: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Texts (S, Z) with zeros behind them (B, L, Z), and the first `counts` rows of each (B, L)."""
    mask = mask_of(counts)
    filled = texts[0].new_zeros(*mask.shape, texts[0].shape[1])
    for row, text in zip(filled, texts):
        row[: len(text)] = text
    return filled, mask


def _in_place(references: Sequence[Tensor | None], frames: int, channels: int) -> tuple[Tensor, Tensor]:
    """References (B, T, R), zeros where there is none, and their real frames (B, T)."""
    rows, mask = torch.zeros(len(references), frames, channels), torch.zeros(len(references), frames, dtype=torch.bool)
    for row, real, reference in zip(rows, mask, references):
        if reference is not None:
            row[: len(reference)], real[: len(reference)] = reference, True
    return rows, mask


def _keys(mask: Tensor) -> Tensor | None:
    """As keys (B, 1, 1, T); none where all are seen, which the fastest kernels need."""
    return None if mask.all() else key_mask(mask)


def _scores(scores: Sequence[Tensor]) -> Tensor:
    """Scores (K,) of each row as (B, K), minus infinity behind them."""
    found, mask = padded(scores)
    return found.masked_fill(~mask, -math.inf)
