"""Rows `text | codes | END | PAD` as tokens: what a loss sees of them and what it counts (MotionMillion spec 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mld.errors import DataError


@dataclass(frozen=True)
class Vocabulary:
    """Codes 0 ... N - 1, then the end and padding, which is never written."""

    num_codes: int

    @property
    def end_id(self) -> int:
        return self.num_codes

    @property
    def pad_id(self) -> int:
        return self.num_codes + 1

    @property
    def size(self) -> int:
        return self.num_codes + 2


class Rows(NamedTuple):
    """tokens (B, T): PAD where the text stands, codes, END, PAD. counted (B, T) bool: those that are to be foretold."""

    tokens: Tensor
    counted: Tensor


def pack(
    codes: Sequence[Tensor], texts: Sequence[int], vocabulary: Vocabulary, positions: int,
    given: Sequence[int] | None = None, names: Sequence[str] | None = None, length: int | None = None,
) -> Rows:  # fmt: skip
    """Codes (L,) of each motion behind a text of `texts` tokens. positions: most of a row. given: codes at the start
    of each that are history only. length: of all rows, by default that of the longest.

    `DataError` for a row that does not fit, with its name."""
    sizes = [text + len(row) + 1 for text, row in zip(texts, codes, strict=True)]
    for place, size in enumerate(sizes):
        if size > positions:
            name = f"{names[place]}: " if names and names[place] else ""
            raise DataError(
                f"{name}{len(codes[place])} codes, a text of {texts[place]} tokens and the end do not fit into"
                f" {positions} positions; lower data.max_frames, or raise model.positions"
            )
    tokens = torch.full((len(codes), length or max(sizes)), vocabulary.pad_id)
    counted = torch.zeros(tokens.shape, dtype=torch.bool)
    for place, (row, text, size) in enumerate(zip(codes, texts, sizes)):
        tokens[place, text : size - 1] = row.to(tokens)
        tokens[place, size - 1] = vocabulary.end_id
        counted[place, text + (given[place] if given else 0) : size] = True
    return Rows(tokens, counted)


def kept(tokens: Tensor, vocabulary: Vocabulary, keep: float, compat: bool) -> Tensor:
    """(B, T) bool: which tokens stay as they are. Of others than codes nothing that counts can see the difference."""
    if keep == -1:
        rates = torch.rand(1 if compat else len(tokens), 1)
    else:
        rates = torch.full((1, 1), keep)
    stay = torch.rand(tokens.shape) < rates
    return stay if compat else stay | (tokens >= vocabulary.end_id)


def corrupted(tokens: Tensor, stay: Tensor, codes: Tensor) -> Tensor:
    """Tokens (B, T) with random codes (B, T) where they do not stay."""
    return torch.where(stay, tokens, codes)
