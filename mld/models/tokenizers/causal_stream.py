"""Motion through a causal tokenizer while it comes in, many motions at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from mld.models.tokenizers.causal_conv import Flow, Held, nothing_held


class CausalTokenizer(Protocol):
    """A tokenizer of raw features over a causal encoder and decoder, which work on normalised frames."""

    encoder: nn.Module
    decoder: nn.Module

    @property
    def device(self) -> torch.device: ...

    def normalize(self, features: Tensor) -> Tensor: ...

    def denormalize(self, features: Tensor) -> Tensor: ...

    def read(self, frames: Tensor, flow: Flow) -> Tensor:
        """Frames (B, T, D) -> the tokens (B, l) or (B, l, C) that they complete."""
        ...

    def generate(self, tokens: Tensor, flow: Flow) -> Tensor:
        """Tokens (B, l) or (B, l, C) -> their frames (B, T, D)."""
        ...

    def nothing_before(self, rows: int) -> Held:
        """What `finish_piece` is told of motions that begin, a row each."""
        ...

    def finish_piece(self, features: Tensor, before: Held) -> tuple[Tensor, Held]:
        """Raw features (B, T, D) after others, as they leave, and what the next ones are told."""
        ...


class CausalStream:
    """Motions that come in pieces of any length. What is held of them grows with nothing.

    `read`, `written`, `finished`: of the encoder, of the decoder and of what decoded features go through, tensors with
    a row per motion. whole: the encoder takes
    multiples of so many frames; the rest of a piece waits for the next one."""

    def __init__(self, tokenizer: CausalTokenizer, rows: int, whole: int = 1) -> None:
        self.tokenizer, self.whole = tokenizer, whole
        self.read: Held = nothing_held(tokenizer.encoder, rows, tokenizer.device)
        self.written: Held = nothing_held(tokenizer.decoder, rows, tokenizer.device)
        self.finished: Held = tokenizer.nothing_before(rows)
        self.waiting: Tensor | None = None

    @torch.no_grad()
    def encode(self, features: Tensor) -> Tensor:
        """The next raw features (B, n, D) of all rows -> the tokens (B, l) or (B, l, C) that they complete."""
        if self.waiting is not None:
            features = torch.cat((self.waiting, features), 1)
        ready = features.shape[1] // self.whole * self.whole
        self.waiting = features[:, ready:] if self.whole > 1 else None
        flow = _flow(features[:, : ready : self.whole], self.read)
        tokens = self.tokenizer.read(self.tokenizer.normalize(features[:, :ready]), flow)
        self.read = flow.new
        return tokens

    @torch.no_grad()
    def push(self, tokens: Tensor, rows: Sequence[int] | None = None) -> Tensor:
        """The next tokens (B, l) or (B, l, C) of these rows (all) -> raw features (B, l * frames_per_token, D)."""
        chosen = slice(None) if rows is None else list(rows)
        flow = _flow(tokens, tuple(columns[chosen] for columns in self.written))
        made = self.tokenizer.generate(tokens, flow)
        told = tuple(columns[chosen] for columns in self.finished)
        features, after = self.tokenizer.finish_piece(self.tokenizer.denormalize(made), told)
        for columns, new in zip(self._kept, (*flow.new, *after), strict=True):
            columns[chosen] = new.to(columns)
        return features

    @property
    def _kept(self) -> Held:
        return (*self.written, *self.finished)

    def grow(self, rows: int) -> None:
        more = rows - len(self.written[0])
        if more > 0:
            new = nothing_held(self.tokenizer.decoder, more, self.tokenizer.device)
            self.written = tuple(torch.cat(pair) for pair in zip(self.written, new))
            begun = self.tokenizer.nothing_before(more)
            self.finished = tuple(torch.cat(pair) for pair in zip(self.finished, begun))

    def begin(self, row: int) -> None:
        for columns in self._kept:
            columns[row] = 0

    def held(self, row: int) -> Held:
        return tuple(columns[row].clone() for columns in self._kept)

    def restore(self, row: int, held: Sequence[Tensor]) -> None:
        for columns, kept in zip(self._kept, held, strict=True):
            columns[row] = kept.to(columns)


def _flow(pieces: Tensor, held: Held) -> Flow:
    """A flow for pieces (B, n, ...), all of them real."""
    return Flow(torch.ones(len(pieces), 1, pieces.shape[1], dtype=torch.bool, device=pieces.device), held)
