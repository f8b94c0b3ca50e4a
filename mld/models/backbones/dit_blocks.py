"""Blocks of a diffusion transformer on frames (Peebles & Xie 2023, in the form of Wan2.1; vimogen spec 3.3).

The stream between blocks, norms, time and modulations are float32 whatever weights and autocast are; products are in
the precision of the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KeysValues = tuple[Tensor, Tensor]  # (R, H, S, D) each
By = Literal["text", "reference"]
PARTS = 6  # of a block's modulation: shift, scale and gate, of attention and of the MLP


@dataclass(frozen=True)
class Across:
    """What rows of a batch look at beside their own frames. by: which of a block's attentions it is.

    rows (R,): of the batch, none for all. states (R or 1, S, W): what is looked at; or `seen`, its keys and values of
    each block, where they were computed before. mask (R or 1, 1, 1, S): True for what is seen, or what is added to the
    scores. witness: the row needs nothing; it lets every weight take part in a batch (see `DiT.forward`)."""

    by: By
    rows: Tensor | None
    states: Tensor | None = None
    seen: Sequence[KeysValues] | None = None
    mask: Tensor | None = None
    witness: bool = False

    def at(self, layer: int) -> Across:
        """For one block."""
        return self if self.seen is None else replace(self, seen=self.seen[layer : layer + 1])


class WideNorm(nn.Module):
    """x (..., W) over its root mean square, times a learned scale; in float32, given back as it came."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps, self.weight = eps, nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(precise(x.dtype))
        return F.rms_norm(wide, x.shape[-1:], self.weight.to(wide.dtype), self.eps).to(x.dtype)


class StreamNorm(nn.LayerNorm):
    """A layer norm of the stream, in the stream's precision."""

    def forward(self, x: Tensor) -> Tensor:
        with full_precision(x):
            return F.layer_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


class Attention(nn.Module):
    """Attention of heads. Queries and keys pass a norm over the whole width before they are split; no rotations."""

    def __init__(self, width: int, heads: int, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.query_norm, self.key_norm = WideNorm(width, eps), WideNorm(width, eps)

    def keys_values(self, states: Tensor) -> KeysValues:
        """States (R, S, W) -> keys and values."""
        states = states.to(self.key.weight.dtype)
        return self._split(self.key_norm(self.key(states))), self._split(self.value(states))

    def forward(self, x: Tensor, seen: KeysValues | None = None, mask: Tensor | None = None) -> Tensor:
        """x (R, T, W) -> what it finds in `seen`, or in itself, (R, T, W)."""
        x = x.to(self.query.weight.dtype)
        keys, values = self.keys_values(x) if seen is None else seen
        query = self._split(self.query_norm(self.query(x)))
        if len(keys) < len(query):  # the same for all rows
            keys, values = (part.expand(len(query), -1, -1, -1) for part in (keys, values))
        if mask is not None and mask.dtype != torch.bool:
            mask = mask.to(query.dtype)
        found = F.scaled_dot_product_attention(query, keys.to(query.dtype), values.to(query.dtype), attn_mask=mask)
        return self.out(found.transpose(1, 2).flatten(2).to(self.out.weight.dtype))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class DiTBlock(nn.Module):
    """Attention of the frames, attention across, MLP. across: which attentions across the block has."""

    def __init__(self, width: int, heads: int, hidden: int, eps: float, across: Sequence[By] = ()) -> None:
        super().__init__()
        self.width, self.eps = width, eps
        self.modulation = nn.Parameter(torch.randn(1, PARTS, width) / width**0.5)
        self.self_attention = Attention(width, heads, eps)
        if "text" in across:
            self.text_norm, self.text_attention = StreamNorm(width, eps), Attention(width, heads, eps)
        if "reference" in across:
            self.reference_norm, self.reference_attention = StreamNorm(width, eps), Attention(width, heads, eps)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU("tanh"), nn.Linear(hidden, width))

    def forward(
        self, x: Tensor, time: Tensor, mask: Tensor | None, across: Sequence[Across] = (), layer: int = 0
    ) -> Tensor:
        """The stream x (B, T, W) float32; time (B or 1, 6, W) float32; mask (B, 1, 1, T) of the frames that are seen.
        layer: the block's number, for what was computed before."""
        parts = (self.modulation.to(time.dtype) + time).unbind(1)
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = (part[:, None] for part in parts)
        x = gated(x, gate, self.self_attention(modulated(x, shift, scale, self.eps), mask=mask))
        for one in across:
            x = self._across(x, one.at(layer))
        hidden = modulated(x, mlp_shift, mlp_scale, self.eps)
        return gated(x, mlp_gate, self.mlp(hidden.to(self.mlp[0].weight.dtype)))

    def _across(self, x: Tensor, what: Across) -> Tensor:
        by_text = what.by == "text"
        attention = self.text_attention if by_text else self.reference_attention
        norm = self.text_norm if by_text else self.reference_norm
        seen = attention.keys_values(what.states) if what.seen is None else what.seen[0]
        asking = x if what.rows is None else x[what.rows]
        found = attention(norm(asking), seen, what.mask).to(x.dtype)
        if what.witness:
            found = found * 0.0
        return x + found if what.rows is None else x.index_add(0, what.rows, found)


