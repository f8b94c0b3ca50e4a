"""A long clip through a convolutional tokenizer piece by piece, with enough around each piece to be as in the whole.

How much is enough follows from the sizes of the network (`Reach`): padding at the cut reaches no further than that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Reach:
    """How many entries to the left and to the right of an entry its value depends on."""

    left: int = 0
    right: int = 0

    def through(self, span: int, causal: bool) -> Reach:
        """Of the input of a convolution of kernel 3 that sees `span` entries on each side, or twice as
        many on the left alone."""
        return Reach(self.left + (2 * span if causal else span), self.right + (0 if causal else span))

    def attended(self, window: int, causal: bool) -> Reach:
        """Of the input of an attention that looks less than `window` entries far."""
        return Reach(self.left + window - 1, self.right + (0 if causal else window - 1))

    def finer(self, causal: bool) -> Reach:
        """Of the input of the convolution that halves the rate (kernel 4, stride 2), from the first entry of a pair to
        the left and from the second to the right."""
        return Reach(2 * self.left + (2 if causal else 1), 2 * self.right + (0 if causal else 1))

    def coarser(self, factor: int = 2) -> Reach:
        """In entries that stand for `factor` of these."""
        return Reach(-(-self.left // factor), -(-self.right // factor))

    def scaled(self, factor: int) -> Reach:
        """In entries of which `factor` make one of these."""
        return Reach(self.left * factor, self.right * factor)


def encoder_reach(down: int, dilations: list[int], causal: bool, window: int = 0, patch: int = 1) -> Reach:
    """What a token depends on beyond its own frames, in frames. dilations: of the residual blocks of a stage. window:
    of attention after stages, 0 for none."""
    reach = Reach().through(1, causal)
    if window:
        reach = _middle(reach, causal, window)
    for _ in range(down):
        reach = reach.attended(window, causal) if window else reach
        for dilation in dilations:
            reach = reach.through(dilation, causal)
        reach = reach.finer(causal)
    return reach.through(1, causal).scaled(patch)


def decoder_reach(down: int, dilations: list[int], causal: bool, window: int = 0) -> Reach:
    """What the frames of a token depend on beyond it, in tokens."""
    reach = Reach().through(1, causal).through(1, causal)
    for _ in range(down):
        reach = reach.attended(window, causal) if window else reach
        reach = reach.through(1, causal).coarser()
        for dilation in dilations:
            reach = reach.through(dilation, causal)
    return (_middle(reach, causal, window) if window else reach).through(1, causal)


def _middle(reach: Reach, causal: bool, window: int) -> Reach:
    return reach.through(1, causal).attended(window, causal).through(1, causal)


def encoded(
    encode: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], features: Tensor, mask: Tensor, unit: int, piece: int,
    reach: Reach,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """`encode` over features (B, T, D) and mask (B, T), `piece` tokens of `unit` frames at a time."""
    count, around, found = features.shape[1] // unit, reach.coarser(unit), []
    for start in range(0, count, piece):
        stop, first = min(start + piece, count), max(0, start - around.left)
        end = None if stop + around.right >= count else (stop + around.right) * unit
        made = encode(features[:, first * unit : end], mask[:, first * unit : end])
        found.append(tuple(part[:, start - first : stop - first] for part in made))
    tokens, kept = zip(*found)
    return torch.cat(tokens, 1), torch.cat(kept, 1)


def decoded(
    decode: Callable[[Tensor, Tensor], Tensor], tokens: Tensor, mask: Tensor, unit: int, piece: int, reach: Reach
) -> Tensor:
    """`decode` over tokens (B, L) or (B, L, C) and mask (B, L), `piece` tokens at a time."""
    found = []
    for start in range(0, tokens.shape[1], piece):
        stop, first = min(start + piece, tokens.shape[1]), max(0, start - reach.left)
        made = decode(tokens[:, first : stop + reach.right], mask[:, first : stop + reach.right])
        found.append(made[:, (start - first) * unit : (stop - first) * unit])
    return torch.cat(found, 1)
