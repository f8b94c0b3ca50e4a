"""Attention of the two-branch GPT-2: who sees whom, and the kept keys and values (MotionGPT3 spec 2.3, 2.4).

One packed tensor holds the keys of both modalities in the order of the sequence. A shared layer attends to all of
them. In a layer that is not shared each modality attends to its own positions; the published one also sees every
position of the other modality as a key and value that are nothing but the bias of its projection. n equal keys weigh
like one key whose score is raised by log(n), so two extra keys stand for all of them, and one attention call does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mld.errors import ConfigError

MODALITIES = (0, 1)  # text, motion
_SPANS = {
    "all": (0, 1), "Ahalf": (0, 1 / 2), "halfB": (1 / 2, 1),
    "firstthird": (0, 1 / 3), "midthird": (1 / 3, 2 / 3), "lastthird": (2 / 3, 1),
}  # fmt: skip


def shared_layers(mode: str, layers: int) -> list[bool]:
    """Which of the layers share their attention; modes of spec 2.3, "None" for no layer. `ConfigError` for others."""
    ends = re.fullmatch(r"(first|last)(\d*)", mode)
    if mode in _SPANS:
        start, stop = (int(layers * edge + 1e-6) for edge in _SPANS[mode])
        chosen = range(start, stop)
    elif mode in ("odd", "even"):  # the first layer counts as odd
        chosen = range(mode == "even", layers, 2)
    elif mode == "None":
        chosen = range(0)
    elif ends and int(ends[2] or 1) <= layers:
        count = int(ends[2] or 1)
        chosen = range(count) if ends[1] == "first" else range(layers - count, layers)
    else:
        known = ", ".join((*_SPANS, "odd", "even", "firstK", "lastK", "None"))
        raise ConfigError(f"attention_mode '{mode}' does not fit {layers} layers; known: {known}")
    return [i in chosen for i in range(layers)]


class LayerCache:
    """Keys and values of one layer; room grows in blocks, so that a step does not copy the past."""

    BLOCK = 64

    def __init__(self) -> None:
        self.length = 0
        self._room: Tensor | None = None  # (2, B, H, capacity, D)

    def extend(self, new: Tensor) -> Tensor:
        """New keys and values (2, B, H, T, D) -> all of them (2, B, H, S, D)."""
        start, self.length = self.length, self.length + new.shape[3]
        if self._room is None or self._room.shape[3] < self.length:
            capacity = -(-(self.length + 1) // self.BLOCK) * self.BLOCK
            room = new.new_empty(*new.shape[:3], capacity, new.shape[4])
            if self._room is not None:
                room[:, :, :, :start] = self._room[:, :, :, :start]
            self._room = room
        self._room[:, :, :, start : self.length] = new
        return self._room[:, :, :, : self.length]

    @property
    def keys(self) -> Tensor:
        """(B, H, S, D)"""
        return self._room[0, :, :, : self.length]

    @property
    def values(self) -> Tensor:
        """(B, H, S, D)"""
        return self._room[1, :, :, : self.length]

    def keep(self, rows: Tensor) -> None:
        if self._room is not None:
            self._room = self._room[:, rows]


class KVCache:
    """Keys and values of all layers and the modality of each position so far; for use without gradients."""

    def __init__(self, layers: int) -> None:
        self.layers = [LayerCache() for _ in range(layers)]
        self.types: Tensor | None = None  # (B, S)

    @property
    def length(self) -> int:
        return 0 if self.types is None else self.types.shape[1]

    def append_types(self, types: Tensor) -> Tensor:
        """Modalities (B, T) of new positions -> those of all positions (B, S)."""
        self.types = types if self.types is None else torch.cat((self.types, types), 1)
        return self.types

    def keep(self, rows: Tensor) -> None:
        """Drop all rows of the batch but these (indices or bool)."""
        if self.types is not None:
            self.types = self.types[rows]
        for layer in self.layers:
            layer.keep(rows)


@dataclass(frozen=True)
class Sight:
    """What each new position may look at. shared: mask (B, 1, T, S) bool, None for all (or `causal` order).
    apart: the same for layers that are not shared; as scores (B, 1, T, S + 2) where the last two keys are biases."""

    shared: Tensor | None
    causal: bool
    apart: Tensor | None

    @classmethod
    def build(cls, mask: Tensor, types: Tensor, key_types: Tensor, foreign: str | None) -> Sight:
        """mask (B, S) of keys, types (B, T) of new positions, key_types (B, S). foreign: "bias" or "masked", what the
        other modality is in a layer that is not shared; None when every layer is."""
        (batch, new), length = types.shape, mask.shape[1]
        if foreign is None and (new == 1 or new == length) and bool(mask.all()):
            return cls(None, new > 1, None)
        order = torch.arange(length, device=mask.device)
        here = order[length - new :, None]
        itself = (order == here).expand(batch, new, length)
        visible = _never_blind((order <= here) & mask[:, None], itself)
        if foreign is None:
            return cls(visible[:, None], False, None)
        types = types.clamp(min=0)[:, :, None]  # a position of no modality counts as text, its result is not used
        own = visible & (types == key_types[:, None])
        if foreign == "masked":
            return cls(visible[:, None], False, _never_blind(own, itself)[:, None])
        weight = (visible & ~own).sum(-1, keepdim=True).log()
        extra = weight.masked_fill(types != types.new_tensor(MODALITIES), -torch.inf)
        scores = torch.zeros_like(own, dtype=weight.dtype).masked_fill(~own, -torch.inf)
        return cls(visible[:, None], False, torch.cat((scores, extra), -1)[:, None])


def _never_blind(visible: Tensor, itself: Tensor) -> Tensor:
    """A position that would see nothing (padding on the left) sees itself, or its attention would be NaN."""
    return visible | (itself & ~visible.any(-1, keepdim=True))


def attend(
    qkv: Tensor, heads: int, sight: Sight, cache: LayerCache | None, dropout: float, biases: Tensor | None = None
) -> Tensor:
    """Packed qkv (B, T, 3C) of one layer -> context (B, T, C). biases: none in a layer that is shared, else (2, 3C),
    the biases of both modalities' projections."""
    query, *new = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    keys, values = new if cache is None else cache.extend(torch.stack(new))
    mask = sight.shared if biases is None else sight.apart
    if mask is not None and mask.is_floating_point():
        extra = biases.to(qkv.dtype).unflatten(-1, (3, heads, -1)).permute(1, 2, 0, 3)[1:, None]  # (2, 1, H, 2, D)
        keys, values = (torch.cat((a, b.expand(len(a), -1, -1, -1)), 2) for a, b in zip((keys, values), extra))
        mask = mask.to(qkv.dtype)
    causal = sight.causal and mask is None
    context = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask, dropout_p=dropout, is_causal=causal)
    return context.transpose(1, 2).flatten(2)