class TimeEmbedding(nn.Module):
    """Timesteps (B or 1,), 0 to 1000, and what is told beside them (B, W) -> their embedding (B, W) and the modulation
    that blocks share (B, 6, W); float32."""

    def __init__(self, waves: int, width: int) -> None:
        super().__init__()
        self.waves = waves
        self.embed = nn.Sequential(nn.Linear(waves, width), nn.SiLU(), nn.Linear(width, width))
        self.modulation = nn.Linear(width, PARTS * width)

    def forward(self, t: Tensor, told: Tensor | None = None) -> tuple[Tensor, Tensor]:
        kind = precise(self.embed[0].weight.dtype)
        with full_precision(t):
            embedded = exact_linear(self.embed[2], F.silu(exact_linear(self.embed[0], self.sinusoid(t).to(kind))))
            embedded = embedded if told is None else embedded + told
            return embedded, exact_linear(self.modulation, F.silu(embedded)).unflatten(-1, (PARTS, -1))

    def sinusoid(self, t: Tensor) -> Tensor:
        """Cosines, then sines, (B, waves) float64: angles in float32 would be wrong by 1e-4 at t = 1000. Where a device
        has no float64 that has to do."""
        kind = torch.float32 if t.device.type == "mps" else torch.float64
        half = self.waves // 2
        octaves = torch.arange(half, dtype=kind, device=t.device) / half
        angles = t.to(kind)[:, None] * 10000.0**-octaves
        return torch.cat((angles.cos(), angles.sin()), -1)


class TextPool(nn.Module):
    """Texts (B, L, Z), of which rows of zeros are none -> their means, embedded (B, W); float32."""

    def __init__(self, text_width: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(text_width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, texts: Tensor) -> Tensor:
        texts = texts.to(precise(self.layers[0].weight.dtype))
        with full_precision(texts):
            count = texts.any(-1).sum(1, keepdim=True).clamp(min=1)
            mean = F.layer_norm(texts.sum(1) / count, texts.shape[-1:])
            return exact_linear(self.layers[2], F.silu(exact_linear(self.layers[0], mean)))


class Head(nn.Module):
    """The stream (B, T, W) and embedded times (B or 1, W) -> velocities (B, T, channels); float32."""

    def __init__(self, width: int, channels: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.modulation = nn.Parameter(torch.randn(1, 2, width) / width**0.5)
        self.out = nn.Linear(width, channels)

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        shift, scale = (self.modulation.to(embedded.dtype) + embedded[:, None]).unbind(1)
        with full_precision(x):
            return exact_linear(self.out, modulated(x, shift[:, None], scale[:, None], self.eps))


def precise(kind: torch.dtype) -> torch.dtype:
    """float32, or the kind itself where it has more digits."""
    return torch.promote_types(kind, torch.float32)


def full_precision(like: Tensor) -> torch.autocast:
    """A block in which autocast rounds nothing."""
    return torch.autocast(like.device.type, enabled=False)


def exact_linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """The layer in the precision of x, whatever that of its weights is."""
    if not layer.weight.numel():  # rounded weights, which multiply by themselves
        return layer(x)
    return F.linear(x, layer.weight.to(x.dtype), None if layer.bias is None else layer.bias.to(x.dtype))


def modulated(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    """The normalised stream, scaled and shifted."""
    with full_precision(x):
        return F.layer_norm(x, x.shape[-1:], eps=eps) * (1 + scale) + shift


def gated(x: Tensor, gate: Tensor, added: Tensor) -> Tensor:
    return x + gate * added.to(x.dtype)
