"""Attention over frames inside a convolutional encoder or decoder: one head, residual (MotionMillion spec 2.2).

`window` bounds how far it looks. Without a bound a frame follows from the whole clip (in a causal network from the
whole past), and the network is run at once, not in pieces. No published weights have attention: the names are ours.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mld.models.tokenizers.causal_conv import CausalBlock, CausalDecoder, CausalEncoder, Flow
from mld.models.tokenizers.resnet import Decoder, Encoder, ResidualBlock, make_activation, make_norm, silence


class FrameAttention(nn.Module):
    """norm -> query, key, value by 1x1 convolutions -> attention -> 1x1 convolution -> + input, of (B, C, T)."""

    def __init__(self, width: int, norm: str | None, window: int) -> None:
        super().__init__()
        self.window = window
        self.norm = make_norm(norm, width)
        self.q, self.k, self.v, self.proj_out = (nn.Conv1d(width, width, 1) for _ in range(4))

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """A frame looks at the real frames of its clip, those less than `window` away where there is one."""
        normed, frames = self.norm(x, mask), x.shape[-1]
        seen = mask.expand(-1, frames, -1)
        if self.window:
            seen = seen & (back(frames, frames, x.device).abs() < self.window)
        seen = seen | torch.eye(frames, dtype=torch.bool, device=x.device)  # padding sees itself: no row is empty
        return silence(x + self.attend(normed, normed, seen), mask), mask

    def attend(self, x: Tensor, past: Tensor, seen: Tensor) -> Tensor:
        """x (B, C, T) looks at past (B, C, S) where seen (B, T, S) says so."""
        if not x.shape[-1]:  # a piece too short for a column here
            return x
        q, k, v = (rows.transpose(1, 2) for rows in (self.q(x), self.k(past), self.v(past)))
        return self.proj_out(F.scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(1, 2))


class CausalAttention(FrameAttention):
    """Attention to a frame and those before it. What is held of the past has a channel more, 1 where a frame was:
    zeros are a frame for a convolution, but nothing to look at."""

    @property
    def holds(self) -> tuple[int, int]:
        """Channels and columns that a stream keeps."""
        return self.q.in_channels + 1, max(0, self.window - 1)

    def forward(self, x: Tensor, flow: Flow) -> Tensor:
        normed = flow.norm(self.norm, x)
        rows = torch.cat((normed, torch.ones_like(normed[:, :1])), 1)
        if columns := self.holds[1]:
            rows = flow.joined(rows, columns)
            flow.keep(rows[..., rows.shape[-1] - columns :])
        distance = back(x.shape[-1], rows.shape[-1], x.device)
        near = (distance >= 0) & (distance < (self.window or rows.shape[-1]))
        return x + self.attend(normed, rows[:, :-1], near & (rows[:, -1:] > 0))


class Middle(nn.Sequential):
    """Block, attention, block, at the rate of tokens."""

    def __init__(self, width: int, activation: str, norm: str | None, window: int) -> None:
        block, other = (ResidualBlock(width, 1, activation, norm) for _ in range(2))
        super().__init__(block, FrameAttention(width, norm, window), other)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        block, attention, other = self
        return other(attention(block(x, mask), mask)[0], mask), mask


class CausalMiddle(nn.Sequential):
    """The same, with a view of the past alone."""

    def __init__(self, width: int, activation: str, norm: str | None, window: int) -> None:
        block, other = (CausalBlock(width, 1, activation, norm) for _ in range(2))
        super().__init__(block, CausalAttention(width, norm, window), other)

    def forward(self, x: Tensor, flow: Flow) -> Tensor:
        for layer in self:
            x = layer(x, flow)
        return x


class End(nn.Module):
    """Norm and activation before the last convolutions."""

    def __init__(self, width: int, activation: str, norm: str | None) -> None:
        super().__init__()
        self.norm, self.activation = make_norm(norm, width), make_activation(activation)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return silence(self.activation(self.norm(x, mask)), mask), mask


class CausalEnd(End):
    def forward(self, x: Tensor, flow: Flow) -> Tensor:
        return self.activation(flow.norm(self.norm, x))


def attend_in_encoder(
    encoder: Encoder | CausalEncoder, width: int, activation: str, norm: str | None, window: int
) -> None:
    """Put attention after every stage, and `Middle` and `End` before the last convolution."""
    causal = isinstance(encoder, CausalEncoder)
    first, stem, *stages, last = encoder.model
    attention, middle, end = _parts(causal, width, activation, norm, window)
    encoder.model = nn.Sequential(first, stem, *_after(stages, attention), middle, end, last)


def attend_in_decoder(
    decoder: Decoder | CausalDecoder, width: int, activation: str, norm: str | None, window: int
) -> None:
    """Put `Middle` before the first stage, attention after every one, and `End` before the last convolutions."""
    causal = isinstance(decoder, CausalDecoder)
    first, stem, *stages, conv, last_activation, last = decoder.model
    attention, middle, end = _parts(causal, width, activation, norm, window)
    decoder.model = nn.Sequential(
        first, stem, middle, *_after(stages, attention), end, conv, last_activation, last
    )


def _parts(causal: bool, width: int, activation: str, norm: str | None, window: int):
    attention = CausalAttention if causal else FrameAttention
    middle, end = (CausalMiddle, CausalEnd) if causal else (Middle, End)
    return (
        lambda: attention(width, norm, window), middle(width, activation, norm, window), end(width, activation, norm)
    )  # fmt: skip


def _after(stages, attention) -> list[nn.Module]:
    return [layer for stage in stages for layer in (stage, attention())]


def back(frames: int, past: int, device: torch.device) -> Tensor:
    """How many entries each of the last `frames` entries of `past` lies after each of them: (frames, past)."""
    places = torch.arange(past, device=device)
    return places[past - frames :, None] - places
